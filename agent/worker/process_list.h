/* SPDX-License-Identifier: Apache-2.0 */
/* The List call. */
#ifndef TX_AGENT_WORKER_PROCESS_LIST_H
#define TX_AGENT_WORKER_PROCESS_LIST_H

#include "common/rpc.h"

/* As rpc_method names them. */
void process_list_message(struct rpc_call *c, const ProtobufCMessage *msg);
void process_list_writable(struct rpc_call *c);
void process_list_closed(struct rpc_call *c);

#endif
