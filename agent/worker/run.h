/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService.Run: the functions of its row in svc_process's table. */
#ifndef TX_AGENT_WORKER_RUN_H
#define TX_AGENT_WORKER_RUN_H

#include "common/rpc.h"

struct worker;

void run_open(struct rpc_call *c);
void run_message(struct rpc_call *c, const ProtobufCMessage *msg);
void run_half_close(struct rpc_call *c);
void run_writable(struct rpc_call *c);
void run_closed(struct rpc_call *c);

/*
 * The worker is being replaced (worker.moving): calls whose client can come back by itself, for it
 * gave an attachment_key, end at once with UNAVAILABLE (SHUTTING_DOWN). The job is not touched.
 */
void run_move_all(struct worker *w);

#endif
