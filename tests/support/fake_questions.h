/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fake agent's answers to all of ProcessService but Run. What was asked is in the fake_seen; a
 * process or a group named "later" has no answer until fake_agent_release.
 */
#ifndef TX_TESTS_FAKE_QUESTIONS_H
#define TX_TESTS_FAKE_QUESTIONS_H

#include <stddef.h>

#include "common/rpc.h"

extern const struct rpc_method fake_questions[];
extern const size_t n_fake_questions;

/* The process with this id, "p1". */
void fake_fill_process(void *process, const char *id);

#endif
