/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch is told, as the public structs. A peer's paths are believed only when they are
 * below their root: whoever mirrors a tree goes by them. */
#ifndef TX_LIB_WATCH_MESSAGE_H
#define TX_LIB_WATCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/telex.h"
#include "telex/v1/watch.pb-c.h"

/* Points into itself alone. */
struct watch_changes {
	struct telex_change *changes;
	size_t n;
	char *text;
};

/* roots: how many the watch has. 0, TX_ENOMEM, or TX_EPROTO: a root or a path that cannot be. Free
 * it in any case. */
int watch_changes(struct watch_changes *out, const Telex__V1__WatchChanges *in, size_t roots);
void watch_changes_free(struct watch_changes *c);

/* Whether these bytes are a path below a root: "", "a/b"; no "/" at either end, no empty, "." or
 * ".." component, no NUL. */
bool watch_path_plain(const uint8_t *path, size_t len);

/* These point into the message. */
void watch_armed(struct telex_watch_armed *out, const Telex__V1__WatchArmed *in);
void watch_rescan(struct telex_rescan *out, const Telex__V1__WatchRescan *in);
void watch_failure(struct telex_file_failure *out, const Telex__V1__FileError *in);

#endif
