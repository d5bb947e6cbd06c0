/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a telex-files that watches: one call, in the frames of common/files_frame.h,
 * without waiting. What waits for its client is bounded: when much does, the call is told to send
 * no more (watcher.h), and nothing more of its client's is read.
 *
 * Each setup must be the one whose hash is the key. So a worker that lies about it gets nothing,
 * and takes nothing from those that do not.
 */
#ifndef TX_WATCH_CONN_H
#define TX_WATCH_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/watch/watcher.h"
#include "common/err.h"
#include "common/rpc_status.h"
#include "common/watch_control.h"
#include "telex/internal/v1/files.pb-c.h"

struct watch_conn;

struct watch_serve_ops {
	/* The first setup: the process locks itself in to its roles. Negative with *e filled: it
	 * ends. */
	int (*lock_in)(const Telex__Internal__V1__FilesSetup *m, void *arg, struct err *e);
	/* From then on: where a role may go, by its number; NULL: there is none such. And what each
	 * connection is told first. */
	const struct roots *(*role)(uint32_t number, void *arg);
	const Telex__Internal__V1__FilesReady *(*ready)(void *arg);
};

struct watch_serve {
	int control_fd;
	uint8_t key[WATCH_KEY_SIZE];
	struct watcher *watcher;
	const struct watch_serve_ops *ops;
	void *arg;
};

/* What all of them share. */
struct watch_conns {
	const struct watch_serve *serve;
	bool locked_in;
	struct err failure; /* code not 0: the process could not be locked in, and has to end */
	size_t held;        /* bytes that have come and wait for the rest of their frames */
};

#define WATCH_CONNS_MAX      1024
#define WATCH_CONNS_HELD_MAX ((size_t)64 << 20)
#define WATCH_CONN_FULL      ((size_t)256 << 10) /* so much waits for a client, and no more */

/* Takes fd. NULL: no memory; fd is closed then, too. */
struct watch_conn *watch_conn_new(struct watch_conns *all, int fd);
void watch_conn_free(struct watch_conn *c); /* with its call; NULL is allowed */

int watch_conn_fd(const struct watch_conn *c);
short watch_conn_events(const struct watch_conn *c); /* poll(2)'s */
/* What poll has said. Some of what has come is read and obeyed. */
void watch_conn_turn(struct watch_conn *c, short revents);
/* Writes what can be written; after that the call may send more. */
void watch_conn_flush(struct watch_conn *c);
/* There is nothing more to be done: free it. */
bool watch_conn_is_over(const struct watch_conn *c);
/* Ends it with a status before it has begun. */
void watch_conn_refuse(struct watch_conn *c, const struct rpc_status *status);

#endif
