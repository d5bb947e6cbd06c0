/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is written on behind what is there. What fails is taken back, unless somebody else
 * has written on, too. */
#ifndef TX_FILES_UPLOAD_APPEND_H
#define TX_FILES_UPLOAD_APPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/files/roots.h"
#include "common/rpc_status.h"

struct upload_append {
	int fd;
	int dir_fd; /* of one that was made for this; else -1 */
	const char *name;
	uint64_t begin, written; /* its size before, and what came */
	bool whole;
};

#define UPLOAD_APPEND_INIT                                                                         \
	{                                                                                          \
		.fd = -1, .dir_fd = -1                                                             \
	}

/* Makes it where it is not there. path: to stay as long. */
int upload_append_open(struct upload_append *a, const struct roots *roots, const char *path,
    unsigned mode, struct rpc_status *status);
/* 0 or an errno. */
int upload_append_write(struct upload_append *a, const void *data, size_t len);
/* It is whole, and durable. 0 or an errno. */
int upload_append_end(struct upload_append *a);
/* keep: also what is not whole. False: something stays that was to be taken back: others have
 * written on, or the file system cannot (a quota of btrfs). None open: nothing is done. */
bool upload_append_close(struct upload_append *a, bool keep);

#endif
