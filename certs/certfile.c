/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/certfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tls.h"

/* A file that is written and not yet in its place. */
struct pending {
	const char *path;
	char temporary[PATH_MAX];
	bool there;
};

int certfile_path(
    char out[PATH_MAX], const char *dir, const char *name, const char *suffix, struct err *e)
{
	size_t len = strlen(dir);
	const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
	int n = snprintf(out, PATH_MAX, "%s%s%s%s", dir, slash, name, suffix);

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, TX_ETOOBIG, "the path of %s%s is too long", name, suffix);
	return 0;
}

bool certfile_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

int certfile_make_dir(const char *dir, struct err *e)
{
	struct stat st;

	if (mkdir(dir, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(e, errno, "cannot make the folder %s", dir);
	if (stat(dir, &st) != 0)
		return err_sys(e, errno, "cannot use the folder %s", dir);
	if (!S_ISDIR(st.st_mode))
		return err_sys(e, ENOTDIR, "cannot use the folder %s", dir);
	return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* "DIR/.telex-XXXXXX" beside path, so that it can be moved there. */
static int temporary_name(char out[PATH_MAX], const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash == NULL ? 0 : (int)(slash - path + 1);
	int n = snprintf(out, PATH_MAX, "%.*s.telex-XXXXXX", dir_len, path);

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, TX_ETOOBIG, "the path %s is too long", path);
	return 0;
}

static int stage(struct pending *p, const char *path, const char *text, size_t len,
    enum certfile_kind kind, struct err *e)
{
	mode_t mode = kind == CERTFILE_KEY ? 0600 : 0644;
	int fd, error = 0;
	int rc = temporary_name(p->temporary, path, e);

	if (rc != 0)
		return rc;
	p->path = path;
	fd = mkostemp(p->temporary, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return err_sys(e, errno, "cannot write %s", path);
	p->there = true;
	if (write_all(fd, text, len) != 0 || fchmod(fd, mode) != 0 || fsync(fd) != 0)
		error = errno;
	if (close(fd) != 0 && error == 0)
		error = errno;
	return error == 0 ? 0 : err_sys(e, error, "cannot write %s", path);
}

static int exists_error(const char *path, struct err *e)
{
	return err_set(e, TX_EEXIST, "%s is there already; --force writes over it", path);
}

/* Where the file system has no RENAME_NOREPLACE a hard link refuses what is there just as well. */
static int move_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(from, to) != 0)
		return -1;
	return unlink(from);
}

static int commit(struct pending *p, bool force, struct err *e)
{
	int rc = force ? rename(p->temporary, p->path) : move_new(p->temporary, p->path);

	if (rc != 0 && errno == EEXIST)
		return exists_error(p->path, e);
	if (rc != 0)
		return err_sys(e, errno, "cannot write %s", p->path);
	p->there = false;
	return 0;
}

static void abandon(struct pending *p)
{
	if (p->there)
		unlink(p->temporary);
	p->there = false;
}

/* The name itself must last. A file system that cannot flush a folder is no reason to fail. */
static void flush_folder(const char *path)
{
	char copy[PATH_MAX];
	int fd;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

int certfile_write(const char *path, const char *text, size_t len, enum certfile_kind kind,
    bool force, struct err *e)
{
	struct pending p = {.there = false};
	int rc;

	if (!force && certfile_exists(path))
		return exists_error(path, e);
	rc = stage(&p, path, text, len, kind, e);
	if (rc == 0)
		rc = commit(&p, force, e);
	abandon(&p);
	if (rc == 0)
		flush_folder(path);
	return rc;
}

int certfile_write_pair(const char *certificate_path, const char *certificate,
    size_t certificate_len, const char *key_path, const char *key, size_t key_len, bool force,
    struct err *e)
{
	struct pending c = {.there = false}, k = {.there = false};
	int rc;

	if (!force && certfile_exists(certificate_path))
		return exists_error(certificate_path, e);
	if (!force && certfile_exists(key_path))
		return exists_error(key_path, e);
	rc = stage(&k, key_path, key, key_len, CERTFILE_KEY, e);
	if (rc == 0)
		rc = stage(
		    &c, certificate_path, certificate, certificate_len, CERTFILE_CERTIFICATE, e);
	if (rc == 0)
		rc = commit(&k, force, e);
	if (rc == 0) {
		rc = commit(&c, force, e);
		/* A key alone would be in the way of the next try. */
		if (rc != 0 && !force)
			unlink(key_path);
	}
	abandon(&k);
	abandon(&c);
	if (rc == 0) {
		flush_folder(certificate_path);
		flush_folder(key_path);
	}
	return rc;
}

int certfile_read_key_fd(int fd, const char *path, char **text, size_t *len, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
		return err_set(e, TX_EPERM,
		    "others may read or write %s, which is secret (mode %04o); type: chmod 600 %s",
		    path, (unsigned)st.st_mode & 07777, path);
	return tls_read_fd(fd, path, text, len, e);
}

int certfile_read_key(const char *path, char **text, size_t *len, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	rc = certfile_read_key_fd(fd, path, text, len, e);
	close(fd);
	return rc;
}
