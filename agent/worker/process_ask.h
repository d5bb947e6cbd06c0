/* SPDX-License-Identifier: Apache-2.0 */
/* The unary calls about one process: rpc_method.message of Start, Signal, Get, Remove and Update.
 */
#ifndef TX_AGENT_WORKER_PROCESS_ASK_H
#define TX_AGENT_WORKER_PROCESS_ASK_H

#include "common/rpc.h"

void process_ask_start(struct rpc_call *c, const ProtobufCMessage *msg);
void process_ask_signal(struct rpc_call *c, const ProtobufCMessage *msg);
void process_ask_get(struct rpc_call *c, const ProtobufCMessage *msg);
void process_ask_remove(struct rpc_call *c, const ProtobufCMessage *msg);
void process_ask_update(struct rpc_call *c, const ProtobufCMessage *msg);
/* rpc_method.closed of all of them. */
void process_ask_closed(struct rpc_call *c);

#endif
