/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From when until when the agent's certificate is valid, as telex-renew reads it: it is the agent's
 * own, yet the keeper parses none, and a worker that was taken over could say anything.
 */
#ifndef TX_KEEPER_CERTIFICATE_DATES_H
#define TX_KEEPER_CERTIFICATE_DATES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct certificate_dates;
struct event_base;

/* Seconds since the epoch. */
typedef void certificate_dates_known(int64_t not_before, int64_t not_after, void *arg);

/* program: telex-renew's path. Borrows all. */
int certificate_dates_new(struct certificate_dates **out, struct event_base *base,
    const char *program, certificate_dates_known *known, void *arg, struct err *e);
void certificate_dates_free(struct certificate_dates *d); /* NULL is allowed */

/* Of the certificate (PEM) that is open as `fd`, which stays the caller's. `known` follows, once;
 * what fails is tried again until it is asked of another. Takes a reference of c. */
void certificate_dates_ask(struct certificate_dates *d, struct config *c, int fd);
/* Nothing is begun any more; and goes on with what was asked last. */
void certificate_dates_stop(struct certificate_dates *d);
void certificate_dates_resume(struct certificate_dates *d);
/* A child has died. Whether it was this one's. */
bool certificate_dates_reaped(struct certificate_dates *d, pid_t pid, int status);

#endif
