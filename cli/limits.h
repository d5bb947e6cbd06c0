/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `--limit NAME=VALUE`. memory, cpu and pids are of the control group of the process and all its
 * descendants; every other name is a resource limit's in prlimit(1). As cpu is taken, prlimit's cpu
 * is "cputime", in seconds.
 */
#ifndef TX_CLI_LIMITS_H
#define TX_CLI_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "lib/telex.h"

struct limits {
	struct telex_limit *rlimits; /* names are static strings */
	size_t n_rlimits;
	/* 0: not given. */
	uint64_t memory_bytes, max_pids;
	uint32_t cpu_millis;
};

/* "nofile=1024:4096", "as=2G", "core=unlimited", "memory=2G", "cpu=1.5", "pids=100". Each name
 * once. 0, or TX_EINVAL with a sentence. */
int limits_add(struct limits *l, const char *text, struct err *e);
void limits_clear(struct limits *l);

#endif
