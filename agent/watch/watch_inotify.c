/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_inotify.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/watch/watch_queue.h"

#define READ_SIZE ((size_t)64 << 10)
#define ONE_MAX   (sizeof(struct inotify_event) + NAME_MAX + 1)

int watch_inotify_open(void)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int64_t watch_inotify_add(int instance, int fd, uint32_t mask, bool folder)
{
	char link[40];
	int watch;

	if (folder) {
		if (fchdir(fd) != 0)
			return -errno;
		watch = inotify_add_watch(instance, ".", mask | IN_MASK_ADD | IN_ONLYDIR);
	} else {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		watch = inotify_add_watch(instance, link, mask | IN_MASK_ADD);
	}
	return watch < 0 ? -errno : watch;
}

void watch_inotify_remove(int instance, uint32_t watch)
{
	(void)inotify_rm_watch(instance, (int)watch);
}

bool watch_inotify_fill(int instance, struct watch_queue *q)
{
	for (;;) {
		ssize_t n;

		if (watch_queue_is_full(q))
			return false;
		n = read(instance, watch_queue_room(q, READ_SIZE), READ_SIZE);
		if (n <= 0)
			return true;
		watch_queue_added(q, (size_t)n);
		/* Another one would have had room. */
		if ((size_t)n < READ_SIZE - ONE_MAX)
			return true;
	}
}
