/* SPDX-License-Identifier: Apache-2.0 */
/* A watch of the program on libtelex (asks.h). */
#ifndef TX_TESTS_FUZZ_ASKS_WATCH_H
#define TX_TESTS_FUZZ_ASKS_WATCH_H

#include <stdint.h>

#include "tests/fuzz/asks.h"

/* Begins one; how: its options. 0, or -1. */
int asks_watch_begin(const struct asks *a, struct ask *k, struct telex_client *c, uint8_t how);
/* The program does something with it; after its cancelling the ask is closed. */
void asks_watch_act(struct ask *k, uint8_t how);

#endif
