/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where stdin comes from: an inherited descriptor, read without waiting in it (regular files
 * apart), without making it non-blocking, and only while the other side takes what is read: at most
 * one piece is held.
 */
#ifndef TX_CLI_SOURCE_H
#define TX_CLI_SOURCE_H

#include <stddef.h>

struct event_base;
struct source;

#define SOURCE_PIECE ((size_t)128 * 1024)

struct source_ops {
	/* Takes up to len bytes and returns how many; less than len: nothing more is read until
	 * source_room. */
	size_t (*take)(struct source *source, const void *data, size_t len, void *arg);
	/* Nothing follows, once: the end (0), or reading failed (errno). Everything read was taken
	 * before. */
	void (*ended)(struct source *source, int sys_errno, void *arg);
};

/* Reads from the event loop on. fd stays the caller's. */
struct source *source_new(struct event_base *base, int fd, const struct source_ops *ops, void *arg);
/* Not from inside its own callbacks. */
void source_free(struct source *source);
/* There is room again. */
void source_room(struct source *source);
/* Reads nothing more and says nothing more; allowed in callbacks. */
void source_stop(struct source *source);

#endif
