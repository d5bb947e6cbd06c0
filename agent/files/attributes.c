/* SPDX-License-Identifier: Apache-2.0 */
/* What has no call for an O_PATH descriptor goes by /proc/self/fd: the link there leads to the file
 * that is open, and when that is a symbolic link, no further. */
#include "agent/files/attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/file_room.h"

#define LINK_SIZE 40

static const char *link_of(char out[LINK_SIZE], int fd)
{
	snprintf(out, LINK_SIZE, "/proc/self/fd/%d", fd);
	return out;
}

int attributes_mode(int fd, unsigned mode)
{
	char link[LINK_SIZE];
	struct stat st;

	/* Old kernels let some file systems do it. */
	if (fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
		return EOPNOTSUPP;
	return chmod(link_of(link, fd), mode & 07777) == 0 ? 0 : errno;
}

int attributes_owner(int fd, uint32_t uid, uint32_t gid)
{
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

int attributes_keep_owner(const struct stat *st, int to, bool *kept)
{
	struct stat now;
	int error;

	*kept = true;
	if (fstat(to, &now) == 0 && now.st_uid == st->st_uid && now.st_gid == st->st_gid)
		return 0;
	error = attributes_owner(to, st->st_uid, st->st_gid);
	if (error != EPERM && error != EINVAL)
		return error;
	/* Users may not give files away, but to a group of theirs. */
	*kept = false;
	(void)attributes_owner(to, ATTRIBUTES_KEEP, st->st_gid);
	return 0;
}

int attributes_times(int fd, const struct timespec times[2])
{
	char link[LINK_SIZE];

	return utimensat(AT_FDCWD, link_of(link, fd), times, 0) == 0 ? 0 : errno;
}

int attributes_set(int fd, const char *name, const void *value, size_t len)
{
	char link[LINK_SIZE];

	if (setxattr(link_of(link, fd), name, value, len, 0) == 0)
		return 0;
	return file_room_xattr_errno(errno, fd);
}

int attributes_remove(int fd, const char *name)
{
	char link[LINK_SIZE];

	return removexattr(link_of(link, fd), name) == 0 ? 0 : errno;
}

int attributes_name(char out[256], const uint8_t *name, size_t len)
{
	if (len == 0 || len > 255 || memchr(name, '\0', len) != NULL)
		return EINVAL;
	memcpy(out, name, len);
	out[len] = '\0';
	return 0;
}

/* ---- all of them ---- */

static int passed_over(int error)
{
	return error == ENOTSUP || error == EPERM || error == EACCES || error == ENODATA ? 0
	                                                                                 : error;
}

static int copy_one(const char *from, int to, const char *name, void *value, size_t size)
{
	ssize_t n = getxattr(from, name, value, size);

	if (n < 0)
		return passed_over(errno);
	return passed_over(attributes_set(to, name, value, (size_t)n));
}

static const char *const acls[] = {"system.posix_acl_access", "system.posix_acl_default"};
#define ACLS (sizeof(acls) / sizeof(acls[0]))

static bool is_acl(const char *name)
{
	return strcmp(name, acls[0]) == 0 || strcmp(name, acls[1]) == 0;
}

/* Those that it got from the folder it was made in, and that are not the other's: whoever is named
 * there would have the rights that its mode gives. */
static int remove_acls(int from, int to)
{
	char of[LINK_SIZE], link[LINK_SIZE];
	int error = 0;

	(void)link_of(of, from);
	(void)link_of(link, to);
	for (size_t i = 0; error == 0 && i < ACLS; i++)
		if (getxattr(link, acls[i], NULL, 0) > 0 && getxattr(of, acls[i], NULL, 0) < 0)
			error = passed_over(attributes_remove(to, acls[i]));
	return error;
}

static int copy_those(int from, int to, bool acls_only)
{
	char link[LINK_SIZE], *names = NULL;
	void *value = NULL;
	ssize_t n = listxattr(link_of(link, from), NULL, 0);
	int error = remove_acls(from, to);

	if (error != 0)
		return error;
	if (n <= 0)
		return n < 0 ? passed_over(errno) : 0;
	names = malloc(XATTR_LIST_MAX);
	value = malloc(XATTR_SIZE_MAX);
	if (names == NULL || value == NULL)
		error = ENOMEM;
	else if ((n = listxattr(link, names, XATTR_LIST_MAX)) < 0)
		error = passed_over(errno);
	for (ssize_t at = 0; error == 0 && at < n; at += (ssize_t)strlen(names + at) + 1)
		if (!acls_only || is_acl(names + at))
			error = copy_one(link, to, names + at, value, XATTR_SIZE_MAX);
	free(names);
	free(value);
	return error;
}

int attributes_copy(int from, int to)
{
	return copy_those(from, to, false);
}

int attributes_copy_acls(int from, int to)
{
	return copy_those(from, to, true);
}

/* ---- of what is replaced ---- */

static int give(int of, const struct stat *st, int to)
{
	/* Set-user-ID is for one content, not for another. */
	unsigned mode = st->st_mode & 0777;
	struct stat now;
	bool kept;
	int error = attributes_keep_owner(st, to, &kept);

	if (error == 0 && fstat(to, &now) != 0)
		error = errno;
	if (error != 0)
		return error;
	/* What one group might do is not for another: that gets what all have. */
	if (now.st_gid != st->st_gid)
		mode &= 0707u | mode << 3;
	error = attributes_copy_acls(of, to);
	return error != 0 ? error : attributes_mode(to, mode);
}

int attributes_of_replaced(int dir_fd, const char *name, int to, bool *replaces)
{
	const int fd = open_beneath(dir_fd, name, O_PATH | O_NOFOLLOW);
	struct stat st;
	int error = 0;

	*replaces = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	if (*replaces)
		error = give(fd, &st, to);
	if (fd >= 0)
		close(fd);
	return error;
}
