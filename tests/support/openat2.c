/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openat2(2) where there is none, as under valgrind: near enough for what tests ask (linked with
 * -Wl,--wrap=syscall). Not safe against anybody who changes folders meanwhile: for tests alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/beneath.h"

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

static int name_of(int fd, char out[4096])
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, 4095);
	if (n < 0)
		return -1;
	out[n] = '\0';
	return 0;
}

/* Whether what was opened is below the folder. */
static int is_below(int dir_fd, int fd)
{
	char dir[4096], name[4096];
	size_t len;

	if (name_of(dir_fd, dir) != 0 || name_of(fd, name) != 0)
		return 0;
	len = strcmp(dir, "/") == 0 ? 0 : strlen(dir);
	return strncmp(dir, name, len) == 0 && (name[len] == '/' || name[len] == '\0');
}

/* common/beneath.c has its own way to do without. */
static int inside;

static int emulate(int dir_fd, const char *path, const struct open_how *how)
{
	int flags = (int)how->flags, fd;

	if ((how->resolve & RESOLVE_NO_SYMLINKS) != 0) {
		inside = 1;
		fd = open_beneath_make(dir_fd, path, flags, (unsigned)how->mode);
		inside = 0;
		return fd;
	}
	if ((how->resolve & RESOLVE_IN_ROOT) != 0)
		while (*path == '/')
			path++;
	if ((how->resolve & RESOLVE_BENEATH) != 0 && *path == '/') {
		errno = EXDEV;
		return -1;
	}
	fd = openat(dir_fd, *path == '\0' ? "." : path, flags, how->mode);
	if (fd >= 0 && (how->resolve & RESOLVE_BENEATH) != 0 && !is_below(dir_fd, fd)) {
		close(fd);
		errno = EXDEV;
		return -1;
	}
	return fd;
}

long __wrap_syscall(long number, ...)
{
	static int missing;
	va_list ap;
	long a, b, c, d, rc;

	va_start(ap, number);
	a = va_arg(ap, long);
	b = va_arg(ap, long);
	c = va_arg(ap, long);
	d = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_openat2 && inside) {
		errno = ENOSYS;
		return -1;
	}
	if (number == SYS_openat2 && missing)
		return emulate((int)a, (const char *)b, (const struct open_how *)c);
	rc = __real_syscall(number, a, b, c, d);
	if (number != SYS_openat2 || rc >= 0 || errno != ENOSYS)
		return rc;
	missing = 1;
	return emulate((int)a, (const char *)b, (const struct open_how *)c);
}
