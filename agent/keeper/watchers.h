/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes of telex-files that watch (common/watch_control.h): one for each owner, user and
 * key, which serves many connections. It is kept for a while when it has none, and so is its store,
 * a memfd, when it dies: the next one goes on with that. The keeper reads nothing of a store.
 *
 * One that may not go on as it was started (the user's ids or the ceiling's folders are others by
 * now) is found by nobody any more and let go when it has no connections.
 *
 * An upgrade forgets them: they end with their control sockets.
 */
#ifndef TX_KEEPER_WATCHERS_H
#define TX_KEEPER_WATCHERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/keeper_msg.h"

struct event_base;
struct files_program;
struct watchers;

/* The program stays the caller's. */
int watchers_new(
    struct watchers **out, struct event_base *base, struct files_program *program, struct err *e);
/* Ends all of them, by force. One that does not die of that within seconds, as its disk does not
 * answer, is said and left behind. NULL is allowed. */
void watchers_free(struct watchers *ws);
/* The program has another configuration: those that may not go on as they are. */
void watchers_renewed(struct watchers *ws);
/* Lets all of them go, and drops what is kept: the agent ends. */
void watchers_end(struct watchers *ws);

/*
 * Connects to the one for this owner, user (NULL: the agent's own) and key; starts it where there
 * is none. 0: *reply is filled but for its head, and *fd, the worker's end, is the caller's. Else
 * negative and *why is filled. ws NULL: there are none here.
 */
int watchers_connect(struct watchers *ws, const char *owner, const char *user,
    const uint8_t key[KM_HASH_SIZE], struct km_files_reply *reply, int *fd, struct km_refused *why);

/* A child has died. Whether it was one of these. */
bool watchers_reaped(struct watchers *ws, pid_t pid, int status);

#endif
