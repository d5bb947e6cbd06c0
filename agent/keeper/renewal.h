/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the agent's certificate is renewed and its revocation list fetched: both by telex-renew
 * (renew_child.h), from the authority that `renew_from` names.
 *
 * A certificate is due at two thirds of its life, give or take a tenth; by the wall clock, which is
 * looked at anew at least each minute, so one that jumps is followed. What fails is tried again
 * with back-off, from a second to ten minutes, and never later than a tenth of what is left. The
 * loop never waits for it.
 */
#ifndef TX_KEEPER_RENEWAL_H
#define TX_KEEPER_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct event_base;
struct renewal;
struct revocation_record;

struct renewal_ops {
	/* There is a new pair in the configuration's files: make it serve, then renewal_look; or
	 * renewal_not_loaded. */
	void (*renewed)(void *arg);
	/* A newer revocation list. */
	void (*revocations)(const struct revocation_record *list, void *arg);
};

/* program: telex-renew's path; copied. Borrows the rest. */
int renewal_new(struct renewal **out, struct event_base *base, const char *program,
    const struct renewal_ops *ops, void *arg, struct err *e);
void renewal_free(struct renewal *r);

/* The configuration in force. */
void renewal_configure(struct renewal *r, struct config *c);
/* The certificate that serves now (PEM, open; it stays the caller's): from here on it is renewed by
 * its dates, as telex-renew reads them. */
void renewal_look(struct renewal *r, int certificate_fd);
/* `renewed` has not led to its use; it is tried again. */
void renewal_not_loaded(struct renewal *r);
/* Nothing is begun any more, and what is under way is ended. */
void renewal_stop(struct renewal *r);
/* After renewal_stop: goes on. */
void renewal_resume(struct renewal *r);

/* A child has died. Whether it was one of these. */
bool renewal_reaped(struct renewal *r, pid_t pid, int status);

/* ---- the arithmetic, for tests ---- */

/* The pause after the nth failure in a row (from 1). left_s: of the certificate's life; part: 0 to
 * 1, moves it by up to a tenth. */
int64_t renewal_pause_ns(unsigned failures, int64_t left_s, double part);

#endif
