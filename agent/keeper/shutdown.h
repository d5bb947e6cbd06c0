/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out: no new starts, workers drain, jobs end (stop signal, grace, SIGKILL), then what they
 * left behind, then the workers. No process is left.
 */
#ifndef TX_KEEPER_SHUTDOWN_H
#define TX_KEEPER_SHUTDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct link_env;
struct reap;
struct shutdown;
struct workers;

/* done: everything is gone. Borrows all pointers. */
int shutdown_new(struct shutdown **out, struct link_env *env, struct workers *ws, struct reap *reap,
    int64_t grace_ns, void (*done)(void *arg), void *arg, struct err *e);
void shutdown_free(struct shutdown *sd);

/* The first call begins; the second kills what is left. */
void shutdown_request(struct shutdown *sd);
/* From a new configuration. */
void shutdown_set_grace(struct shutdown *sd, int64_t grace_ns);
/* Something has ended. */
void shutdown_poke(struct shutdown *sd);

#endif
