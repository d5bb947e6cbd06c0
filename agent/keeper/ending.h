/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How processes are made to end: signals by request, the run timeout, the disconnect policy,
 * shutdown. An ending goes: a signal to the group, the grace, SIGKILL to the whole tree; also when
 * the leader is dead by then (reap.h). A bare number is signalled only as that of the group whose
 * leader is not reaped: its zombie pins it.
 */
#ifndef TX_KEEPER_ENDING_H
#define TX_KEEPER_ENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/keeper_msg.h"

struct job;

/* Whether the leader runs: a zombie does not. */
bool ending_is_alive(const struct job *j);

/* The job runs now: begins its run timeout. */
void ending_started(struct job *j);

/* A client's request. */
struct ending_signal {
	int signo; /* 0: the job's stop signal */
	enum km_target target;
	bool has_value; /* as sigqueue(3); to the process only */
	int value;
	int64_t kill_after_ns; /* SIGKILL to the tree follows; negative: not */
	const char *by;
};

/* 0; TX_ESTATE: it has ended (to its tree: nothing of that is left either); TX_ESYS with
 * *sys_errno. */
int ending_signal(struct job *j, const struct ending_signal *s, int *sys_errno);

/* `signo` to the group, SIGKILL to the tree after grace_ns. A second ending only shortens: its
 * reason is the first's. */
void ending_begin(struct job *j, enum km_reason why, int signo, int64_t grace_ns);
/* SIGKILL to the tree now. */
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
