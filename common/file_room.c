/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file_room.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATH_SIZE  4096
#define XATTR_ROOM ((uint64_t)256 << 10)

static uint64_t size_of(const struct statvfs *v, uint64_t blocks)
{
	uint64_t bytes;

	return __builtin_mul_overflow(blocks, (uint64_t)v->f_frsize, &bytes) ? UINT64_MAX : bytes;
}

static bool take(struct file_room *out, const struct statvfs *v)
{
	/* One that has no blocks is in no such way full (procfs). */
	if (v->f_blocks == 0)
		return false;
	out->bytes = size_of(v, v->f_bavail);
	out->most = size_of(v, geteuid() == 0 ? v->f_bfree : v->f_bavail);
	/* One that makes inodes as they are needed counts none (btrfs). */
	out->no_files = v->f_files > 0 && v->f_favail == 0;
	return true;
}

bool file_room_of(struct file_room *out, int fd)
{
	struct statvfs v;

	return fstatvfs(fd, &v) == 0 && take(out, &v);
}

bool file_room_at(struct file_room *out, const char *path)
{
	char above[PATH_SIZE];
	struct statvfs v;
	char *slash;

	if (statvfs(path, &v) == 0)
		return take(out, &v);
	if ((size_t)snprintf(above, sizeof(above), "%s", path) >= sizeof(above))
		return false;
	while ((slash = strrchr(above, '/')) != NULL) {
		slash[slash == above ? 1 : 0] = '\0';
		if (statvfs(above, &v) == 0)
			return take(out, &v);
		*slash = '\0';
	}
	return false;
}

const char *file_room_words(char *out, unsigned long size, const struct file_room *room)
{
	if (room->no_files)
		snprintf(out, size, "it can hold no more files");
	else
		snprintf(out, size, "%llu bytes are free", (unsigned long long)room->bytes);
	return out;
}

int file_room_xattr_errno(int sys_errno, int fd)
{
	struct file_room room;

	if (sys_errno == ENOSPC && file_room_of(&room, fd) && room.bytes >= XATTR_ROOM)
		return E2BIG;
	return sys_errno;
}
