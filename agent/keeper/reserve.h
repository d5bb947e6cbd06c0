/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors kept for what must not fail for want of them: to end a process and all its
 * descendants, these are looked for in files and signalled through pidfds. They are given up for
 * that time, and taken back after it as far as others left them.
 */
#ifndef TX_KEEPER_RESERVE_H
#define TX_KEEPER_RESERVE_H

#include <stdbool.h>

/* As early as possible: their numbers must be low, in case the limit is lowered. */
void reserve_fill(void);
void reserve_free(void);

/* Around it; the two nest. */
void reserve_give_up(void);
void reserve_take_back(void);

/* Whether it failed for want of descriptors or memory: there may be some later. */
bool reserve_is_shortage(int sys_errno);

#endif
