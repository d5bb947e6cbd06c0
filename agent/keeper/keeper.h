/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper as a whole: its parts, wired together. */
#ifndef TX_KEEPER_KEEPER_H
#define TX_KEEPER_KEEPER_H

#include <sys/resource.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct keeper;

/*
 * Takes the state directory, binds the listeners. worker: the worker's executable. nofile: the
 * limit of open files that jobs are to have. Takes a reference of c; worker must outlive it.
 */
int keeper_new(struct keeper **out, struct config *c, const char *worker,
    const struct rlimit *nofile, struct err *e);
/* Starts the workers and serves until SIGTERM or SIGINT. 0, or negative when it never came to
 * serve. */
int keeper_run(struct keeper *k, struct err *e);
void keeper_free(struct keeper *k);

#endif
