/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in the making: a hidden temporary in the folder of what it will be, named by the upload
 * that it is of, so that an upload that was cut finds it again. Writing, making durable and taking
 * the target's place are here; what a file is given besides (mode, times) the caller sets on `fd`
 * before it commits.
 *
 * The name is ".telex-", up to 32 of the id's digits, ".part". Its mode is 0600. While somebody
 * writes it, it is locked (flock). What has the name, but is no regular file of this user's with
 * one link, was put there by somebody else: it is removed, never written. One that nobody has
 * written for TEMP_FILE_LIFE is removed by temp_file_reap.
 *
 * What can fail returns 0 or an errno. No static state: usable from several threads, each with its
 * own structs.
 */
#ifndef TX_COMMON_TEMP_FILE_H
#define TX_COMMON_TEMP_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEMP_FILE_ID_SIZE   33 /* of one that was made here, with its NUL */
#define TEMP_FILE_NAME_SIZE 48
#define TEMP_FILE_LIFE      86400 /* seconds after the last write */

struct temp_file {
	int dir_fd;     /* the caller's, O_PATH will do; to stay open until the end */
	int fd;         /* to read and write; -1: none */
	uint64_t dirty; /* from this offset on, write-back has not been started */
	char name[TEMP_FILE_NAME_SIZE];
};

#define TEMP_FILE_INIT                                                                             \
	{                                                                                          \
		.dir_fd = -1, .fd = -1                                                             \
	}

/* Whether it is one: 16 to 64 of 0-9 a-f. */
bool temp_file_id_valid(const char *id);
/* A random one, for what nobody will go on with. */
int temp_file_id_make(char out[TEMP_FILE_ID_SIZE]);
/* The name that an id gives. */
void temp_file_name(char out[TEMP_FILE_NAME_SIZE], const char *id);

/*
 * Opens the temporary of this id, or makes it, and locks it. *size: what is there already.
 * EAGAIN: it is being written by another call. EEXIST: something of this name cannot be removed.
 */
int temp_file_open(struct temp_file *t, int dir_fd, const char *id, uint64_t *size);

/* How much there is of an upload, and when (seconds since the epoch) it expires. ENOENT. */
int temp_file_look(int dir_fd, const char *id, uint64_t *size, int64_t *expires);

/* That there will be `size` bytes, of which the first `from` are there: reserves them where that
 * costs little. ENOSPC, EDQUOT: there is no room for them. */
int temp_file_reserve(struct temp_file *t, uint64_t from, uint64_t size);

/* All of it, at that offset; starts write-back on the way, so that the end need not wait long. */
int temp_file_write(struct temp_file *t, const void *data, size_t len, uint64_t offset);
/* Cuts it off there, or extends it by a hole. */
int temp_file_resize(struct temp_file *t, uint64_t size);

enum {
	TEMP_FILE_DURABLE = 1, /* contents and name survive a loss of power, once it returns */
	TEMP_FILE_NEVER = 2,   /* replaces nothing: EEXIST */
};

/*
 * It takes the place of `name` (one component), or becomes it: at once, or not at all. On success
 * the temporary is closed and gone; after a failure it is as it was, but when its folder cannot be
 * synced: it has its place then, and is closed.
 */
int temp_file_commit(struct temp_file *t, const char *name, int flags);
/* Closes it, and leaves it for whoever goes on. None open: nothing is done. */
void temp_file_keep(struct temp_file *t);
/* The same, unless nothing is in it, or so many others wait there: then it is removed. */
void temp_file_keep_among(struct temp_file *t, unsigned most);
/* Removes it. None open: nothing is done. */
void temp_file_drop(struct temp_file *t);

/* Makes durable what happened to the names in a folder. The descriptor may be O_PATH. */
int temp_file_sync_folder(int dir_fd);

/* Folders that were looked through lately, for temp_file_reap. Zero is none. */
struct temp_file_reaped {
	struct {
		uint64_t dev, ino;
		int64_t when; /* 0: free */
	} folders[8];
	unsigned next;
};

/* Removes what has expired in that folder: looks through it once in ten minutes, as far as `memory`
 * reaches. Returns how many. */
unsigned temp_file_reap(int dir_fd, struct temp_file_reaped *memory);

#endif
