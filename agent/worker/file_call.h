/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of FileService: authorised here by its first message, written down, and then passed on
 * to a telex-files and back, as bytes. The functions of svc_file's rows.
 */
#ifndef TX_AGENT_WORKER_FILE_CALL_H
#define TX_AGENT_WORKER_FILE_CALL_H

#include "common/rpc.h"

void file_call_message(struct rpc_call *c, const ProtobufCMessage *msg); /* of unary requests */
void file_call_raw(struct rpc_call *c, const uint8_t *msg, size_t len);  /* of streams */
void file_call_half_close(struct rpc_call *c);
void file_call_writable(struct rpc_call *c);
void file_call_closed(struct rpc_call *c);

#endif
