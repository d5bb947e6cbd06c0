/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: its process and its link. When the link ends, so does the process, and the other way
 * round. It may be started again once it is gone; when, its owner decides.
 */
#ifndef TX_KEEPER_WORKER_PROC_H
#define TX_KEEPER_WORKER_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/keeper_msg.h"

struct link_env;
struct worker_kit;
struct worker_proc;

struct worker_proc_ops {
	void (*ready)(void *arg);
	/* It is reaped, and all that it had said was heard: why is the reason it gave, else how it
	 * ended. Not from inside a call. */
	void (*gone)(const char *why, void *arg);
};

/* Borrows all pointers. No process yet. */
int worker_proc_new(struct worker_proc **out, struct link_env *env, const struct worker_kit *kit,
    uint32_t index, const struct worker_proc_ops *ops, void *arg, struct err *e);
/* Kills and reaps it. NULL is allowed. */
void worker_proc_free(struct worker_proc *w);

/* Only while there is none. Negative: either nothing was started, or `gone` follows
 * (worker_proc_pid tells). */
int worker_proc_start(struct worker_proc *w, struct err *e);
void worker_proc_kill(struct worker_proc *w);
/* KM_DRAIN (see there); one that is not ready yet is killed. With `move` it is killed when it does
 * not end in time. */
void worker_proc_drain(struct worker_proc *w, int64_t timeout_ns, bool move);

/* Gives it the newest revocation list; at the next heartbeat when that cannot be now. */
void worker_proc_revoke(struct worker_proc *w);

/* A child has died. Whether it was this one. */
bool worker_proc_reaped(struct worker_proc *w, pid_t pid, int status);

/* KM_FILE with this descriptor, which stays the caller's; nothing when it has no link. */
void worker_proc_hand(struct worker_proc *w, enum km_file_kind kind, int fd);

pid_t worker_proc_pid(const struct worker_proc *w);        /* 0: none */
uint64_t worker_proc_writer(const struct worker_proc *w);  /* of its audit records */
bool worker_proc_ready(const struct worker_proc *w);       /* it serves, or drains */
bool worker_proc_gone(const struct worker_proc *w);        /* no process, and no `gone` to come */
int64_t worker_proc_ready_at(const struct worker_proc *w); /* monotonic; 0: it never was */

#endif
