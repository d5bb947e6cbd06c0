/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The telex-files of one client: a few for each user that it works as, started by the keeper when
 * they are needed, lent to one call at a time, and ended with the session or when nobody has needed
 * them for a while. Calls that find none free wait in line. And connections to those that watch,
 * one for each call (common/watch_control.h).
 */
#ifndef TX_AGENT_WORKER_FILE_POOL_H
#define TX_AGENT_WORKER_FILE_POOL_H

#include <stdbool.h>

#include "agent/worker/file_link.h"
#include "common/rpc.h"
#include "common/rpc_status.h"

struct file_helper;
struct file_pool;
struct file_ticket;

#define FILE_POOL_MAX     4  /* side by side, of one session and user */
#define FILE_POOL_WATCHES 64 /* calls that watch, of one session */

/* h: lent; or NULL, with why. Not from inside file_pool_ask. */
typedef void file_pool_answer(struct file_helper *h, const struct rpc_status *why, void *arg);

/* Asks for one, as the caller of c and as this user ("": the agent's own). The answer is the end of
 * the ticket; file_ticket_drop before that (NULL is allowed). */
struct file_ticket *file_pool_ask(
    struct rpc_call *c, const char *user, file_pool_answer *answer, void *arg);
void file_ticket_drop(struct file_ticket *t);
/* The same for a call that watches: one that is no other call's, and ends with being returned.
 * NULL: there are too many, *refuse is filled, and no answer comes. */
struct file_ticket *file_pool_watch(struct rpc_call *c, const char *user, file_pool_answer *answer,
    void *arg, struct rpc_status *refuse);

/* What a call does with the one that it is lent. */
struct file_borrower {
	void (*message)(struct evbuffer *msg, void *arg);
	void (*status)(const Telex__Internal__V1__FilesStatus *m, void *arg);
	void (*sent)(size_t n, void *arg);
	void (*lost)(void *arg); /* it has died: give it back by file_helper_end */
};
void file_helper_lend(struct file_helper *h, const struct file_borrower *to, void *arg);
struct file_link *file_helper_link(struct file_helper *h);
/* The user's home folder, as the keeper says. */
const char *file_helper_home(const struct file_helper *h);
/* The call had its status, and the end of its half was sent. */
void file_helper_return(struct file_helper *h);
/* The call is not wanted any more: the process ends. */
void file_helper_end(struct file_helper *h);

/* At the end of its session, after all calls. NULL is allowed. */
void file_pool_free(struct file_pool *p);

#endif
