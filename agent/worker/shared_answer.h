/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that many get, in memory once: what a slow reader holds is a reference. It goes with
 * its last reader, and when there is another one.
 */
#ifndef TX_AGENT_WORKER_SHARED_ANSWER_H
#define TX_AGENT_WORKER_SHARED_ANSWER_H

#include <protobuf-c/protobuf-c.h>

#include "common/rpc.h"

struct shared_answer;

/* Sends msg, as *last when that is the same; *last is msg's afterwards. As rpc_send. */
int shared_answer_send(
    struct shared_answer **last, struct rpc_call *c, const ProtobufCMessage *msg);
/* NULL is allowed. */
void shared_answer_unref(struct shared_answer *a);

#endif
