/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/scope.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096

bool scope_allows(const struct scope *s, int dir_fd, const char *name, const char *below)
{
	const char *slash = strcmp(s->top, "/") == 0 ? "" : "/";
	char path[PATH_SIZE];
	struct rpc_status status;
	struct stat by_path, by_name;
	bool same;
	int fd;

	if (s->whole)
		return true;
	if (snprintf(path, sizeof(path), "%s%s%s", s->top, slash, below) >= PATH_SIZE)
		return false;
	fd = roots_open(s->roots, s->access, path, O_PATH | O_NOFOLLOW, &status);
	if (fd < 0)
		return false;
	same = fstat(fd, &by_path) == 0 &&
	       fstatat(dir_fd, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
	       by_path.st_dev == by_name.st_dev && by_path.st_ino == by_name.st_ino;
	close(fd);
	return same;
}
