/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-ca, the process that has an authority's key: started when the configuration has an
 * authority, as the owner of the authority's folder and in it; started again, with a pause, when it
 * dies or its settings change. What it may do is its own matter: the keeper gives it sockets to the
 * workers, and never sees the key.
 */
#ifndef TX_KEEPER_CA_PROC_H
#define TX_KEEPER_CA_PROC_H

#include <stdbool.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct ca_proc;
struct event_base;

struct ca_proc_ops {
	/* It answers (anew): ca_proc_client gives sockets. Not from inside a call. */
	void (*up)(void *arg);
};

/* `path`: its program. Borrows all pointers. No process yet. */
int ca_proc_new(struct ca_proc **out, struct event_base *base, const char *path,
    const struct ca_proc_ops *ops, void *arg, struct err *e);
/* Ends and reaps it. NULL is allowed. */
void ca_proc_free(struct ca_proc *ca);

/* From now on as this configuration says (a reference is taken). What has not changed goes on. */
void ca_proc_set(struct ca_proc *ca, struct config *c);
/* For good; it ends by itself. */
void ca_proc_end(struct ca_proc *ca);

/* One end of a socket whose other end it answers; the caller's. -1: it does not answer (yet). */
int ca_proc_client(struct ca_proc *ca);

/* A child has died. Whether it was this one. */
bool ca_proc_reaped(struct ca_proc *ca, pid_t pid, int status);
pid_t ca_proc_pid(const struct ca_proc *ca); /* 0: none */

#endif
