/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With thousands of processes the keeper has tens of thousands of descriptors. A child that is
 * given a copy of them all, and closes them all, takes milliseconds. One that shares the keeper's
 * table and begins with a copy of the low ones alone does not: so a few low numbers are kept
 * occupied (by /dev/null), and a start puts there for its moment what the child needs.
 *
 * Only where the keeper stands still until the child executes (CLONE_VFORK).
 */
#ifndef TX_KEEPER_SPAWN_LOW_H
#define TX_KEEPER_SPAWN_LOW_H

#include <stdbool.h>

#include "agent/keeper/spawn_internal.h"

/* Early, while low numbers are free. Where it cannot be, spawn_low_take says no. */
void spawn_low_init(void);
/* Puts c's descriptors there, and sets keep_below. False: c is as it was. */
bool spawn_low_take(struct spawn_child *c);
/* After the child has executed or ended. */
void spawn_low_release(void);

#endif
