/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a tree may be touched. Most roles allow a folder with all that is below it; where one
 * allows only some names below ("/srv/STAR", one level), each is asked about by its whole path, and
 * must be the file that the path means.
 */
#ifndef TX_FILES_SCOPE_H
#define TX_FILES_SCOPE_H

#include <stdbool.h>

#include "agent/files/roots.h"

struct scope {
	const struct roots *roots;
	enum roots_access access;
	const char *top; /* the path of the tree; the caller's */
	bool whole;      /* all below it */
};

/* Whether top/below, which is `name` in dir_fd, may be. */
bool scope_allows(const struct scope *s, int dir_fd, const char *name, const char *below);

#endif
