/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where output goes: an inherited descriptor, written without ever waiting in it (regular files
 * apart) and without making it non-blocking. What cannot be written yet is queued by copy; the
 * caller bounds the queue by what it lets come before `written`.
 */
#ifndef TX_CLI_SINK_H
#define TX_CLI_SINK_H

#include <stddef.h>

struct event_base;
struct sink;

struct sink_ops {
	/* n more bytes are written, or dropped because the sink is lost. May come from inside
	 * sink_write. */
	void (*written)(struct sink *sink, size_t n, void *arg);
	/* The descriptor takes no more: EPIPE, ENOSPC, …; once. What is and will be given is
	 * dropped. */
	void (*lost)(struct sink *sink, int sys_errno, void *arg);
};

/* fd stays the caller's. A descriptor that is not open for writing is lost at the first write. */
struct sink *sink_new(struct event_base *base, int fd, const struct sink_ops *ops, void *arg);
/* Drops what is queued. Not from inside its own callbacks. */
void sink_free(struct sink *sink);
/* Takes all: writes what can be written now and queues the rest. */
void sink_write(struct sink *sink, const void *data, size_t len);
/* Bytes queued. */
size_t sink_pending(const struct sink *sink);

#endif
