/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/process_wait.h"

#include <stdio.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/process_call.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/worker.h"
#include "common/log.h"

struct waiting {
	struct process_call base;
	struct keeper_attachment *att;
	bool forget, answered;
	char id[KM_ID_SIZE];
};

int process_wait_attach(struct keeper_attachment **out, struct keeper_client *k, const char *id,
    const char *owner, uint8_t any, const struct keeper_attachment_ops *ops, void *arg)
{
	struct km_attach m = {
	    .from = KM_FROM_NEWEST, .flags = KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT, .any = any};

	snprintf(m.id, sizeof(m.id), "%s", id);
	snprintf(m.owner, sizeof(m.owner), "%s", owner);
	return keeper_attach(out, k, &m, ops, arg);
}

void process_wait_no_ring(const struct km_ring *ring, int fd, void *arg)
{
	(void)ring;
	(void)fd;
	(void)arg;
}

void process_wait_no_wake(uint32_t eof, void *arg)
{
	(void)eof;
	(void)arg;
}

void process_wait_no_input(const struct km_input_done *done, void *arg)
{
	(void)done;
	(void)arg;
}

void process_wait_no_job(const struct km_job *job, void *arg)
{
	(void)job;
	(void)arg;
}

static void on_refused(const struct km_refused *why, void *arg)
{
	struct waiting *w = arg;
	struct rpc_status status;

	process_reply_refused(&status, why);
	process_call_fail(&w->base, &status);
}

static void on_ended(const struct km_exit *how, void *arg)
{
	Telex__V1__WaitResponse response = TELEX__V1__WAIT_RESPONSE__INIT;
	struct process_exit exit;
	struct waiting *w = arg;
	struct rpc_status status;

	if (audit_log_exit(w->base.call, w->id, how, &status) < 0) {
		process_call_fail(&w->base, &status);
		return;
	}
	process_reply_exit(&exit, how);
	response.exit = &exit.exit;
	w->answered = true;
	process_call_answer(&w->base, &response.base);
}

static void on_lost(void *arg)
{
	struct waiting *w = arg;

	process_call_refuse(&w->base, NULL);
}

static const struct keeper_attachment_ops ops = {
    .job = process_wait_no_job,
    .refused = on_refused,
    .ring = process_wait_no_ring,
    .wake = process_wait_no_wake,
    .input_done = process_wait_no_input,
    .ended = on_ended,
    .lost = on_lost,
};

void process_wait_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__WaitRequest *q = (const void *)msg;
	struct waiting *w = process_call_new(c, sizeof(*w));
	struct rpc_status status;
	int rc = process_id_check(q->process_id, &status);

	if (rc == 0) {
		snprintf(w->id, sizeof(w->id), "%s", q->process_id);
		w->forget = q->forget;
		rc = process_wait_attach(&w->att, process_call_keeper(&w->base), w->id,
		    process_call_identity(&w->base), authz_any(c), &ops, w);
		if (rc < 0)
			process_reply_link(&status, rc);
	}
	if (rc < 0)
		process_call_fail(&w->base, &status);
}

static void on_forgotten(const union km_any *msg, int fd, void *arg)
{
	(void)fd;
	(void)arg;
	if (msg != NULL && msg->hdr.type == KM_REFUSED)
		log_debug("wait: not forgotten: %s", msg->refused.text);
}

/* Only an answer that was sent is worth a process's memory. */
static void forget(const struct waiting *w)
{
	struct km_remove m = {.any = authz_any(w->base.call)};
	struct rpc_status status;

	snprintf(m.id, sizeof(m.id), "%s", w->id);
	snprintf(m.by, sizeof(m.by), "%s", process_call_identity(&w->base));
	if (audit_log_act(w->base.call, KM_REMOVE, &m, NULL, &status) < 0 ||
	    keeper_call(
	        process_call_keeper(&w->base), KM_REMOVE, &m, -1, on_forgotten, NULL, NULL) < 0)
		log_debug("wait: %s is not forgotten", w->id);
}

void process_wait_closed(struct rpc_call *c)
{
	const struct peer *peer = rpc_call_peer(c);
	struct waiting *w = rpc_call_data(c);

	if (w == NULL)
		return;
	keeper_detach(w->att, KM_DELIVERED_NOT);
	if (w->forget && w->answered && peer->last_code == RPC_OK)
		forget(w);
	process_call_closed(c);
}
