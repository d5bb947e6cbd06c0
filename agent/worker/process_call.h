/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the calls of ProcessService but Run have in common: a client's call on one side, a question
 * to the keeper on the other. Each keeps a struct process_call, or one that begins with it, as its
 * data (rpc_call_data) from its request to its end; what the keeper answers after that is dropped.
 */
#ifndef TX_AGENT_WORKER_PROCESS_CALL_H
#define TX_AGENT_WORKER_PROCESS_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "agent/worker/keeper_client.h"
#include "common/rpc.h"

struct process_call {
	struct rpc_call *call;
	struct keeper_call *asked; /* the question under way, or NULL: its answer sets it so */
};

/* Makes the data of a call, `size` bytes, zeroed but for `call`. */
void *process_call_new(struct rpc_call *c, size_t size);
/* Frees it; rpc_method.closed of those that hold nothing else. */
void process_call_closed(struct rpc_call *c);

struct worker *process_call_worker(const struct process_call *p);
struct keeper_client *process_call_keeper(const struct process_call *p);
const char *process_call_identity(const struct process_call *p);

/* Asks; what cannot be sent ends the call. `answer` gets p and sets p->asked to NULL. */
void process_call_ask(
    struct process_call *p, uint16_t type, void *msg, int fd, keeper_answer *answer);
/* Ends the call with one response, or with a status. */
void process_call_answer(struct process_call *p, const ProtobufCMessage *response);
void process_call_fail(struct process_call *p, const struct rpc_status *status);
/* Ends it for an answer that is not the one hoped for: KM_REFUSED, another kind, or none (NULL). */
void process_call_refuse(struct process_call *p, const union km_any *msg);

#endif
