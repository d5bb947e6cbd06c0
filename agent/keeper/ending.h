/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How processes are made to end: signals by request, the run timeout, the disconnect policy,
 * shutdown. Only a leader that is not reaped is signalled, it and its group: its zombie pins the
 * number.
 */
#ifndef TX_KEEPER_ENDING_H
#define TX_KEEPER_ENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/keeper_msg.h"

struct job;

/* The job runs now: begins its run timeout. */
void ending_started(struct job *j);

/* By a client's request. 0; TX_ESTATE: it has ended; TX_ESYS with *sys_errno. */
int ending_signal(struct job *j, int signo, enum km_target target, const char *by, int *sys_errno);

/* `signo` to the group, SIGKILL to it after grace_ns. A second ending only shortens: its reason is
 * the first's. */
void ending_begin(struct job *j, enum km_reason why, int signo, int64_t grace_ns);
/* SIGKILL to the group now. */
void ending_kill(struct job *j, enum km_reason why);

/* The last attachment is gone; worker_died: it was not the client that left. */
void ending_left(struct job *j, bool worker_died);
/* Somebody is attached again. */
void ending_returned(struct job *j);

/* Of struct job_ops. */
void ending_timer(struct job *j);
void ending_gone(struct job *j);

/* The reason and `by` for j->exit, whose kind and value are set. */
void ending_explain(struct job *j);

/* "exited with 3", "died of SIGTERM", "is running". */
void ending_describe(const struct job *j, char *out, size_t size);

#endif
