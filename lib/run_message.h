/* SPDX-License-Identifier: Apache-2.0 */
/* The messages that a run sends after its first. Each goes at once; 0 or a negative TX_E…. */
#ifndef TX_LIB_RUN_MESSAGE_H
#define TX_LIB_RUN_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"

struct rpc_call;
struct stdin_queue;

int run_message_signal(struct rpc_call *rpc, int signo, enum telex_target target);
int run_message_resize(struct rpc_call *rpc, uint16_t rows, uint16_t columns);
int run_message_ack(struct rpc_call *rpc, enum telex_stream stream, uint64_t offset);
int run_message_exit_ack(struct rpc_call *rpc);
/* At most `max` unsent bytes, whose offsets count from `base`; with eof and none left behind them,
 * it says so: *eof_sent. */
int run_message_stdin(struct rpc_call *rpc, struct stdin_queue *q, uint64_t base, size_t max,
    bool eof, bool *eof_sent);

#endif
