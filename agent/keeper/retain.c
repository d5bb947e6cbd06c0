/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ended` holds all, oldest first; `unread` those of them whose output takes memory and has no
 * reader, in the order in which they lost it. A job's kept_output and kept_spec are what it counts
 * with in the sums. Jobs are freed from the timer only: callers hold pointers to theirs.
 */
#include "agent/keeper/job_internal.h"

#include <event2/event.h>
#include <stdlib.h>

#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "common/duration.h"
#include "common/log.h"

#define SWEEP_NS (5 * NS_PER_S)

struct retain {
	struct event *sweep;
	TAILQ_HEAD(, job) ended, unread;
	uint32_t count;
	size_t output_bytes, spec_bytes;
};

static void on_sweep(evutil_socket_t fd, short what, void *arg);

struct retain *retain_new(struct event_base *base)
{
	struct retain *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	TAILQ_INIT(&r->ended);
	TAILQ_INIT(&r->unread);
	r->sweep = evtimer_new(base, on_sweep, r);
	if (r->sweep == NULL) {
		free(r);
		return NULL;
	}
	return r;
}

void retain_free(struct retain *r)
{
	if (r == NULL)
		return;
	event_free(r->sweep);
	free(r);
}

uint32_t retain_count(const struct retain *r)
{
	return r->count;
}

/* ---- output ---- */

static void count_no_output(struct retain *r, struct job *j)
{
	if (j->kept_output == 0)
		return;
	TAILQ_REMOVE(&r->unread, j, in_unread);
	r->output_bytes -= j->kept_output;
	j->kept_output = 0;
}

static void drop_output(struct retain *r, struct job *j)
{
	log_warn("job %s: %zu bytes of output that nobody reads are dropped: ended processes hold "
	         "too much",
	    j->id, j->kept_output);
	count_no_output(r, j);
	pump_out_forget(j->out[KM_STDOUT]);
	pump_out_forget(j->out[KM_STDERR]);
}

void retain_look(struct retain *r, struct job *j)
{
	count_no_output(r, j);
	if (!LIST_EMPTY(&j->attachments))
		return;
	j->kept_output = pump_out_memory(j->out[KM_STDOUT]) + pump_out_memory(j->out[KM_STDERR]);
	if (j->kept_output == 0)
		return;
	TAILQ_INSERT_TAIL(&r->unread, j, in_unread);
	r->output_bytes += j->kept_output;
	while (r->output_bytes > JOB_KEEP_BYTES && TAILQ_FIRST(&r->unread) != j)
		drop_output(r, TAILQ_FIRST(&r->unread));
}

/* ---- the jobs ---- */

static bool is_too_much(const struct retain *r)
{
	return r->count > JOB_KEEP_COUNT || r->spec_bytes > JOB_KEEP_BYTES;
}

static void plan_sweep(struct retain *r)
{
	struct timeval later = duration_timeval(is_too_much(r) ? 0 : SWEEP_NS);

	if (is_too_much(r) || !event_pending(r->sweep, EV_TIMEOUT, NULL))
		event_add(r->sweep, &later);
}

/* Oldest first; those that are read right now stay. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct retain *r = arg;
	struct timeval again = duration_timeval(SWEEP_NS);
	int64_t now = clock_monotonic_ns();
	struct job *j, *next;

	(void)fd;
	(void)what;
	for (j = TAILQ_FIRST(&r->ended); j != NULL; j = next) {
		next = TAILQ_NEXT(j, in_ended);
		if (!is_too_much(r) && now - j->ended_at <= JOB_KEEP_NS)
			break;
		if (!LIST_EMPTY(&j->attachments))
			continue;
		log_debug("job %s: forgotten", j->id);
		job_free(j);
	}
	if (r->count > 0)
		event_add(r->sweep, &again);
}

void retain_add(struct retain *r, struct job *j)
{
	TAILQ_INSERT_TAIL(&r->ended, j, in_ended);
	r->count++;
	j->kept_spec = job_spec_memory(j->spec);
	r->spec_bytes += j->kept_spec;
	retain_look(r, j);
	plan_sweep(r);
}

void retain_remove(struct retain *r, struct job *j)
{
	count_no_output(r, j);
	TAILQ_REMOVE(&r->ended, j, in_ended);
	r->count--;
	r->spec_bytes -= j->kept_spec;
}
