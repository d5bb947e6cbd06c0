/* SPDX-License-Identifier: Apache-2.0 */
/* When to try again: which errors may pass, and how long to wait before each try. */
#ifndef TX_LIB_RETRY_H
#define TX_LIB_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/telex.h"

/* The connection, or the agent's worker, may be back soon. Everything else is an answer. */
bool retry_may_pass(const struct telex_error *error);
/* An agent that says so is to be asked again on another connection. */
bool retry_elsewhere(const struct telex_error *error);
/* The process that works on a file has died: of what it is asked, if it does so each time. */
bool retry_died(const struct telex_error *error);
/* That, or another one still holds the file: one whose connection was lost may have to write for
 * long before it notices. */
bool retry_busy(const struct telex_error *error);
/* As retry_elsewhere, and what was asked is certainly not done. */
bool retry_undone(const struct telex_error *error);

/*
 * Before the n-th try, from 0: up to 10 ms at first, then a random part of 50 ms, doubled with each
 * try up to 2 s. All of it is random, so that those who lost an agent together do not come back
 * together.
 */
int64_t retry_delay_ns(unsigned n);

#endif
