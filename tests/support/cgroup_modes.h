/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways in which a keeper can find descendants, as far as this machine has them: lines for its
 * configuration, so that a test can go through all of them.
 */
#ifndef TX_TESTS_CGROUP_MODES_H
#define TX_TESTS_CGROUP_MODES_H

#include <stdbool.h>

struct cgroup_mode {
	const char *name; /* "v2", "v1", "none" */
	char config[256]; /* "cgroup = …" */
	bool certain;     /* descendants cannot hide */
};

#define CGROUP_MODES_MAX 3

/* How many; "none" is always the last. Where it may, it mounts v2 into a folder of its own, seen by
 * this process and its children alone: call it once, first. */
int cgroup_modes(struct cgroup_mode modes[CGROUP_MODES_MAX]);

#endif
