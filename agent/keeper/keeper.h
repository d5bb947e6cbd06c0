/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper as a whole: its parts, wired together. */
#ifndef TX_KEEPER_KEEPER_H
#define TX_KEEPER_KEEPER_H

#include <sys/resource.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct keeper;
struct state_in;

struct keeper_setup {
	struct config *config; /* a reference is taken */
	const char *worker;    /* the worker's executable */
	const char *renew;     /* telex-renew's */
	const char *ca;        /* telex-ca's */
	const char *files;     /* telex-files's */
	struct rlimit nofile;  /* the limit of open files that jobs are to have */
	const char *program;   /* this one, for an upgrade */
	char *const *argv;
	struct state_in *state; /* of the image before this one; NULL: a fresh start */
};

/*
 * Takes the state directory and binds the listeners; or takes over what the state has. All but the
 * setup itself must outlive it. Signals may be blocked until it has returned.
 */
int keeper_new(struct keeper **out, const struct keeper_setup *setup, struct err *e);
/* Starts the workers and serves until SIGTERM or SIGINT. 0, or negative when it never came to
 * serve. */
int keeper_run(struct keeper *k, struct err *e);
void keeper_free(struct keeper *k);

#endif
