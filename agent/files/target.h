/* SPDX-License-Identifier: Apache-2.0 */
/* Where what is made is to lie: as roots.h has it, and what is not there on the way is told by its
 * name. */
#ifndef TX_FILES_TARGET_H
#define TX_FILES_TARGET_H

#include "agent/files/roots.h"
#include "common/rpc_status.h"

/* roots_parent, to write. what: as for failure_errno ("write"). */
int target_parent(const struct roots *r, const char *path, const char *what, const char **name,
    struct rpc_status *status);
/* Where roots_parent's *status says NO_SUCH_FILE: it then says which folder is not there. */
void target_no_parent(
    const struct roots *r, const char *path, const char *what, struct rpc_status *status);
/* The same of a folder (absolute, plain), which is `path` or above it: it, or the first one above
 * it that is not there, as far as the role may look. */
void target_missing(const struct roots *r, const char *path, const char *folder, const char *what,
    struct rpc_status *status);

#endif
