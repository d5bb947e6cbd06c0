/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-renew, run once: as the workers' user, with its files as descriptors, its answer taken from
 * a pipe (renew_frame.h) with caps on its size, killed after a deadline.
 */
#ifndef TX_KEEPER_RENEW_CHILD_H
#define TX_KEEPER_RENEW_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "common/err.h"
#include "common/renew_frame.h"

struct event_base;
struct renew_child;

struct renew_order {
	const char *mode; /* "certificate", "request", "revocations", "list" or "dates" */
	/* RENEW_FD_CERTIFICATE and so on; -1: /dev/null. Stay the caller's. */
	int fds[RENEW_FDS];
	uint32_t first, second; /* at most so many bytes */
};

/* What came of it: first == NULL: nothing. Not from inside a call. */
typedef void renew_done(const uint8_t *first, uint32_t first_len, const uint8_t *second,
    uint32_t second_len, void *arg);

/* program: its path. Borrows all. */
int renew_child_new(struct renew_child **out, struct event_base *base, const char *program,
    renew_done *done, void *arg, struct err *e);
void renew_child_free(struct renew_child *c); /* kills and reaps it; NULL is allowed */

bool renew_child_runs(const struct renew_child *c);
int renew_child_start(
    struct renew_child *c, const struct config *config, const struct renew_order *o, struct err *e);
void renew_child_kill(struct renew_child *c); /* `done` follows, with nothing */
/* A child has died. Whether it was this one. */
bool renew_child_reaped(struct renew_child *c, pid_t pid, int status);

/* For tests: how long it may take. */
void renew_child_set_limit(struct renew_child *c, int64_t ns);

#endif
