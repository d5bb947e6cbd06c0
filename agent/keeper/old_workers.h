/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that an earlier image of the keeper started. Their links are gone; they end by
 * themselves, or are ended. */
#ifndef TX_KEEPER_OLD_WORKERS_H
#define TX_KEEPER_OLD_WORKERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct event_base;
struct exec_log;
struct old_workers;

/* Their ends are written into x, which outlives it. */
int old_workers_new(
    struct old_workers **out, struct event_base *base, struct exec_log *x, struct err *e);
/* Kills what is left, and waits for it. NULL is allowed. */
void old_workers_free(struct old_workers *os);

/* writer: of its audit records; 0: not known. */
void old_workers_add(struct old_workers *os, pid_t pid, uint64_t writer);
/* A child has died. Whether it was one of them. */
bool old_workers_reaped(struct old_workers *os, pid_t pid);
void old_workers_each(
    const struct old_workers *os, void (*each)(pid_t pid, uint64_t writer, void *arg), void *arg);

#endif
