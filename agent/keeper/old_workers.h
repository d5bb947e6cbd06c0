/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that an earlier image of the keeper started. Their links are gone; they end by
 * themselves, or are ended. */
#ifndef TX_KEEPER_OLD_WORKERS_H
#define TX_KEEPER_OLD_WORKERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

struct event_base;
struct old_workers;

int old_workers_new(struct old_workers **out, struct event_base *base, struct err *e);
/* Kills what is left. NULL is allowed. */
void old_workers_free(struct old_workers *os);

void old_workers_add(struct old_workers *os, pid_t pid);
/* A child has died. Whether it was one of them. */
bool old_workers_reaped(struct old_workers *os, pid_t pid);
void old_workers_each(const struct old_workers *os, void (*each)(pid_t pid, void *arg), void *arg);

#endif
