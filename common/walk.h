/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is below a folder, entry by entry, in the order of the folders: as fast as they are
 * read, by descriptors all the way, through no link. Takes a bounded number of descriptors, and
 * memory for a few folders' entries, however wide and deep it is (and for the names on the way
 * down).
 *
 * A folder comes once when its name is found; whoever wants what is in it says walk_enter, and gets
 * that next, and at last the folder again (`leaving`). Entering again is possible then, too.
 */
#ifndef TX_COMMON_WALK_H
#define TX_COMMON_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct walk;

/* Lives until the next call with this walk. */
struct walk_entry {
	int dir_fd;       /* the folder that it is in, open for reading */
	const char *name; /* in it */
	const char *path; /* below the top: "a/b" */
	unsigned type;    /* DT_…; DT_UNKNOWN where the file system does not say */
	size_t depth;     /* 1: in the top itself */
	bool leaving;     /* a folder that was entered, and is done with */
	uint64_t note;    /* leaving: the folder's (walk_note) */
	/* An errno: the folder `path` ("": the top) cannot be read, or not to its end. With
	 * `leaving`: what else is in the folder that it is in is lost, as that was moved away. No
	 * other member but path and depth is set. */
	int error;
};

/* Takes top_fd (a folder, open for reading), also when it fails. 0 or an errno. */
int walk_new(struct walk **out, int top_fd);
void walk_free(struct walk *w);

/* 1; 0: that was all; or ENOMEM as -1. */
int walk_next(struct walk *w, struct walk_entry *e);

/* Goes into the folder that came last. 0 or an errno; EXDEV: it is on another mount, and `across`
 * is false. */
int walk_enter(struct walk *w, bool across);

/* The folder that the entry that came last is in; or the one that was just entered. */
int walk_fd(const struct walk *w);
/* Whether this folder is on the way from the top to that one. */
bool walk_is_in(const struct walk *w, dev_t dev, ino_t ino);
/* Of that folder: a number of the caller's, 0 at first. */
uint64_t *walk_note(struct walk *w);

#endif
