/* SPDX-License-Identifier: Apache-2.0 */
/* The Wait call. */
#ifndef TX_AGENT_WORKER_PROCESS_WAIT_H
#define TX_AGENT_WORKER_PROCESS_WAIT_H

#include <stdbool.h>

#include "agent/worker/keeper_client.h"
#include "common/rpc.h"

/* As rpc_method names them. */
void process_wait_message(struct rpc_call *c, const ProtobufCMessage *msg);
void process_wait_closed(struct rpc_call *c);

/* Attaches to a process only to hear of its end: nobody's presence, no output. As keeper_attach. */
int process_wait_attach(struct keeper_attachment **out, struct keeper_client *k, const char *id,
    const char *owner, uint8_t any, const struct keeper_attachment_ops *ops, void *arg);
/* For the parts of an attachment that one without output has none of. */
void process_wait_no_ring(const struct km_ring *ring, int fd, void *arg);
void process_wait_no_wake(uint32_t eof, void *arg);
void process_wait_no_input(const struct km_input_done *done, void *arg);
void process_wait_no_job(const struct km_job *job, void *arg);

#endif
