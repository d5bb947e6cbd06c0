/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal to a job's whole tree. Looks who there is, opens a pidfd for each, makes sure that what
 * was opened belongs to the job, signals; and looks again until nobody new is found. A tree of
 * thousands takes longer than others can wait: what is not done in a turn's time goes on in the
 * next ones, and the tree is frozen until then, where it can be.
 */
#ifndef TX_KEEPER_TREE_STRIKE_H
#define TX_KEEPER_TREE_STRIKE_H

#include <stdbool.h>
#include <stdint.h>

struct job;

/* 0: somebody was reached, or it goes on; else as tree_signal. */
int tree_strike(const struct job *j, int signo, int *sys_errno);
/* Whether one goes on. */
bool tree_strike_pending(const struct job *j);
/* Does now what was put off, however long that takes. */
void tree_strike_finish(const struct job *j);
/* The job is going: what was put off is not done any more. */
void tree_strike_stop(const struct job *j);

/* No job is left: frees what is kept between calls. */
void tree_strike_forget(void);

/* For tests: looks at whole trees so far; how long a turn may take, instead of 20 ms. */
uint64_t tree_strike_looks(void);
void tree_strike_set_slice(int64_t ns);

#endif
