/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With thousands of processes the keeper has tens of thousands of descriptors. A child that is
 * given a copy of them all, and closes them all, takes milliseconds. One that shares the keeper's
 * table and begins with a copy of the low ones alone does not: so a few low numbers are kept
 * occupied (by /dev/null), and a start puts there for its moment what the child needs.
 *
 * Only where the keeper stands still until the child executes (CLONE_VFORK).
 */
#include "agent/keeper/spawn_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(SYS_close_range)
#define SYS_close_range 436
#endif
#if !defined(CLOSE_RANGE_UNSHARE)
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif

#define SLOTS   (SPAWN_FDS_MAX + SPAWN_CGROUPS_MAX + 2)
#define LOW_MAX 1024 /* above, it is not worth it */

static int slots[SLOTS];
static int n_used;
static int null_fd = -1; /* -1: not to be had */

static void give_up(int n)
{
	for (int i = 0; i < n; i++)
		close(slots[i]);
	if (null_fd >= 0)
		close(null_fd);
	null_fd = -1;
}

void spawn_low_init(void)
{
	/* Of a table that is not shared it changes nothing: asks whether there is such a call. */
	if (null_fd >= 0 || syscall(SYS_close_range, ~0u, ~0u, CLOSE_RANGE_UNSHARE) != 0)
		return;
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < SLOTS && null_fd >= 0; i++) {
		slots[i] = fcntl(null_fd, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
		if (slots[i] < 0 || slots[i] >= LOW_MAX)
			give_up(slots[i] < 0 ? i : i + 1);
	}
}

static int replace(int fd, int slot)
{
	int rc;

	do
		rc = dup3(fd, slot, O_CLOEXEC);
	while (rc < 0 && (errno == EINTR || errno == EBUSY));
	return rc;
}

static bool put(int *fd)
{
	if (replace(*fd, slots[n_used]) < 0)
		return false;
	*fd = slots[n_used++];
	return true;
}

bool spawn_low_take(struct spawn_child *c)
{
	struct spawn_child low = *c;
	const struct spawn_plan *p = c->plan;
	bool ok = null_fd >= 0;
	int top = 0;

	for (size_t i = 0; ok && i < p->n_fds; i++)
		ok = put(&low.fds[i]);
	for (size_t i = 0; ok && i < p->n_cgroup_fds; i++)
		ok = put(&low.cgroup_fds[i]);
	if (ok && p->file != NULL)
		ok = put(&low.file_fd);
	ok = ok && put(&low.status_fd);
	if (!ok) {
		spawn_low_release();
		return false;
	}
	for (int i = 0; i < n_used; i++)
		if (slots[i] > top)
			top = slots[i];
	low.keep_below = (unsigned)top + 1;
	*c = low;
	return true;
}

/* A slot that kept a pipe's end would keep its reader from the end of file. */
void spawn_low_release(void)
{
	for (; n_used > 0; n_used--)
		if (replace(null_fd, slots[n_used - 1]) < 0)
			break;
	if (n_used > 0) {
		n_used = 0;
		give_up(SLOTS);
	}
}
