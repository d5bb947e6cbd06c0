/* SPDX-License-Identifier: Apache-2.0 */
/* The messages that a run sends. */
#ifndef TX_LIB_RUN_REQUEST_H
#define TX_LIB_RUN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"

struct rpc_call;
struct stdin_queue;

#define RUN_ID_SIZE 65

/* A valid process_id from the command, or random bits. 0, or -1 and *error. */
int run_request_id(char out[RUN_ID_SIZE], const char *wanted, struct telex_error *error);

/* A packed RunRequest.start, the caller's to free. 0, or -1 and *error. */
int run_request_start(uint8_t **out, size_t *len, const struct telex_command *command,
    const char *process_id, int64_t heartbeat_ms, struct telex_error *error);

/* These send at once; 0 or a negative TX_E…. */
int run_request_signal(struct rpc_call *rpc, int signo, enum telex_target target);
int run_request_ack(struct rpc_call *rpc, enum telex_stream stream, uint64_t offset);
/* One message of at most `max` unsent bytes; with eof and none left behind them, it says so:
 * *eof_sent. */
int run_request_stdin(
    struct rpc_call *rpc, struct stdin_queue *q, size_t max, bool eof, bool *eof_sent);

#endif
