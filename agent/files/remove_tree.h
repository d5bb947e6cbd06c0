/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes a folder with all that is in it, by descriptors, through no link, at any depth. What
 * cannot be removed does not stop the rest; what holds it stays.
 */
#ifndef TX_FILES_REMOVE_TREE_H
#define TX_FILES_REMOVE_TREE_H

#include <stdbool.h>

#include "agent/files/call.h"
#include "agent/files/copied.h"
#include "agent/files/scope.h"
#include "agent/files/tally.h"

struct remove_tree {
	struct call *call; /* asked whether it is gone; NULL: nobody is */
	struct scope scope;
	/* These alone, in the state in which they were copied; NULL: all that is there. */
	const struct copied *only;
	bool across; /* into what is mounted below, too */
	struct tally *tally;
};

/* `name` in dir_fd. False: the worker is gone, and it was left off. */
bool remove_tree(struct remove_tree *r, int dir_fd, const char *name);

#endif
