/* SPDX-License-Identifier: Apache-2.0 */
/* The program telex-files: how one is started, for helpers.c and watchers.c, and what is written
 * down of its life. */
#ifndef TX_KEEPER_FILES_PROGRAM_H
#define TX_KEEPER_FILES_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "agent/keeper/user.h"
#include "common/err.h"
#include "common/keeper_msg.h"

struct exec_log;
struct files_program;

/* path: the program; nofile: the limit of open files that it gets; x: NULL for none. All stay the
 * caller's. */
int files_program_new(struct files_program **out, const char *path, const struct rlimit *nofile,
    struct exec_log *x, struct err *e);
void files_program_free(struct files_program *fp); /* NULL is allowed */
/* From a configuration, for those to come; opens the program anew. Takes a reference. */
void files_program_set(struct files_program *fp, struct config *c);
/* NULL: none was set. */
struct config *files_program_config(const struct files_program *fp);

/* Fills *why and returns TX_ESYS. */
int files_program_refuse(
    struct km_refused *why, enum km_why reason, int sys_errno, const char *text);
/* Whether any can be started (fp NULL: none); else negative with *why filled. Before all that
 * follows. */
int files_program_ready(const struct files_program *fp, struct km_refused *why);
/* Whether one more may run for an owner that has `mine` of the `n` that run: one identity may not
 * have them all, half of them is its share. Else TX_ELIMIT with *why filled. */
int files_program_room(
    const struct files_program *fp, uint32_t n, uint32_t mine, struct km_refused *why);

/* As whom (NULL: the agent's own): looked up, and held against the ceiling. *out is the caller's;
 * negative: *why is filled. */
int files_program_user(
    struct files_program *fp, const char *spec, struct user **out, struct km_refused *why);

struct files_start {
	const char *owner;
	const struct user *user;
	const int *fds; /* become 3, … */
	size_t n_fds;   /* 1 or 2 */
	/* Before the ceiling's folders: "--watch" or "--watch-wide", and its key; NULL: none. */
	const char *option, *value;
};
/* Starts one, and writes that down. The pid; or negative with *why filled. */
pid_t files_program_start(
    struct files_program *fp, const struct files_start *s, struct km_refused *why);
/* It was reaped. */
void files_program_ended(struct files_program *fp, const char *owner, pid_t pid, int status);

#endif
