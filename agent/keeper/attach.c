/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/attach.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "agent/keeper/attach_internal.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "common/duration.h"

/* ---- the table ---- */

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	attach_tell_all(arg);
}

void attach_table_writable(struct attach_table *t)
{
	attach_tell_all(t);
}

int attach_table_new(struct attach_table **out, struct event_base *base, struct km_chan *chan,
    void (*failed)(void *arg), void *arg)
{
	struct attach_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return TX_ENOMEM;
	t->chan = chan;
	t->failed = failed;
	t->arg = arg;
	TAILQ_INIT(&t->dirty);
	t->flush = event_new(base, -1, 0, on_flush, t);
	if (t->flush == NULL) {
		free(t);
		return TX_ENOMEM;
	}
	*out = t;
	return 0;
}

static void withdraw(struct attachment *a, bool worker_died);

void attach_table_free(struct attach_table *t)
{
	static uint64_t round;
	struct attachment *a;

	if (t == NULL)
		return;
	t->has_failed = true;
	round++;
	for (size_t i = 0; i < ATTACH_BUCKETS; i++)
		LIST_FOREACH(a, &t->buckets[i], in_bucket)
	readers_leave_together(a, round);
	for (size_t i = 0; i < ATTACH_BUCKETS; i++)
		while (!LIST_EMPTY(&t->buckets[i]))
			withdraw(LIST_FIRST(&t->buckets[i]), true);
	event_free(t->flush);
	free(t);
}

struct attachment *attach_find(struct attach_table *t, uint32_t att)
{
	struct attachment *a;

	LIST_FOREACH(a, &t->buckets[att % ATTACH_BUCKETS], in_bucket)
	if (a->att == att)
		return a;
	return NULL;
}

/* ---- one attachment ---- */

bool attach_offsets_held(const struct job *j, const uint64_t offset[3], struct km_refused *why)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		uint64_t oldest = pump_out_oldest(j->out[s]);
		uint64_t newest = pump_out_head(j->out[s]);

		if (offset[s] >= oldest && offset[s] <= newest)
			continue;
		why->why = offset[s] < oldest ? KM_WHY_DROPPED : KM_WHY_AHEAD;
		why->stream = (uint32_t)s;
		why->oldest = oldest;
		why->newest = newest;
		snprintf(why->text, sizeof(why->text),
		    "%s is held from offset %llu to %llu, not at %llu",
		    s == KM_STDOUT ? "stdout" : "stderr", (unsigned long long)oldest,
		    (unsigned long long)newest, (unsigned long long)offset[s]);
		return false;
	}
	return true;
}

struct attachment *attach_of_key(const struct job *j, const char *owner, uint64_t key)
{
	struct attachment *a;

	if (key == 0)
		return NULL;
	LIST_FOREACH(a, &j->attachments, in_job)
	if (a->key == key && strcmp(a->owner, owner) == 0)
		return a;
	return NULL;
}

/* Another takes its place: its worker is told why it gets nothing more. */
static void replace(struct attachment *a, enum km_why why)
{
	struct km_detached m = {.att = a->att, .why = why};
	struct attach_table *t = a->table;

	if (!t->has_failed && km_send(t->chan, KM_DETACHED, 0, &m, NULL, 0) != 0)
		attach_tell_failed(t);
	withdraw(a, false);
}

static void take_stdin(struct attachment *a)
{
	struct job *j = a->job;
	struct attachment *before = j->stdin_holder;

	j->stdin_holder = a;
	if (j->in != NULL) {
		a->written_told = pump_in_written(j->in);
		a->closed_told = pump_in_closed(j->in);
	}
	/* One that is there for stdin alone has nothing left. */
	if (before != NULL && (before->flags & KM_ATTACH_NO_OUTPUT) != 0)
		replace(before, KM_WHY_STDIN_HELD);
}

static void set_offsets(struct attachment *a, const struct attach_want *want)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		a->out[s].acked = a->out[s].seen = want->offset[s];
		a->out[s].armed = (a->flags & KM_ATTACH_NO_OUTPUT) == 0;
		a->out[s].acked_at = clock_monotonic_ns();
		if ((want->acknowledged & KM_BIT(s)) != 0)
			(void)pump_out_release(a->job->out[s], want->offset[s]);
	}
}

/* Who counted when it left, and is back. */
static bool counted_before(
    const struct job *j, const struct attach_want *want, const struct attachment *before)
{
	const struct attachment *a;

	if (want->key == 0)
		return false;
	if ((before != NULL && before->counts) || want->key == j->left_key)
		return true;
	LIST_FOREACH(a, &j->away, in_job)
	if (a->key == want->key && strcmp(a->owner, want->owner) == 0)
		return a->starter;
	return false;
}

/* Whether the disconnect policy asks for it: who only watches neither keeps a process nor ends it.
 * Without keys one cannot tell who started it. */
static bool is_counted(
    const struct attachment *a, const struct attach_want *want, const struct attachment *before)
{
	const struct job *j = a->job;

	if ((a->flags & KM_ATTACH_PASSIVE) != 0)
		return false;
	return a->starter || (want->stdin_too && job_has_stdin(j)) ||
	       (want->key == 0 && j->starter_key == 0 && j->was_attached) ||
	       counted_before(j, want, before);
}

int attach_add(struct attachment **out, struct attach_table *t, uint32_t att, struct job *j,
    const struct attach_want *want)
{
	struct attachment *before = attach_of_key(j, want->owner, want->key);
	struct attachment *a = t->count < ATTACH_MAX ? calloc(1, sizeof(*a)) : NULL;

	if (a == NULL)
		return t->count < ATTACH_MAX ? TX_ENOMEM : TX_ELIMIT;
	assert(att != 0 && attach_find(t, att) == NULL);
	a->table = t;
	a->job = j;
	a->att = att;
	a->flags = want->flags;
	a->key = want->key;
	a->starter = want->starter || (want->key != 0 && want->key == j->starter_key);
	if (want->starter)
		j->starter_key = want->key;
	a->running_due = j->state == KM_STATE_QUEUED;
	snprintf(a->owner, sizeof(a->owner), "%s", want->owner);
	set_offsets(a, want);
	t->count++;
	LIST_INSERT_HEAD(&t->buckets[att % ATTACH_BUCKETS], a, in_bucket);
	LIST_INSERT_HEAD(&j->attachments, a, in_job);
	j->n_waited += readers_waited(a);
	a->counts = is_counted(a, want, before);
	if ((a->flags & KM_ATTACH_PASSIVE) == 0)
		j->n_attached++;
	if (a->counts) {
		j->n_counted++;
		ending_returned(j);
	}
	if ((a->flags & KM_ATTACH_NO_OUTPUT) == 0)
		j->n_readers++;
	/* Before stdin is taken: that may end the holder, who may be this very one. */
	if (before != NULL)
		replace(before, KM_WHY_REPLACED);
	if (want->stdin_too && job_has_stdin(j))
		take_stdin(a);
	readers_came_back(j, want->owner, want->key);
	job_taken(j);
	readers_changed(j);
	*out = a;
	return 0;
}

bool attach_holds_stdin(const struct attachment *a)
{
	return a->job->stdin_holder == a;
}

const char *attach_owner(const struct attachment *a)
{
	return a->owner;
}

int attach_release(struct attachment *a, const struct km_release *m)
{
	uint64_t head;

	if ((m->stream != KM_STDOUT && m->stream != KM_STDERR) ||
	    (a->flags & KM_ATTACH_NO_OUTPUT) != 0)
		return TX_EPROTO;
	head = pump_out_head(a->job->out[m->stream]);
	if (m->acked > head || (m->seen > head && m->seen != UINT64_MAX))
		return TX_EPROTO;
	if (m->acked > a->out[m->stream].acked) {
		a->out[m->stream].acked = m->acked;
		a->out[m->stream].acked_at = clock_monotonic_ns();
		readers_changed(a->job);
	}
	a->out[m->stream].armed = m->seen != UINT64_MAX;
	if (m->seen == UINT64_MAX)
		return 0;
	a->out[m->stream].seen = m->seen;
	if (attach_has_news(a, (int)m->stream))
		attach_flush(a);
	return 0;
}

int attach_input(struct attachment *a, const struct km_input *m)
{
	struct job *j = a->job;

	/* It may have been taken over by another while this was on its way. */
	if (j->stdin_holder != a || j->in == NULL)
		return 0;
	return pump_in_accept(j->in, m->head, m->eof != 0);
}

static void withdraw(struct attachment *a, bool worker_died)
{
	bool last = a->counts && a->job->n_counted == 1;
	struct job *j = a->job;

	for (int s = KM_STDOUT; s <= KM_STDERR && readers_waited(a); s++)
		pump_out_keep_memory(j->out[s], a->out[s].acked);
	if (readers_waited(a) && --j->n_waited == 0 && !worker_died)
		readers_last_leaves(a);
	if (a->dirty)
		TAILQ_REMOVE(&a->table->dirty, a, in_dirty);
	LIST_REMOVE(a, in_bucket);
	LIST_REMOVE(a, in_job);
	a->table->count--;
	if ((a->flags & KM_ATTACH_PASSIVE) == 0)
		j->n_attached--;
	j->n_counted -= a->counts;
	if (last)
		j->left_key = a->key;
	if ((a->flags & KM_ATTACH_NO_OUTPUT) == 0)
		j->n_readers--;
	if (j->stdin_holder == a) {
		j->stdin_holder = NULL;
		a->starter = true; /* for as long as it may be away */
	}
	if (worker_died && readers_waited(a) && j->state != KM_STATE_ENDED)
		readers_go_away(a);
	else
		free(a);
	if (last && j->state != KM_STATE_ENDED)
		ending_left(j, worker_died);
	/* Those that stay may have waited for the one that left. */
	readers_changed(j);
	job_release(j);
}

void attach_detach(struct attachment *a, const struct km_detach *m)
{
	struct job *j = a->job;

	/* Others have it besides: the one who started it is to find it when it comes back. */
	if (a->ended_told && m->delivered != KM_DELIVERED_NOT && (a->starter || !j->was_attached)) {
		j->delivered = true;
		j->acknowledged |= m->delivered == KM_DELIVERED_ACKNOWLEDGED;
	}
	withdraw(a, m->moved != 0);
}
