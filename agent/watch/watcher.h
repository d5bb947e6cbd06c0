/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that one telex-files watches: a tree for each set of roots' options, shared by the Watch
 * calls that ask for the same. Nothing here waits; watch_serve.c has the loop and the sockets.
 *
 * What is known of the trees is in a memfd (watch_store.h) that telexd holds, too: the next
 * telex-files goes on with it where this one dies.
 */
#ifndef TX_WATCHER_H
#define TX_WATCHER_H

#include <poll.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rpc_status.h"
#include "telex/v1/watch.pb-c.h"

struct roots;
struct watcher;
struct watch_allow;
struct watch_client;
struct watch_wide;

/*
 * store_fd: of a memfd, empty or left by a predecessor; stays the caller's. wide: whole file
 * systems may be watched (watch_source.h); NULL: they may not. It is called before the process is
 * locked in (inotify_init1, fanotify_init and what needs other privileges belong here), everything
 * else after that. That there is no inotify instance to be had is told by watch_client_new.
 * TX_ESYS, TX_ENOMEM.
 */
int watcher_new(struct watcher **out, int store_fd, const struct watch_wide *wide, struct err *e);
/* What its store may take from now on. Who has no room then is told so, and others have theirs. */
void watcher_allow(struct watcher *w, const struct watch_allow *allow);
void watcher_free(struct watcher *w); /* after its clients; NULL is allowed */

#define WATCHER_FDS 4
/* What is to be polled; how many of fds were filled. */
size_t watcher_poll(const struct watcher *w, struct pollfd fds[WATCHER_FDS]);
/* When watcher_run is wanted at the latest, by CLOCK_MONOTONIC in ns; 0: now; INT64_MAX: when one
 * of the descriptors is readable. */
int64_t watcher_due(const struct watcher *w);
/* A piece of what there is to do, some 10 ms at most. */
void watcher_run(struct watcher *w);

/* ---- a call ---- */

struct watch_client_ops {
	/* A response. false: what waits for the client is enough by now (the message was taken all
	 * the same): no more until watch_client_writable. */
	bool (*send)(const Telex__V1__WatchResponse *m, void *arg);
	/* The call is over: free it, from here, too. status: OK, or why. */
	void (*finish)(const struct rpc_status *status, void *arg);
};

/*
 * A call begins; roots: its role's, which outlive it. `begin`'s paths are absolute and plain.
 * NULL with *status filled. What is found wrong later ends it by `finish`. No callback comes from
 * inside this.
 */
struct watch_client *watch_client_new(struct watcher *w, const struct roots *roots,
    const Telex__V1__WatchBegin *begin, const struct watch_client_ops *ops, void *arg,
    struct rpc_status *status);
/* NULL is allowed. */
void watch_client_free(struct watch_client *c);
/* The next request. Negative with *status filled: it is wrong. */
int watch_client_message(
    struct watch_client *c, const Telex__V1__WatchRequest *m, struct rpc_status *status);
/* The client has closed its half: what has happened by now is sent, then `finish`. */
void watch_client_half_closed(struct watch_client *c);
void watch_client_writable(struct watch_client *c);

#endif
