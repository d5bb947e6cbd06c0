/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of a fake agent that live as long as their call: what one does is said by its argv[0],
 * see the table in fake_acts.c. What the client sends is noted in the fake_seen.
 */
#ifndef TX_TESTS_FAKE_ACTS_H
#define TX_TESTS_FAKE_ACTS_H

#include "telex/v1/process.pb-c.h"
#include "tests/support/fake_agent.h"

struct act_run;
struct rpc_call;

/* Aborts when there is no such act. The call may have ended when it returns. */
struct act_run *act_start(
    struct fake_agent *agent, struct rpc_call *c, const Telex__V1__RunStart *m);
void act_input(struct act_run *r, const Telex__V1__StdinChunk *m);
void act_signal(struct act_run *r, int signo);
void act_writable(struct act_run *r);
/* Acknowledges what a "hold" has got. */
void act_ack(struct act_run *r);
/* NULL is taken. */
void act_closed(struct act_run *r);

#endif
