/* SPDX-License-Identifier: Apache-2.0 */
/* What a pass of watch --sync moves, as filters of a transfer: all, or some paths and nothing else.
 */
#ifndef TX_CLI_WATCH_FILTERS_H
#define TX_CLI_WATCH_FILTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/watch_names.h"
#include "lib/telex.h"

struct watch_filters {
	struct telex_tree_filter *list; /* for telex_transfer_options */
	size_t n;
	char **texts; /* ours, of these */
	size_t n_texts;
};

/* Adds the patterns that a changed path needs to the set, unless what is there takes it already. */
void watch_filters_add(struct watch_names *patterns, const struct telex_change *c);

/* Of what is watched: its excludes, its depth, its includes. patterns NULL: all of it; else what
 * these n say, with the folders above. They must live as long as the result. */
void watch_filters_make(
    struct watch_filters *f, const struct telex_watch_options *o, char *const *patterns, size_t n);
void watch_filters_clear(struct watch_filters *f);

#endif
