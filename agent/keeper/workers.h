/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker processes: started, given their configuration, restarted when they die or hang. Each
 * has one link; when the link ends, so does the process, and the other way round.
 */
#ifndef TX_KEEPER_WORKERS_H
#define TX_KEEPER_WORKERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "agent/keeper/link.h"
#include "agent/keeper/listener.h"
#include "common/err.h"

struct workers;

struct workers_ops {
	void (*all_ready)(void *arg); /* once: all of the first start serve */
	/* Once, instead: one of the first start cannot serve. Starting again would not help. */
	void (*cannot_start)(const char *why, void *arg);
};

/* `path`: the worker's executable. Borrows all pointers. Nothing is started yet. */
int workers_new(struct workers **out, struct link_env *env, const struct config *c,
    const struct listeners *ls, const char *path, const struct workers_ops *ops, void *arg,
    struct err *e);
int workers_start(struct workers *ws, struct err *e);
/* Kills and reaps what is left. */
void workers_free(struct workers *ws);

/* A child has died. Whether it was a worker. */
bool workers_reaped(struct workers *ws, pid_t pid, int status);
bool workers_has(const struct workers *ws, pid_t pid);
unsigned workers_alive(const struct workers *ws);

/* KM_DRAIN to all; none is started again. */
void workers_drain(struct workers *ws);
void workers_kill(struct workers *ws);

#endif
