/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper.c (the parts, wired together, and their life) and keeper_change.c (reload and
 * upgrade) share; nobody else includes it.
 */
#ifndef TX_KEEPER_KEEPER_INTERNAL_H
#define TX_KEEPER_KEEPER_INTERNAL_H

#include <stdbool.h>

#include "agent/keeper/config.h"
#include "agent/keeper/keeper.h"
#include "agent/keeper/link.h"
#include "agent/keeper/listener.h"
#include "agent/keeper/state.h"
#include "agent/keeper/upgrade.h"
#include "common/err.h"

struct signal_watch;

#define KEEPER_SIGNALS 4

struct keeper {
	struct config *config; /* the one in force */
	struct state_keeper self;
	bool serving;       /* the first workers are ready */
	bool upgraded;      /* this is not the first image of this agent */
	bool reload_wanted; /* asked for before that */
	struct link_env env;
	struct listeners *listeners;
	struct workers *workers;
	struct old_workers *old_workers;
	struct upgrade *upgrade;
	struct renewal *renewal;
	struct ca_proc *ca;
	struct files_program *files;
	struct reap *reap;
	struct cgroups *cgroups;
	struct shutdown *shutdown;
	struct signal_watch *watches[KEEPER_SIGNALS];
	int spool_dir;
	bool published;
	struct err failure; /* why it never came to serve */
};

/* The addresses, for others to find. */
void keeper_publish(struct keeper *k);

/* SIGHUP. Of workers_ops: how a reload went. */
void keeper_reload(struct keeper *k);
void keeper_renewed(struct config *c, struct listeners *ls, void *arg);
void keeper_not_renewed(const char *why, void *arg);

/* The certificate that serves now decides when the next is fetched. */
extern const struct renewal_ops keeper_renewal_ops;
void keeper_follow_certificate(struct keeper *k);
/* Of link_env. */
int keeper_revocations(const struct revocation_record *list, void *arg, struct err *e);

/* SIGUSR2; and what the new image begins with. */
extern const struct upgrade_ops keeper_upgrade_ops;
void keeper_upgrade(struct keeper *k);
int keeper_take_over(struct keeper *k, struct state_in *state, struct err *e);

#endif
