/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mounted where, as proc_pid_mountinfo(5) tells it to this process: no event of inotify or
 * fanotify is about a mount. Two things at one place are told apart by device, folder, type and
 * source, so what is only mounted with other options is the same.
 */
#ifndef TX_WATCH_MOUNTS_H
#define TX_WATCH_MOUNTS_H

#include <stdbool.h>

struct watch_mounts;

/* Before the process is locked in. NULL: it cannot be had (no /proc). */
struct watch_mounts *watch_mounts_new(void);
void watch_mounts_free(struct watch_mounts *m); /* NULL is allowed */

/* For poll(2), with POLLPRI: something has changed. Whoever polls it takes that away. */
int watch_mounts_fd(const struct watch_mounts *m);
/* Whether something has changed since this or watch_mounts_read was called. */
bool watch_mounts_changed(struct watch_mounts *m);
/* Reads it. `each` is called for each folder or file on which something is mounted, or was the last
 * time; one above another comes first. changed: something else is than then, or nothing any more.
 * What came and went in between is not to be seen. */
typedef void watch_mounts_each(const char *point, bool changed, void *arg);
void watch_mounts_read(struct watch_mounts *m, watch_mounts_each *each, void *arg);

#endif
