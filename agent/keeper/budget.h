/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long all of one kind of work together may keep the loop from everything else, in one of its
 * turns. What finds nothing left is put off, or left out.
 */
#ifndef TX_KEEPER_BUDGET_H
#define TX_KEEPER_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget;
struct event_base;

struct budget *budget_new(struct event_base *base, int64_t ns); /* NULL: no memory */
void budget_free(struct budget *b);                             /* NULL is allowed */

/* Whether there is some left. It runs from the first question in a turn on; that one is always
 * answered with yes. */
bool budget_left(struct budget *b);

#endif
