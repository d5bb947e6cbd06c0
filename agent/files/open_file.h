/* SPDX-License-Identifier: Apache-2.0 */
/* Opens files that have contents. What a path means is looked at before it is opened: opening a
 * device can do things. */
#ifndef TX_FILES_OPEN_FILE_H
#define TX_FILES_OPEN_FILE_H

#include <sys/stat.h>

#include "agent/files/roots.h"
#include "common/rpc_status.h"

/* A regular file. what: "read". -1 with *status filled: IS_A_FOLDER, or NOT_SUPPORTED for a special
 * file. */
int open_file(const struct roots *r, enum roots_access access, const char *path, int flags,
    const char *what, struct stat *st, struct rpc_status *status);
/* A folder, to be read; O_NOFOLLOW in flags for a link's own sake. -1 with *status filled. */
int open_folder(const struct roots *r, enum roots_access access, const char *path, int flags,
    const char *what, struct rpc_status *status);

/* Why something that is no regular file cannot be what was asked for: a negative TX_E…. */
int open_file_refuse(struct rpc_status *status, mode_t mode, const char *what, const char *path);

#endif
