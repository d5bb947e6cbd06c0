/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in place of agent/watch/watcher.c: a watcher whose calls do what they are asked for by
 * their first path and by the numbers of their barriers.
 *
 *     begin: "/refuse" is refused (NOT_FOUND); else `armed` comes, its clock the first path and
 *            its `folders` the number of roots that it was given (fake_watcher_roots)
 *     sync:  FAKE_WRONG + n is wrong; FAKE_FLOOD + n: n changes of FAKE_CHUNK bytes, their `order`
 *            from 0 on; FAKE_END + n: it ends (CANCELLED); others are answered
 *     the half is closed: it ends (OK)
 */
#ifndef TX_TESTS_FAKE_WATCHER_H
#define TX_TESTS_FAKE_WATCHER_H

#include "agent/watch/watcher.h"

#define FAKE_CHUNK ((size_t)60 << 10)
#define FAKE_FLOOD 1000000
#define FAKE_WRONG 2000000
#define FAKE_END   3000000

/* As that of roles: address n of this is role n's roots. */
extern char fake_watcher_roots[8];
/* Calls that are there now; changes that a flood has sent. From any thread. */
int fake_watcher_calls(void);
int fake_watcher_sent(void);
/* Bytes that it was allowed last. */
unsigned long long fake_watcher_allowed(void);

#endif
