/* SPDX-License-Identifier: Apache-2.0 */
#include "common/parts.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beneath.h"

#define PREFIX ".telex-"
#define SUFFIX ".part"

bool parts_is_name(const char *name)
{
	size_t n;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return false;
	name += strlen(PREFIX);
	n = strspn(name, "0123456789abcdef");
	return n > 0 && n <= PARTS_ID_MAX && strcmp(name + n, SUFFIX) == 0;
}

static bool holds_something(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_uid == geteuid() && st.st_size > 0;
}

bool parts_keep(int dir_fd, const char *name, unsigned most)
{
	int fd = open_beneath(dir_fd, ".", O_RDONLY | O_DIRECTORY);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *d;
	unsigned n = 0;

	if (dir == NULL && fd >= 0)
		close(fd);
	while (dir != NULL && n < most && (d = readdir(dir)) != NULL)
		n += parts_is_name(d->d_name) && strcmp(d->d_name, name) != 0 &&
		     holds_something(dirfd(dir), d->d_name);
	if (dir != NULL)
		closedir(dir);
	return n < most && holds_something(dir_fd, name);
}
