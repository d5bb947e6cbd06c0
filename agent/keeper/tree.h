/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job and all its descendants. With a control group they are its members, all of them. Without
 * one they are looked for: children of children from the leader down; and among the orphans that
 * came to the keeper (a subreaper) those of the leader's session or group, or with the job's mark
 * in their environment, and their descendants. One that hides from all of that is not found.
 *
 * Signals go through pidfds: one is opened, then it is checked that the process it is for belongs
 * to the job, then it is signalled. A number that was used again in between reaches nobody.
 */
#ifndef TX_KEEPER_TREE_H
#define TX_KEEPER_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/job_record.h"

struct job;
struct jobs;
struct tree_pids;

/* To every member, again and again until no new one is found (tree_strike.c): with thousands, 0 may
 * mean that it goes on. 0; TX_ESTATE: there is none; TX_ESYS with *sys_errno: not one of them could
 * be signalled, or not all of them were, for want of descriptors or memory. */
int tree_signal(const struct job *j, int signo, int *sys_errno);
/* False: for want of descriptors or memory some may live; to be tried again. */
bool tree_kill(const struct job *j);

/* Those who belong to it now; without a control group, only the leader and the orphans, from whom
 * the others descend. A pid in it may be another's a moment later. */
void tree_members(const struct job *j, struct tree_pids *out);
/* Some may have come to the keeper just now. */
void tree_orphans_moved(void);

/* With a control group: whether a member lives (a zombie does not). Without: false. */
bool tree_lives(const struct job *j);
/* Without a control group: the job that an orphan of the keeper's comes from; NULL: none that is
 * known. */
struct job *tree_owner(struct jobs *js, pid_t orphan);

/* What it uses now; NONE for one that does not run. */
enum job_usage tree_usage(const struct job *j, uint64_t *cpu_us, uint64_t *memory);

/* Frees what is kept between calls. */
void tree_forget(void);

/* The moment of a start, by CLOCK_BOOTTIME: job.born_ns. A process older than that is none of it.
 */
int64_t tree_now_ns(void);

/* Both by pidfd. 0 or an errno. */
int tree_pidfd_open(pid_t pid, int *pidfd);
int tree_pidfd_signal(int pidfd, int signo);
/* With a value, as sigqueue(3). */
int tree_pidfd_queue(int pidfd, int signo, int value);

/* ---- tree_strike.c ---- */

/* 0: somebody was reached, or it goes on; else as tree_signal. */
int tree_strike(const struct job *j, int signo, int *sys_errno);
/* Whether one goes on. */
bool tree_strike_pending(const struct job *j);
/* Does now what was put off, however long that takes. */
void tree_strike_finish(const struct job *j);
/* The job is going: what was put off is not done any more. */
void tree_strike_stop(const struct job *j);

/* No job is left: frees what is kept between calls. */
void tree_strike_forget(void);

/* For tests: looks at whole trees so far; how long a turn may take, instead of 20 ms. */
uint64_t tree_strike_looks(void);
void tree_strike_set_slice(int64_t ns);

#endif
