/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes what is known of a file, by its descriptor, which may be O_PATH: of links, too, and of
 * files that may be neither read nor written. Each returns 0 or an errno.
 */
#ifndef TX_FILES_ATTRIBUTES_H
#define TX_FILES_ATTRIBUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#define ATTRIBUTES_KEEP ((uint32_t)-1) /* an owner or group that stays */

/* 07777. Of a symbolic link: EOPNOTSUPP. */
int attributes_mode(int fd, unsigned mode);
int attributes_owner(int fd, uint32_t uid, uint32_t gid);
/* Both of `st`; who may not give files away keeps at most the group. *kept: it has both. */
int attributes_keep_owner(const struct stat *st, int to, bool *kept);
/* As utimensat(2): accessed, modified. */
int attributes_times(int fd, const struct timespec times[2]);
int attributes_set(int fd, const char *name, const void *value, size_t len);
/* ENODATA: it has none such. */
int attributes_remove(int fd, const char *name);

/*
 * All extended attributes of one file to another. What the file system or this user cannot have
 * there is passed over (ENOTSUP, EPERM, EACCES): "trusted.", "security." and the like of another
 * machine's making. ACLs that the other has of its folder's making are gone then. Both come before
 * the mode, as that is of the ACL's making, too.
 */
int attributes_copy(int from, int to);
/* The same of ACLs alone. */
int attributes_copy_acls(int from, int to);

/*
 * Owner, ACL and mode of the regular file of this name to the one that is to replace it, as if the
 * bytes had been written into that one: without set-user-ID and set-group-ID. Where its group
 * cannot be kept, the new one's may do what all others may. *replaces false: there is none.
 */
int attributes_of_replaced(int dir_fd, const char *name, int to, bool *replaces);

/* Whether a name can be one: 1 to 255 bytes without NUL. */
int attributes_name(char out[256], const uint8_t *name, size_t len);

#endif
