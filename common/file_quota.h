/* SPDX-License-Identifier: Apache-2.0 */
/* Whose quota is used up, and what is left of it, for who is told so: as far as the kernel tells a
 * process of its own quotas (quotactl_fd(2)). Those of folders (projects, subvolumes), and of
 * kernels and file systems that have another way, are not known. */
#ifndef TX_COMMON_FILE_QUOTA_H
#define TX_COMMON_FILE_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

enum file_quota_whose { FILE_QUOTA_UNKNOWN, FILE_QUOTA_USER, FILE_QUOTA_GROUP };

struct file_quota {
	enum file_quota_whose whose; /* of both, the one that has less left */
	uint32_t id;
	/* Bytes; with no limit of bytes left is UINT64_MAX, and limit 0. */
	uint64_t limit, left;
	uint64_t files;  /* the limit of files, where it is that which is reached; else 0 */
	char mount[128]; /* the name of its file system's top, escaped; "": not known */
};

/* For what this process makes in the folder that a descriptor is of, or, of a regular file, for
 * that; it may be O_PATH. False: nothing is known. No mount is told. */
bool file_quota_of(struct file_quota *out, int fd);
/* Whether this process may pass most file systems' limits (CAP_SYS_RESOURCE). */
bool file_quota_passes(void);
/* For what has a path, and the nearest folder above it that is there. Always fills *out; false:
 * whose it is is not known, but the mount may be. */
bool file_quota_at(struct file_quota *out, const char *path);
/* "user alice's on /srv: 4096 of 1048576 bytes are left", and what else there is to say. name: of
 * the user or group; NULL or "": its number is said. NULL: there is nothing to say; else out.
 * `size` of FILE_QUOTA_WORDS is always enough. */
const char *file_quota_words(
    char *out, unsigned long size, const struct file_quota *q, const char *name);
#define FILE_QUOTA_WORDS 288

#endif
