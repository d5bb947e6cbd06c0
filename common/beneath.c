/* SPDX-License-Identifier: Apache-2.0 */
#include "common/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_component(int fd, const char *at, size_t len, int flags, unsigned mode)
{
	char name[NAME_MAX + 1];

	if (len > NAME_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (len == 2 && at[0] == '.' && at[1] == '.') {
		errno = EXDEV;
		return -1;
	}
	memcpy(name, at, len);
	name[len] = '\0';
	return openat(fd, len == 0 ? "." : name, flags | O_NOFOLLOW, mode);
}

/* Without openat2. */
static int walk(int dir_fd, const char *name, int flags, unsigned mode)
{
	int fd = dir_fd;

	if (name[0] == '/') {
		errno = EXDEV;
		return -1;
	}
	for (;;) {
		size_t len = strcspn(name, "/");
		const char *rest = name + len + strspn(name + len, "/");
		bool last = *rest == '\0';
		int next = open_component(
		    fd, name, len, last ? flags : O_PATH | O_DIRECTORY | O_CLOEXEC, mode);
		int saved = errno;

		if (fd != dir_fd)
			close(fd);
		errno = saved;
		if (next < 0 || last)
			return next;
		fd = next;
		name = rest;
	}
}

/* openat2 takes nothing with O_PATH that means nothing there. */
static int with_always(int flags)
{
	return (flags & O_PATH) != 0 ? flags | O_CLOEXEC : flags | O_CLOEXEC | O_NOCTTY;
}

int open_beneath_make(int dir_fd, const char *name, int flags, unsigned mode)
{
	struct open_how how = {
	    .flags = (uint64_t)(unsigned)with_always(flags),
	    .mode = (flags & O_CREAT) != 0 ? mode : 0,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	if (fd < 0 && errno == ENOSYS)
		return walk(dir_fd, name, with_always(flags), mode);
	return fd;
}

int open_beneath(int dir_fd, const char *name, int flags)
{
	return open_beneath_make(dir_fd, name, flags, 0);
}

int open_below(int dir_fd, const char *name, int flags, bool follow)
{
	return follow ? openat(dir_fd, name, with_always(flags))
	              : open_beneath(dir_fd, name, flags);
}
