/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second half of a job's life: from the leader's death to the published exit, how long the
 * ended one is held, and what its pumps bring on the way.
 */
#include <assert.h>
#include <event2/event.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/job.h"
#include "agent/keeper/job_internal.h"
#include "agent/keeper/pump.h"
#include "common/duration.h"
#include "common/log.h"

/* ---- who reads it ---- */

static void await_reader(struct job *j);

void job_taken(struct job *j)
{
	if (j->state == KM_STATE_ENDED)
		retain_look(j->jobs->retain, j);
}

static void set_close_timer(struct job *j, int64_t ns)
{
	struct timeval later = duration_timeval(ns > 0 ? ns : 0);

	if (event_add(j->close_timer, &later) != 0)
		log_error("job %s: no memory for a timer", j->id);
}

/* Until its time is over. */
static void hold(struct job *j)
{
	set_close_timer(j, j->ended_at + j->spec->keep_ns - clock_monotonic_ns());
	retain_look(j->jobs->retain, j);
}

/*
 * Delivered is what a client's gRPC library has, which ends its half by itself: the program may
 * have been cut off before it read a word, and asks again. Not at the cost of those that were not
 * delivered at all.
 */
static void forget_soon(struct job *j)
{
	if (jobs_held(j->jobs) > JOB_KEEP_COUNT / 2) {
		job_free(j);
		return;
	}
	set_close_timer(j, j->jobs->keep_ns < JOB_AGAIN_NS ? j->jobs->keep_ns : JOB_AGAIN_NS);
	retain_look(j->jobs->retain, j);
}

void job_release(struct job *j)
{
	bool keep = j->spec->disconnect == JOB_DISCONNECT_KEEP;

	if (j->state != KM_STATE_ENDED)
		await_reader(j);
	else if (!LIST_EMPTY(&j->attachments))
		retain_look(j->jobs->retain, j);
	else if (j->forgotten || (j->acknowledged && !keep))
		job_free(j);
	else if (j->delivered && j->was_attached && !keep)
		forget_soon(j);
	else
		hold(j);
}

/* ---- closing: from the leader's death to the published exit ---- */

/* The exit is whole. */
static void settle(struct job *j)
{
	event_del(j->gone_timer);
	event_del(j->end_timer);
	j->ended_at = clock_monotonic_ns();
	j->expire_ns = clock_realtime_ns() + j->spec->keep_ns;
	job_set_state(j, KM_STATE_ENDED);
	retain_add(j->jobs->retain, j);
	set_close_timer(j, j->spec->keep_ns);
	j->jobs->ops->ended(j, j->jobs->ops_arg);
}

void job_never_ran(struct job *j)
{
	assert(j->state == KM_STATE_QUEUED);
	j->exit.kind = KM_END_NOT_STARTED;
	j->exit.end_ns = clock_realtime_ns();
	log_info("job %s: did not run: %s", j->id, j->exit.text);
	settle(j);
}

static void publish(struct job *j, uint8_t streams_open)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		if ((streams_open & KM_BIT(s)) != 0)
			pump_out_drop(j->out[s]);
	if (j->in != NULL)
		pump_in_close(j->in);
	j->exit.streams_open = streams_open;
	j->exit.start_ns = j->start_ns;
	j->exit.stdout_length = pump_out_head(j->out[KM_STDOUT]);
	j->exit.stderr_length = pump_out_head(j->out[KM_STDERR]);
	settle(j);
}

static bool at_mark(const struct job *j, int s)
{
	return pump_out_ended(j->out[s]) || pump_out_head(j->out[s]) >= j->close_mark[s] ||
	       pump_out_dry(j->out[s]);
}

static void start_grace(struct job *j)
{
	struct timeval grace = duration_timeval(JOB_CLOSE_GRACE_NS);

	if (event_add(j->close_timer, &grace) != 0)
		log_error("job %s: no memory for a timer; its exit may be late", j->id);
}

/* After every move of an output. */
static void check_closed(struct job *j)
{
	if (!j->reaped || j->state == KM_STATE_ENDED)
		return;
	if (pump_out_ended(j->out[KM_STDOUT]) && pump_out_ended(j->out[KM_STDERR])) {
		publish(j, 0);
	} else if (j->close_late && at_mark(j, KM_STDOUT) && at_mark(j, KM_STDERR)) {
		/* The pipes could not be read while a ring was full: the grace begins again, once.
		 */
		j->close_late = false;
		start_grace(j);
	}
}

void job_on_close_timer(evutil_socket_t fd, short what, void *arg)
{
	struct job *j = arg;
	uint8_t open = 0;

	(void)fd;
	(void)what;
	if (j->state == KM_STATE_ENDED) {
		/* With attachments: when the last one has left. */
		if (LIST_EMPTY(&j->attachments))
			job_drop(j);
		return;
	}
	/* Whether a terminal is dry is known by reading it. */
	if (j->spec->terminal)
		pump_out_run(j->out[KM_STDOUT]);
	if (j->state == KM_STATE_ENDED)
		return;
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		if (!pump_out_look(j->out[s]))
			open |= (uint8_t)KM_BIT(s);
	if (at_mark(j, KM_STDOUT) && at_mark(j, KM_STDERR)) {
		publish(j, open);
	} else if (j->close_late && j->n_waited == 0) {
		log_warn("job %s: what its full buffers had no room for is dropped: nobody came "
		         "to read it",
		    j->id);
		publish(j, open);
	} else {
		j->close_late = true;
		await_reader(j);
	}
}

/* An output that nobody reads, with more in its pipe than the ring has room for, does not hold the
 * exit for ever: only as long as an ended job is held. */
static void await_reader(struct job *j)
{
	struct timeval keep = duration_timeval(j->jobs->keep_ns);

	if (j->close_late && j->n_waited == 0)
		event_add(j->close_timer, &keep);
}

void job_reaped(struct job *j)
{
	assert(!j->reaped && j->state != KM_STATE_ENDED);
	LIST_REMOVE(j, by_pid);
	j->reaped = true;
	job_close_pidfd(j);
	event_del(j->end_timer);
	cgroup_retire(&j->cgroup);
	job_set_state(j, KM_STATE_ENDING);
	job_close_terminal(j);
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		j->close_mark[s] = pump_out_mark(j->out[s]);
	start_grace(j);
	/* As a rule all that is left is to read the end. */
	for (int s = KM_STDOUT; s <= KM_STDERR && j->state != KM_STATE_ENDED; s++)
		pump_out_run(j->out[s]);
	check_closed(j);
}

void job_resume(struct job *j)
{
	if (j->state == KM_STATE_ENDED && j->lost_worker) {
		job_release(j);
		return;
	}
	if (!j->reaped || j->state == KM_STATE_ENDED)
		return;
	if (j->close_late)
		await_reader(j);
	else if (!event_pending(j->close_timer, EV_TIMEOUT, NULL))
		start_grace(j);
	check_closed(j);
}

static void output_moved(struct job *j, enum km_stream s)
{
	j->jobs->ops->output(j, s, j->jobs->ops_arg);
	check_closed(j);
}

static void stdout_moved(void *job)
{
	output_moved(job, KM_STDOUT);
}

static void stderr_moved(void *job)
{
	output_moved(job, KM_STDERR);
}

static void ask_readers(struct job *j, enum km_stream s, struct store_readers *r)
{
	if (j->jobs->ops->readers != NULL)
		j->jobs->ops->readers(j, s, r, j->jobs->ops_arg);
}

static void stdout_readers(struct store_readers *r, void *job)
{
	ask_readers(job, KM_STDOUT, r);
}

static void stderr_readers(struct store_readers *r, void *job)
{
	ask_readers(job, KM_STDERR, r);
}

static void tell_full(struct job *j, enum km_stream s)
{
	if (j->jobs->ops->full != NULL)
		j->jobs->ops->full(j, s, j->jobs->ops_arg);
}

static void stdout_full(bool full, void *job)
{
	(void)full;
	tell_full(job, KM_STDOUT);
}

static void stderr_full(bool full, void *job)
{
	(void)full;
	tell_full(job, KM_STDERR);
}

const struct pump_out_ops *job_output_ops(enum km_stream s)
{
	static const struct pump_out_ops out = {stdout_moved, stdout_readers, stdout_full};
	static const struct pump_out_ops err = {stderr_moved, stderr_readers, stderr_full};

	return s == KM_STDOUT ? &out : &err;
}

void job_stdin_moved(void *job)
{
	struct job *j = job;

	j->jobs->ops->input(j, j->jobs->ops_arg);
}
