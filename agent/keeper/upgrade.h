/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper executes a new image of itself: same pid, so that its children stay its children. The
 * program is opened once. First it is asked, as a child, whether it understands the state and the
 * configuration (--check-state); only when it says so is it executed, and the very file that was
 * asked. Until then, and when execve fails, nothing has changed.
 */
#ifndef TX_KEEPER_UPGRADE_H
#define TX_KEEPER_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

struct event_base;
struct state_out;
struct upgrade;

/* Where --check-state finds the state. */
#define UPGRADE_CHECK_FD 3

struct upgrade_ops {
	/* The state, now. NULL: no memory. */
	struct state_out *(*save)(void *arg);
	/* Why the state cannot be taken now; NULL: it can. */
	const char *(*hindered)(void *arg);
	/* The moment before: whoever is connected is told. */
	void (*leaving)(void *arg);
	/* It does not come to it: why is logged by the callee. Nothing has changed. */
	void (*refused)(const char *why, void *arg);
};

/* program: the path of this program as it was started; argv: its arguments. Borrows all. */
int upgrade_new(struct upgrade **out, struct event_base *base, const char *program,
    char *const *argv, const struct upgrade_ops *ops, void *arg, struct err *e);
void upgrade_free(struct upgrade *u); /* NULL is allowed */

/* Begins. One on its way already is no error. */
void upgrade_request(struct upgrade *u);
/* One on its way is given up. */
void upgrade_cancel(struct upgrade *u);
/* A child has died. Whether it was the one that was asked. */
bool upgrade_reaped(struct upgrade *u, pid_t pid, int status);

/* In the new image: the descriptor of the state, or -1: it was started in the usual way. Once. */
int upgrade_state_fd(void);

#endif
