/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that there are none of, for a keeper in this process: of a start all is made but the
 * child, and a number beyond what the kernel gives stands for it. The linker puts these in
 * front (LDFLAGS_FOR_PROCESSES).
 */
#ifndef TX_TESTS_FUZZ_PROCESSES_H
#define TX_TESTS_FUZZ_PROCESSES_H

#include <stdint.h>

#include "tests/fuzz/fuzz.h"

struct jobs;

/* Forgets all: their ends of pipes are closed. */
void processes_end(void);
/* The nth of them does something: it writes, reads, closes, or ends. */
void processes_act(struct jobs *js, struct fuzz_input *in);

#endif
