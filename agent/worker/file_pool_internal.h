/* SPDX-License-Identifier: Apache-2.0 */
/* What file_pool.c (who gets which) and file_helper.c (one of them) share; nobody else includes it.
 */
#ifndef TX_AGENT_WORKER_FILE_POOL_INTERNAL_H
#define TX_AGENT_WORKER_FILE_POOL_INTERNAL_H

#include <event2/event.h>
#include <sys/queue.h>

#include "agent/worker/file_pool.h"
#include "common/keeper_msg.h"

enum file_helper_state { HELPER_STARTING, HELPER_IDLE, HELPER_LENT, HELPER_RETURNING };

/* Whom a helper is for. */
struct file_use {
	char *user;
	unsigned watch; /* a number of its own for each ticket that watches, else 0 */
};

struct file_helper {
	TAILQ_ENTRY(file_helper) entry;
	struct file_pool *pool;
	enum file_helper_state state;
	struct file_use use;
	struct keeper_call *asked; /* until the keeper's answer */
	struct file_link *link;    /* from then on */
	uint8_t *setup;            /* FilesSetup, until it is sent */
	size_t setup_len;
	char home[KM_HOME_SIZE];
	struct event *idle;
	const struct file_borrower *to;
	void *arg;
};

struct file_ticket {
	TAILQ_ENTRY(file_ticket) entry;
	struct file_pool *pool;
	struct rpc_call *call;
	struct file_use use;
	file_pool_answer *answer;
	void *arg;
};

struct file_pool {
	struct worker *worker;
	struct event *turn;
	unsigned watches; /* the last number that was given out */
	TAILQ_HEAD(, file_helper) helpers;
	TAILQ_HEAD(, file_ticket) waiting;
};

/* file_pool.c */
void file_pool_poke(struct file_pool *p);
/* Those who wait for this use: all of them where nobody is left who could serve them. */
void file_pool_fail(struct file_pool *p, const struct file_use *use, const struct rpc_status *why);

/* file_helper.c */
void file_helper_start(struct file_pool *p, const struct file_ticket *t);
void file_helper_free(struct file_helper *h);

#endif
