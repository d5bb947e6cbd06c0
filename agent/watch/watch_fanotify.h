/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanotify(7), as a part of watch_source.h: a whole file system is told of with one mark, and a
 * folder is known by its file handle. What happens in folders that are not watched is dropped as it
 * is read.
 *
 * It tells what inotify would, but for this: a folder's attributes are told by the folder alone
 * (WATCH_SELF), so one that is not watched itself says nothing; and of a file whose last name was
 * removed while it is open, what happens to it is still told by that name.
 */
#ifndef TX_WATCH_FANOTIFY_H
#define TX_WATCH_FANOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watch_fanotify;
struct watch_queue;
/* For watching whole file systems. */
struct watch_wide {
	/* What the process that marks them (watch_marker.h) does first; NULL: nothing. */
	int (*lock_in)(void);
	/* For tests, which may be stopped while others fill the file system: the kernel's queue has
	 * no end. */
	bool endless;
};

/* A tree's file system. Zero: it is not watched as a whole. */
struct watch_cover {
	uint32_t number; /* 0: none */
	int mount;       /* of the tree's root, as name_to_handle_at(2) counts them */
};

/* 0, or an errno: EPERM, without CAP_SYS_ADMIN; ENOSYS or EINVAL, with a
 * kernel before 5.9. Before 5.17 nothing can be covered. */
int watch_fanotify_new(struct watch_fanotify **out, const struct watch_wide *wide);
void watch_fanotify_free(struct watch_fanotify *f); /* NULL is allowed */
int watch_fanotify_fd(const struct watch_fanotify *f);
/* Another one to be polled: the process that marks has ended. -1: it has. */
int watch_fanotify_marker_fd(const struct watch_fanotify *f);
/* Notices that. What is covered stays so, as the marks are the group's and not that process's; what
 * is not, never will be. */
void watch_fanotify_check(struct watch_fanotify *f);
/* Whether nothing is covered, and nothing will be. */
bool watch_fanotify_is_over(const struct watch_fanotify *f);

/* As watch_source_cover and watch_source_uncover. */
bool watch_fanotify_cover(struct watch_fanotify *f, int fd, struct watch_cover *out);
void watch_fanotify_uncover(struct watch_fanotify *f, int fd, struct watch_cover *c);
/* A folder; its watch's number, with WATCH_WIDE. 0: it is not on the file system that is covered. A
 * negative errno. */
int64_t watch_fanotify_add(
    struct watch_fanotify *f, int fd, uint32_t mask, const struct watch_cover *c);
void watch_fanotify_remove(struct watch_fanotify *f, uint32_t watch);
/* As watch_source_fill. */
bool watch_fanotify_fill(struct watch_fanotify *f, struct watch_queue *q);
/* Bytes that the folders take. */
size_t watch_fanotify_memory(const struct watch_fanotify *f);

#endif
