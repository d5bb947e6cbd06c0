/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals for us that are meant for the remote program: INT, TERM, HUP, QUIT, USR1, USR2. What was
 * ignored when we started (nohup) stays ignored.
 */
#ifndef TX_CLI_FORWARD_H
#define TX_CLI_FORWARD_H

#include <stdint.h>

struct event_base;
struct forward;

struct forward_ops {
	void (*signal)(struct forward *forward, int signo, void *arg);
	/* Instead of signal: a second SIGINT within leave_within_ns of the first. */
	void (*leave)(struct forward *forward, void *arg);
	int64_t leave_within_ns; /* 0: a second */
};

struct forward *forward_new(struct event_base *base, const struct forward_ops *ops, void *arg);
/* Signals have their old effect again. Allowed in its callbacks. NULL is allowed. */
void forward_free(struct forward *forward);

#endif
