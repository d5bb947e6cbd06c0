/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a tree was copied, in the state in which it was: what is moved is removed afterwards, but
 * not what was written, or came, since. Eight bytes an entry.
 */
#ifndef TX_FILES_COPIED_H
#define TX_FILES_COPIED_H

#include <stdbool.h>
#include <sys/stat.h>

struct copied;

/* 0 or ENOMEM. copied_free(NULL) is allowed. */
int copied_new(struct copied **out);
void copied_free(struct copied *c);

/* st: as it was before it was copied, and is yet. 0 or ENOMEM. */
int copied_add(struct copied *c, const struct stat *st);
/* Whether it is one of these, with the same content and attributes. Of a folder: whether it is one;
 * of a file with several names: with the same content, as removing one changes the others' ctime.
 */
bool copied_has(const struct copied *c, const struct stat *st);

#endif
