/* SPDX-License-Identifier: Apache-2.0 */
/* What spawn.c (the keeper's side), spawn_low.c (descriptors for the child), spawn_child.c (from
 * the fork to the exec) and spawn_words.c (what went wrong) share. */
#ifndef TX_KEEPER_SPAWN_INTERNAL_H
#define TX_KEEPER_SPAWN_INTERNAL_H

#include <stdbool.h>

#include <stdatomic.h>

#include "agent/keeper/spawn.h"

/* What the stages that do several things were at: a RLIMIT_… or one of these. */
enum spawn_what {
	SPAWN_NICE = -1,
	SPAWN_PRIVILEGES = -2,
	SPAWN_TERMINAL = -3,
};

/* Over the status pipe. */
struct spawn_report {
	int stage;
	int sys_errno;
	int what;
};

struct spawn_child {
	const struct spawn_plan *plan;
	const char *path; /* for the search; NULL: none */
	int own_nice;     /* the keeper's */
	int status_fd, file_fd;
	int fds[SPAWN_FDS_MAX];            /* the plan's, or copies of them */
	int cgroup_fds[SPAWN_CGROUPS_MAX]; /* likewise */
	unsigned keep_below; /* not 0: the table of descriptors is shared; see spawn_low.c */
	int what;            /* that is being set */
	atomic_int *pid_at;  /* NULL: nobody wants to know before it executes */
};

/* How a start is done. */
struct spawn_way {
	char *stack;     /* of spawn_stack_new; NULL fails */
	bool low;        /* the low descriptors are this one's to use */
	int limit_ms;    /* to come to execute, where we do not stand still meanwhile; -1: none */
	atomic_int *pid; /* is set as soon as there is one; NULL: not wanted */
};

/* What came of it. */
struct spawn_got {
	bool failed;
	struct spawn_report r;
	pid_t pid; /* not positive: there is none; not reaped */
	int pidfd;
};

/* The parts of spawn_run: spawn_attempt in whatever thread, the rest in the loop's. */
void spawn_attempt(
    const struct spawn_plan *plan, const struct spawn_way *way, struct spawn_got *got);
int spawn_conclude(const struct spawn_plan *plan, const struct spawn_got *got,
    struct spawn_result *out, struct spawn_failure *why);
char *spawn_stack_new(void); /* NULL: no memory */
void spawn_stack_free(char *stack);
/* They are another's: spawn_run does without. */
void spawn_low_lend(bool lent);

/* Runs in the child, which may share the keeper's memory; `arg`: a struct spawn_child, which is
 * copied. Never returns. */
int spawn_child_main(void *arg);

/* Fills why->text; stage and sys_errno are set. */
void spawn_describe(
    const struct spawn_plan *plan, const struct spawn_report *r, struct spawn_failure *why);

/* Early, while low numbers are free. Where it cannot be, spawn_low_take says no. */
void spawn_low_init(void);
/* Puts c's descriptors there, and sets keep_below. False: c is as it was. */
bool spawn_low_take(struct spawn_child *c);
/* After the child has executed or ended. */
void spawn_low_release(void);

#endif
