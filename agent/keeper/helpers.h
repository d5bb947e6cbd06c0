/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of telex-files: each does the file work of one client as one user, for the worker
 * that has the other end of its socket, and ends with that. One whose worker has let go and that
 * does not end is killed. The keeper holds nothing of what they do.
 *
 * An upgrade forgets them: they go on for the old workers, and end with these.
 */
#ifndef TX_KEEPER_HELPERS_H
#define TX_KEEPER_HELPERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/keeper_msg.h"

struct event_base;
struct files_program;
struct helpers;

/* The program stays the caller's. */
int helpers_new(
    struct helpers **out, struct event_base *base, struct files_program *program, struct err *e);
/* Ends all of them: within a second, or by force. NULL is allowed. */
void helpers_free(struct helpers *hs);

/*
 * Starts one for `owner` as `user` (NULL: the agent's own). 0: *reply is filled but for its head,
 * and *fd, the worker's end of its socket, is the caller's. Else negative and *why is filled. hs
 * NULL: there are none here.
 */
int helpers_start(struct helpers *hs, const char *owner, const char *user,
    struct km_files_reply *reply, int *fd, struct km_refused *why);

/* A child has died. Whether it was one of these. */
bool helpers_reaped(struct helpers *hs, pid_t pid, int status);

#endif
