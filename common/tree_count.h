/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much there is in a tree: a walk of its own beside the sender's, that looks at names and sizes
 * only, so that whoever waits knows early how long.
 */
#ifndef TX_COMMON_TREE_COUNT_H
#define TX_COMMON_TREE_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tree_walk.h"

struct tree_count;

/* What was counted so far. */
struct tree_counted {
	uint64_t files; /* all but folders; one with several names once, where these are kept */
	uint64_t bytes; /* of regular files */
	bool complete;  /* that is all of them */
};

/* As tree_walk_new. allowed: whether a name is sent; NULL: all are. TX_ENOMEM. */
int tree_count_new(struct tree_count **out, const struct tree_source *sources, size_t n,
    const Telex__V1__TreeOptions *options, bool (*allowed)(const struct tree_name *name, void *arg),
    void *arg);
void tree_count_free(struct tree_count *c); /* NULL is allowed */
/* Goes on by at most `names` names. TX_ENOMEM. */
int tree_count_step(struct tree_count *c, unsigned names);
struct tree_counted tree_count_now(const struct tree_count *c);

#endif
