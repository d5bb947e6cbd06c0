/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups of jobs. A job's group holds it and all its descendants, whatever they do with
 * sessions and parents: so they can be found, limited and ended. It is the job's folder jN in each
 * hierarchy that is used for it:
 *   tree    always: v2, else v1's freezer, else v1's pids
 *   memory, cpu, pids    v2: the same folder; v1: one of their own, where a limit is asked for
 *
 * What it costs decides what is done when. To make a folder takes 20-60 us, to be born in a v2 one
 * or to join a v1 one by its tasks file 10-30 us, but to move into one by cgroup.procs up to 15 ms.
 * So every job gets a group (that all are found is worth it: in all 50 us of the keeper's time),
 * its folder is one that an earlier job left, and the folders are cleaned up later, in batches.
 */
#ifndef TX_KEEPER_CGROUP_H
#define TX_KEEPER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct cgroup;
struct cgroups;
struct event_base;
struct spawn_plan;

/* 0: none, or as it is. */
struct cgroup_limits {
	uint64_t memory, pids;
	uint32_t cpu_millis;
};

/*
 * Looks what there is. how: "auto"; "off": use none; else the folder of a group of which to use for
 * the tree, instead of our own. Fails only for a folder that cannot be used, and for want of
 * memory.
 */
int cgroups_new(struct cgroups **out, struct event_base *base, const char *how, struct err *e);
/* Whether cgroups_new would do with it; nothing is left of that. */
int cgroups_check(const char *how, struct err *e);
/* Removes our folders. No cgroup may be left. */
void cgroups_free(struct cgroups *cs);
/* enum km_can, ored. */
uint32_t cgroups_can(const struct cgroups *cs);

/* *out NULL with 0: this host has none, and no limit is asked for. TX_EUNSUPPORTED: a limit that
 * this host cannot set; TX_ESYS; TX_ENOMEM. */
int cgroup_new(
    struct cgroup **out, struct cgroups *cs, const struct cgroup_limits *limits, struct err *e);
/* The folder is removed or used again when nothing runs in it any more. NULL is allowed. */
void cgroup_put(struct cgroup *g);

/*
 * The same, as soon as what ran in it can be over: its holder may go on using it, until *holder is
 * set to NULL, in a later turn, because nothing runs in it any more.
 */
void cgroup_retire(struct cgroup **holder);

/* Fills the plan's control groups; cgroup_unplan closes what that opened. */
int cgroup_plan(const struct cgroup *g, struct spawn_plan *plan, struct err *e);
void cgroup_unplan(struct spawn_plan *plan);

/*
 * A group over an upgrade of the agent: its name, and what it is. The folders stay as they are; the
 * restored agent, which has the same pid, finds them by cgroups_new.
 */
#define CGROUP_SAVED_SIZE 96
void cgroup_save(const struct cgroup *g, char text[CGROUP_SAVED_SIZE]);
/* TX_EPROTO: no such text. TX_ENOENT: no such folder any more. */
int cgroup_restore(struct cgroup **out, struct cgroups *cs, const char *text);
/* All are restored: what else there is was waiting to be used again, or for its last process; it is
 * removed when nothing runs in it. NULL is allowed. */
void cgroups_settle(struct cgroups *cs);

/* ---- members ---- */

bool cgroup_populated(const struct cgroup *g);
/* each() returns false to stop. */
int cgroup_members(const struct cgroup *g, bool (*each)(pid_t pid, void *arg), void *arg);
/* SIGKILL to all at once, those being born too; its folder is not used again. TX_EUNSUPPORTED: the
 * kernel has no such. */
int cgroup_kill(struct cgroup *g);
/* Where there is no freezer nothing happens. */
void cgroup_freeze(struct cgroup *g, bool frozen);

/* ---- limits and figures (cgroup_limits.c) ---- */

/* Of a running job: all or nothing. As cgroup_new; TX_ESYS when the kernel does not take a value.
 */
int cgroup_set_limits(struct cgroup *g, const struct cgroup_limits *limits, struct err *e);
/* The kernel killed this many of its processes for want of memory. */
uint64_t cgroup_oom_kills(const struct cgroup *g);
/* Of the whole group. Returns whether it is known; memory likewise. */
bool cgroup_cpu_us(const struct cgroup *g, uint64_t *us);
bool cgroup_memory(const struct cgroup *g, uint64_t *bytes);

#endif
