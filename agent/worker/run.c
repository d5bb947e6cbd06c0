/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Run call: a client's stream on one side, an attachment at the keeper on the other.
 *
 * Callbacks from either side only note what they brought; everything is sent from on_turn, which
 * runs once after them. So the order on the stream is made in one place: `started` first, then
 * output and acks as they come, `exited` after the last byte. The call's data (rpc_call_data) is
 * the struct run, until run_closed frees it.
 */
#include "agent/worker/run.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/process_lookup.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_internal.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/mem.h"

#define FIELD_OUTPUT 2 /* the number of RunResponse.output */

static const char *const state_names[] = {
    "new", "asked", "looking", "open", "exited", "finished", "failed"};

void run_set_state(struct run *r, enum run_state state)
{
	assert(state > r->state);
	log_debug("run %s: %s -> %s", r->id, state_names[r->state], state_names[state]);
	r->state = state;
}

bool run_is_over(const struct run *r)
{
	return r->state >= RUN_FINISHED;
}

static void schedule(struct run *r)
{
	event_active(r->turn, EV_TIMEOUT, 0);
}

/* Ends the call with an error and lets go of the job, which is left to its disconnect policy. */
void run_fail(struct run *r, const struct rpc_status *status)
{
	if (run_is_over(r))
		return;
	run_set_state(r, RUN_FAILED);
	keeper_detach(r->att, KM_DELIVERED_NOT);
	r->att = NULL;
	event_del(r->beat);
	rpc_finish(r->call, status);
}

void run_fail_link(struct run *r, int code)
{
	struct rpc_status status;

	process_reply_link(&status, code);
	run_fail(r, &status);
}

/* ---- to the client ---- */

static void note_sent(struct run *r)
{
	r->last_sent_ns = clock_monotonic_ns();
}

static void send_response(struct run *r, const Telex__V1__RunResponse *response)
{
	rpc_send(r->call, &response->base);
	note_sent(r);
}

static void send_started(struct run *r, const struct job_record *record)
{
	Telex__V1__RunResponse response = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Started started = TELEX__V1__STARTED__INIT;
	struct process_message m;

	process_reply_process(&m, record);
	started.process = &m.process;
	r->running_due = r->running_due && record->state == KM_STATE_QUEUED;
	started.created = r->job.created != 0;
	started.stdin_offset = r->job.stdin_head;
	response.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_STARTED;
	response.started = &started;
	run_set_state(r, RUN_OPEN);
	send_response(r, &response);
	process_reply_process_clear(&m);
	process_spec_free(r->spec);
	r->spec = NULL;
	if (r->beat_ns > 0) {
		struct timeval tv = duration_timeval(r->beat_ns);

		event_add(r->beat, &tv);
	}
	schedule(r);
}

/* A queued process runs now. */
static int send_running(struct run *r)
{
	Telex__V1__RunResponse response = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Running running = TELEX__V1__RUNNING__INIT;
	Google__Protobuf__Timestamp start;

	if (!r->running_due)
		return 0;
	r->running_due = false;
	process_reply_time(&start, r->running.start_ns);
	running.pid = r->running.pid;
	running.start_time = &start;
	response.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_RUNNING;
	response.running = &running;
	return rpc_send(r->call, &response.base) == 0 ? 1 : 0;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;
	bool last;
	int sent, running;

	(void)fd;
	(void)what;
	if (r->state != RUN_OPEN)
		return;
	running = send_running(r);
	sent = run_output_pump(r->output, &status);
	if (sent < 0) {
		run_fail(r, &status);
		return;
	}
	last = r->ended && run_output_done(r->output);
	sent += running + run_stdin_ack(r->input, last);
	if (sent > 0)
		note_sent(r);
	if (last)
		run_exit_send(r);
}

/* A beat only after a whole interval in which nothing was sent, and not behind what the client does
 * not read. */
static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;
	int64_t left = r->last_sent_ns + r->beat_ns - clock_monotonic_ns();
	struct timeval tv;

	(void)fd;
	(void)what;
	if (left <= 0) {
		Telex__V1__RunResponse response = TELEX__V1__RUN_RESPONSE__INIT;
		Telex__V1__Heartbeat heartbeat = TELEX__V1__HEARTBEAT__INIT;

		response.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_HEARTBEAT;
		response.heartbeat = &heartbeat;
		if (rpc_pending(r->call) == 0)
			send_response(r, &response);
		left = r->beat_ns;
	}
	tv = duration_timeval(left);
	event_add(r->beat, &tv);
}

/* ---- from the keeper ---- */

/* The record of a job of which no more is known than KM_JOB and the request tell. */
static void send_started_from_job(struct run *r)
{
	struct job_record record = {
	    .state = r->job.state == KM_STATE_ENDED ? KM_STATE_ENDING : r->job.state,
	    .pid = r->job.pid,
	    .attached = 1,
	    .start_ns = r->job.start_ns,
	    .id = r->job.id,
	    .owner = r->job.owner,
	    .terminal = r->job.terminal,
	    .user = "",
	    .group = "",
	};

	if (r->spec != NULL) {
		record.argc = r->spec->argc;
		record.argv = (const char *const *)r->spec->argv;
		record.user = r->spec->user != NULL ? r->spec->user : "";
		record.disconnect = (uint8_t)r->spec->disconnect;
		record.disconnect_wait_ns = r->spec->disconnect_wait_ns;
		record.group = r->spec->group != NULL ? r->spec->group : "";
	}
	send_started(r, &record);
}

static void on_record(const struct job_record *record, void *arg)
{
	struct run *r = arg;

	if (r->state == RUN_LOOKING)
		send_started(r, record);
}

static void on_looked_up(const union km_any *msg, int fd, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;

	r->lookup = NULL;
	if (msg == NULL || run_is_over(r))
		return; /* on_lost says it */
	process_lookup_read(msg, fd, on_record, r, &status);
	if (r->state == RUN_LOOKING)
		send_started_from_job(r);
}

/* Where it reads from, now that the keeper has said what is held. */
static void seek_outputs(struct run *r, const struct km_job *job)
{
	if (r->from == KM_FROM_OFFSET)
		for (int s = KM_STDOUT; s <= KM_STDERR; s++)
			if (r->resume[s] == KM_OFFSET_OLDEST)
				r->resume[s] = job->tail[s];
	if (r->from == KM_FROM_OLDEST)
		run_output_seek(r->output, job->tail);
	else if (r->from == KM_FROM_NEWEST)
		run_output_seek(r->output, job->head);
	else if (r->attaches)
		run_output_seek(r->output, r->resume);
}

static void on_job(const struct km_job *job, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;
	int rc;

	r->job = *job;
	run_set_state(r, RUN_LOOKING);
	seek_outputs(r, job);
	run_output_start(r->output, r->att);
	if (run_stdin_start(r->input, r->att, job, r->feeds, &status) < 0) {
		run_fail(r, &status);
		return;
	}
	run_request_signals(r);
	run_resize_send(r);
	if (run_is_over(r))
		return;
	if (job->created) {
		send_started_from_job(r);
		return;
	}
	rc = process_lookup(
	    r->worker->keeper, r->id, job->owner, 0, false, on_looked_up, r, &r->lookup);
	if (rc < 0)
		run_fail_link(r, rc);
}

static void on_refused(const struct km_refused *why, void *arg)
{
	struct rpc_status status;

	process_reply_refused(&status, why);
	run_fail(arg, &status);
}

static void on_ring(const struct km_ring *ring, int fd, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;
	int rc;

	if (run_is_over(r))
		return;
	if (ring->stream == KM_STDIN)
		rc = run_stdin_map(r->input, fd, &status);
	else
		rc = run_output_map(r->output, ring, fd, &status);
	if (rc < 0)
		run_fail(r, &status);
	else
		schedule(r);
}

static void on_spool(const struct km_spool *spool, int fd, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;

	if (run_is_over(r))
		return;
	if (run_output_spool(r->output, spool, fd, &status) < 0)
		run_fail(r, &status);
	else
		schedule(r);
}

static void on_wake(uint32_t eof, void *arg)
{
	struct run *r = arg;

	if (run_is_over(r))
		return;
	run_output_wake(r->output, eof);
	schedule(r);
}

static void on_input_done(const struct km_input_done *done, void *arg)
{
	struct run *r = arg;

	if (run_is_over(r))
		return;
	run_stdin_done(r->input, done);
	schedule(r);
}

static void on_running(const struct km_running *running, void *arg)
{
	struct run *r = arg;

	r->running = *running;
	r->running_due = true;
	schedule(r);
}

static void on_ended(const struct km_exit *how, void *arg)
{
	struct run *r = arg;

	r->exit = *how;
	r->ended = true;
	run_output_wake(r->output, KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR));
	schedule(r);
}

static void on_lost(void *arg)
{
	struct run *r = arg;

	/* With its exit sent there is nothing that a client could come back for. */
	run_exit_no_more(r);
	run_fail_link(r, TX_ECLOSED);
}

const struct keeper_attachment_ops run_attachment_ops = {
    .job = on_job,
    .refused = on_refused,
    .ring = on_ring,
    .spool = on_spool,
    .wake = on_wake,
    .input_done = on_input_done,
    .running = on_running,
    .ended = on_ended,
    .lost = on_lost,
};

/* ---- the call ---- */

void run_open(struct rpc_call *c)
{
	struct run *r = xcalloc(1, sizeof(*r));

	r->call = c;
	r->worker = rpc_call_context(c);
	r->output = run_output_new(c, FIELD_OUTPUT);
	r->input = run_stdin_new(c);
	r->turn = event_new(r->worker->base, -1, 0, on_turn, r);
	r->beat = event_new(r->worker->base, -1, 0, on_beat, r);
	if (r->turn == NULL || r->beat == NULL)
		abort();
	r->next = r->worker->runs;
	r->link = &r->worker->runs;
	if (r->next != NULL)
		r->next->link = &r->next;
	r->worker->runs = r;
	rpc_call_set_data(c, r);
}

static void move_away(struct run *r)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_UNAVAILABLE, "SHUTTING_DOWN",
	    "another worker has taken over; go on with it, on a new connection");
	run_fail(r, &status);
}

void run_move_all(struct worker *w)
{
	struct run *next;

	for (struct run *r = w->runs; r != NULL; r = next) {
		next = r->next;
		if (r->key != 0 && r->state < RUN_EXITED)
			move_away(r);
	}
}

void run_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__RunRequest *q = (const void *)msg;
	size_t wire = rpc_message_size(c);
	struct run *r = rpc_call_data(c);
	struct rpc_status status;
	int rc;

	/* Bytes for stdin are credited by run_stdin, when they have a place. */
	if (r->state >= RUN_EXITED || r->state == RUN_NEW ||
	    q->request_case != TELEX__V1__RUN_REQUEST__REQUEST_STDIN)
		rpc_credit(c, wire);
	if (run_is_over(r))
		return;
	rc = r->state == RUN_NEW ? run_request_first(r, q, &status)
	                         : run_request_later(r, q, wire, &status);
	if (rc < 0)
		run_fail(r, &status);
	else if (r->worker->moving && r->key != 0 && r->state < RUN_EXITED)
		move_away(r);
}

/* The end of the requests is no news, unless there was none, or one is waited for. */
void run_half_close(struct rpc_call *c)
{
	struct run *r = rpc_call_data(c);
	struct rpc_status status;

	run_exit_no_more(r);
	if (r->state != RUN_NEW)
		return;
	process_bad_field(&status, "request", "there was none: `start` or `attach` must come");
	run_fail(r, &status);
}

void run_writable(struct rpc_call *c)
{
	schedule(rpc_call_data(c));
}

void run_closed(struct rpc_call *c)
{
	struct run *r = rpc_call_data(c);

	*r->link = r->next;
	if (r->next != NULL)
		r->next->link = r->link;
	keeper_detach(r->att, run_exit_delivered(r));
	keeper_call_forget(r->lookup);
	keeper_call_forget(r->signal);
	keeper_call_forget(r->resize);
	run_output_free(r->output);
	run_stdin_free(r->input);
	process_spec_free(r->spec);
	event_free(r->turn);
	event_free(r->beat);
	if (r->ack_timer != NULL)
		event_free(r->ack_timer);
	free(r);
}
