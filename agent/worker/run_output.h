/* SPDX-License-Identifier: Apache-2.0 */
/* The outputs of a process, for a Run or ReadOutput call: from the keeper's rings and spools to the
 * client, by offset. Sends only from run_output_pump. */
#ifndef TX_AGENT_WORKER_RUN_OUTPUT_H
#define TX_AGENT_WORKER_RUN_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/worker/keeper_client.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"

#define RUN_OUTPUT_CHUNK ((size_t)256 * 1024) /* data of one message, at most */

struct run_output;

/* `field`: the number of `output` in the call's response. */
struct run_output *run_output_new(struct rpc_call *call, unsigned field);
void run_output_free(struct run_output *o); /* what is queued keeps its ring; NULL is allowed */

/* Where to read from, by enum km_stream: an offset that the client has everything before. */
void run_output_seek(struct run_output *o, const uint64_t offset[3]);
/* Its attachment is passive or lossy: the keeper reuses memory that this one refers to, so that all
 * is copied. */
void run_output_copy(struct run_output *o);
/* Only this output is wanted. */
void run_output_only(struct run_output *o, enum km_stream stream);
/* Nothing from these offsets on is wanted, nor the outputs' ends. */
void run_output_until(struct run_output *o, const uint64_t offset[3]);
/* From here on there are rings, wake-ups and something to tell the keeper. */
void run_output_start(struct run_output *o, struct keeper_attachment *att);
/* The keeper's KM_RING. Negative: *fail is filled. */
int run_output_map(struct run_output *o, const struct km_ring *m, int fd, struct rpc_status *fail);
/* The same for KM_SPOOL. */
int run_output_spool(
    struct run_output *o, const struct km_spool *m, int fd, struct rpc_status *fail);
/* KM_WAKE: there may be more; `eof`: KM_BIT()s of the outputs that are over. */
void run_output_wake(struct run_output *o, uint32_t eof);
/* The client has put everything before `offset` where it belongs. Negative: *fail is filled. */
int run_output_ack(
    struct run_output *o, Telex__V1__OutputStream stream, uint64_t offset, struct rpc_status *fail);

/*
 * Sends what there is while the call takes it, and tells the keeper how far this went. Returns 1
 * when something was sent, 0 when not, or negative with *fail filled.
 */
int run_output_pump(struct run_output *o, struct rpc_status *fail);
/* Whether all that is wanted is sent, the outputs' ends too. */
bool run_output_done(const struct run_output *o);

#endif
