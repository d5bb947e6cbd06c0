/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a mode as chmod(1) takes them: octal digits ("0755": exactly that), or clauses
 * separated by commas. A clause is any of u g o a, then one or more of: an operator (+ - =) and
 * what it is about: any of r w x X s t, or one of u g o (the bits that these have). X is x for
 * folders and for files that somebody may execute already.
 *
 * A clause that names nobody means all, less the umask 022, as everywhere in this API: "+w" gives
 * it to the owner alone. With = a folder keeps set-user-ID and set-group-ID, unless s is named.
 */
#ifndef TX_FILES_MODE_CHANGE_H
#define TX_FILES_MODE_CHANGE_H

#include <stdbool.h>

/* Whether it can be read at all. */
bool mode_change_valid(const char *change);
/* The mode (07777) after it. TX_EINVAL: it is not such a change. */
int mode_change_apply(const char *change, unsigned mode, bool folder, unsigned *out);

#endif
