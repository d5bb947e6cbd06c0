/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets: bound once, held until the agent ends, whatever becomes of the workers
 * that accept. */
#ifndef TX_KEEPER_LISTENER_H
#define TX_KEEPER_LISTENER_H

#include <stddef.h>

#include "agent/keeper/config.h"
#include "common/err.h"

struct listener {
	int fd;
	char address[KM_TEXT_SIZE]; /* "127.0.0.1:8359", with the real port */
};

struct listeners {
	size_t n;
	struct listener list[KM_LISTEN_MAX];
};

/* Binds all of them, or none. A name stands for all its addresses. */
int listeners_open(struct listeners **out, const struct config *c, struct err *e);
/* Writes STATE/address: one address a line, atomically. */
int listeners_publish(const struct listeners *ls, int state_dir, struct err *e);
/* Removes that file. */
void listeners_unpublish(int state_dir);
void listeners_free(struct listeners *ls);

#endif
