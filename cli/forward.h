/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals for us: those that are meant for the remote program, and those that make us leave it.
 * What was ignored when we started (nohup) stays ignored.
 */
#ifndef TX_CLI_FORWARD_H
#define TX_CLI_FORWARD_H

#include <signal.h>
#include <stdint.h>

struct event_base;
struct forward;

#define FORWARD_BIT(signo) (UINT64_C(1) << ((signo)-1))
/* What is forwarded unless told otherwise. */
#define FORWARD_DEFAULT                                                                            \
	(FORWARD_BIT(SIGINT) | FORWARD_BIT(SIGTERM) | FORWARD_BIT(SIGHUP) | FORWARD_BIT(SIGQUIT) | \
	    FORWARD_BIT(SIGUSR1) | FORWARD_BIT(SIGUSR2))
/* What makes us leave when it is not forwarded. */
#define FORWARD_LEAVING                                                                            \
	(FORWARD_BIT(SIGINT) | FORWARD_BIT(SIGTERM) | FORWARD_BIT(SIGHUP) | FORWARD_BIT(SIGQUIT))
/* What nobody can catch, what tells us of our own faults, and what the terminal and libevent need
 * cannot be forwarded. */
#define FORWARD_POSSIBLE                                                                           \
	(~(FORWARD_BIT(SIGKILL) | FORWARD_BIT(SIGSTOP) | FORWARD_BIT(SIGSEGV) |                    \
	    FORWARD_BIT(SIGBUS) | FORWARD_BIT(SIGILL) | FORWARD_BIT(SIGFPE) |                      \
	    FORWARD_BIT(SIGABRT) | FORWARD_BIT(SIGTRAP) | FORWARD_BIT(SIGSYS) |                    \
	    FORWARD_BIT(SIGPIPE) | FORWARD_BIT(SIGCHLD) | FORWARD_BIT(SIGWINCH) |                  \
	    FORWARD_BIT(SIGTSTP) | FORWARD_BIT(SIGCONT) | FORWARD_BIT(SIGTTIN) |                   \
	    FORWARD_BIT(SIGTTOU) | FORWARD_BIT(32) | FORWARD_BIT(33)))

struct forward_ops {
	void (*signal)(struct forward *forward, int signo, void *arg);
	/* Instead of signal: one of `leaving`, or a second SIGINT within leave_within_ns of the
	 * first. */
	void (*leave)(struct forward *forward, int signo, void *arg);
	int64_t leave_within_ns; /* 0: a second */
};

/* Bit n-1 for signal n; one in both sets leaves. */
struct forward *forward_new(struct event_base *base, uint64_t forwarded, uint64_t leaving,
    const struct forward_ops *ops, void *arg);
/* Signals have their old effect again. Allowed in its callbacks. NULL is allowed. */
void forward_free(struct forward *forward);

#endif
