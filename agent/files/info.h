/* SPDX-License-Identifier: Apache-2.0 */
/* A file as statx(2) and its neighbours tell it, as a message. */
#ifndef TX_FILES_INFO_H
#define TX_FILES_INFO_H

#include <stdbool.h>
#include <sys/stat.h>

#include "agent/files/roots.h"
#include "telex/v1/file.pb-c.h"

#define INFO_ATTRIBUTES_MAX 8

/* A FileInfo with all that it points to: read it by `file`, do not copy the struct. */
struct info {
	Telex__V1__FileInfo file;
	Google__Protobuf__Timestamp modified, accessed, changed, created;
	char *attributes[INFO_ATTRIBUTES_MAX];
	char *link_target;
	Telex__V1__ExtendedAttribute **xattrs; /* malloc'd, as all they hold */
};

/* What statx is to be asked for. */
#define INFO_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

/* Of one that was looked at already; path lives as long. The caller fills in link_target and
 * extended_attributes where it wants them. */
void info_from_statx(struct info *out, const struct statx *st, const char *path);
/*
 * Of an open file (O_PATH will do), also of a symbolic link. xattrs: with extended attributes. 0,
 * or an errno. info_clear in any case.
 */
int info_from_fd(struct info *out, int fd, const char *path, bool xattrs);
/* Adds what a symbolic link leads to, as far as the roots let look; path: its own, absolute.
 * Nothing of what is no link. */
void info_add_target(struct info *out, const struct roots *roots, const char *path);
void info_clear(struct info *i);

#endif
