/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There is no *xattrat(2) yet: names are reached as /proc/self/fd/N/NAME, so that the folder is the
 * one that was opened, whatever its path means by now.
 */
#include "common/tree_meta.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/duration.h"

#define LIST_MAX  ((size_t)65536)
#define VALUE_MAX ((size_t)65536)
#define TOTAL_MAX ((size_t)262144)

Telex__V1__FileType tree_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	case S_IFDIR:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	case S_IFLNK:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK;
	case S_IFIFO:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_FIFO;
	case S_IFSOCK:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_SOCKET;
	case S_IFCHR:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_CHARACTER_DEVICE;
	case S_IFBLK:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_BLOCK_DEVICE;
	default:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_UNSPECIFIED;
	}
}

int64_t tree_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

/* ---- extended attributes ---- */

static void path_of(char out[PATH_MAX], int dir_fd, const char *name)
{
	snprintf(out, PATH_MAX, "/proc/self/fd/%d%s%s", dir_fd, name != NULL ? "/" : "",
	    name != NULL ? name : "");
}

/* l for a name, and not for a descriptor: the path of that is a link. */
static ssize_t list_of(const char *path, bool name, char *list, size_t size)
{
	return name ? llistxattr(path, list, size) : listxattr(path, list, size);
}

static ssize_t value_of(const char *path, bool name, const char *key, void *value, size_t size)
{
	return name ? lgetxattr(path, key, value, size) : getxattr(path, key, value, size);
}

static bool is_wanted(const char *key)
{
	if (strcmp(key, "security.selinux") == 0)
		return false;
	if (strncmp(key, "user.", 5) == 0 || strncmp(key, "system.posix_acl_", 17) == 0)
		return true;
	return geteuid() == 0 &&
	       (strncmp(key, "trusted.", 8) == 0 || strncmp(key, "security.", 9) == 0);
}

void tree_xattrs_free(Telex__V1__ExtendedAttribute **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++) {
		free(list[i]->name.data);
		free(list[i]->value.data);
		free(list[i]);
	}
	free(list);
}

static int read_one(const char *path, bool name, const char *key, uint8_t *value,
    Telex__V1__ExtendedAttribute **out, size_t *total)
{
	Telex__V1__ExtendedAttribute *x;
	ssize_t len = value_of(path, name, key, value, VALUE_MAX);

	*out = NULL;
	if (len < 0)
		return errno == ENODATA ? 0 : -1; /* it has just gone */
	*total += (size_t)len;
	if (*total > TOTAL_MAX) {
		errno = E2BIG;
		return -1;
	}
	x = malloc(sizeof(*x));
	if (x == NULL)
		return -1;
	telex__v1__extended_attribute__init(x);
	x->name.len = strlen(key);
	x->name.data = (uint8_t *)strdup(key);
	x->value.len = (size_t)len;
	x->value.data = malloc((size_t)len + 1);
	if (x->name.data == NULL || x->value.data == NULL) {
		free(x->name.data);
		free(x->value.data);
		free(x);
		errno = ENOMEM;
		return -1;
	}
	memcpy(x->value.data, value, (size_t)len);
	*out = x;
	return 0;
}

static int read_all(const char *path, bool name, const char *names, size_t len,
    Telex__V1__ExtendedAttribute ***list, size_t *n)
{
	Telex__V1__ExtendedAttribute **all = calloc(TREE_XATTRS_MAX, sizeof(*all)), *one;
	uint8_t *value = malloc(VALUE_MAX);
	size_t count = 0, total = 0;
	int rc = all == NULL || value == NULL ? -1 : 0;

	for (const char *key = names; rc == 0 && key < names + len; key += strlen(key) + 1) {
		if (!is_wanted(key))
			continue;
		if (count == TREE_XATTRS_MAX) {
			errno = E2BIG;
			rc = -1;
			break;
		}
		rc = read_one(path, name, key, value, &one, &total);
		if (rc == 0 && one != NULL)
			all[count++] = one;
	}
	free(value);
	if (rc < 0) {
		int saved = errno;

		tree_xattrs_free(all, count);
		errno = saved;
		return -1;
	}
	*list = all;
	*n = count;
	return 0;
}

int tree_xattrs_read(int dir_fd, const char *name, Telex__V1__ExtendedAttribute ***list, size_t *n)
{
	char path[PATH_MAX], *names;
	ssize_t len;
	int rc = 0;

	*list = NULL;
	*n = 0;
	path_of(path, dir_fd, name);
	len = list_of(path, name != NULL, NULL, 0);
	if (len == 0 || (len < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)))
		return 0;
	if (len < 0)
		return -1;
	names = malloc(LIST_MAX);
	if (names == NULL)
		return -1;
	len = list_of(path, name != NULL, names, LIST_MAX);
	if (len < 0)
		rc = -1;
	else if (len > 0)
		rc = read_all(path, name != NULL, names, (size_t)len, list, n);
	free(names);
	return rc;
}

static const Telex__V1__ExtendedAttribute *find(
    Telex__V1__ExtendedAttribute *const *list, size_t n, const Telex__V1__ExtendedAttribute *x)
{
	for (size_t i = 0; i < n; i++)
		if (list[i]->name.len == x->name.len &&
		    memcmp(list[i]->name.data, x->name.data, x->name.len) == 0)
			return list[i];
	return NULL;
}

static bool same_value(const Telex__V1__ExtendedAttribute *a, const Telex__V1__ExtendedAttribute *b)
{
	return a != NULL && a->value.len == b->value.len &&
	       (a->value.len == 0 || memcmp(a->value.data, b->value.data, a->value.len) == 0);
}

/* A name as the system takes it: a text, and of those that we read ourselves. */
static bool name_of(char out[256], const Telex__V1__ExtendedAttribute *x)
{
	if (x->name.len == 0 || x->name.len > 255 || memchr(x->name.data, 0, x->name.len) != NULL)
		return false;
	memcpy(out, x->name.data, x->name.len);
	out[x->name.len] = '\0';
	return is_wanted(out);
}

static int apply_xattrs(int fd, const Telex__V1__TreeEntry *e)
{
	Telex__V1__ExtendedAttribute **old = NULL;
	size_t n = 0;
	char name[256];
	int rc = tree_xattrs_read(fd, NULL, &old, &n);

	if (rc < 0 && (errno == EACCES || errno == EPERM))
		rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (find(e->extended_attributes, e->n_extended_attributes, old[i]) == NULL &&
		    name_of(name, old[i]) && fremovexattr(fd, name) != 0 && errno != ENODATA)
			rc = -1;
	for (size_t i = 0; rc == 0 && i < e->n_extended_attributes; i++) {
		const Telex__V1__ExtendedAttribute *x = e->extended_attributes[i];

		if (!name_of(name, x) || same_value(find(old, n, x), x))
			continue;
		rc = fsetxattr(fd, name, x->value.data, x->value.len, 0);
	}
	if (rc < 0) {
		int saved = errno;

		tree_xattrs_free(old, n);
		errno = saved;
		return -1;
	}
	tree_xattrs_free(old, n);
	return 0;
}

/* ---- the rest ---- */

mode_t tree_mode(const struct tree_apply *a, const Telex__V1__TreeEntry *e)
{
	bool folder = e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;

	if (a->options->no_modes)
		return (folder ? 0777u : 0666u) & ~a->umask;
	return e->mode & (0777u | a->special);
}

static void times_of(struct timespec ts[2], const Telex__V1__TreeEntry *e)
{
	int64_t seconds = e->mtime_ns / NS_PER_S, rest = e->mtime_ns % NS_PER_S;

	if (rest < 0) {
		rest += NS_PER_S;
		seconds--;
	}
	ts[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
	ts[1] = (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

/* Users may give a file to a group of theirs; what is not allowed is no failure, as nobody
 * promised it. */
static int set_owner(
    const struct tree_apply *a, int fd, const char *name, const Telex__V1__TreeEntry *e)
{
	uid_t uid = a->root ? e->uid : (uid_t)-1;
	int flags = name[0] == '\0' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;

	if (!a->options->owner)
		return 0;
	if (fchownat(fd, name, uid, e->gid, flags) == 0 || (!a->root && errno == EPERM))
		return 0;
	return -1;
}

int tree_apply_fd(
    const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e, const char **what)
{
	struct timespec ts[2];

	*what = "set the owner of";
	if (set_owner(a, fd, "", e) != 0)
		return -1;
	/* An ACL's mask is the mode's group part: the mode first. */
	*what = "set the mode of";
	if (fchmod(fd, tree_mode(a, e)) != 0)
		return -1;
	*what = "set extended attributes of";
	if (a->options->extended_attributes && apply_xattrs(fd, e) != 0)
		return -1;
	*what = "set the times of";
	times_of(ts, e);
	return a->options->no_times ? 0 : futimens(fd, ts);
}

int tree_apply_name(const struct tree_apply *a, int dir_fd, const char *name,
    const Telex__V1__TreeEntry *e, const char **what)
{
	struct timespec ts[2];

	*what = "set the owner of";
	if (set_owner(a, dir_fd, name, e) != 0)
		return -1;
	*what = "set the times of";
	times_of(ts, e);
	return a->options->no_times ? 0 : utimensat(dir_fd, name, ts, AT_SYMLINK_NOFOLLOW);
}

static bool xattrs_same(int dir_fd, const char *name, const Telex__V1__TreeEntry *e)
{
	Telex__V1__ExtendedAttribute **list;
	size_t n;
	bool same;

	if (tree_xattrs_read(dir_fd, name, &list, &n) < 0)
		return false;
	same = n == e->n_extended_attributes;
	for (size_t i = 0; same && i < n; i++)
		same =
		    same_value(find(list, n, e->extended_attributes[i]), e->extended_attributes[i]);
	tree_xattrs_free(list, n);
	return same;
}

bool tree_applied(const struct tree_apply *a, int dir_fd, const char *name, const struct stat *st,
    const Telex__V1__TreeEntry *e)
{
	const Telex__V1__TreeOptions *o = a->options;
	bool link = S_ISLNK(st->st_mode);

	if (!link && !o->no_modes && (st->st_mode & 07777) != tree_mode(a, e))
		return false;
	if (o->owner && a->root && st->st_uid != e->uid)
		return false;
	if (o->owner && st->st_gid != e->gid && (a->root || group_member(e->gid)))
		return false;
	if (!o->no_times && tree_mtime_ns(st) != e->mtime_ns)
		return false;
	return link || !o->extended_attributes || xattrs_same(dir_fd, name, e);
}
