/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/call_fail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <unistd.h>

static bool armed;
static long count, fail_at;
static int fail_with;
static const char *failed = "";

void call_fail_at(long n, int error)
{
	count = 0;
	fail_at = n;
	fail_with = error;
	failed = "";
	armed = true;
}

void call_fail_stop(void)
{
	armed = false;
}

long call_fail_count(void)
{
	return count;
}

const char *call_fail_name(void)
{
	return failed;
}

/* 1: it fails, errno is set; 0: it does not; CALL_FAIL_SHORT. */
static int fails(const char *name)
{
	if (!armed || ++count != fail_at)
		return 0;
	failed = name;
	if (fail_with == CALL_FAIL_SHORT)
		return CALL_FAIL_SHORT;
	errno = fail_with;
	return 1;
}

#define WRAP(type, name, parameters, arguments)                                                    \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails(#name) == 1 ? (type)-1 : __real_##name arguments;                     \
	}

/* The same for what moves `len` bytes. */
#define WRAP_BYTES(name, parameters, arguments)                                                    \
	ssize_t __real_##name parameters;                                                          \
	ssize_t __wrap_##name parameters;                                                          \
	ssize_t __wrap_##name parameters                                                           \
	{                                                                                          \
		int how = fails(#name);                                                            \
                                                                                                   \
		if (how == CALL_FAIL_SHORT && len > 1)                                             \
			len /= 2;                                                                  \
		return how == 1 ? -1 : __real_##name arguments;                                    \
	}

/* The same for what returns NULL. */
#define WRAP_POINTER(type, name, parameters, arguments)                                            \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails(#name) == 1 ? NULL : __real_##name arguments;                         \
	}

/* The same for what makes durable. */
#define WRAP_SYNC(name)                                                                            \
	int __real_##name(int fd);                                                                 \
	int __wrap_##name(int fd);                                                                 \
	int __wrap_##name(int fd)                                                                  \
	{                                                                                          \
		if (fails(#name) == 1)                                                             \
			return -1;                                                                 \
		return armed ? 0 : __real_##name(fd);                                              \
	}

WRAP_SYNC(fsync)
WRAP_SYNC(syncfs)
WRAP_BYTES(read, (int fd, void *data, size_t len), (fd, data, len))
WRAP_BYTES(write, (int fd, const void *data, size_t len), (fd, data, len))
WRAP_BYTES(pread, (int fd, void *data, size_t len, off_t at), (fd, data, len, at))
WRAP_BYTES(pwrite, (int fd, const void *data, size_t len, off_t at), (fd, data, len, at))
WRAP_BYTES(copy_file_range,
    (int from, off64_t *from_at, int to, off64_t *to_at, size_t len, unsigned flags),
    (from, from_at, to, to_at, len, flags))
WRAP(ssize_t, getrandom, (void *data, size_t len, unsigned flags), (data, len, flags))
WRAP(int, fstat, (int fd, struct stat *st), (fd, st))
WRAP(int, fstatat, (int fd, const char *name, struct stat *st, int flags), (fd, name, st, flags))
WRAP(int, statx, (int fd, const char *name, int flags, unsigned mask, struct statx *st),
    (fd, name, flags, mask, st))
WRAP(int, fstatfs, (int fd, struct statfs *st), (fd, st))
WRAP(int, statvfs, (const char *name, struct statvfs *st), (name, st))
WRAP(int, linkat, (int from, const char *old, int to, const char *name, int flags),
    (from, old, to, name, flags))
WRAP(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags))
WRAP(int, renameat, (int from, const char *old, int to, const char *name), (from, old, to, name))
WRAP(int, renameat2, (int from, const char *old, int to, const char *name, unsigned flags),
    (from, old, to, name, flags))
WRAP(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode))
WRAP(int, mknodat, (int fd, const char *name, mode_t mode, dev_t dev), (fd, name, mode, dev))
WRAP(int, symlinkat, (const char *target, int fd, const char *name), (target, fd, name))
WRAP(ssize_t, readlinkat, (int fd, const char *name, char *out, size_t len), (fd, name, out, len))
WRAP(ssize_t, readlink, (const char *name, char *out, size_t len), (name, out, len))
WRAP(int, chmod, (const char *name, mode_t mode), (name, mode))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, fchownat, (int fd, const char *name, uid_t uid, gid_t gid, int flags),
    (fd, name, uid, gid, flags))
WRAP(int, futimens, (int fd, const struct timespec ts[2]), (fd, ts))
WRAP(int, utimensat, (int fd, const char *name, const struct timespec ts[2], int flags),
    (fd, name, ts, flags))
WRAP(int, ftruncate, (int fd, off_t len), (fd, len))
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
WRAP(int, sync_file_range, (int fd, off64_t at, off64_t len, unsigned flags), (fd, at, len, flags))
WRAP(int, dup, (int fd), (fd))
WRAP(int, flock, (int fd, int how), (fd, how))
WRAP(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence))
WRAP(ssize_t, getdents64, (int fd, void *data, size_t len), (fd, data, len))
WRAP(int, setxattr, (const char *path, const char *name, const void *value, size_t len, int flags),
    (path, name, value, len, flags))
WRAP(int, fsetxattr, (int fd, const char *name, const void *value, size_t len, int flags),
    (fd, name, value, len, flags))
WRAP(int, removexattr, (const char *path, const char *name), (path, name))
WRAP(int, fremovexattr, (int fd, const char *name), (fd, name))
WRAP(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t len),
    (path, name, value, len))
WRAP(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t len),
    (path, name, value, len))
WRAP(ssize_t, listxattr, (const char *path, char *list, size_t len), (path, list, len))
WRAP(ssize_t, llistxattr, (const char *path, char *list, size_t len), (path, list, len))
/* openat2(2). */
WRAP(int, open_beneath, (int fd, const char *name, int flags), (fd, name, flags))
WRAP(int, open_beneath_make, (int fd, const char *name, int flags, unsigned mode),
    (fd, name, flags, mode))
WRAP(int, open_below, (int fd, const char *name, int flags, bool follow), (fd, name, flags, follow))
WRAP(int, __openat_2, (int fd, const char *name, int flags), (fd, name, flags))
WRAP_POINTER(DIR *, fdopendir, (int fd), (fd))
WRAP_POINTER(struct dirent *, readdir, (DIR * dir), (dir))

int __real_openat(int fd, const char *name, int flags, ...);
int __wrap_openat(int fd, const char *name, int flags, ...);
int __wrap_openat(int fd, const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails("openat") == 1 ? -1 : __real_openat(fd, name, flags, mode);
}

int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...)
{
	va_list ap;
	long value;

	va_start(ap, what);
	value = va_arg(ap, long);
	va_end(ap);
	return fails("fcntl") == 1 ? -1 : __real_fcntl(fd, what, value);
}

int __real_ioctl(int fd, unsigned long what, ...);
int __wrap_ioctl(int fd, unsigned long what, ...);
int __wrap_ioctl(int fd, unsigned long what, ...)
{
	va_list ap;
	void *value;

	va_start(ap, what);
	value = va_arg(ap, void *);
	va_end(ap);
	return fails("ioctl") == 1 ? -1 : __real_ioctl(fd, what, value);
}
