/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that starts programs, one at a time: a start that hangs (a file system that does not
 * answer, a write lease on the program) suspends that thread and not the keeper.
 */
#ifndef TX_KEEPER_SPAWNER_H
#define TX_KEEPER_SPAWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/spawn.h"
#include "common/err.h"

struct spawner;

int spawner_new(struct spawner **out, struct err *e);
/* Kills what does not come to execute. NULL is allowed. */
void spawner_free(struct spawner *sp);

/* Only while there is none on its way. The plan and all it points to must live until
 * spawner_take. */
void spawner_begin(struct spawner *sp, const struct spawn_plan *plan);
/* Whether it is done, by then. */
bool spawner_wait(struct spawner *sp, int64_t limit_ns);
/* Readable from when it is done until spawner_take. */
int spawner_fd(const struct spawner *sp);

/* Of the child that has not executed yet, or 0: it is not there yet. */
pid_t spawner_pid(struct spawner *sp);

/* After it is done: as spawn_run, but that the child of a start that failed is left to be reaped:
 * *failed is its pid, or 0. */
int spawner_take(
    struct spawner *sp, struct spawn_result *out, struct spawn_failure *why, pid_t *failed);

#endif
