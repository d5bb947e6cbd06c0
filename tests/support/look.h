/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is below a folder: kinds, modes, owners, sizes, contents, targets of links. Two looks are
 * compared, path by path.
 */
#ifndef TX_TESTS_SUPPORT_LOOK_H
#define TX_TESTS_SUPPORT_LOOK_H

#include <stdbool.h>
#include <stddef.h>

enum {
	LOOK_TIMES = 1,          /* times of modification, too */
	LOOK_KIND_OF_FOLDER = 2, /* of folders nothing but that they are there */
};

struct look_entry {
	char *path; /* below the folder */
	char *what;
};

struct look {
	struct look_entry *entries; /* in the order of their paths */
	size_t n, room;
	unsigned parts; /* temporary files, which are no entries */
};

/* Aborts the test where something cannot be read. */
struct look look_at(const char *folder, int what);
void look_clear(struct look *l);
/* The first path that is neither as it was nor as it is to be; NULL: there is none. It is the
 * looks'. */
const char *look_torn(const struct look *was, const struct look *to_be, const struct look *now);
/* What one says of a path; "nothing". */
const char *look_what(const struct look *l, const char *path);

#endif
