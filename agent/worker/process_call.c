/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/process_call.h"

#include <stdlib.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/worker.h"
#include "common/mem.h"

void *process_call_new(struct rpc_call *c, size_t size)
{
	struct process_call *p = xcalloc(1, size);

	p->call = c;
	rpc_call_set_data(c, p);
	return p;
}

void process_call_closed(struct rpc_call *c)
{
	struct process_call *p = rpc_call_data(c);

	if (p == NULL)
		return;
	keeper_call_forget(p->asked);
	free(p);
}

struct worker *process_call_worker(const struct process_call *p)
{
	return rpc_call_context(p->call);
}

struct keeper_client *process_call_keeper(const struct process_call *p)
{
	return process_call_worker(p)->keeper;
}

const char *process_call_identity(const struct process_call *p)
{
	const struct peer *peer = rpc_call_peer(p->call);

	return peer->identity;
}

void process_call_ask(
    struct process_call *p, uint16_t type, void *msg, int fd, keeper_answer *answer)
{
	struct rpc_status status;
	int rc;

	/* Of a start, its caller knows more. */
	if (type != KM_START && audit_log_act(p->call, type, msg, NULL, &status) < 0) {
		rpc_finish(p->call, &status);
		return;
	}
	rc = keeper_call(process_call_keeper(p), type, msg, fd, answer, p, &p->asked);
	if (rc == 0)
		return;
	process_reply_link(&status, rc);
	rpc_finish(p->call, &status);
}

void process_call_answer(struct process_call *p, const ProtobufCMessage *response)
{
	rpc_send(p->call, response);
	rpc_finish(p->call, NULL);
}

void process_call_fail(struct process_call *p, const struct rpc_status *status)
{
	rpc_finish(p->call, status);
}

void process_call_refuse(struct process_call *p, const union km_any *msg)
{
	struct rpc_status status;

	if (msg == NULL)
		process_reply_gone(&status);
	else if (msg->hdr.type == KM_REFUSED)
		process_reply_refused(&status, &msg->refused);
	else
		rpc_status_set(
		    &status, RPC_INTERNAL, "SYSTEM", "the agent gave an answer of the wrong kind");
	rpc_finish(p->call, &status);
}
