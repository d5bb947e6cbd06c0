/* SPDX-License-Identifier: Apache-2.0 */
/* What a file system has left, for who is told that it is full. */
#ifndef TX_COMMON_FILE_ROOM_H
#define TX_COMMON_FILE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

struct file_room {
	uint64_t bytes; /* free for any user, as of df(1) */
	uint64_t most;  /* that this process can write: root has what is kept for it, too */
	bool no_files;  /* it can hold no more files, whatever is free */
};

/* Of the file system of a descriptor, which may be O_PATH. False: it does not tell. */
bool file_room_of(struct file_room *out, int fd);
/* Of the one that holds a path, or the nearest folder above it that is there. */
bool file_room_at(struct file_room *out, const char *path);
/* "4096 bytes are free". Returns out; `size` of 80 is always enough. */
const char *file_room_words(char *out, unsigned long size, const struct file_room *room);

/* What an extended attribute that could not be set failed of: ENOSPC is E2BIG, where there is room
 * for any attribute. That is how file systems tell of one that is too large for them (ext4). */
int file_room_xattr_errno(int sys_errno, int fd);

#endif
