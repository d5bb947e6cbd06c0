/* SPDX-License-Identifier: Apache-2.0 */
/* What a role may do with a file depends on its path: a new name must not give it more. */
#ifndef TX_FILES_RIGHTS_H
#define TX_FILES_RIGHTS_H

#include <stdbool.h>

#include "agent/files/roots.h"

/*
 * Whether what `from_name` is in from_fd may become to_name in to_fd, both of which may be written:
 * not where it could be read, when it cannot here; a folder only with all that is below it.
 */
bool rights_stay(const struct roots *r, int from_fd, const char *from_name, int to_fd,
    const char *to_name, bool folder);

#endif
