/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper itself writes down, independent of what a worker says: exec.log (audit.h), beside
 * the workers' audit log: each exec before it happens, each ending, each worker's begin and end,
 * how far its chain of records was, and what the ceiling refused. And the workers' log, which it
 * opens for them.
 *
 * A NULL exec_log is allowed everywhere and records nothing (a trial worker's keeper, tests).
 */
#ifndef TX_KEEPER_EXEC_LOG_H
#define TX_KEEPER_EXEC_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "common/err.h"
#include "common/keeper_msg.h"

struct exec_log;
struct job;
struct user;

/* What goes over an upgrade. All 0: a fresh start. */
struct exec_log_state {
	uint64_t last_id; /* of a writer */
	uint64_t writer, seq;
	uint8_t hash[KM_HASH_SIZE];
};

/*
 * Opens both files (0600; only the agent's own regular files, or devices), the keeper's as its
 * chain's begin, or where `before` left off. TX_ENOMEM, TX_ESYS, TX_EPERM. After an upgrade, when
 * jobs run already, files that cannot be opened are no failure: nothing can be written then until
 * exec_log_reopen can open them.
 */
int exec_log_new(struct exec_log **out, const struct config *c, const struct exec_log_state *before,
    struct err *e);
/* Whether they can be opened. */
int exec_log_check(const struct config *c, struct err *e);
/* Ends the chain. NULL is allowed. */
void exec_log_free(struct exec_log *x);
/* Another image is about to go on with the chain: nothing may be written from here on, unless it
 * does not come to that. */
void exec_log_save(const struct exec_log *x, struct exec_log_state *out);
/* Opens the files that c names; where they are others (they were renamed for a new one), the chain
 * ends in the old one and another begins, which follows it. Negative: as it was; but with TX_ENOMEM
 * nothing may be written any more until it succeeds. */
int exec_log_reopen(struct exec_log *x, const struct config *c, struct err *e);

/* ---- workers ---- */

/* A number that no writer had before. */
uint64_t exec_log_writer(struct exec_log *x);
/* The workers' log, an open file of its own for one worker: *fd is the caller's. */
int exec_log_open_for_worker(struct exec_log *x, int *fd, struct err *e);
/* *begun: the hash of the record, which the worker's begin is to have. */
void exec_log_worker_begins(
    struct exec_log *x, uint64_t writer, uint32_t index, pid_t pid, uint8_t begun[KM_HASH_SIZE]);
/* How far it says its chain is. */
void exec_log_anchor(struct exec_log *x, uint64_t writer, const struct km_pong *m);
/* The workers' log to be read: what one that begins now writes to. -1: it cannot be. */
int exec_log_open_to_read(const struct exec_log *x);
/* It is reaped: what it wrote last is read from `fd`, the log that it wrote to (-1: none), since
 * what was cut off behind that would be missed by nobody. m: the last that it said, which is noted
 * where the file does not have as much. */
void exec_log_worker_ended(struct exec_log *x, uint64_t writer, pid_t pid, int fd,
    const struct km_pong *m, const char *how);

/* ---- jobs ---- */

/* It is about to be executed as this user. Negative: then it must not (the log cannot be written
 * to, and that is not to be passed over); *why is filled. */
int exec_log_exec(
    struct exec_log *x, const struct job *j, const struct user *user, struct km_refused *why);
void exec_log_started(struct exec_log *x, const struct job *j);
void exec_log_not_started(
    struct exec_log *x, const struct job *j, int stage, int sys_errno, const char *text);
void exec_log_ended(struct exec_log *x, const struct job *j);

/* ---- telex-files ---- */

/* One is about to be started as this user; `watch`: that watches. Negative: as exec_log_exec. */
int exec_log_files(struct exec_log *x, const char *owner, const struct user *user, bool watch,
    struct km_refused *why);
void exec_log_files_started(struct exec_log *x, const char *owner, pid_t pid);
/* pid 0: it could not be started; `how` is why. */
void exec_log_files_ended(struct exec_log *x, const char *owner, pid_t pid, const char *how);

/* A worker asked for what may not be: `what` ("start", "signal", …) for `identity` on the process
 * `id` (either may be ""); why. hostile: it cannot have asked so in good faith. */
void exec_log_refused(struct exec_log *x, const char *what, const char *identity, const char *id,
    const char *why, bool hostile);

/* "reload", "upgrade", "stop", …; detail may be NULL. */
void exec_log_event(struct exec_log *x, const char *event, const char *detail);

#endif
