/* SPDX-License-Identifier: Apache-2.0 */
/* What an attachment's worker is told, and when: rings and spools, wake-ups, stdin, the end. */
#include <event2/event.h>
#include <sys/queue.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/attach_internal.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/spool.h"
#include "common/ring.h"

#define INPUT_LITTLE ((size_t)64 * 1024)

static const struct timeval TELL_WAIT = {0, 1000};

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
	if (rc == 0)
		out->spool_told = store_spool_number(st);
	if (rc == 0 && out->ring_told != store_ring_number(st) && store_ring(st) != NULL)
		rc = send_ring(a, s, store_ring(st));
	if (rc == 0)
		out->ring_told = store_ring_number(st);
	return rc;
}

static int tell_input_ring(struct attachment *a)
{
	const struct ring *r = pump_in_ring(a->job->in);
	int rc;

	if (r == NULL || a->input_told)
		return 0;
	rc = send_ring(a, KM_STDIN, r);
	a->input_told = rc == 0;
	return rc;
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

bool attach_has_news(const struct attachment *a, int s)
{
	return has_more(a, s) || is_final(a->job, s);
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

void attach_tell_failed(struct attach_table *t)
{
	t->has_failed = true;
	t->failed(t->arg);
}

void attach_tell_all(struct attach_table *t)
{
	struct attachment *a;
	int rc;

	while (!t->has_failed && !km_chan_busy(t->chan) && (a = TAILQ_FIRST(&t->dirty)) != NULL) {
		TAILQ_REMOVE(&t->dirty, a, in_dirty);
		a->dirty = false;
		rc = tell(a);
		/* No room for a descriptor in the queue: attach_table_writable goes on. */
		if (rc == TX_EAGAIN) {
			mark_dirty(a);
			return;
		}
		/* What the worker said before it went is still to be read; its end comes there. */
		if (rc == TX_ECLOSED)
			t->has_failed = true;
		else if (rc != 0)
			attach_tell_failed(t);
	}
}

/* What happens in one turn of the loop is told at its end, together. */
void attach_flush(struct attachment *a)
{
	mark_dirty(a);
	event_active(a->table->flush, EV_TIMEOUT, 0);
}

/* What something else to tell is close behind, as a rule: an end of output, and the process's. */
static void tell_soon(struct attachment *a)
{
	mark_dirty(a);
	if (!event_pending(a->table->flush, EV_TIMEOUT, NULL) &&
	    event_add(a->table->flush, &TELL_WAIT) != 0)
		attach_flush(a);
}

void attach_on_output(struct job *j, enum km_stream s)
{
	struct attachment *a;

	LIST_FOREACH(a, &j->attachments, in_job)
	if ((a->flags & KM_ATTACH_NO_OUTPUT) == 0) {
		bool first = a->out[s].armed && has_more(a, (int)s);

		if (first || !is_told(a, (int)s))
			attach_flush(a);
		else if (is_final(j, (int)s))
			tell_soon(a);
		/* New bytes are worth a message at once: another process can begin with them. */
		if (first)
			attach_tell_all(a->table);
	}
}

/* A little is told with what it is answered by, as a rule: an echo. */
void attach_on_input(struct job *j)
{
	struct attachment *a = j->stdin_holder;
	struct ring *r = pump_in_ring(j->in);
	size_t little = INPUT_LITTLE;

	if (a == NULL)
		return;
	if (r != NULL && ring_size(r) / 4 < little)
		little = ring_size(r) / 4;
	if (pump_in_closed(j->in) != a->closed_told ||
	    pump_in_written(j->in) - a->written_told >= little)
		attach_flush(a);
	else
		tell_soon(a);
}

void attach_on_started(struct job *j)
{
	struct attachment *a;

	LIST_FOREACH(a, &j->attachments, in_job)
	attach_flush(a);
}

void attach_on_ended(struct job *j)
{
	readers_forget_away(j);
	attach_on_started(j);
}

void attach_on_forgotten(struct job *j)
{
	readers_forget_away(j);
}
