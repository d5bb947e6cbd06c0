/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the keeper takes with it when it executes a new image of itself (an upgrade): what and
 * who it is, its listening sockets, its workers' numbers, its jobs with their descriptors, rings
 * and endings. The form is state_io's.
 */
#ifndef TX_KEEPER_STATE_H
#define TX_KEEPER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/keeper/exec_log.h"
#include "common/err.h"

struct cgroups;
struct groups;
struct jobs;
struct listeners;
struct old_workers;
struct state_in;
struct state_out;
struct workers;

/* Of the keeper itself. */
struct state_keeper {
	int64_t start_ns;     /* epoch */
	struct rlimit nofile; /* as it was started with */
	int state_dir, lock;
	uint64_t dropped; /* jobs_dropped */
	struct exec_log_state exec;
};

/* Where the rest is. */
struct state_parts {
	struct listeners *listeners;
	struct workers *workers; /* state_save only */
	struct old_workers *old_workers;
	struct groups *groups;
	struct cgroups *cgroups;
	int spool_dir;
	struct jobs *jobs;
};

/* NULL: no memory. */
struct state_out *state_save(const struct state_keeper *k, const struct state_parts *p);

/* Whether every record makes sense; touches nothing. TX_EPROTO, TX_ENOMEM. found: the listeners it
 * names, whose descriptors are only numbers. */
int state_check(struct state_in *in, struct listeners *found, struct err *e);

/*
 * The same, and takes over: the descriptors are this image's again, jobs, groups and old workers
 * are in their (empty) tables, p->listeners has one reference. Not for another process's state
 * (TX_EPROTO). Afterwards: jobs_resume.
 */
int state_restore(
    struct state_in *in, struct state_keeper *k, struct state_parts *p, struct err *e);

/* The keeper's own record alone. */
int state_read_keeper(struct state_in *in, struct state_keeper *k, struct err *e);

#endif
