/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks, while a call is open, whether the agent is there: a PING at every heartbeat of the client's
 * (telex_client.heartbeat_ms). When one has not been answered for two and a half of them, the call
 * ends with TELEX_ERROR_LOST, and its connection gets no new ones. A program that was suspended, or
 * has not returned to its loop for long, gives it as long again from when it is back.
 */
#ifndef TX_LIB_WATCHDOG_H
#define TX_LIB_WATCHDOG_H

struct call;
struct event_base;
struct watchdog;

/* For this call, which outlives it. NULL: out of memory. */
struct watchdog *watchdog_new(struct event_base *base, struct call *c);
/* NULL is allowed. */
void watchdog_free(struct watchdog *w);
/* The call is open: watches until it is not any more. */
void watchdog_start(struct watchdog *w);

#endif
