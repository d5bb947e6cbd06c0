/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where events come from: inotify(7), a watch a folder; and, for whole trees where a privileged
 * process may, fanotify(7), a mark a file system. The engine sees one source, whose events look the
 * same. Folders are watched by their descriptors, never by names. What the kernel has queued is
 * taken over at once (watch_source_fill), so that its queue, which is short, does not overflow
 * while events are worked off.
 */
#ifndef TX_WATCH_SOURCE_H
#define TX_WATCH_SOURCE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/watch/watch_fanotify.h"
#include "agent/watch/watch_queue.h"

struct watch_source;

/* wide NULL: inotify alone, and so where fanotify cannot be had. 0, or an errno: EMFILE, there is
 * no inotify instance to be had. */
int watch_source_new(struct watch_source **out, const struct watch_wide *wide);
void watch_source_free(struct watch_source *s);
#define WATCH_SOURCE_FDS 3
/* What is to be polled; how many of fds were filled. */
size_t watch_source_poll(const struct watch_source *s, struct pollfd fds[WATCH_SOURCE_FDS]);

/* Whether all that it needs is there still; where trees cannot be watched as a whole any more, new
 * ones are not. Once a turn. */
void watch_source_check(struct watch_source *s);

/* The file system of a folder is watched as a whole from now on, as long as fd is open: for folders
 * that are added with this cover. False: it cannot, and *out is zero. */
bool watch_source_cover(struct watch_source *s, int fd, struct watch_cover *out);
/* Not any more; fd: on the same, or else its mark stays until it is unmounted. *c becomes zero; it
 * may be. */
void watch_source_uncover(struct watch_source *s, int fd, struct watch_cover *c);

/* What fd is, a folder or (not `folder`) anything. A folder that is on the cover's file system
 * needs no watch of the kernel's; cover NULL: it gets one. Returns its number, the same for the
 * same and the same kind; or a negative errno. ENOSPC: no more are allowed. May change the working
 * folder. */
int64_t watch_source_add(
    struct watch_source *s, int fd, uint32_t mask, bool folder, const struct watch_cover *cover);
void watch_source_remove(struct watch_source *s, uint32_t watch);

/* Takes over what the kernel has. True: that was all. */
bool watch_source_fill(struct watch_source *s);
/* The first one of what was taken over; lives until fill. False: there is none. */
bool watch_source_first(const struct watch_source *s, struct watch_event *out);
void watch_source_next(struct watch_source *s);
bool watch_source_is_last(const struct watch_source *s);
/* The arrival that belongs to the first one, a departure, as far as it was taken over. */
bool watch_source_partner(const struct watch_source *s, struct watch_event *out);

/* Bytes that its queue takes, and the folders that need no watch of the kernel's. */
size_t watch_source_memory(const struct watch_source *s);
/* For tests: what is queued is lost, as if the kernel's queue had been full. */
void watch_source_overflow(struct watch_source *s);

#endif
