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

#include "agent/worker/keeper_client.h"
#include "agent/worker/process_lookup.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_output.h"
#include "agent/worker/run_stdin.h"
#include "agent/worker/worker.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/mem.h"

#define HEARTBEAT_MAX_NS (3600 * NS_PER_S)

enum run_state {
	RUN_NEW,      /* no message yet */
	RUN_ASKED,    /* the keeper is starting or attaching */
	RUN_LOOKING,  /* attached; the keeper is asked for the job's record */
	RUN_OPEN,     /* `started` was sent */
	RUN_FINISHED, /* `exited` was sent and the call finished */
	RUN_FAILED,   /* the call was finished with a status */
};

static const char *const state_names[] = {"new", "asked", "looking", "open", "finished", "failed"};

struct run {
	struct rpc_call *call;
	struct worker *worker;
	enum run_state state;
	struct keeper_attachment *att;
	struct keeper_call *lookup, *signal; /* under way, or NULL */
	struct run_output *output;
	struct run_stdin *input;
	struct job_spec *spec; /* from the request until `started` */
	struct km_job job;
	struct km_exit exit;
	bool feeds;          /* the client may feed stdin */
	bool from_oldest;    /* attach without resume */
	bool ended;          /* `exit` is filled */
	uint64_t signals[3]; /* that wait to be sent: a bit each, by enum km_target */
	struct event *turn, *beat;
	int64_t beat_ns; /* 0: no heartbeat */
	int64_t last_sent_ns;
	char id[KM_ID_SIZE];
};

static void set_state(struct run *r, enum run_state state)
{
	assert(state > r->state);
	log_debug("run %s: %s -> %s", r->id, state_names[r->state], state_names[state]);
	r->state = state;
}

static bool is_over(const struct run *r)
{
	return r->state >= RUN_FINISHED;
}

static void schedule(struct run *r)
{
	event_active(r->turn, EV_TIMEOUT, 0);
}

/* Ends the call with an error and lets go of the job, which is left to its disconnect policy. */
static void fail(struct run *r, const struct rpc_status *status)
{
	if (is_over(r))
		return;
	set_state(r, RUN_FAILED);
	keeper_detach(r->att, false);
	r->att = NULL;
	event_del(r->beat);
	rpc_finish(r->call, status);
}

static void fail_link(struct run *r, int code)
{
	struct rpc_status status;

	process_reply_link(&status, code);
	fail(r, &status);
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
	started.created = r->job.created != 0;
	started.stdin_offset = r->job.stdin_head;
	response.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_STARTED;
	response.started = &started;
	set_state(r, RUN_OPEN);
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

static void send_exited(struct run *r)
{
	Telex__V1__RunResponse response = TELEX__V1__RUN_RESPONSE__INIT;
	struct process_exit exit;

	process_reply_exit(&exit, &r->exit);
	response.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_EXITED;
	response.exited = &exit.exit;
	send_response(r, &response);
	set_state(r, RUN_FINISHED);
	event_del(r->beat);
	rpc_finish(r->call, NULL);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;
	int sent;

	(void)fd;
	(void)what;
	if (r->state != RUN_OPEN)
		return;
	sent = run_output_pump(r->output, &status);
	if (sent < 0) {
		fail(r, &status);
		return;
	}
	sent += run_stdin_ack(r->input);
	if (sent > 0)
		note_sent(r);
	if (r->ended && run_output_done(r->output))
		send_exited(r);
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

/* ---- signals ---- */

static void send_signals(struct run *r);

/* Whatever the answer: a signal that comes too late for its process is none of the client's
 * trouble. */
static void on_signalled(const union km_any *msg, int fd, void *arg)
{
	struct run *r = arg;

	(void)fd;
	r->signal = NULL;
	if (msg != NULL && msg->hdr.type == KM_REFUSED)
		log_debug("run %s: signal: %s", r->id, msg->refused.text);
	if (msg != NULL)
		send_signals(r);
}

/* One at a time, so that a client that sends many holds up nobody else on the link. */
static void send_signals(struct run *r)
{
	const struct peer *peer = rpc_call_peer(r->call);
	int target = r->signals[KM_TARGET_PROCESS] != 0 ? KM_TARGET_PROCESS : KM_TARGET_GROUP;
	struct km_signal m = {.target = (uint32_t)target};
	int bit, rc;

	if (r->signals[target] == 0 || r->signal != NULL || r->ended || is_over(r) ||
	    r->state < RUN_LOOKING)
		return;
	bit = __builtin_ctzll(r->signals[target]);
	r->signals[target] &= r->signals[target] - 1;
	m.signo = (uint32_t)bit + 1;
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.by, sizeof(m.by), "%s", peer->identity);
	rc = keeper_call(r->worker->keeper, KM_SIGNAL, &m, -1, on_signalled, r, &r->signal);
	if (rc < 0)
		fail_link(r, rc);
}

static int take_signal(struct run *r, const Telex__V1__RunSignal *s, struct rpc_status *status)
{
	int rc = process_signal_check(s->signal, s->target, status);

	if (rc < 0)
		return rc;
	r->signals[process_signal_target(s->target)] |= UINT64_C(1) << (s->signal - 1);
	send_signals(r);
	return 0;
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
	    .user = "",
	};

	if (r->spec != NULL) {
		record.argc = r->spec->argc;
		record.argv = (const char *const *)r->spec->argv;
		record.user = r->spec->user != NULL ? r->spec->user : "";
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
	if (msg == NULL || is_over(r))
		return; /* on_lost says it */
	process_lookup_read(msg, fd, on_record, r, &status);
	if (r->state == RUN_LOOKING)
		send_started_from_job(r);
}

static void on_job(const struct km_job *job, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;
	int rc;

	r->job = *job;
	set_state(r, RUN_LOOKING);
	if (r->from_oldest)
		run_output_seek(r->output, job->tail);
	run_output_start(r->output, r->att);
	if (run_stdin_start(r->input, r->att, job, r->feeds, &status) < 0) {
		fail(r, &status);
		return;
	}
	send_signals(r);
	if (job->created) {
		send_started_from_job(r);
		return;
	}
	rc = process_lookup(r->worker->keeper, r->id, on_looked_up, r, &r->lookup);
	if (rc < 0)
		fail_link(r, rc);
}

static void on_refused(const struct km_refused *why, void *arg)
{
	struct rpc_status status;

	process_reply_refused(&status, why);
	fail(arg, &status);
}

static void on_ring(const struct km_ring *ring, int fd, void *arg)
{
	struct run *r = arg;
	struct rpc_status status;
	int rc;

	if (is_over(r))
		return;
	if (ring->stream == KM_STDIN)
		rc = run_stdin_map(r->input, fd, &status);
	else
		rc = run_output_map(r->output, ring, fd, &status);
	if (rc < 0)
		fail(r, &status);
	else
		schedule(r);
}

static void on_wake(uint32_t eof, void *arg)
{
	struct run *r = arg;

	if (is_over(r))
		return;
	run_output_wake(r->output, eof);
	schedule(r);
}

static void on_input_done(const struct km_input_done *done, void *arg)
{
	struct run *r = arg;

	if (is_over(r))
		return;
	run_stdin_done(r->input, done);
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
	fail_link(arg, TX_ECLOSED);
}

static const struct keeper_attachment_ops att_ops = {
    .job = on_job,
    .refused = on_refused,
    .ring = on_ring,
    .wake = on_wake,
    .input_done = on_input_done,
    .ended = on_ended,
    .lost = on_lost,
};

/* ---- the first request ---- */

/* What start and attach have in common. */
static int take_common(struct run *r, const char *id, const Google__Protobuf__Duration *beat,
    const Telex__V1__Resume *resume, uint64_t offset[3], struct rpc_status *status)
{
	int rc = process_id_check(id, status);

	if (rc == 0)
		rc = process_duration_check(beat, "heartbeat_interval", NS_PER_S, HEARTBEAT_MAX_NS,
		    true, &r->beat_ns, status);
	if (rc < 0)
		return rc;
	snprintf(r->id, sizeof(r->id), "%s", id);
	if (resume != NULL) {
		offset[KM_STDOUT] = resume->stdout_offset;
		offset[KM_STDERR] = resume->stderr_offset;
	}
	run_output_seek(r->output, offset);
	return 0;
}

static int take_start(struct run *r, const Telex__V1__RunStart *start, struct rpc_status *status)
{
	const struct peer *peer = rpc_call_peer(r->call);
	struct km_start m = {0};
	int fd, rc;

	rc = take_common(
	    r, start->process_id, start->heartbeat_interval, start->resume, m.offset, status);
	if (rc == 0)
		rc = process_spec_parse(&r->spec, start->spec, true, status);
	if (rc < 0)
		return rc;
	r->feeds = true;
	rc = process_spec_seal(r->spec, &fd, status);
	if (rc < 0)
		return rc;
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	rc = keeper_start(&r->att, r->worker->keeper, &m, fd, &att_ops, r);
	close(fd);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

static int take_attach(struct run *r, const Telex__V1__RunAttach *attach, struct rpc_status *status)
{
	const struct peer *peer = rpc_call_peer(r->call);
	struct km_attach m = {0};
	int rc;

	rc = take_common(
	    r, attach->process_id, attach->heartbeat_interval, attach->resume, m.offset, status);
	if (rc < 0)
		return rc;
	r->feeds = attach->stdin;
	r->from_oldest = attach->resume == NULL;
	m.want_stdin = r->feeds;
	m.from_oldest = r->from_oldest;
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	rc = keeper_attach(&r->att, r->worker->keeper, &m, &att_ops, r);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

static int take_first(struct run *r, const Telex__V1__RunRequest *q, struct rpc_status *status)
{
	int rc;

	if (q->request_case == TELEX__V1__RUN_REQUEST__REQUEST_START)
		rc = take_start(r, q->start, status);
	else if (q->request_case == TELEX__V1__RUN_REQUEST__REQUEST_ATTACH)
		rc = take_attach(r, q->attach, status);
	else
		rc = process_bad_field(
		    status, "request", "the first one must be `start` or `attach`");
	if (rc == 0)
		set_state(r, RUN_ASKED);
	return rc;
}

/* ---- the call ---- */

void run_open(struct rpc_call *c)
{
	struct run *r = xcalloc(1, sizeof(*r));

	r->call = c;
	r->worker = rpc_call_context(c);
	r->output = run_output_new(c);
	r->input = run_stdin_new(c);
	r->turn = event_new(r->worker->base, -1, 0, on_turn, r);
	r->beat = event_new(r->worker->base, -1, 0, on_beat, r);
	if (r->turn == NULL || r->beat == NULL)
		abort();
	rpc_call_set_data(c, r);
}

static int take_later(
    struct run *r, const Telex__V1__RunRequest *q, size_t wire, struct rpc_status *status)
{
	switch (q->request_case) {
	case TELEX__V1__RUN_REQUEST__REQUEST_STDIN:
		return run_stdin_chunk(r->input, q->stdin, wire, status);
	case TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL:
		return take_signal(r, q->signal, status);
	case TELEX__V1__RUN_REQUEST__REQUEST_ACK:
		return run_output_ack(r->output, q->ack->stream, q->ack->offset, status);
	case TELEX__V1__RUN_REQUEST__REQUEST__NOT_SET:
		return 0; /* of a later version of the API */
	default:
		return process_bad_field(status, "request", "only the first one may be that");
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
	if (is_over(r) || r->state == RUN_NEW ||
	    q->request_case != TELEX__V1__RUN_REQUEST__REQUEST_STDIN)
		rpc_credit(c, wire);
	if (is_over(r))
		return;
	rc = r->state == RUN_NEW ? take_first(r, q, &status) : take_later(r, q, wire, &status);
	if (rc < 0)
		fail(r, &status);
}

/* The end of the requests is no news, unless there was none. */
void run_half_close(struct rpc_call *c)
{
	struct run *r = rpc_call_data(c);
	struct rpc_status status;

	if (r->state != RUN_NEW)
		return;
	process_bad_field(&status, "request", "there was none: `start` or `attach` must come");
	fail(r, &status);
}

void run_writable(struct rpc_call *c)
{
	schedule(rpc_call_data(c));
}

void run_closed(struct rpc_call *c)
{
	const struct peer *peer = rpc_call_peer(c);
	struct run *r = rpc_call_data(c);

	keeper_detach(r->att, r->state == RUN_FINISHED && peer->last_code == RPC_OK);
	keeper_call_forget(r->lookup);
	keeper_call_forget(r->signal);
	run_output_free(r->output);
	run_stdin_free(r->input);
	process_spec_free(r->spec);
	event_free(r->turn);
	event_free(r->beat);
	free(r);
}
