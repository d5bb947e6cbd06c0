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
#include "common/file_room.h"

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

#define NS_MOST (INT64_MAX / NS_PER_S - 1) /* seconds that are told in nanoseconds */

void tree_mtime_put(Telex__V1__TreeEntry *e, const struct stat *st)
{
	const int64_t s = st->st_mtim.tv_sec;
	const bool fits = s >= -NS_MOST && s <= NS_MOST;

	e->mtime_s = fits ? 0 : s;
	e->mtime_ns = (fits ? s * NS_PER_S : 0) + st->st_mtim.tv_nsec;
}

/* What cannot be is the last time that can. */
static struct timespec time_of(const Telex__V1__TreeEntry *e)
{
	int64_t seconds = e->mtime_ns / NS_PER_S, rest = e->mtime_ns % NS_PER_S;
	time_t whole;

	if (rest < 0) {
		rest += NS_PER_S;
		seconds--;
	}
	if (__builtin_add_overflow(seconds, e->mtime_s, &whole))
		whole = e->mtime_s < 0 ? INT64_MIN : INT64_MAX;
	return (struct timespec){.tv_sec = whole, .tv_nsec = rest};
}

bool tree_mtime_is(const Telex__V1__TreeEntry *e, const struct stat *st)
{
	const struct timespec t = time_of(e);

	return t.tv_sec == st->st_mtim.tv_sec && t.tv_nsec == st->st_mtim.tv_nsec;
}

bool tree_mtime_same(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
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

/* `all`: also those that give rights or belong to the system, which root alone can set. */
static bool is_wanted(const char *key, bool all)
{
	if (strcmp(key, "security.selinux") == 0 || strcmp(key, TREE_MARK_XATTR) == 0)
		return false;
	if (strncmp(key, "user.", 5) == 0 || strncmp(key, "system.posix_acl_", 17) == 0)
		return true;
	return all && (strncmp(key, "trusted.", 8) == 0 || strncmp(key, "security.", 9) == 0);
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

static int read_all(const char *path, bool name, const char *names, size_t len, bool privileged,
    Telex__V1__ExtendedAttribute ***list, size_t *n)
{
	Telex__V1__ExtendedAttribute **all = calloc(TREE_XATTRS_MAX, sizeof(*all)), *one;
	uint8_t *value = malloc(VALUE_MAX);
	size_t count = 0, total = 0;
	int rc = all == NULL || value == NULL ? -1 : 0;

	for (const char *key = names; rc == 0 && key < names + len; key += strlen(key) + 1) {
		if (!is_wanted(key, privileged))
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

static int read_list(
    int dir_fd, const char *name, bool privileged, Telex__V1__ExtendedAttribute ***list, size_t *n)
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
		rc = read_all(path, name != NULL, names, (size_t)len, privileged, list, n);
	free(names);
	return rc;
}

int tree_xattrs_read(int dir_fd, const char *name, Telex__V1__ExtendedAttribute ***list, size_t *n)
{
	return read_list(dir_fd, name, geteuid() == 0, list, n);
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
static bool name_of(char out[256], const Telex__V1__ExtendedAttribute *x, bool privileged)
{
	if (x->name.len == 0 || x->name.len > 255 || memchr(x->name.data, 0, x->name.len) != NULL)
		return false;
	memcpy(out, x->name.data, x->name.len);
	out[x->name.len] = '\0';
	return is_wanted(out, privileged);
}

/* security.capability is a set-user-ID bit by another name: it is kept where those are. */
static bool takes_privileged(const struct tree_apply *a)
{
	return a->special != 0 && geteuid() == 0;
}

/* What a file has when it comes to its attributes. */
struct had {
	Telex__V1__ExtendedAttribute **list;
	size_t n;
};

static bool is_acl(const char *key)
{
	return strncmp(key, "system.posix_acl_", 17) == 0;
}

/* Those of ACLs, or all others. */
static int change_xattrs(const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e,
    const struct had *had, bool acls)
{
	const bool privileged = takes_privileged(a);
	char name[256];

	for (size_t i = 0; i < had->n; i++)
		if (find(e->extended_attributes, e->n_extended_attributes, had->list[i]) == NULL &&
		    name_of(name, had->list[i], privileged) && is_acl(name) == acls &&
		    fremovexattr(fd, name) != 0 && errno != ENODATA)
			return -1;
	for (size_t i = 0; i < e->n_extended_attributes; i++) {
		const Telex__V1__ExtendedAttribute *x = e->extended_attributes[i];

		if (!name_of(name, x, privileged) || is_acl(name) != acls ||
		    same_value(find(had->list, had->n, x), x))
			continue;
		if (fsetxattr(fd, name, x->value.data, x->value.len, 0) != 0) {
			errno = file_room_xattr_errno(errno, fd);
			return -1;
		}
	}
	return 0;
}

/* Attributes "user." are read and set by who may read and write the file, be it his own or not.
 * Nobody else gets more than he had. errno on -1. */
static int let_owner_in(int fd, mode_t *was)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	*was = st.st_mode & 07777;
	return (*was & 0600) == 0600 ? 0 : fchmod(fd, *was | 0600);
}

/* All but ACLs, before the file has its mode; what there was of either goes to *had. */
static int apply_xattrs(
    const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e, struct had *had)
{
	const bool privileged = takes_privileged(a);
	int rc = read_list(fd, NULL, privileged, &had->list, &had->n), saved;
	bool shut = rc < 0 && (errno == EACCES || errno == EPERM);
	mode_t was;

	if (rc < 0 && !shut)
		return -1;
	if (rc == 0 && had->n + e->n_extended_attributes == 0)
		return 0;
	/* Who is not its owner may be let to set them all the same. */
	if (let_owner_in(fd, &was) != 0)
		return change_xattrs(a, fd, e, had, false);
	if (shut && read_list(fd, NULL, privileged, &had->list, &had->n) < 0 && errno != EACCES &&
	    errno != EPERM)
		rc = -1;
	else
		rc = change_xattrs(a, fd, e, had, false);
	if (rc != 0 && (was & 0600) != 0600) {
		saved = errno;
		(void)fchmod(fd, was);
		errno = saved;
	}
	return rc;
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
	ts[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
	ts[1] = time_of(e);
}

/* Users may give a file to a group of theirs; what is not allowed is no failure, as nobody
 * promised it. */
static int set_owner(const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e)
{
	uid_t uid = a->root ? e->uid : (uid_t)-1;

	if (!a->options->owner)
		return 0;
	if (fchownat(fd, "", uid, e->gid, AT_EMPTY_PATH) == 0 || (!a->root && errno == EPERM))
		return 0;
	return -1;
}

static int apply_modes(const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e,
    struct had *had, const char **what)
{
	const bool xattrs = a->options->extended_attributes;

	*what = "set extended attributes of";
	if (xattrs && apply_xattrs(a, fd, e, had) != 0)
		return -1;
	*what = "set the mode of";
	if (fchmod(fd, tree_mode(a, e)) != 0)
		return -1;
	/* An ACL's mask is the mode's group part: it comes after the mode. */
	*what = "set extended attributes of";
	return xattrs ? change_xattrs(a, fd, e, had, true) : 0;
}

int tree_apply_fd(
    const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e, const char **what)
{
	struct timespec ts[2];
	struct had had = {0};
	int rc, saved;

	*what = "set the owner of";
	if (set_owner(a, fd, e) != 0)
		return -1;
	rc = apply_modes(a, fd, e, &had, what);
	saved = errno;
	tree_xattrs_free(had.list, had.n);
	errno = saved;
	if (rc != 0)
		return -1;
	*what = "set the times of";
	times_of(ts, e);
	return a->options->no_times ? 0 : futimens(fd, ts);
}

int tree_apply_path(
    const struct tree_apply *a, int fd, const Telex__V1__TreeEntry *e, const char **what)
{
	struct timespec ts[2];
	char path[40];

	*what = "set the owner of";
	if (set_owner(a, fd, e) != 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*what = "set the mode of";
	if (e->type != TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK && chmod(path, tree_mode(a, e)) != 0)
		return -1;
	/* The path of a descriptor leads to what it is, and not further, be it a link. */
	*what = "set the times of";
	times_of(ts, e);
	return a->options->no_times ? 0 : utimensat(AT_FDCWD, path, ts, 0);
}

static bool xattrs_same(
    const struct tree_apply *a, int dir_fd, const char *name, const Telex__V1__TreeEntry *e)
{
	Telex__V1__ExtendedAttribute **list;
	bool privileged = takes_privileged(a), same;
	size_t n, wanted = 0;
	char key[256];

	if (read_list(dir_fd, name, privileged, &list, &n) < 0)
		return false;
	for (size_t i = 0; i < e->n_extended_attributes; i++)
		wanted += name_of(key, e->extended_attributes[i], privileged);
	same = n == wanted;
	/* Of what is there, as the entry may have one twice, or some that are not for us. */
	for (size_t i = 0; same && i < n; i++)
		same = same_value(
		    find(e->extended_attributes, e->n_extended_attributes, list[i]), list[i]);
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
	if (!o->no_times && !tree_mtime_is(e, st))
		return false;
	return link || !o->extended_attributes || xattrs_same(a, dir_fd, name, e);
}
