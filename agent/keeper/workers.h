/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers, in generations: all of one generation have the same configuration and listening
 * sockets. One generation serves; its dead are started again. A reload starts another beside it,
 * and only when all of that are ready does the old one drain.
 */
#ifndef TX_KEEPER_WORKERS_H
#define TX_KEEPER_WORKERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "agent/keeper/link.h"
#include "agent/keeper/listener.h"
#include "common/err.h"

struct worker_proc;
struct workers;

struct workers_ops {
	void (*all_ready)(void *arg); /* once: all of the first start serve */
	/* Once, instead: one of the first start cannot serve. Starting again would not help. */
	void (*cannot_start)(const char *why, void *arg);
	/* Of each workers_reload and workers_renew that is not overtaken by another, one of these
	 * two: the new ones serve, with this configuration; or one of them cannot, and nothing has
	 * changed. */
	void (*renewed)(struct config *c, struct listeners *ls, void *arg);
	void (*not_renewed)(const char *why, void *arg);
	/* Each one that comes to serve, of whatever generation. May be NULL. */
	void (*serves)(struct worker_proc *w, void *arg);
};

/* `path`: the worker's executable. start_ns: when the agent began (epoch). Borrows env, path, ops
 * and arg. Nothing is started yet. */
int workers_new(struct workers **out, struct link_env *env, const char *path, int64_t start_ns,
    const struct workers_ops *ops, void *arg, struct err *e);
/* The first generation. again: the agent has served before (an upgrade): it does not fail, workers
 * that do are started again and again, and cannot_start is not called. */
int workers_start(
    struct workers *ws, struct config *c, struct listeners *ls, bool again, struct err *e);
/* A new generation. Negative: nothing has changed. One that was still on its way is given up. */
int workers_reload(struct workers *ws, struct config *c, struct listeners *ls, struct err *e);
/* The same with the configuration, the policy and the sockets that there are, and the certificate
 * and key alone as they are in their files now: `renewed` gets the configuration that it had. */
int workers_renew(struct workers *ws, struct err *e);
/* Kills and reaps what is left. */
void workers_free(struct workers *ws);

/* A child has died. Whether it was a worker. */
bool workers_reaped(struct workers *ws, pid_t pid, int status);
bool workers_has(const struct workers *ws, pid_t pid);
void workers_each(
    const struct workers *ws, void (*each)(pid_t pid, uint64_t writer, void *arg), void *arg);
/* Calls it for all that serve, or drain. */
void workers_each_serving(
    const struct workers *ws, void (*each)(struct worker_proc *w, void *arg), void *arg);
unsigned workers_alive(const struct workers *ws);

/* Gives all of them, those that drain too, the newest revocation list. */
void workers_revoke(struct workers *ws);
/* The certificate with which the present ones serve (PEM, to be read; it stays theirs); -1: none.
 */
int workers_certificate(const struct workers *ws);

/* Their links are about to end, and others take over: KM_DRAIN to all, at once. Those that this
 * does not come to be true for are started again. */
void workers_move(struct workers *ws);
/* KM_DRAIN to all; none is started again. */
void workers_drain(struct workers *ws);
void workers_kill(struct workers *ws);

#endif
