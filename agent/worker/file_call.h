/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of FileService or WatchService: authorised here by its first message, written down, and
 * then passed on to a telex-files and back, as bytes. The functions of svc_file's and svc_watch's
 * rows.
 */
#ifndef TX_AGENT_WORKER_FILE_CALL_H
#define TX_AGENT_WORKER_FILE_CALL_H

#include "common/rpc.h"

struct worker;

void file_call_message(struct rpc_call *c, const ProtobufCMessage *msg); /* of unary requests */
void file_call_raw(struct rpc_call *c, const uint8_t *msg, size_t len);  /* of streams */
void file_call_half_close(struct rpc_call *c);
void file_call_writable(struct rpc_call *c);
void file_call_closed(struct rpc_call *c);

/* The worker is being replaced (worker.moving): calls that watch, which go on by their clocks
 * elsewhere, end at once with UNAVAILABLE (SHUTTING_DOWN). */
void file_call_move_all(struct worker *w);

#endif
