/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of a file besides its content: owner, mode, times, extended attributes. */
#ifndef TX_COMMON_TREE_META_H
#define TX_COMMON_TREE_META_H

#include <stdbool.h>
#include <sys/stat.h>

#include "telex/v1/file.pb-c.h"

#define TREE_XATTRS_MAX 64u /* of a file; their values 64 KiB each, 256 KiB together */

/* Of a folder that a transfer made in which something failed: the transfer's id. It belongs to its
 * place, and is not sent, removed or compared with the others. */
#define TREE_MARK_XATTR "user.telex.transfer"

/* The entry's type; UNSPECIFIED for what has none. */
Telex__V1__FileType tree_type(mode_t mode);

/* The time of modification, in an entry: whether it is the file's, whatever its range. */
void tree_mtime_put(Telex__V1__TreeEntry *e, const struct stat *st);
bool tree_mtime_is(const Telex__V1__TreeEntry *e, const struct stat *st);
bool tree_mtime_same(const struct stat *a, const struct stat *b);

/*
 * Extended attributes of a name in a folder (which is not followed when it is a link), or, name
 * NULL, of what dir_fd is. Read: into *list, malloc'd with all that it points to
 * (tree_xattrs_free); 0 of them where the file system knows none. Those that a user who is not root
 * may not set ("trusted.", "security.") are read by root alone, and never "security.selinux", which
 * belongs to its machine. errno on -1.
 */
int tree_xattrs_read(int dir_fd, const char *name, Telex__V1__ExtendedAttribute ***list, size_t *n);
void tree_xattrs_free(Telex__V1__ExtendedAttribute **list, size_t n);

struct tree_apply {
	const Telex__V1__TreeOptions *options;
	bool root;      /* owners may be set at all */
	unsigned umask; /* for no_modes */
	/* Bits of 07000 that are kept; 0: attributes "trusted." and "security." are not, either,
	 * as file capabilities are one of these. */
	unsigned special;
};

/* The mode that it is to have. */
mode_t tree_mode(const struct tree_apply *a, const Telex__V1__TreeEntry *e);

/*
 * Makes what fd is (a regular file or a folder, open for reading or writing) as the entry says;
 * times last. What a user without privilege may not do (owners) is left out. errno on -1, and *what
 * says which part: "set the mode of".
 */
int tree_apply_fd(
    const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e, const char **what);
/* The same for a link or a special file, open with O_PATH | O_NOFOLLOW: owner, times, and the mode
 * of a special file. */
int tree_apply_path(
    const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e, const char **what);
/* Whether what is there (st is the name's own, no link followed) has all this already. */
bool tree_applied(const struct tree_apply *a, int dir_fd, const char *name, const struct stat *st,
    const Telex__V1__TreeEntry *e);

#endif
