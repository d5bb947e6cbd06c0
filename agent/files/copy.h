/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies files and trees on this machine, for Copy and for Move across file systems. Each file gets
 * its name when it is whole, with its attributes. What fails does not stop the rest, but where all
 * is moved, a full disk does.
 */
#ifndef TX_FILES_COPY_H
#define TX_FILES_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/files/call.h"
#include "agent/files/copied.h"
#include "agent/files/copy_links.h"
#include "agent/files/scope.h"
#include "agent/files/tally.h"

struct walk;

/* Where a tree is copied from and to. A folder that a link leads to is another one, in the one
 * above. */
struct copy_place {
	const char *source, *target; /* paths, for what is said */
	const char *prefix;          /* of paths below links_fd: "" or "a/b/" */
	const struct walk *walk;
	const struct copy_place *above;
};

struct copy {
	struct call *call;
	bool recursive, follow;
	bool preserve;   /* owner, mode with ACLs, times */
	bool xattrs;     /* and all other extended attributes */
	bool hard_links; /* hard links within the tree */
	bool never;      /* replaces nothing */
	bool moving;     /* a source that changes meanwhile is a failure, and so is another mount */
	struct copied *copied; /* what was copied goes in here; NULL: nowhere */
	bool durable;          /* each file by itself; else those alone that replace one */
	struct scope scope;
	const char *target;
	struct tally tally; /* done: files that are no folders */
	uint64_t bytes, shared;
	bool stopped; /* the worker is gone, or there is no room: nothing more is tried */
	/* The rest is between copy.c and copy_tree.c. */
	const struct copy_place *place;
	struct copy_links links;
	int links_fd;                    /* the folder that their paths are below; -1: none */
	uint64_t target_dev, target_ino; /* of the copy's top folder */
};

/* call, flags, scope (of the source) and target are set: makes the rest ready. */
void copy_init(struct copy *c);
void copy_clear(struct copy *c);

/* What fd is (O_PATH) becomes `name` in dir_fd. All that is to be said is in the tally. */
void copy_any(struct copy *c, int fd, int dir_fd, const char *name);

#endif
