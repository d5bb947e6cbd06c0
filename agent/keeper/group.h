/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of jobs: a name of an identity's, with an optional maximum of members that run. A job of a
 * full group is queued, and started, in order, when there is room: when a member has ended, the
 * maximum rises, or one before it went. One that fails then has ended without having run, and the
 * next is tried. A group exists as long as it has members (also ended ones that are held) or a
 * maximum.
 */
#ifndef TX_KEEPER_GROUP_H
#define TX_KEEPER_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"

struct group;
struct groups;
struct job;
struct jobs;
struct starter;

#define GROUPS_MAX 10000
#define GROUPS_QUEUED_BYTES                                                                        \
	((size_t)256 << 20) /* the commands and environments of all that are queued */

int groups_new(struct groups **out, struct jobs *js, struct starter *st, struct err *e);
/* When there are no jobs any more. */
void groups_free(struct groups *gs);
/* No queued job is started from now on. */
void groups_stop(struct groups *gs);

/* start_job; but a job of a group that is full is queued: *out is in the table, in one of the two
 * states. */
int group_start(struct groups *gs, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why);

/* NULL: there is none. */
struct group *group_find(struct groups *gs, const char *owner, const char *name);
/* 0: none; a group without members is gone then. Jobs that have room now are started soon. */
void group_set_maximum(struct group *g, uint32_t maximum);
/* maximum, queued, running and ended. */
void group_count(const struct group *g, struct km_group_reply *out);

/* Its members, oldest first. */
struct job *group_first(const struct group *g);
struct job *group_next(const struct job *j);

/*
 * For an upgrade: all groups, each with name, owner and maximum; and back: the group as it was
 * (TX_ENOMEM), and a job of the table, running, ended or queued, that belongs to one (oldest
 * first).
 */
void groups_each(const struct groups *gs,
    void (*each)(const char *owner, const char *name, uint32_t maximum, void *arg), void *arg);
int group_restore(struct groups *gs, const char *owner, const char *name, uint32_t maximum);
int group_adopt(struct groups *gs, struct job *j);

/* One that start_launch left QUEUED runs now. */
void group_on_started(struct job *j);
/* Of struct job_ops. */
void group_on_ended(struct job *j);
void group_on_forgotten(struct job *j);

#endif
