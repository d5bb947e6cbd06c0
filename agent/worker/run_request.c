/* SPDX-License-Identifier: Apache-2.0 */
/* What the client of a Run call asks for: the first request becomes KM_START or KM_ATTACH, the
 * later ones stdin, signals, sizes and acks. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_internal.h"
#include "common/duration.h"
#include "common/log.h"

#define HEARTBEAT_MAX_NS (3600 * NS_PER_S)

/* ---- signals ---- */

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
		run_request_signals(r);
}

/* The next that waits: those with a value in their order, then one of the others. */
static bool next_signal(struct run *r, struct km_signal *m)
{
	uint32_t target = KM_TARGET_PROCESS;

	if (r->n_valued > 0) {
		*m = (struct km_signal){.signo = r->valued[0].signo,
		    .target = KM_TARGET_PROCESS,
		    .value = r->valued[0].value,
		    .has_value = 1};
		memmove(&r->valued[0], &r->valued[1], --r->n_valued * sizeof(r->valued[0]));
		return true;
	}
	while (target <= KM_TARGET_TREE && r->signals[target] == 0)
		target++;
	if (target > KM_TARGET_TREE)
		return false;
	*m = (struct km_signal){
	    .signo = (uint32_t)__builtin_ctzll(r->signals[target]) + 1, .target = target};
	r->signals[target] &= r->signals[target] - 1;
	return true;
}

/* One at a time, so that a client that sends many holds up nobody else on the link. */
void run_request_signals(struct run *r)
{
	const struct peer *peer = rpc_call_peer(r->call);
	struct rpc_status status;
	struct km_signal m;
	int rc;

	if (r->signal != NULL || r->ended || run_is_over(r) || r->state < RUN_LOOKING ||
	    !next_signal(r, &m))
		return;
	m.kill_after_ns = -1;
	m.any = r->signal_any;
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.by, sizeof(m.by), "%s", peer->identity);
	if (audit_log_act(r->call, KM_SIGNAL, &m, NULL, &status) < 0) {
		run_fail(r, &status);
		return;
	}
	rc = keeper_call(r->worker->keeper, KM_SIGNAL, &m, -1, on_signalled, r, &r->signal);
	if (rc < 0)
		run_fail_link(r, rc);
}

static int take_signal(struct run *r, const Telex__V1__RunSignal *s, struct rpc_status *status)
{
	struct policy_request ask = {.signal = (int)(s->signal & 0xff)};
	int rc = process_signal_check(s->signal, s->target, status);
	uint8_t any = 0;

	if (rc == 0)
		rc = process_value_check(s->value, s->target, status);
	if (rc == 0)
		rc = authz_process(r->call, &ask, &any, status);
	if (rc < 0)
		return rc;
	r->signal_any &= any;
	if (s->value == NULL) {
		r->signals[process_signal_target(s->target)] |= UINT64_C(1) << (s->signal - 1);
	} else if (r->n_valued < RUN_VALUED_MAX) {
		r->valued[r->n_valued].signo = s->signal;
		r->valued[r->n_valued++].value = s->value->value;
	} else {
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "more than %d signals with a value wait to be sent", RUN_VALUED_MAX);
		return TX_ELIMIT;
	}
	run_request_signals(r);
	return 0;
}

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
	int fd = -1, rc;

	rc = take_common(
	    r, start->process_id, start->heartbeat_interval, start->resume, m.offset, status);
	if (rc == 0)
		rc = process_spec_parse(&r->spec, start->spec, true, status);
	if (rc == 0)
		rc = authz_start(r->call, r->spec, &m, status);
	if (rc < 0)
		return rc;
	r->feeds = true;
	r->acknowledges = start->acknowledge_exit;
	r->key = m.key = start->attachment_key;
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	rc = audit_log_act(r->call, KM_START, &m, r->spec, status);
	if (rc == 0)
		rc = process_spec_seal(r->spec, &fd, status);
	if (rc < 0)
		return rc;
	rc = keeper_start(&r->att, r->worker->keeper, &m, fd, &run_attachment_ops, r);
	close(fd);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

/* To the keeper, the oldest byte is another number than to the client. */
static int take_resume(struct run *r, uint64_t offset[3], struct rpc_status *status)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		if (offset[s] == KM_OFFSET_OLDEST)
			return process_bad_field(status, "attach.resume", "is out of range");
		if (offset[s] == UINT64_MAX)
			offset[s] = KM_OFFSET_OLDEST;
		r->resume[s] = offset[s];
	}
	r->from = KM_FROM_OFFSET;
	return 0;
}

/* Where an attach begins to read. */
static int take_from(struct run *r, const Telex__V1__RunAttach *attach, uint64_t offset[3],
    struct rpc_status *status)
{
	if (attach->resume != NULL)
		return take_resume(r, offset, status);
	if (attach->from == TELEX__V1__ATTACH_FROM__ATTACH_FROM_NEWEST)
		r->from = KM_FROM_NEWEST;
	else if (attach->from == TELEX__V1__ATTACH_FROM__ATTACH_FROM_OLDEST ||
	         attach->from == TELEX__V1__ATTACH_FROM__ATTACH_FROM_UNSPECIFIED)
		r->from = KM_FROM_OLDEST;
	else
		return process_bad_field(
		    status, "attach.from", "unknown value %d", (int)attach->from);
	return 0;
}

static int take_attach(struct run *r, const Telex__V1__RunAttach *attach, struct rpc_status *status)
{
	const struct peer *peer = rpc_call_peer(r->call);
	struct km_attach m = {.any = authz_any(r->call)};
	int rc;

	rc = take_common(
	    r, attach->process_id, attach->heartbeat_interval, attach->resume, m.offset, status);
	if (rc < 0)
		return rc;
	r->attaches = true;
	r->any = r->signal_any = m.any;
	r->feeds = attach->stdin;
	r->acknowledges = attach->acknowledge_exit;
	r->key = m.key = attach->attachment_key;
	rc = take_from(r, attach, m.offset, status);
	if (rc < 0)
		return rc;
	if (attach->lossy) {
		m.flags = KM_ATTACH_LOSSY;
		run_output_copy(r->output);
	}
	m.want_stdin = r->feeds;
	m.from = r->from;
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	rc = audit_log_act(r->call, KM_ATTACH, &m, NULL, status);
	if (rc < 0)
		return rc;
	rc = keeper_attach(&r->att, r->worker->keeper, &m, &run_attachment_ops, r);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

int run_request_first(struct run *r, const Telex__V1__RunRequest *q, struct rpc_status *status)
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
		run_set_state(r, RUN_ASKED);
	return rc;
}

/* ---- the later ones ---- */

int run_request_later(
    struct run *r, const Telex__V1__RunRequest *q, size_t wire, struct rpc_status *status)
{
	/* After `exited` nothing else matters. */
	if (r->state == RUN_EXITED && q->request_case != TELEX__V1__RUN_REQUEST__REQUEST_EXIT_ACK)
		return 0;
	switch (q->request_case) {
	case TELEX__V1__RUN_REQUEST__REQUEST_EXIT_ACK:
		return run_exit_ack(r, status);
	case TELEX__V1__RUN_REQUEST__REQUEST_STDIN:
		return run_stdin_chunk(r->input, q->stdin, wire, status);
	case TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL:
		return take_signal(r, q->signal, status);
	case TELEX__V1__RUN_REQUEST__REQUEST_RESIZE:
		return run_resize_take(r, q->resize, status);
	case TELEX__V1__RUN_REQUEST__REQUEST_ACK:
		return run_output_ack(r->output, q->ack->stream, q->ack->offset, status);
	case TELEX__V1__RUN_REQUEST__REQUEST__NOT_SET:
		return 0; /* of a later version of the API */
	default:
		return process_bad_field(status, "request", "only the first one may be that");
	}
}
