/* SPDX-License-Identifier: Apache-2.0 */
/* A telex-files that watches, in a thread, around a stand-in of its watcher; and the other ends of
 * its sockets: telexd's, and workers'. */
#ifndef TX_TESTS_WATCH_SERVE_RIG_H
#define TX_TESTS_WATCH_SERVE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>

#include "agent/watch/watch_serve.h"
#include "common/files_frame.h"
#include "tests/support/fake_watcher.h"

#define DEADLINE_MS 120000
#define ROLES       2 /* that it has roots of */

struct scene {
	int control, other;
	pthread_t thread;
	bool running;
	int rc, lock_ins;
	bool cannot; /* lock itself in */
	struct err e;
	uint8_t setup[256];
	size_t setup_len;
	struct watch_serve serve;
	Telex__Internal__V1__FilesReady ready;
};

/* ---- the process ---- */

/* cmocka's setup and teardown; *state is the scene. */
int serve_set_up(void **state);
int serve_tear_down(void **state);
/* Ends it, and gives what watch_serve returned. */
int serve_end(struct scene *s);
/* Until that is true; fails at a deadline. */
void serve_until(bool (*fn)(void *arg), void *arg);

/* ---- telexd's side ---- */

/* A message without a connection. */
void serve_allow(struct scene *s, uint64_t memory);
/* A new connection: a worker's end of it. */
int serve_hand(struct scene *s);
/* It says that it has no connections left, after so many. */
void serve_expect_idle(struct scene *s, uint64_t taken);

/* ---- a worker's side ---- */

/* Bytes, and frames. */
void serve_put(int fd, const void *data, size_t len);
void serve_frame(int fd, uint32_t type, const void *body, size_t len);
/* The next frame: its type; 0: the connection has ended. */
uint32_t serve_next(int fd, uint8_t *body, size_t size, size_t *len);
/* What comes next. */
void serve_expect_end(int fd);
void serve_expect_ready(int fd);
void serve_expect_status(int fd, uint32_t code, const char *reason);
Telex__V1__WatchResponse *serve_expect_response(int fd);
void serve_expect_armed(int fd, const char *path, uint64_t role_number);
void serve_expect_synced(int fd, uint64_t id);
void serve_expect_flood(int fd, uint64_t n, uint64_t id);
/* Messages, packed: their sizes. */
size_t serve_pack_call(uint8_t *out, const char *method, uint32_t role_number);
size_t serve_pack_begin(uint8_t *out, const char *path);
size_t serve_pack_sync(uint8_t *out, uint64_t id);
/* What a call consists of. */
void serve_begin(int fd, const char *path);
void serve_sync_with(int fd, uint64_t id);
void serve_call(int fd, const char *method, uint32_t role_number);
/* A connection whose setup was taken; and one with a call that is armed. */
int serve_set_up_connection(struct scene *s);
int serve_watch(struct scene *s, const char *path);

#endif
