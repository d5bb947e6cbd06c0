/* SPDX-License-Identifier: Apache-2.0 */
/* The unary calls about a group: rpc_method.message of GetGroup, SignalGroup, UpdateGroup and
 * RemoveGroup; process_call_closed is their `closed`. */
#ifndef TX_AGENT_WORKER_PROCESS_GROUP_H
#define TX_AGENT_WORKER_PROCESS_GROUP_H

#include "common/rpc.h"

void process_group_get(struct rpc_call *c, const ProtobufCMessage *msg);
void process_group_signal(struct rpc_call *c, const ProtobufCMessage *msg);
void process_group_update(struct rpc_call *c, const ProtobufCMessage *msg);
void process_group_remove(struct rpc_call *c, const ProtobufCMessage *msg);

#endif
