/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker's connection: carries out its requests on the job table. A message that breaks the
 * contract ends the link; jobs are not touched by that.
 */
#ifndef TX_KEEPER_LINK_H
#define TX_KEEPER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct budget;
struct ceiling;
struct exec_log;
struct event_base;
struct groups;
struct helpers;
struct jobs;
struct km_chan;
struct km_pong;
struct link;
struct list_check;
struct revocation_record;
struct starter;
struct watchers;

/* What all links work on; the keeper's. */
struct link_env {
	struct event_base *base;
	struct jobs *jobs;
	struct starter *starter;
	struct groups *groups;
	struct budget *looks;          /* of lists: at what their jobs use */
	struct helpers *helpers;       /* NULL: none here */
	struct watchers *watchers;     /* NULL: none here */
	uint32_t can;                  /* enum km_can, ored */
	const struct ceiling *ceiling; /* of the configuration that is in force */
	bool stopping;                 /* no new starts */
	struct exec_log *exec_log;     /* NULL: none (exec_log.h) */
	struct list_check *lists;      /* NULL: no revocation list is taken here */
	/* Keeps a list that was checked, and gives it to every worker. */
	int (*revocations)(const struct revocation_record *list, void *arg, struct err *e);
	void *revocations_arg;
};

struct link_ops {
	void (*ready)(void *arg);
	void (*failed)(const char *text, void *arg); /* the worker says that it cannot serve */
	void (*pong)(const struct km_pong *m, void *arg);
	/* Once, last: the other end is gone, or broke the contract (its process should be ended).
	 * Then link_free. */
	void (*closed)(const struct err *why, void *arg);
};

/* Takes fd, also when it fails. */
int link_new(struct link **out, struct link_env *env, int fd, const struct link_ops *ops, void *arg,
    struct err *e);
/* Withdraws its attachments. Not from inside ready, failed or pong. */
void link_free(struct link *l);
struct km_chan *link_chan(struct link *l);
/* The ceiling that its worker is given: who goes beyond it is hostile. It outlives the link. */
void link_set_ceiling(struct link *l, const struct ceiling *given);

/* A list_checked, whose owner is the link. */
void link_on_list_checked(const struct revocation_record *list, void *owner, uint64_t seq);

#endif
