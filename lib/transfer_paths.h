/* SPDX-License-Identifier: Apache-2.0 */
/* The local ends of a transfer: sources that are opened, and a target. */
#ifndef TX_LIB_TRANSFER_PATHS_H
#define TX_LIB_TRANSFER_PATHS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/tree_walk.h"
#include "lib/telex.h"

struct transfer_paths {
	/* put */
	struct tree_source *sources;
	size_t n_sources;
	/* get: `name` in parent_fd, or the folder target_fd where that is there (else -1) */
	int parent_fd, target_fd;
	char *name;
	/* get: what may come, NULL-terminated; NULL: the entry with the empty path */
	char **only;
};

/* The last component of a path, without slashes at its end; malloc'd. "" for "/" and for what ends
 * with "." or ".."; NULL: no memory. */
char *transfer_last(const char *path);

/* Opens what put sends. With `beside`, each under its last component, else the one as the tree
 * itself. One of several that cannot be opened has its sys_errno set. 0, or -1 and *error: none
 * can. */
int transfer_open_sources(struct transfer_paths *p, const struct telex_transfer_options *o,
    bool beside, struct telex_error *error);
/* Opens where get puts it; *contents: whether the one source becomes the target itself. id: the
 * transfer's. */
int transfer_open_target(struct transfer_paths *p, const struct telex_transfer_options *o,
    const char *id, bool *contents, struct telex_error *error);

/* The transfer's id: the same for the same sources and target. 0, or -1: no memory. */
int transfer_put_id(
    char id[33], const struct transfer_paths *p, const struct telex_transfer_options *o);
int transfer_get_id(char id[33], const struct telex_transfer_options *o);
void transfer_paths_close(struct transfer_paths *p);

#endif
