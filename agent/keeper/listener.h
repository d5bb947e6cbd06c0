/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening sockets: bound once, held until the agent ends or its configuration names them no
 * more, whatever becomes of the workers that accept.
 */
#ifndef TX_KEEPER_LISTENER_H
#define TX_KEEPER_LISTENER_H

#include <stddef.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct listener {
	int fd;
	enum km_listen_kind kind;
	char text[KM_TEXT_SIZE];    /* as the configuration names it */
	char address[KM_TEXT_SIZE]; /* "127.0.0.1:8359", with the real port */
};

struct listeners {
	unsigned refs;
	size_t n;
	struct listener list[KM_LISTEN_MAX];
};

/*
 * Binds all of them, or none. A name stands for all its addresses. Those that `before` (NULL: none)
 * has are taken over, not bound again: no connection that waits there is lost. `before` stays the
 * caller's.
 */
int listeners_open(
    struct listeners **out, const struct config *c, const struct listeners *before, struct err *e);
/* Writes STATE/address: one address a line, atomically; and STATE/enroll-address with those of an
 * authority, when there are any. */
int listeners_publish(const struct listeners *ls, int state_dir, struct err *e);
/* Removes those files. */
void listeners_unpublish(int state_dir);
/* One reference from listeners_open; the last listeners_unref closes them. NULL is allowed. */
struct listeners *listeners_ref(struct listeners *ls);
void listeners_unref(struct listeners *ls);

#endif
