/* SPDX-License-Identifier: Apache-2.0 */
/* The WaitGroup call. */
#ifndef TX_AGENT_WORKER_PROCESS_WAIT_GROUP_H
#define TX_AGENT_WORKER_PROCESS_WAIT_GROUP_H

#include "common/rpc.h"

/* As rpc_method names them. */
void process_wait_group_message(struct rpc_call *c, const ProtobufCMessage *msg);
void process_wait_group_writable(struct rpc_call *c);
void process_wait_group_closed(struct rpc_call *c);

#endif
