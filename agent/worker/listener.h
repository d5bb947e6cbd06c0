/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepts connections on the listening sockets that the keeper gave, which all workers share. When
 * descriptors run out it waits instead of spinning; when its owner has no room it leaves new
 * connections to the other workers.
 */
#ifndef TX_AGENT_WORKER_LISTENER_H
#define TX_AGENT_WORKER_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

struct event_base;
struct listeners;

struct listener_ops {
	/* A connection: non-blocking, close-on-exec, the callee's to close. */
	void (*accepted)(int fd, const struct sockaddr *from, socklen_t len, void *arg);
	/* Whether one more may come. Once false, none does until listeners_resume. */
	bool (*room)(void *arg);
};

struct listeners *listeners_new(struct event_base *base, const struct listener_ops *ops, void *arg);
void listeners_free(struct listeners *l); /* closes the sockets; NULL is allowed */

/* Takes fd. Before listeners_start. */
void listeners_add(struct listeners *l, int fd, const char *address);
void listeners_start(struct listeners *l);
/* There is room again. Does nothing when it had not been missed. */
void listeners_resume(struct listeners *l);
/* For good: closes the sockets. */
void listeners_stop(struct listeners *l);

#endif
