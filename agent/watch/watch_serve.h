/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A telex-files that watches: connections come over the control socket (common/watch_control.h),
 * each is one call (watch_conn.h), and all of them are served by one watcher (watcher.h), in one
 * loop that never waits for any of them.
 */
#ifndef TX_WATCH_SERVE_H
#define TX_WATCH_SERVE_H

#include <stdint.h>

#include "agent/watch/watch_conn.h"
#include "common/err.h"
#include "common/watch_control.h"

/* Until the control socket ends: 0; or negative with *e filled. Everything in *s stays the
 * caller's. */
int watch_serve(const struct watch_serve *s, struct err *e);

/* As telexd gives it: 64 hexadecimal digits. TX_EINVAL. */
int watch_serve_key(uint8_t key[WATCH_KEY_SIZE], const char *hex);

#endif
