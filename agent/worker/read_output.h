/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService.ReadOutput: the functions of its row in the table of methods. */
#ifndef TX_AGENT_WORKER_READ_OUTPUT_H
#define TX_AGENT_WORKER_READ_OUTPUT_H

#include "common/rpc.h"

void read_output_message(struct rpc_call *c, const ProtobufCMessage *msg);
void read_output_writable(struct rpc_call *c);
void read_output_closed(struct rpc_call *c);

#endif
