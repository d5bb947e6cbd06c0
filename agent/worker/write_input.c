/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WriteInput: an attachment for stdin alone, as long as the call lasts.
 *
 * The answer is given when the keeper has taken the last byte into its ring, where it outlives this
 * worker: until then a question (KM_INFO) follows the bytes on the link, and when it is answered
 * the ring's header is looked at. What was taken before a client goes away stays; the same bytes
 * given again are passed over by their offset.
 */
#include "agent/worker/write_input.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/keeper_client.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_stdin.h"
#include "agent/worker/worker.h"
#include "common/mem.h"
#include "common/ring.h"

struct writing {
	struct rpc_call *call;
	struct keeper_attachment *att;
	struct keeper_call *question; /* NULL: none is under way */
	struct event *ask;
	struct ring *ring;
	uint8_t *data;
	size_t len, put; /* of data; how much of it is in the ring or was there before */
	uint64_t offset; /* of data[0] */
	bool eof, over;
};

static void finish(struct writing *w, const struct rpc_status *status)
{
	if (w->over)
		return;
	w->over = true;
	keeper_detach(w->att, KM_DELIVERED_NOT);
	w->att = NULL;
	keeper_call_forget(w->question);
	w->question = NULL;
	rpc_finish(w->call, status);
}

static void answer(struct writing *w, uint64_t offset, bool closed)
{
	Telex__V1__WriteInputResponse r = TELEX__V1__WRITE_INPUT_RESPONSE__INIT;

	if (w->over)
		return;
	r.offset = offset;
	r.closed = closed;
	rpc_send(w->call, &r.base);
	finish(w, NULL);
}

static void refuse(struct writing *w, const char *reason, const char *text)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_FAILED_PRECONDITION, reason, "%s", text);
	finish(w, &status);
}

/* ---- whether the keeper has it ---- */

static void on_answered(const union km_any *msg, int fd, void *arg)
{
	struct writing *w = arg;

	(void)fd;
	w->question = NULL;
	if (msg == NULL || w->over)
		return; /* on_lost says it */
	if (ring_input_taken(w->ring))
		answer(w, w->offset + w->len, false);
	else
		event_active(w->ask, EV_TIMEOUT, 0);
}

static void on_ask(evutil_socket_t fd, short what, void *arg)
{
	struct writing *w = arg;
	const struct worker *worker = rpc_call_context(w->call);
	struct km_info m = {0};
	struct rpc_status status;
	int rc;

	(void)fd;
	(void)what;
	if (w->over || w->question != NULL)
		return;
	/* An end without bytes is seen in no ring: it must come before the question. */
	rc = keeper_input_now(w->att);
	if (rc == 0)
		rc = keeper_call(worker->keeper, KM_INFO, &m, -1, on_answered, w, &w->question);
	if (rc < 0) {
		process_reply_link(&status, rc);
		finish(w, &status);
	}
}

/* ---- into the ring ---- */

static void put(struct writing *w)
{
	uint8_t *space;
	size_t room;

	if (w->ring == NULL || w->over)
		return;
	ring_refresh(w->ring);
	space = ring_input_space(w->ring, &room);
	if (room > w->len - w->put)
		room = w->len - w->put;
	if (room > 0)
		memcpy(space, w->data + w->put, room);
	ring_input_commit(w->ring, room);
	w->put += room;
	if (w->put == w->len) {
		keeper_input(w->att, ring_head(w->ring), w->eof);
		event_active(w->ask, EV_TIMEOUT, 0);
	} else if (room > 0) {
		keeper_input(w->att, ring_head(w->ring), false);
	}
}

/* ---- from the keeper ---- */

static void refuse_ahead(struct writing *w, uint64_t expected)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_OUT_OF_RANGE, "OFFSET_AHEAD",
	    "the bytes begin at %" PRIu64 ", those from %" PRIu64 " on are missing", w->offset,
	    expected);
	rpc_status_meta(&status, "expected", "%" PRIu64, expected);
	finish(w, &status);
}

static void on_job(const struct km_job *job, void *arg)
{
	struct writing *w = arg;
	uint64_t end = w->offset + w->len;

	if (!job->stdin_pipe)
		refuse(w, "STDIN_NOT_PIPED", "the process has no stdin to feed");
	else if (w->offset > job->stdin_head)
		refuse_ahead(w, job->stdin_head);
	else if (end < job->stdin_head ||
	         (end == job->stdin_head && (!w->eof || job->stdin_closed)))
		answer(w, job->stdin_head, false); /* it has all of it, and the end */
	else if (job->state == KM_STATE_ENDED)
		refuse(w, "PROCESS_ENDED", "the process has ended");
	else if (job->stdin_closed)
		answer(w, job->stdin_head, true);
	else
		w->put = (size_t)(job->stdin_head - w->offset);
}

static void on_refused(const struct km_refused *why, void *arg)
{
	struct rpc_status status;

	process_reply_refused(&status, why);
	finish(arg, &status);
}

static void on_ring(const struct km_ring *m, int fd, void *arg)
{
	struct writing *w = arg;
	struct rpc_status status;
	struct err e;

	if (w->over || w->ring != NULL || m->stream != KM_STDIN)
		return;
	if (ring_map(&w->ring, fd, RING_INPUT, &e) < 0) {
		rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "LIMIT", "%s", e.message);
		finish(w, &status);
	} else if (ring_head(w->ring) != w->offset + w->put) {
		rpc_status_set(&status, RPC_INTERNAL, "SYSTEM",
		    "the agent's stdin is not where it was said to be");
		finish(w, &status);
	} else {
		put(w);
	}
}

static void on_wake(uint32_t eof, void *arg)
{
	(void)eof;
	(void)arg;
}

static void on_input_done(const struct km_input_done *done, void *arg)
{
	struct writing *w = arg;

	if (done->closed)
		answer(w, done->written, true);
	else
		put(w);
}

static void on_ended(const struct km_exit *how, void *arg)
{
	(void)how;
	refuse(arg, "PROCESS_ENDED", "the process has ended");
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
    .wake = on_wake,
    .input_done = on_input_done,
    .ended = on_ended,
    .lost = on_lost,
};

/* ---- the call ---- */

static int check(const Telex__V1__WriteInputRequest *q, struct rpc_status *status)
{
	uint64_t end;
	int rc = process_id_check(q->process_id, status);

	if (rc < 0)
		return rc;
	if (q->data.len > RUN_STDIN_CHUNK)
		return process_bad_field(status, "data", "is longer than 1 MiB");
	if (__builtin_add_overflow(q->offset, (uint64_t)q->data.len, &end))
		return process_bad_field(status, "offset", "is out of range");
	return 0;
}

static int attach(
    struct writing *w, const Telex__V1__WriteInputRequest *q, struct rpc_status *status)
{
	const struct worker *worker = rpc_call_context(w->call);
	const struct peer *peer = rpc_call_peer(w->call);
	struct km_attach m = {.flags = KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT,
	    .want_stdin = 1,
	    .from = KM_FROM_NEWEST,
	    .any = authz_any(w->call)};
	int rc = check(q, status);

	if (rc < 0)
		return rc;
	w->offset = q->offset;
	w->len = q->data.len;
	w->eof = q->eof;
	if (w->len > 0) {
		w->data = xmalloc(w->len);
		memcpy(w->data, q->data.data, w->len);
	}
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	rc = audit_log_act(w->call, KM_ATTACH, &m, NULL, status);
	if (rc < 0)
		return rc;
	rc = keeper_attach(&w->att, worker->keeper, &m, &ops, w);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

void write_input_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const struct worker *worker = rpc_call_context(c);
	struct writing *w = xcalloc(1, sizeof(*w));
	struct rpc_status status;

	w->call = c;
	w->ask = event_new(worker->base, -1, 0, on_ask, w);
	if (w->ask == NULL)
		abort();
	rpc_call_set_data(c, w);
	if (attach(w, (const Telex__V1__WriteInputRequest *)msg, &status) < 0)
		finish(w, &status);
}

void write_input_closed(struct rpc_call *c)
{
	struct writing *w = rpc_call_data(c);

	if (w == NULL)
		return;
	keeper_detach(w->att, KM_DELIVERED_NOT);
	keeper_call_forget(w->question);
	ring_unref(w->ring);
	event_free(w->ask);
	free(w->data);
	free(w);
}
