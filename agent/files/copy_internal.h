/* SPDX-License-Identifier: Apache-2.0 */
/* Between copy.c (files) and copy_tree.c (folders). */
#ifndef TX_FILES_COPY_INTERNAL_H
#define TX_FILES_COPY_INTERNAL_H

#include <sys/stat.h>

#include "agent/files/copy.h"

/* What is no folder: fd (O_PATH) becomes `name` in dir_fd. below: its path below the place. */
void copy_entry(
    struct copy *c, int fd, const struct stat *st, int dir_fd, const char *name, const char *below);
/* A folder and all below it; c->place says where. */
void copy_tree(struct copy *c, int fd, int dir_fd, const char *name);
/* Attributes, as far as they are kept; times last. 0 or an errno. */
int copy_attributes(const struct copy *c, int from, const struct stat *st, int to);
/* Counts a failure, of the copy (`writing`) or of the source. */
void copy_failed(struct copy *c, int sys_errno, bool writing, const char *what, const char *below);

#endif
