/* SPDX-License-Identifier: Apache-2.0 */
/* What workers.c (generations and their lives) and workers_each.c (all workers of all of them)
 * share; nobody else includes it. */
#ifndef TX_KEEPER_WORKERS_INTERNAL_H
#define TX_KEEPER_WORKERS_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/keeper/workers.h"

struct event;
struct worker_kit;
struct worker_proc;

enum phase { STARTING, SERVING, RETIRED };

struct generation;

/* A worker's place. */
struct place {
	struct generation *g;
	struct worker_proc *proc;
	struct event *again; /* the pause before the next start */
	bool was_ready;
	int64_t pause_ns; /* the last one, of one that did not come to serve */
	int64_t paid_until;
};

struct generation {
	TAILQ_ENTRY(generation) in_retired;
	struct workers *ws;
	struct worker_kit *kit;
	enum phase phase;
	bool hurried;
	uint32_t n;
	struct place places[];
};

struct workers {
	struct link_env *env;
	const char *path;
	const struct workers_ops *ops;
	void *arg;
	int64_t start_ns;
	struct generation *starting, *serving;   /* NULL: none */
	TAILQ_HEAD(retired, generation) retired; /* oldest first */
	bool first_told;                         /* all_ready, or cannot_start */
	bool draining;
	bool again; /* the agent has served before: nothing is given up */
	/* Then, where not even the first generation could be made. */
	struct event *retry;
	int64_t retry_ns; /* the last pause */
	struct config *config;
	struct listeners *listeners;
};

#endif
