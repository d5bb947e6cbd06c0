/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits for children: jobs, workers, and the orphans that come to the keeper as a subreaper. When
 * telex is ending a job and the leader dies before others of its tree, it is left a zombie until
 * they are gone or the grace is over: as long as it is there, the group's number cannot be anyone
 * else's.
 */
#ifndef TX_KEEPER_REAP_H
#define TX_KEEPER_REAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct event_base;
struct jobs;
struct reap;

struct reap_ops {
	/* A dead child that is no job, before it is reaped: it may become one by this. May be
	 * NULL. */
	void (*unknown)(pid_t pid, void *arg);
	/* A child that is no job. status: as of waitpid. Returns whether it was known. May be NULL.
	 */
	int (*other)(pid_t pid, int status, void *arg);
	/* After each round that reaped something. May be NULL. */
	void (*round)(void *arg);
};

/* Makes this process a subreaper and listens for SIGCHLD. */
int reap_new(struct reap **out, struct event_base *base, struct jobs *js,
    const struct reap_ops *ops, void *arg, struct err *e);
void reap_free(struct reap *r);

/* Looks now. */
void reap_run(struct reap *r);

/* Calls each() for every child that is there, orphans too; also zombies. Returns how many, or
 * TX_ESYS. */
int reap_children(void (*each)(pid_t pid, void *arg), void *arg);

/* For tests: how many children it has looked at, one after the other; and how long a look at all is
 * put off. */
uint64_t reap_looked(const struct reap *r);
void reap_set_later(struct reap *r, int64_t ns);

#endif
