/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of a fake agent that outlive a call: "flow OUT ERR" writes so many bytes of the pattern
 * to stdout and stderr, reads the pattern from stdin, and ends when all is written and, if it has a
 * stdin, that has ended. Resuming, acknowledging and waiting for an ExitAck are as the contract
 * says; what a client must not do is noted. "flow OUT ERR cut" cuts all connections once, at its
 * first bytes of stdin.
 */
#ifndef TX_TESTS_FAKE_FLOW_H
#define TX_TESTS_FAKE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "telex/v1/process.pb-c.h"
#include "tests/support/fake_agent.h"

struct flow_run;
struct flow_table;
struct rpc_call;

struct flow_table *flow_table_new(struct fake_agent *agent);
void flow_table_free(struct flow_table *t); /* after its runs */

/* A call's first message, whose argv[0] is "flow", or an attachment. NULL: it was answered. */
struct flow_run *flow_start(struct flow_table *t, struct rpc_call *c, const Telex__V1__RunStart *m);
struct flow_run *flow_attach(
    struct flow_table *t, struct rpc_call *c, const Telex__V1__RunAttach *m);
void flow_message(struct flow_run *r, const Telex__V1__RunRequest *m);
void flow_writable(struct flow_run *r);
void flow_closed(struct flow_run *r);

void flow_hold(struct flow_table *t, bool hold);
void flow_queue(struct flow_table *t, bool queue);
void flow_drop(struct flow_table *t, int stream, uint64_t oldest);
void flow_forget(struct flow_table *t);
void flow_end(struct flow_table *t);

#endif
