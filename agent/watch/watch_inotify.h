/* SPDX-License-Identifier: Apache-2.0 */
/* inotify(7), as a part of watch_source.h: a watch for each folder or file. */
#ifndef TX_WATCH_INOTIFY_H
#define TX_WATCH_INOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct watch_queue;

/* An instance, not blocking; or a negative errno: EMFILE, there is none to be had. */
int watch_inotify_open(void);
/* What fd is, a folder or (not `folder`) anything. As watch_source_add. */
int64_t watch_inotify_add(int instance, int fd, uint32_t mask, bool folder);
void watch_inotify_remove(int instance, uint32_t watch);
/* As watch_source_fill. */
bool watch_inotify_fill(int instance, struct watch_queue *q);

#endif
