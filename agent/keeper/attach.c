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
#include "agent/keeper/spool.h"
#include "common/duration.h"
#include "common/ring.h"

#define BUCKETS 256

static const struct timeval EOF_WAIT = {0, 1000};

struct attach_table {
	struct km_chan *chan;
	void (*failed)(void *arg);
	void *arg;
	bool has_failed;
	uint32_t count;
	LIST_HEAD(, attachment) buckets[BUCKETS];
	TAILQ_HEAD(, attachment) dirty;
	struct event *flush; /* at the end of this turn of the loop */
};

/* ---- what to tell ---- */

static int send_ring(struct attachment *a, int s, const struct ring *r)
{
	struct km_ring m = {.att = a->att, .stream = (uint32_t)s};
	int fd = ring_fd(r);

	m.size = ring_size(r);
	m.head = ring_head(r);
	m.tail = ring_tail(r);
	return km_send(a->table->chan, KM_RING, 0, &m, &fd, 1);
}

/* Whether the worker knows the output's ring and file. */
static bool is_told(const struct attachment *a, int s)
{
	const struct store *st = pump_out_store(a->job->out[s]);

	return a->out[s].ring_told == store_ring_number(st) &&
	       a->out[s].spool_told == store_spool_number(st);
}

/* The file first: a ring may begin after what the worker reads next. */
static int tell_store(struct attachment *a, int s)
{
	const struct store *st = pump_out_store(a->job->out[s]);
	struct attach_out *out = &a->out[s];
	int rc = 0;

	if (out->spool_told != store_spool_number(st) && store_spool(st) != NULL) {
		struct km_spool m = {.att = a->att, .stream = (uint32_t)s};
		int fd = spool_fd(store_spool(st));

		m.base = spool_base(store_spool(st));
		rc = km_send(a->table->chan, KM_SPOOL, 0, &m, &fd, 1);
	}
	out->spool_told = store_spool_number(st);
	if (rc == 0 && out->ring_told != store_ring_number(st) && store_ring(st) != NULL)
		rc = send_ring(a, s, store_ring(st));
	out->ring_told = store_ring_number(st);
	return rc;
}

static int tell_input_ring(struct attachment *a)
{
	const struct ring *r = pump_in_ring(a->job->in);

	if (r == NULL || a->input_told)
		return 0;
	a->input_told = true;
	return send_ring(a, KM_STDIN, r);
}

/* After the end of a job its outputs are final, whoever still holds the pipes. */
static bool is_final(const struct job *j, int s)
{
	return j->state == KM_STATE_ENDED || pump_out_ended(j->out[s]);
}

static bool has_more(const struct attachment *a, int s)
{
	return pump_out_head(a->job->out[s]) > a->out[s].seen;
}

static int tell_wake(struct attachment *a)
{
	struct km_wake m = {.att = a->att};
	bool wake = false;

	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		bool final = is_final(a->job, s);

		if (final)
			m.eof |= KM_BIT(s);
		if (a->out[s].armed && (has_more(a, s) || (final && !(a->eof_told & KM_BIT(s))))) {
			a->out[s].armed = false;
			wake = true;
		}
	}
	if (!wake)
		return 0;
	a->eof_told |= m.eof;
	return km_send(a->table->chan, KM_WAKE, 0, &m, NULL, 0);
}

static int tell_input(struct attachment *a)
{
	struct pump_in *in = a->job->in;
	struct km_input_done m = {.att = a->att};

	if (in == NULL || a->job->stdin_holder != a)
		return 0;
	m.written = pump_in_written(in);
	m.closed = pump_in_closed(in);
	if (m.written == a->written_told && (m.closed != 0) == a->closed_told)
		return 0;
	a->written_told = m.written;
	a->closed_told = m.closed != 0;
	return km_send(a->table->chan, KM_INPUT_DONE, 0, &m, NULL, 0);
}

static int tell_running(struct attachment *a)
{
	const struct job *j = a->job;
	struct km_running m = {.att = a->att, .pid = (uint32_t)j->pid, .start_ns = j->start_ns};

	if (!a->running_due || j->pid == 0)
		return 0;
	a->running_due = false;
	return km_send(a->table->chan, KM_RUNNING, 0, &m, NULL, 0);
}

static int tell_ended(struct attachment *a)
{
	struct km_ended m = {.att = a->att};

	if (a->job->state != KM_STATE_ENDED || a->ended_told)
		return 0;
	a->ended_told = true;
	m.exit = a->job->exit;
	return km_send(a->table->chan, KM_ENDED, 0, &m, NULL, 0);
}

static int tell_outputs(struct attachment *a)
{
	int rc = 0;

	for (int s = KM_STDOUT; s <= KM_STDERR && rc == 0; s++) {
		rc = tell_store(a, s);
		/* At the end a last wake says that the outputs are final, armed or not. */
		if (a->job->state == KM_STATE_ENDED && !(a->eof_told & KM_BIT(s)))
			a->out[s].armed = true;
	}
	return rc == 0 ? tell_wake(a) : rc;
}

static int tell_streams(struct attachment *a)
{
	struct job *j = a->job;
	int rc = 0;

	if ((a->flags & KM_ATTACH_NO_OUTPUT) == 0)
		rc = tell_outputs(a);
	if (rc == 0 && j->stdin_holder == a && j->in != NULL)
		rc = tell_input_ring(a);
	return rc != 0 ? rc : tell_input(a);
}

static int tell(struct attachment *a)
{
	int rc;

	if (a->ended_told)
		return 0;
	rc = tell_running(a);
	if (rc == 0)
		rc = tell_streams(a);
	return rc != 0 ? rc : tell_ended(a);
}

/* ---- when to tell ---- */

static void mark_dirty(struct attachment *a)
{
	if (a->dirty)
		return;
	a->dirty = true;
	TAILQ_INSERT_TAIL(&a->table->dirty, a, in_dirty);
}

static void fail(struct attach_table *t)
{
	t->has_failed = true;
	t->failed(t->arg);
}

/* Tells all dirty ones while the channel takes it. */
static void flush_dirty(struct attach_table *t)
{
	struct attachment *a;

	while (!t->has_failed && !km_chan_busy(t->chan) && (a = TAILQ_FIRST(&t->dirty)) != NULL) {
		TAILQ_REMOVE(&t->dirty, a, in_dirty);
		a->dirty = false;
		if (tell(a) != 0)
			fail(t);
	}
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush_dirty(arg);
}

/* What happens in one turn of the loop is told at its end, together. */
static void tell_later(struct attachment *a)
{
	mark_dirty(a);
	event_active(a->table->flush, EV_TIMEOUT, 0);
}

/* An end of output, as a rule, has the process's end close behind it, and is told with that. */
static void tell_soon(struct attachment *a)
{
	mark_dirty(a);
	if (!event_pending(a->table->flush, EV_TIMEOUT, NULL) &&
	    event_add(a->table->flush, &EOF_WAIT) != 0)
		tell_later(a);
}

void attach_flush(struct attachment *a)
{
	tell_later(a);
}

void attach_table_writable(struct attach_table *t)
{
	flush_dirty(t);
}

void attach_on_output(struct job *j, enum km_stream s)
{
	struct attachment *a;

	LIST_FOREACH(a, &j->attachments, in_job)
	if ((a->flags & KM_ATTACH_NO_OUTPUT) == 0) {
		bool first = a->out[s].armed && has_more(a, (int)s);

		if (first || !is_told(a, (int)s))
			tell_later(a);
		else if (is_final(j, (int)s))
			tell_soon(a);
		/* New bytes are worth a message at once: another process can begin with them. */
		if (first)
			flush_dirty(a->table);
	}
}

void attach_on_input(struct job *j)
{
	if (j->stdin_holder != NULL)
		tell_later(j->stdin_holder);
}

void attach_on_started(struct job *j)
{
	attach_on_ended(j);
}

void attach_on_ended(struct job *j)
{
	struct attachment *a;

	readers_forget_away(j);
	LIST_FOREACH(a, &j->attachments, in_job)
	tell_later(a);
}

void attach_on_forgotten(struct job *j)
{
	readers_forget_away(j);
}

/* ---- the table ---- */

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
	for (size_t i = 0; i < BUCKETS; i++)
		LIST_FOREACH(a, &t->buckets[i], in_bucket)
	readers_leave_together(a, round);
	for (size_t i = 0; i < BUCKETS; i++)
		while (!LIST_EMPTY(&t->buckets[i]))
			withdraw(LIST_FIRST(&t->buckets[i]), true);
	event_free(t->flush);
	free(t);
}

struct attachment *attach_find(struct attach_table *t, uint32_t att)
{
	struct attachment *a;

	LIST_FOREACH(a, &t->buckets[att % BUCKETS], in_bucket)
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
		fail(t);
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
	LIST_INSERT_HEAD(&t->buckets[att % BUCKETS], a, in_bucket);
	LIST_INSERT_HEAD(&j->attachments, a, in_job);
	j->n_waited += readers_waited(a);
	if ((a->flags & KM_ATTACH_PASSIVE) == 0) {
		j->n_attached++;
		ending_returned(j);
	}
	if ((a->flags & KM_ATTACH_NO_OUTPUT) == 0)
		j->n_readers++;
	if (want->stdin_too && job_has_stdin(j))
		take_stdin(a);
	if (before != NULL)
		replace(before, KM_WHY_REPLACED);
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
	if (has_more(a, (int)m->stream) || is_final(a->job, (int)m->stream))
		tell_later(a);
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
	bool passive = (a->flags & KM_ATTACH_PASSIVE) != 0;
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
	if (!passive)
		j->n_attached--;
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
	if (!passive && j->n_attached == 0 && j->state != KM_STATE_ENDED)
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
