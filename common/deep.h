/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A way down from a folder, name by name, as deep as it goes, with few descriptors: only the last
 * DEEP_OPEN folders are held open, and the top. Each is opened in the one above it, through no
 * link. One that was closed on the way down is opened again from the top on the way up, and must be
 * the same folder as before.
 *
 * What can fail returns 0 or an errno.
 */
#ifndef TX_COMMON_DEEP_H
#define TX_COMMON_DEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEEP_OPEN ((size_t)32)

struct deep_level {
	int fd;     /* -1: closed for now */
	size_t end; /* of its path in `path` */
	dev_t dev;
	ino_t ino;
	uint64_t mount; /* its id; 0: the kernel does not tell */
};

/* Its members are for reading. */
struct deep {
	int flags;                 /* of its descriptors: O_RDONLY or O_PATH */
	struct deep_level top;     /* end: 0 */
	struct deep_level *levels; /* below the top */
	size_t n, room;
	char *
	    path; /* of the last one, below the top; its NUL may be anywhere behind levels[n].end */
	size_t path_room;
};

/* Takes the descriptor of the top, also when it fails; deep_free in any case. */
int deep_init(struct deep *d, int top_fd, int flags);
void deep_free(struct deep *d);

/* The last folder. */
const struct deep_level *deep_last(const struct deep *d);
/* Writes one more name behind its path, for deep_down or to be read. NULL: ENAMETOOLONG. */
const char *deep_append(struct deep *d, const char *name);
/* Opens the name that was appended last, in the last folder; it is the last one then. */
int deep_down(struct deep *d);
/* The one above is the last one. ESTALE, or another errno, when it cannot be opened again: its fd
 * is -1 then, and going further up may still do. Not at the top. */
int deep_up(struct deep *d);

/* Whether fd, a folder in dir_fd, is where another mount begins; also when that cannot be told. */
bool deep_is_mount(int dir_fd, int fd);

#endif
