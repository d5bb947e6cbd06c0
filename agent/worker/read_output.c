/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReadOutput: a passive attachment, whose outputs go to the client and nothing back. As in run.c,
 * the keeper's callbacks only note what they brought; all is sent from on_turn.
 */
#include "agent/worker/read_output.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/keeper_client.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_output.h"
#include "agent/worker/worker.h"
#include "common/duration.h"
#include "common/mem.h"

#define FIELD_OUTPUT     1 /* the number of ReadOutputResponse.output */
#define HEARTBEAT_MAX_NS (3600 * NS_PER_S)

struct reading {
	struct rpc_call *call;
	struct keeper_attachment *att;
	struct run_output *output;
	struct event *turn, *beat;
	int64_t beat_ns, last_sent_ns;
	struct km_exit exit;
	uint64_t offset[3]; /* when from is KM_FROM_OFFSET */
	uint8_t from;       /* enum km_from */
	bool follow;
	bool begun; /* KM_JOB came */
	bool ended; /* `exit` is filled */
	bool over;  /* the call is finished */
};

static void finish(struct reading *rd, const struct rpc_status *status)
{
	if (rd->over)
		return;
	rd->over = true;
	keeper_detach(rd->att, KM_DELIVERED_NOT);
	rd->att = NULL;
	event_del(rd->beat);
	rpc_finish(rd->call, status);
}

static void schedule(struct reading *rd)
{
	event_active(rd->turn, EV_TIMEOUT, 0);
}

/* ---- to the client ---- */

static void send_response(struct reading *rd, const Telex__V1__ReadOutputResponse *r)
{
	rpc_send(rd->call, &r->base);
	rd->last_sent_ns = clock_monotonic_ns();
}

static void send_exited(struct reading *rd)
{
	Telex__V1__ReadOutputResponse r = TELEX__V1__READ_OUTPUT_RESPONSE__INIT;
	struct process_exit exit;

	process_reply_exit(&exit, &rd->exit);
	r.response_case = TELEX__V1__READ_OUTPUT_RESPONSE__RESPONSE_EXITED;
	r.exited = &exit.exit;
	send_response(rd, &r);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct reading *rd = arg;
	struct rpc_status status;
	int sent;

	(void)fd;
	(void)what;
	if (rd->over || !rd->begun)
		return;
	sent = run_output_pump(rd->output, &status);
	if (sent < 0) {
		finish(rd, &status);
		return;
	}
	if (sent > 0)
		rd->last_sent_ns = clock_monotonic_ns();
	if (!run_output_done(rd->output) || (rd->follow && !rd->ended))
		return;
	if (rd->follow)
		send_exited(rd);
	finish(rd, NULL);
}

/* As in run.c: only after a whole interval of silence, and not behind what is not read. */
static void on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct reading *rd = arg;
	int64_t left = rd->last_sent_ns + rd->beat_ns - clock_monotonic_ns();
	struct timeval tv;

	(void)fd;
	(void)what;
	if (left <= 0) {
		Telex__V1__ReadOutputResponse r = TELEX__V1__READ_OUTPUT_RESPONSE__INIT;
		Telex__V1__Heartbeat heartbeat = TELEX__V1__HEARTBEAT__INIT;

		r.response_case = TELEX__V1__READ_OUTPUT_RESPONSE__RESPONSE_HEARTBEAT;
		r.heartbeat = &heartbeat;
		if (rpc_pending(rd->call) == 0)
			send_response(rd, &r);
		left = rd->beat_ns;
	}
	tv = duration_timeval(left);
	event_add(rd->beat, &tv);
}

/* ---- from the keeper ---- */

static void on_job(const struct km_job *job, void *arg)
{
	struct reading *rd = arg;

	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		if (rd->from == KM_FROM_OLDEST || rd->offset[s] == KM_OFFSET_OLDEST)
			rd->offset[s] = job->tail[s];
	run_output_seek(rd->output, rd->offset);
	/* Of one that has ended all is held now, the outputs' ends, too. */
	if (!rd->follow && job->state != KM_STATE_ENDED)
		run_output_until(rd->output, job->head);
	run_output_start(rd->output, rd->att);
	rd->begun = true;
	if (rd->follow && rd->beat_ns > 0) {
		struct timeval tv = duration_timeval(rd->beat_ns);

		rd->last_sent_ns = clock_monotonic_ns();
		event_add(rd->beat, &tv);
	}
	schedule(rd);
}

static void on_refused(const struct km_refused *why, void *arg)
{
	struct rpc_status status;

	process_reply_refused(&status, why);
	finish(arg, &status);
}

static void on_ring(const struct km_ring *ring, int fd, void *arg)
{
	struct reading *rd = arg;
	struct rpc_status status;

	if (rd->over)
		return;
	if (run_output_map(rd->output, ring, fd, &status) < 0)
		finish(rd, &status);
	else
		schedule(rd);
}

static void on_spool(const struct km_spool *spool, int fd, void *arg)
{
	struct reading *rd = arg;
	struct rpc_status status;

	if (rd->over)
		return;
	if (run_output_spool(rd->output, spool, fd, &status) < 0)
		finish(rd, &status);
	else
		schedule(rd);
}

static void on_wake(uint32_t eof, void *arg)
{
	struct reading *rd = arg;

	if (rd->over)
		return;
	run_output_wake(rd->output, eof);
	schedule(rd);
}

static void on_ended(const struct km_exit *how, void *arg)
{
	struct reading *rd = arg;

	rd->exit = *how;
	rd->ended = true;
	on_wake(KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR), rd);
}

static void on_lost(void *arg)
{
	struct rpc_status status;

	process_reply_gone(&status);
	finish(arg, &status);
}

static const struct keeper_attachment_ops ops = {
    .job = on_job,
    .refused = on_refused,
    .ring = on_ring,
    .spool = on_spool,
    .wake = on_wake,
    .ended = on_ended,
    .lost = on_lost,
};

/* ---- the call ---- */

/* As the keeper has it, where UINT64_MAX is a stream that is not wanted. */
static uint64_t from_offset(bool wanted, uint64_t offset)
{
	if (!wanted)
		return UINT64_MAX;
	return offset == UINT64_MAX ? KM_OFFSET_OLDEST : offset;
}

/* What is wanted, into m and rd. */
static int take_streams(struct reading *rd, const Telex__V1__ReadOutputRequest *q,
    struct km_attach *m, struct rpc_status *status)
{
	const bool out = q->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
	const bool err = q->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT;

	if (q->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_UNSPECIFIED && out && err)
		return process_bad_field(status, "stream", "unknown value %d", (int)q->stream);
	if (!out || !err)
		run_output_only(rd->output, out ? KM_STDOUT : KM_STDERR);
	if (q->from == NULL) {
		rd->from = m->from = KM_FROM_OLDEST;
		return 0;
	}
	if (q->from->stdout_offset == KM_OFFSET_OLDEST ||
	    q->from->stderr_offset == KM_OFFSET_OLDEST)
		return process_bad_field(status, "from", "is out of range");
	rd->offset[KM_STDOUT] = from_offset(out, q->from->stdout_offset);
	rd->offset[KM_STDERR] = from_offset(err, q->from->stderr_offset);
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		m->offset[s] = rd->offset[s];
	return 0;
}

static int attach(
    struct reading *rd, const Telex__V1__ReadOutputRequest *q, struct rpc_status *status)
{
	const struct worker *w = rpc_call_context(rd->call);
	const struct peer *peer = rpc_call_peer(rd->call);
	struct km_attach m = {.flags = KM_ATTACH_PASSIVE, .any = authz_any(rd->call)};
	int rc = process_id_check(q->process_id, status);

	if (rc == 0)
		rc = process_duration_check(q->heartbeat_interval, "heartbeat_interval", NS_PER_S,
		    HEARTBEAT_MAX_NS, true, &rd->beat_ns, status);
	if (rc == 0)
		rc = take_streams(rd, q, &m, status);
	if (rc < 0)
		return rc;
	rd->follow = q->follow;
	if (q->acknowledge)
		m.flags |= KM_ATTACH_ACKNOWLEDGE;
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	rc = audit_log_act(rd->call, KM_ATTACH, &m, NULL, status);
	if (rc < 0)
		return rc;
	rc = keeper_attach(&rd->att, w->keeper, &m, &ops, rd);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

void read_output_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const struct worker *w = rpc_call_context(c);
	struct reading *rd = xcalloc(1, sizeof(*rd));
	struct rpc_status status;

	rd->call = c;
	rd->output = run_output_new(c, FIELD_OUTPUT);
	run_output_copy(rd->output);
	rd->turn = event_new(w->base, -1, 0, on_turn, rd);
	rd->beat = event_new(w->base, -1, 0, on_beat, rd);
	if (rd->turn == NULL || rd->beat == NULL)
		abort();
	rpc_call_set_data(c, rd);
	if (attach(rd, (const Telex__V1__ReadOutputRequest *)msg, &status) < 0)
		finish(rd, &status);
}

void read_output_writable(struct rpc_call *c)
{
	struct reading *rd = rpc_call_data(c);

	if (rd != NULL)
		schedule(rd);
}

void read_output_closed(struct rpc_call *c)
{
	struct reading *rd = rpc_call_data(c);

	if (rd == NULL)
		return;
	keeper_detach(rd->att, KM_DELIVERED_NOT);
	run_output_free(rd->output);
	event_free(rd->turn);
	event_free(rd->beat);
	free(rd);
}
