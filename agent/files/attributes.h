/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes what is known of a file, by its descriptor, which may be O_PATH: of links, too, and of
 * files that may be neither read nor written. Each returns 0 or an errno.
 */
#ifndef TX_FILES_ATTRIBUTES_H
#define TX_FILES_ATTRIBUTES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define ATTRIBUTES_KEEP ((uint32_t)-1) /* an owner or group that stays */

/* 07777. Of a symbolic link: EOPNOTSUPP. */
int attributes_mode(int fd, unsigned mode);
int attributes_owner(int fd, uint32_t uid, uint32_t gid);
/* As utimensat(2): accessed, modified. */
int attributes_times(int fd, const struct timespec times[2]);
int attributes_set(int fd, const char *name, const void *value, size_t len);
/* ENODATA: it has none such. */
int attributes_remove(int fd, const char *name);

/*
 * All extended attributes of one file to another. What the file system or this user cannot have
 * there is passed over (ENOTSUP, EPERM, EACCES): "trusted.", "security." and the like of another
 * machine's making.
 */
int attributes_copy(int from, int to);
/* The same of ACLs alone. */
int attributes_copy_acls(int from, int to);

/* Whether a name can be one: 1 to 255 bytes without NUL. */
int attributes_name(char out[256], const uint8_t *name, size_t len);

#endif
