/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent that `telex dev` starts, in its folder:
 *     ca.pem ca.key agent.pem agent.key user.pem user.key   certificates (certs/provision.h)
 *     telexd.conf  telexd.log (detached)  telexd.pid ("PID START": START tells a reused pid)
 *     policy.conf (once: it may be changed)
 *     lock (held while it is started or ended)  agent/ (telexd's own state; agent/address says
 * where it listens)
 *
 * All return 0 or a negative TX_E… with *e filled.
 */
#ifndef TX_CLI_DEV_AGENT_H
#define TX_CLI_DEV_AGENT_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

struct dev_agent {
	char *dir;
	pid_t pid; /* 0: does not run */
	int pidfd; /* -1: does not run */
	int lock;  /* -1: not held */
};

/* dir NULL: the default folder. Makes it, takes its lock, and looks whether the agent runs. */
int dev_agent_open(struct dev_agent *a, const char *dir, struct err *e);
void dev_agent_close(struct dev_agent *a);
/* Others may start or end it from now on. */
void dev_agent_unlock(struct dev_agent *a);

/* Writes telexd.conf, and policy.conf when there is none: user.pem's owner may do everything. */
int dev_agent_configure(const struct dev_agent *a, unsigned port, bool verbose, struct err *e);
/* Starts telexd: detached in a session of its own and with its log in a file, else as a child that
 * ends with us. */
int dev_agent_start(struct dev_agent *a, bool detach, struct err *e);
/* The first of agent/address, the caller's to free. TX_ENOENT: not written yet. */
int dev_agent_address(const struct dev_agent *a, char **address, struct err *e);
/* Whether it ended within timeout_ms. */
bool dev_agent_ended(const struct dev_agent *a, int timeout_ms);
int dev_agent_signal(const struct dev_agent *a, int signo, struct err *e);
/* Forgets an agent that has ended: its pid file goes. */
void dev_agent_forget(struct dev_agent *a);
/* Puts the last lines of its log on stderr, escaped. */
void dev_agent_show_log(const struct dev_agent *a);

#endif
