/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inherited descriptors, by kind. A pipe or terminal is opened anew through /proc/self/fd: that
 * gives an open file description of our own, whose O_NONBLOCK nobody else sees.
 *
 * The master of a pseudo-terminal is not opened anew: that would make another terminal.
 */
#include "cli/fdkind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MEMORY_DEVICES 1 /* major of /dev/null, zero, full, random */

static bool is_pty_master(int fd)
{
	unsigned number;

	return ioctl(fd, TIOCGPTN, &number) == 0;
}

static void open_anew(struct fdkind_fd *out, int fd, bool writing)
{
	int flags = (writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	char path[40];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, flags);
	if (own >= 0)
		*out = (struct fdkind_fd){.kind = FDKIND_OWN, .fd = own, .owned = true};
}

int fdkind_open(struct fdkind_fd *out, int fd, bool writing)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return errno;
	if ((flags & O_ACCMODE) == (writing ? O_RDONLY : O_WRONLY))
		return EBADF;
	*out = (struct fdkind_fd){.kind = FDKIND_SHARED, .fd = fd};
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) || S_ISDIR(st.st_mode) ||
	    (S_ISCHR(st.st_mode) && major(st.st_rdev) == MEMORY_DEVICES))
		out->kind = FDKIND_PLAIN;
	else if (S_ISSOCK(st.st_mode))
		out->kind = FDKIND_SOCKET;
	else if (S_ISFIFO(st.st_mode) || (isatty(fd) && !is_pty_master(fd)))
		open_anew(out, fd, writing);
	return 0;
}

bool fdkind_is_null(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ||
	       (S_ISCHR(st.st_mode) && st.st_rdev == makedev(MEMORY_DEVICES, 3));
}

void fdkind_close(struct fdkind_fd *f)
{
	if (f->owned)
		close(f->fd);
	*f = (struct fdkind_fd){.fd = -1};
}
