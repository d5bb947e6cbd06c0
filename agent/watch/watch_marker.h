/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks of fanotify(7) on whole file systems, which need CAP_SYS_ADMIN: whoever watches must not
 * keep that, and learns only after it has given it up which folders it is to watch. So a process of
 * its own keeps it, which does nothing else: it is sent a folder, and marks the file system that
 * this is on, where that is of a type that it knows. It ends with its socket.
 */
#ifndef TX_WATCH_MARKER_H
#define TX_WATCH_MARKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watch_marker {
	int socket; /* -1: there is none */
	pid_t pid;
};

/* Forks it, for this group of fanotify_init(2). lock_in: what it does first, 0 or negative; NULL:
 * nothing. 0, or an errno. */
int watch_marker_start(struct watch_marker *m, int group, int (*lock_in)(void));
/* Waits for its end. One that was never started is {.socket = -1}. */
void watch_marker_end(struct watch_marker *m);
/* For poll(2), with POLLIN: it has ended by itself. -1: there is none. */
int watch_marker_fd(const struct watch_marker *m);
/* Whether it has, which is true once: it is waited for, and there is none any more. */
bool watch_marker_has_ended(struct watch_marker *m);

/* Marks the file system of a folder, or takes the mark away. What is told then is that something
 * was made, changed, removed or renamed; never that it was looked at. 0, or an errno: EOPNOTSUPP,
 * it is of another type; EINVAL: the kernel has no FAN_RENAME. */
int watch_marker_set(const struct watch_marker *m, int fd, bool add);

/* Whether a statfs(2)'s f_type is one of a local file system whose folders keep their handles. */
bool watch_marker_knows(uint32_t type);

#endif
