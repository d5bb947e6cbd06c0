/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `idle` holds those that nobody is attached to, oldest first; `unread` those whose output takes
 * memory and has no reader; both in the order in which they lost the last. A job's kept_output and
 * kept_spec are what it counts with in the sums. Jobs are freed from the timer only: callers hold
 * pointers to theirs.
 */
#include "agent/keeper/job_internal.h"

#include <event2/event.h>
#include <stdlib.h>

#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/store.h"
#include "common/log.h"

struct retain {
	struct event *sweep;
	TAILQ_HEAD(, job) idle, unread;
	uint32_t count;
	size_t output_bytes, spec_bytes;
};

static void on_sweep(evutil_socket_t fd, short what, void *arg);

struct retain *retain_new(struct event_base *base)
{
	struct retain *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	TAILQ_INIT(&r->idle);
	TAILQ_INIT(&r->unread);
	r->sweep = event_new(base, -1, 0, on_sweep, r);
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

static bool is_too_much(const struct retain *r)
{
	return r->count > JOB_KEEP_COUNT || r->spec_bytes > JOB_KEEP_BYTES;
}

static void plan_sweep(struct retain *r)
{
	if (is_too_much(r) && !TAILQ_EMPTY(&r->idle))
		event_active(r->sweep, EV_TIMEOUT, 0);
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

/* Whether somebody has all of it. */
static bool is_taken(const struct job *j)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		if (store_released(pump_out_store(j->out[s])) < pump_out_head(j->out[s]))
			return false;
	return true;
}

static void drop_output(struct retain *r, struct job *j, const char *why)
{
	if (!is_taken(j))
		log_warn("job %s: %zu bytes of output that nobody reads are dropped: %s", j->id,
		    j->kept_output, why);
	count_no_output(r, j);
	pump_out_forget(j->out[KM_STDOUT]);
	pump_out_forget(j->out[KM_STDERR]);
}

static void look_idle(struct retain *r, struct job *j)
{
	bool idle = LIST_EMPTY(&j->attachments);

	if (idle && !j->idle)
		TAILQ_INSERT_TAIL(&r->idle, j, in_idle);
	else if (!idle && j->idle)
		TAILQ_REMOVE(&r->idle, j, in_idle);
	j->idle = idle;
	plan_sweep(r);
}

/* The oldest that somebody has; else the oldest. */
static struct job *next_to_drop(const struct retain *r)
{
	struct job *j;

	TAILQ_FOREACH(j, &r->unread, in_unread)
	if (is_taken(j))
		return j;
	return TAILQ_FIRST(&r->unread);
}

void retain_look(struct retain *r, struct job *j)
{
	struct job *drop;

	look_idle(r, j);
	count_no_output(r, j);
	if (j->n_readers > 0)
		return;
	j->kept_output = store_memory(pump_out_store(j->out[KM_STDOUT])) +
	                 store_memory(pump_out_store(j->out[KM_STDERR]));
	if (j->kept_output == 0)
		return;
	TAILQ_INSERT_TAIL(&r->unread, j, in_unread);
	r->output_bytes += j->kept_output;
	while (r->output_bytes > JOB_KEEP_BYTES && (drop = next_to_drop(r)) != j)
		drop_output(r, drop, "ended processes hold too much");
}

static unsigned descriptors(const struct job *j)
{
	return store_descriptors(pump_out_store(j->out[KM_STDOUT])) +
	       store_descriptors(pump_out_store(j->out[KM_STDERR]));
}

unsigned jobs_give_descriptors(struct jobs *js, unsigned n)
{
	struct retain *r = js->retain;
	unsigned given = 0;
	struct job *j;

	while (given < n && (j = next_to_drop(r)) != NULL) {
		given += descriptors(j);
		drop_output(r, j, "a start needs their descriptors");
	}
	return given;
}

/* ---- the jobs ---- */

/* Oldest first; those that somebody is attached to stay. */
static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct retain *r = arg;

	(void)fd;
	(void)what;
	while (is_too_much(r) && !TAILQ_EMPTY(&r->idle))
		job_drop(TAILQ_FIRST(&r->idle));
}

void retain_add(struct retain *r, struct job *j)
{
	r->count++;
	j->kept_spec = job_spec_memory(j->spec);
	r->spec_bytes += j->kept_spec;
	retain_look(r, j);
}

void retain_remove(struct retain *r, struct job *j)
{
	count_no_output(r, j);
	if (j->idle)
		TAILQ_REMOVE(&r->idle, j, in_idle);
	j->idle = false;
	r->count--;
	r->spec_bytes -= j->kept_spec;
}
