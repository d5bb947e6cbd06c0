/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves to another file system: a copy is made beside the target, whole and durable, takes the
 * target's place at once, and only then the source is removed. What fails before that leaves the
 * source and the target as they were.
 */
#ifndef TX_FILES_MOVE_ACROSS_H
#define TX_FILES_MOVE_ACROSS_H

#include <stdbool.h>

#include "agent/files/call.h"

/* One end: `name` in dir_fd; path is what it was called in the request. */
struct move_end {
	int dir_fd;
	const char *name, *path;
};

/* Fills *status where it fails, and the call's summary. never: the target must not be there. */
void move_across(struct call *c, const struct move_end *from, const struct move_end *to, bool never,
    struct rpc_status *status);

#endif
