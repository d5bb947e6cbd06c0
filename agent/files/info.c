/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/info.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/files/names.h"
#include "common/tree_meta.h"

#define XATTRS_MAX  4096
#define XATTRS_SIZE ((size_t)1 << 20) /* of all names and values: an answer has 4 MiB */

static Google__Protobuf__Timestamp *set_time(
    Google__Protobuf__Timestamp *out, const struct statx_timestamp *t)
{
	google__protobuf__timestamp__init(out);
	out->seconds = t->tv_sec;
	out->nanos = (int32_t)t->tv_nsec;
	return out;
}

static void set_attributes(struct info *out, uint64_t attributes)
{
	static const struct {
		uint64_t bit;
		const char *word;
	} all[INFO_ATTRIBUTES_MAX] = {
	    {STATX_ATTR_IMMUTABLE, "immutable"},
	    {STATX_ATTR_APPEND, "append"},
	    {STATX_ATTR_COMPRESSED, "compressed"},
	    {STATX_ATTR_ENCRYPTED, "encrypted"},
	    {STATX_ATTR_NODUMP, "nodump"},
	    {STATX_ATTR_MOUNT_ROOT, "mount-root"},
	    {STATX_ATTR_VERITY, "verity"},
	    {STATX_ATTR_DAX, "dax"},
	};

	out->file.attributes = out->attributes;
	for (size_t i = 0; i < INFO_ATTRIBUTES_MAX; i++)
		if ((attributes & all[i].bit) != 0)
			out->attributes[out->file.n_attributes++] = (char *)(uintptr_t)all[i].word;
}

void info_from_statx(struct info *out, const struct statx *st, const char *path)
{
	Telex__V1__FileInfo *f = &out->file;

	memset(out, 0, sizeof(*out));
	telex__v1__file_info__init(f);
	f->path.data = (uint8_t *)(uintptr_t)path;
	f->path.len = strlen(path);
	f->type = tree_type(st->stx_mode);
	f->mode = st->stx_mode & 07777;
	f->uid = st->stx_uid;
	f->gid = st->stx_gid;
	f->user = (char *)(uintptr_t)names_of(NAMES_USER, st->stx_uid);
	f->group = (char *)(uintptr_t)names_of(NAMES_GROUP, st->stx_gid);
	f->size = st->stx_size;
	f->blocks = st->stx_blocks;
	f->block_size = st->stx_blksize;
	f->links = st->stx_nlink;
	f->inode = st->stx_ino;
	f->device_major = st->stx_dev_major;
	f->device_minor = st->stx_dev_minor;
	f->rdev_major = st->stx_rdev_major;
	f->rdev_minor = st->stx_rdev_minor;
	f->modified = set_time(&out->modified, &st->stx_mtime);
	f->accessed = set_time(&out->accessed, &st->stx_atime);
	f->changed = set_time(&out->changed, &st->stx_ctime);
	if ((st->stx_mask & STATX_BTIME) != 0)
		f->created = set_time(&out->created, &st->stx_btime);
	if ((st->stx_mask & STATX_MNT_ID) != 0)
		f->mount_id = st->stx_mnt_id;
	set_attributes(out, st->stx_attributes & st->stx_attributes_mask);
}

/* ---- links and extended attributes ---- */

static int read_target(struct info *out, int fd)
{
	char target[4097];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return errno;
	out->link_target = malloc((size_t)n + 1);
	if (out->link_target == NULL)
		return ENOMEM;
	memcpy(out->link_target, target, (size_t)n);
	out->file.link_target.data = (uint8_t *)out->link_target;
	out->file.link_target.len = (size_t)n;
	return 0;
}

static void free_xattr(Telex__V1__ExtendedAttribute *x)
{
	if (x == NULL)
		return;
	free(x->name.data);
	free(x->value.data);
	free(x);
}

/* One that may not be read, or that was changed meanwhile, is passed over. */
static bool passes_over(int error)
{
	return error == ENODATA || error == ERANGE || error == EACCES || error == EPERM ||
	       error == ENOTSUP;
}

/* 0: added, or passed over; else an errno. */
static int add_xattr(struct info *out, const char *link, const char *name, size_t *total)
{
	Telex__V1__ExtendedAttribute *x = malloc(sizeof(*x));
	ssize_t n = getxattr(link, name, NULL, 0);
	size_t room;
	int error = 0;

	if (x == NULL)
		return ENOMEM;
	telex__v1__extended_attribute__init(x);
	x->name.data = (uint8_t *)strdup(name);
	x->name.len = strlen(name);
	/* Never with a size of 0, which asks for the length alone: it may have grown since. */
	room = n > 0 ? (size_t)n : 1;
	x->value.data = malloc(room);
	if (x->name.data == NULL || x->value.data == NULL)
		error = ENOMEM;
	else if (n >= 0 && (n = getxattr(link, name, x->value.data, room)) >= 0)
		x->value.len = (size_t)n;
	else
		error = errno;
	if (error != 0) {
		free_xattr(x);
		return passes_over(error) ? 0 : error;
	}
	*total += x->name.len + x->value.len;
	if (*total > XATTRS_SIZE) {
		free_xattr(x);
		return E2BIG;
	}
	out->xattrs[out->file.n_extended_attributes++] = x;
	return 0;
}

static int read_xattrs(struct info *out, int fd)
{
	char link[40], *names;
	size_t total = 0;
	ssize_t n;
	int error = 0;

	/* Of the file itself, also of a symbolic link: a descriptor's link is followed no further.
	 */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = listxattr(link, NULL, 0);
	if (n < 0)
		return errno == ENOTSUP || errno == EPERM ? 0 : errno;
	if (n == 0)
		return 0;
	names = malloc((size_t)n);
	out->xattrs = calloc(XATTRS_MAX, sizeof(*out->xattrs));
	out->file.extended_attributes = out->xattrs;
	if (names == NULL || out->xattrs == NULL)
		error = ENOMEM;
	else if ((n = listxattr(link, names, (size_t)n)) < 0)
		error = errno;
	for (ssize_t at = 0; error == 0 && at < n; at += (ssize_t)strlen(names + at) + 1)
		if (out->file.n_extended_attributes < XATTRS_MAX)
			error = add_xattr(out, link, names + at, &total);
	free(names);
	return error;
}

int info_from_fd(struct info *out, int fd, const char *path, bool xattrs)
{
	struct statx st;
	int error = 0;

	memset(out, 0, sizeof(*out));
	telex__v1__file_info__init(&out->file);
	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, INFO_MASK, &st) != 0)
		return errno;
	info_from_statx(out, &st, path);
	if (S_ISLNK(st.stx_mode))
		error = read_target(out, fd);
	if (error == 0 && xattrs)
		error = read_xattrs(out, fd);
	return error;
}

void info_add_target(struct info *out, const struct roots *roots, const char *path)
{
	struct rpc_status ignored;
	struct stat st;
	int fd;

	if (out->file.type != TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK)
		return;
	fd = roots_open(roots, ROOTS_READ, path, O_PATH, &ignored);
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0) {
		out->file.target_type = tree_type(st.st_mode);
		out->file.target_mode = st.st_mode & 07777;
	}
	close(fd);
}

void info_clear(struct info *i)
{
	free(i->link_target);
	for (size_t k = 0; k < i->file.n_extended_attributes; k++)
		free_xattr(i->xattrs[k]);
	free(i->xattrs);
	memset(i, 0, sizeof(*i));
}
