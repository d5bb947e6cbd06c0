/* SPDX-License-Identifier: Apache-2.0 */
/* stdin of a Run call: from the client to the keeper's input ring, exactly once, by offset. */
#ifndef TX_AGENT_WORKER_RUN_STDIN_H
#define TX_AGENT_WORKER_RUN_STDIN_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/worker/keeper_client.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"

#define RUN_STDIN_CHUNK ((size_t)1 << 20) /* data of one message, at most */

struct run_stdin;

struct run_stdin *run_stdin_new(struct rpc_call *call);
void run_stdin_free(struct run_stdin *in); /* NULL is allowed */

/*
 * The client's message, `wire` bytes on the wire; they are credited when they are in the ring, or
 * dropped. May come before run_stdin_start. Negative: *fail is filled.
 */
int run_stdin_chunk(
    struct run_stdin *in, const Telex__V1__StdinChunk *chunk, size_t wire, struct rpc_status *fail);
/* The keeper has the job. `asked`: the client said that it feeds stdin. Negative: *fail is filled.
 */
int run_stdin_start(struct run_stdin *in, struct keeper_attachment *att, const struct km_job *job,
    bool asked, struct rpc_status *fail);
/* The keeper's KM_RING of stdin. */
int run_stdin_map(struct run_stdin *in, int fd, struct rpc_status *fail);
/* KM_INPUT_DONE. */
void run_stdin_done(struct run_stdin *in, const struct km_input_done *done);

/* Sends the StdinAck that is due, if any; behind much that waits it is left for later, unless it is
 * the last. Returns 1 when it sent one, else 0. */
int run_stdin_ack(struct run_stdin *in, bool last);

#endif
