/* SPDX-License-Identifier: Apache-2.0 */
/* Which files that have several names were copied already, and to where: so that these stay names
 * of one file. */
#ifndef TX_FILES_COPY_LINKS_H
#define TX_FILES_COPY_LINKS_H

#include <stddef.h>
#include <sys/stat.h>

struct copy_links_entry;

/* Zero is empty. */
struct copy_links {
	struct copy_links_entry **table;
	size_t n, room;
};

/* The path that it was copied to; NULL: it was not. */
const char *copy_links_find(const struct copy_links *l, const struct stat *st);
/* Remembers it; where memory is short, not. */
void copy_links_add(struct copy_links *l, const struct stat *st, const char *path);
void copy_links_clear(struct copy_links *l);

#endif
