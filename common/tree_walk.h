/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of a tree, one after the other: a folder, then what is in it. By descriptors all the
 * way: no name is looked up from above again, and no link is followed but where that was asked for.
 * Deep trees take no deep stack, and no more than a few descriptors.
 */
#ifndef TX_COMMON_TREE_WALK_H
#define TX_COMMON_TREE_WALK_H

#include <stdbool.h>
#include <sys/stat.h>

#include "telex/v1/file.pb-c.h"

struct tree_walk;

/* Where a part of the tree comes from: `name` (one component, or ".") in the folder dir_fd (which
 * stays the caller's, and open); its path in the tree, "" when it is the tree itself. */
struct tree_source {
	int dir_fd;
	const char *name;
	const char *path;
	int sys_errno; /* not 0: it could not be opened, dir_fd is -1, and only this is told of it
	                */
};

struct tree_name {
	const char *path; /* in the tree */
	const char *name; /* in dir_fd */
	int dir_fd;
	const struct tree_source *source;
	const char *below; /* in the source: path relative to the source's own name; "" for that */
	struct stat st;
	int sys_errno;    /* not 0: it could not be looked at or into; `what` says which */
	const char *what; /* "read the folder" */
};

/* The sources and options stay the caller's, for as long as the walk. TX_ENOMEM. */
int tree_walk_new(struct tree_walk **out, const struct tree_source *sources, size_t n,
    const Telex__V1__TreeOptions *options);
void tree_walk_free(struct tree_walk *w);

/* The next name, that the filters leave in; lives until the next call. 1; 0: no more; TX_ENOMEM. A
 * folder that cannot be read comes twice, the second time with sys_errno. */
int tree_walk_next(struct tree_walk *w, const struct tree_name **out);
/* The folder that came last is not to be gone into. */
void tree_walk_skip(struct tree_walk *w);

#endif
