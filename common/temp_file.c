/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock is on the file, not on its name: whoever has locked one looks whether it still has the
 * name, since the holder before may just have moved it to its place, or removed it.
 */
#include "common/temp_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/parts.h"

#define PREFIX     ".telex-"
#define SUFFIX     ".part"
#define DIGITS     PARTS_ID_MAX
#define RETRIES    16
#define WRITE_BACK ((uint64_t)8 << 20) /* is started for each so many bytes */
#define RESERVE    ((uint64_t)1 << 20) /* less is not worth it */
#define REAP_EVERY 600                 /* seconds */
#define XFS_MAGIC  0x58465342

static bool is_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool temp_file_id_valid(const char *id)
{
	size_t n = 0;

	while (is_digit(id[n]))
		n++;
	return id[n] == '\0' && n >= 16 && n <= 64;
}

int temp_file_id_make(char out[TEMP_FILE_ID_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[DIGITS / 2];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return errno != 0 ? errno : EIO;
	for (size_t i = 0; i < sizeof(random); i++) {
		out[2 * i] = digits[random[i] >> 4];
		out[2 * i + 1] = digits[random[i] & 15];
	}
	out[DIGITS] = '\0';
	return 0;
}

void temp_file_name(char out[TEMP_FILE_NAME_SIZE], const char *id)
{
	snprintf(out, TEMP_FILE_NAME_SIZE, PREFIX "%.*s" SUFFIX, DIGITS, id);
}

/* ---- opening ---- */

/* Never a link, and nothing waits for a FIFO. */
static int open_in(int dir_fd, const char *name, int flags)
{
	int fd;

	do
		fd = open_beneath_make(dir_fd, name, flags | O_NONBLOCK | O_NOFOLLOW, 0600);
	while (fd < 0 && errno == EINTR);
	return fd;
}

static bool is_ours(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink == 1 && st->st_uid == geteuid();
}

/* Whether the name still means this file. */
static bool has_name(int dir_fd, const char *name, const struct stat *st)
{
	struct stat now;

	return fstatat(dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_dev == st->st_dev &&
	       now.st_ino == st->st_ino;
}

static int lock(int fd)
{
	int rc;

	do
		rc = flock(fd, LOCK_EX | LOCK_NB);
	while (rc != 0 && errno == EINTR);
	/* A file system without locks has to do without. */
	if (rc != 0 && (errno == ENOLCK || errno == EOPNOTSUPP || errno == EINVAL))
		return 0;
	return rc == 0 ? 0 : errno;
}

/* One try: 0, or ESTALE (again), or an errno. */
static int open_once(struct temp_file *t, struct stat *st)
{
	bool made = false;
	int error;

	t->fd = open_in(t->dir_fd, t->name, O_RDWR);
	if (t->fd < 0 && errno == ENOENT) {
		t->fd = open_in(t->dir_fd, t->name, O_RDWR | O_CREAT | O_EXCL);
		if (t->fd < 0)
			return errno == EEXIST ? ESTALE : errno;
		made = true;
	}
	if (t->fd < 0 && errno != EACCES && errno != ELOOP && errno != ENXIO && errno != EISDIR)
		return errno;
	if (t->fd < 0 || fstat(t->fd, st) != 0 || !is_ours(st)) {
		temp_file_keep(t);
		return unlinkat(t->dir_fd, t->name, 0) == 0 || errno == ENOENT ? ESTALE : EEXIST;
	}
	error = lock(t->fd);
	if (error == 0 && (fstat(t->fd, st) != 0 || !has_name(t->dir_fd, t->name, st)))
		error = ESTALE;
	/* Nobody will look for it. Whoever has locked it is at it. */
	if (made && error != 0 && error != ESTALE && error != EWOULDBLOCK)
		(void)unlinkat(t->dir_fd, t->name, 0);
	if (error != 0)
		temp_file_keep(t);
	return error;
}

int temp_file_open(struct temp_file *t, int dir_fd, const char *id, uint64_t *size)
{
	struct stat st = {.st_size = 0};
	int error = ESTALE;

	*t = (struct temp_file)TEMP_FILE_INIT;
	t->dir_fd = dir_fd;
	temp_file_name(t->name, id);
	for (int i = 0; i < RETRIES && error == ESTALE; i++)
		error = open_once(t, &st);
	if (error != 0)
		return error == EWOULDBLOCK ? EAGAIN : error;
	*size = t->dirty = (uint64_t)st.st_size;
	return 0;
}

int temp_file_look(int dir_fd, const char *id, uint64_t *size, int64_t *expires)
{
	char name[TEMP_FILE_NAME_SIZE];
	struct stat st;

	temp_file_name(name, id);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno;
	if (!is_ours(&st))
		return ENOENT;
	*size = (uint64_t)st.st_size;
	*expires = (int64_t)st.st_mtim.tv_sec + TEMP_FILE_LIFE;
	return 0;
}

/* ---- writing ---- */

/* On some file systems it writes zeros, or takes compression away. */
static bool reserves_cheaply(const struct statfs *fs)
{
	return (unsigned long)fs->f_type == EXT4_SUPER_MAGIC ||
	       (unsigned long)fs->f_type == XFS_MAGIC;
}

int temp_file_reserve(struct temp_file *t, uint64_t from, uint64_t size)
{
	uint64_t need = size > from ? size - from : 0, room;
	struct statfs fs;
	int rc;

	if (size > INT64_MAX)
		return EFBIG;
	if (need == 0 || fstatfs(t->fd, &fs) != 0)
		return 0;
	room = geteuid() == 0 ? fs.f_bfree : fs.f_bavail;
	if (fs.f_blocks > 0 && need / (uint64_t)fs.f_bsize > room)
		return ENOSPC;
	if (need < RESERVE || !reserves_cheaply(&fs))
		return 0;
	do
		rc = fallocate(t->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)need);
	while (rc != 0 && errno == EINTR);
	return rc != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) ? errno : 0;
}

int temp_file_write(struct temp_file *t, const void *data, size_t len, uint64_t offset)
{
	const char *at = data;

	if (offset > (uint64_t)INT64_MAX - len)
		return EFBIG;
	while (len > 0) {
		ssize_t n = pwrite(t->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	if (offset < t->dirty)
		t->dirty = offset;
	if (offset - t->dirty >= WRITE_BACK) {
		(void)sync_file_range(
		    t->fd, (off_t)t->dirty, (off_t)(offset - t->dirty), SYNC_FILE_RANGE_WRITE);
		t->dirty = offset;
	}
	return 0;
}

int temp_file_resize(struct temp_file *t, uint64_t size)
{
	int rc;

	if (size > INT64_MAX)
		return EFBIG;
	do
		rc = ftruncate(t->fd, (off_t)size);
	while (rc != 0 && errno == EINTR);
	if (rc != 0)
		return errno;
	if (t->dirty > size)
		t->dirty = size;
	return 0;
}

/* ---- the end ---- */

static int sync_fd(int fd)
{
	while (fsync(fd) != 0) {
		/* Some file systems have nothing to be synced. */
		if (errno == EINVAL || errno == ENOTSUP || errno == EROFS)
			return 0;
		if (errno != EINTR)
			return errno;
	}
	return 0;
}

int temp_file_sync_folder(int dir_fd)
{
	int fd = open_in(dir_fd, ".", O_RDONLY | O_DIRECTORY);
	int error;

	if (fd < 0)
		return errno;
	error = sync_fd(fd);
	close(fd);
	return error;
}

/* The folder's names, after the rename: one that may be written and not read has its whole file
 * system synced. */
static int sync_place(const struct temp_file *t)
{
	int error = temp_file_sync_folder(t->dir_fd);

	if (error == EACCES)
		error = syncfs(t->fd) == 0 ? 0 : errno;
	return error;
}

static int take_free_name(const struct temp_file *t, const char *name)
{
	if (renameat2(t->dir_fd, t->name, t->dir_fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	/* A file system that does not know the flag: a link is never made over something. */
	if (linkat(t->dir_fd, t->name, t->dir_fd, name, 0) != 0)
		return errno;
	(void)unlinkat(t->dir_fd, t->name, 0);
	return 0;
}

int temp_file_commit(struct temp_file *t, const char *name, int flags)
{
	int error = (flags & TEMP_FILE_DURABLE) != 0 ? sync_fd(t->fd) : 0;

	if (error == 0 && (flags & TEMP_FILE_NEVER) != 0)
		error = take_free_name(t, name);
	else if (error == 0 && renameat(t->dir_fd, t->name, t->dir_fd, name) != 0)
		error = errno;
	if (error != 0)
		return error;
	if ((flags & TEMP_FILE_DURABLE) != 0)
		error = sync_place(t);
	temp_file_keep(t);
	return error;
}

void temp_file_keep(struct temp_file *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

void temp_file_keep_among(struct temp_file *t, unsigned most)
{
	if (t->fd < 0 || parts_keep(t->dir_fd, t->name, most))
		temp_file_keep(t);
	else
		temp_file_drop(t);
}

void temp_file_drop(struct temp_file *t)
{
	struct stat st;

	if (t->fd < 0)
		return;
	if (fstat(t->fd, &st) == 0 && has_name(t->dir_fd, t->name, &st))
		(void)unlinkat(t->dir_fd, t->name, 0);
	temp_file_keep(t);
}

/* ---- what has expired ---- */

/* Whether this folder is due, which is noted. */
static bool is_due(struct temp_file_reaped *memory, const struct stat *folder, int64_t now)
{
	const size_t n = sizeof(memory->folders) / sizeof(memory->folders[0]);
	size_t slot = n;

	for (size_t i = 0; i < n; i++)
		if (memory->folders[i].when != 0 && memory->folders[i].dev == folder->st_dev &&
		    memory->folders[i].ino == folder->st_ino)
			slot = i;
	if (slot < n && now >= memory->folders[slot].when &&
	    now - memory->folders[slot].when < REAP_EVERY)
		return false;
	if (slot == n)
		slot = memory->next++ % n;
	memory->folders[slot].dev = folder->st_dev;
	memory->folders[slot].ino = folder->st_ino;
	memory->folders[slot].when = now;
	return true;
}

/* One that nobody writes, and nobody has written for long. */
static bool reap_one(int dir_fd, const char *name, int64_t now)
{
	int fd = open_in(dir_fd, name, O_RDONLY);
	bool gone = false;
	struct stat st;

	if (fd < 0)
		return false;
	if (lock(fd) == 0 && fstat(fd, &st) == 0 && is_ours(&st) &&
	    now - (int64_t)st.st_mtim.tv_sec > TEMP_FILE_LIFE && has_name(dir_fd, name, &st))
		gone = unlinkat(dir_fd, name, 0) == 0;
	close(fd);
	return gone;
}

unsigned temp_file_reap(int dir_fd, struct temp_file_reaped *memory)
{
	const int64_t now = (int64_t)time(NULL);
	const struct dirent *entry;
	struct stat folder;
	unsigned gone = 0;
	DIR *d = NULL;
	int fd;

	if (fstat(dir_fd, &folder) != 0 || !is_due(memory, &folder, now))
		return 0;
	fd = open_in(dir_fd, ".", O_RDONLY | O_DIRECTORY);
	if (fd >= 0)
		d = fdopendir(fd);
	if (d == NULL && fd >= 0)
		close(fd);
	while (d != NULL && (entry = readdir(d)) != NULL)
		if (parts_is_name(entry->d_name))
			gone += reap_one(dir_fd, entry->d_name, now);
	if (d != NULL)
		closedir(d);
	return gone;
}
