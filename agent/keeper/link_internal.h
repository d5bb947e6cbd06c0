/* SPDX-License-Identifier: Apache-2.0 */
/* What link.c (the channel and its life), link_start.c (attachments) and ask.c (questions) share.
 */
#ifndef TX_KEEPER_LINK_INTERNAL_H
#define TX_KEEPER_LINK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/link.h"
#include "common/keeper_msg.h"

struct attach_table;
struct event;
struct job;

struct link {
	struct link_env *env;
	struct km_chan *chan;
	struct attach_table *table;
	const struct link_ops *ops;
	void *arg;
	const struct ceiling *ceiling; /* that its worker was given; NULL: env->ceiling */
	struct event *fail;            /* tells ops->closed, outside of everything */
	bool closed;
};

/*
 * A message that km_check let through; its descriptors are closed by the caller. Negative ends the
 * link: what link_violation and the answers return.
 */
typedef int link_handler(struct link *l, const union km_any *any, int *fds);

int link_violation(const struct link *l, const char *what);

/* The answer KM_REFUSED: as it is; with a reason and a sentence; with KM_WHY_SYSTEM. */
int link_refuse(struct link *l, uint64_t seq, struct km_refused *why);
int link_refuse_why(struct link *l, uint64_t seq, enum km_why why, const char *text);
int link_refuse_system(struct link *l, uint64_t seq, int sys_errno, const char *what);

/* link_start.c */
link_handler link_on_start, link_on_attach, link_on_detach, link_on_release, link_on_input;
/* ask.c: each has one answer */
link_handler ask_signal, ask_remove, ask_resize, ask_list, ask_group, ask_info;

/* link_revocations.c: it is answered when the list is checked */
link_handler link_on_revocations;
/* link_files.c */
link_handler link_on_files;
/* update.c */
link_handler update_ask;

#endif
