/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/open_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "common/beneath.h"
#include "common/err.h"
#include "common/escape.h"

static const char *word_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	default:
		return "no regular file";
	}
}

int open_file_refuse(struct rpc_status *status, mode_t mode, const char *what, const char *path)
{
	char safe[256];

	if (S_ISDIR(mode))
		return failure_errno(status, EISDIR, what, path);
	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED",
	    "cannot %s %s: it is %s, not a regular file", what, safe, word_of(mode));
	rpc_status_meta(status, "path", "%s", safe);
	return TX_EUNSUPPORTED;
}

int open_file(const struct roots *r, enum roots_access access, const char *path, int flags,
    const char *what, struct stat *st, struct rpc_status *status)
{
	int fd, seen, opened = -1;

	fd = roots_open(r, access, path, O_PATH | (flags & O_NOFOLLOW), status);
	if (fd < 0)
		return -1;
	seen = fstat(fd, st);
	if (seen == 0 && !S_ISREG(st->st_mode))
		open_file_refuse(status, st->st_mode, what, path);
	else if (seen != 0 || (opened = roots_reopen(fd, flags & ~O_NOFOLLOW)) < 0)
		failure_errno(status, errno, what, path);
	close(fd);
	return opened;
}

int open_folder(const struct roots *r, enum roots_access access, const char *path, int flags,
    const char *what, struct rpc_status *status)
{
	int fd = roots_open(r, access, path, O_PATH | O_DIRECTORY | (flags & O_NOFOLLOW), status);
	int opened;

	if (fd < 0)
		return -1;
	opened = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY);
	if (opened < 0)
		failure_errno(status, errno, what, path);
	close(fd);
	return opened;
}
