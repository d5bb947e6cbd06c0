/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService.WriteInput: the functions of its row in the table of methods. */
#ifndef TX_AGENT_WORKER_WRITE_INPUT_H
#define TX_AGENT_WORKER_WRITE_INPUT_H

#include "common/rpc.h"

void write_input_message(struct rpc_call *c, const ProtobufCMessage *msg);
void write_input_closed(struct rpc_call *c);

#endif
