/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/certfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/fd_io.h"
#include "common/file_put.h"
#include "common/tls.h"

#define TEMPORARY     ".telex-"
#define TEMPORARY_LEN (sizeof(TEMPORARY) - 1 + 6)
#define BIRTH_S       60 /* so long one may be empty and nobody's: it was just made */

/* A file that is written and not yet in its place. Its writer holds a lock on it: one that nobody
 * holds was left by a writer that was killed. */
struct pending {
	const char *path;
	char temporary[PATH_MAX];
	int fd; /* -1: there is none */
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

/* "DIR/.telex-XXXXXX" beside path, so that it can be moved there. */
static int temporary_name(char out[PATH_MAX], const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	int dir_len = slash == NULL ? 0 : (int)(slash - path + 1);
	int n = snprintf(out, PATH_MAX, "%.*s" TEMPORARY "XXXXXX", dir_len, path);

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, TX_ETOOBIG, "the path %s is too long", path);
	return 0;
}

/* Whether nobody will go on with it; fd has it open. It may hold a key. */
static bool is_left(int fd)
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &st) != 0)
		return false;
	return S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_size > 0 || time(NULL) - st.st_mtime > BIRTH_S);
}

static void remove_left(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (is_left(fd))
		(void)unlinkat(dir_fd, name, 0);
	close(fd);
}

/* What writers left that were killed before. */
static void remove_all_left(const char *path)
{
	char copy[PATH_MAX];
	struct dirent *d;
	DIR *dir;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = opendir(dirname(copy));
	while (dir != NULL && (d = readdir(dir)) != NULL)
		if (strncmp(d->d_name, TEMPORARY, sizeof(TEMPORARY) - 1) == 0 &&
		    strlen(d->d_name) == TEMPORARY_LEN)
			remove_left(dirfd(dir), d->d_name);
	if (dir != NULL)
		closedir(dir);
}

static int fill(int fd, const char *text, size_t len, mode_t mode)
{
	int error;

	/* A file system that has no locks gives none to who looks for what was left, either. */
	(void)flock(fd, LOCK_EX);
	error = fd_write_all(fd, text, len);
	if (error == 0 && (fchmod(fd, mode) != 0 || fsync(fd) != 0))
		error = errno;
	return error;
}

static int stage(struct pending *p, const char *path, const char *text, size_t len,
    enum certfile_kind kind, struct err *e)
{
	mode_t mode = kind == CERTFILE_KEY ? 0600 : 0644;
	int rc = temporary_name(p->temporary, path, e);
	int error;

	if (rc != 0)
		return rc;
	p->path = path;
	remove_all_left(path);
	p->fd = mkostemp(p->temporary, O_CLOEXEC); /* 0600 */
	if (p->fd < 0)
		return err_sys(e, errno, "cannot write %s", path);
	error = fill(p->fd, text, len, mode);
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
	close(p->fd);
	p->fd = -1;
	return 0;
}

static void abandon(struct pending *p)
{
	if (p->fd < 0)
		return;
	unlink(p->temporary);
	close(p->fd);
	p->fd = -1;
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
	struct pending p = {.fd = -1};
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

static int replace_pair(const char *certificate_path, const char *certificate,
    size_t certificate_len, const char *key_path, const char *key, size_t key_len, struct err *e)
{
	struct stat st;

	/* When it turned out later, the key would be in its place. */
	if (stat(certificate_path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_sys(e, EISDIR, "cannot write %s", certificate_path);
	if (stat(key_path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_sys(e, EISDIR, "cannot write %s", key_path);
	(void)file_finish_pair(certificate_path, key_path);
	return file_put_pair(
	    certificate_path, certificate, certificate_len, key_path, key, key_len, e);
}

int certfile_write_pair(const char *certificate_path, const char *certificate,
    size_t certificate_len, const char *key_path, const char *key, size_t key_len, bool force,
    struct err *e)
{
	struct pending c = {.fd = -1}, k = {.fd = -1};
	int rc;

	if (force)
		return replace_pair(
		    certificate_path, certificate, certificate_len, key_path, key, key_len, e);
	if (certfile_exists(certificate_path))
		return exists_error(certificate_path, e);
	if (certfile_exists(key_path))
		return exists_error(key_path, e);
	rc = stage(&k, key_path, key, key_len, CERTFILE_KEY, e);
	if (rc == 0)
		rc = stage(
		    &c, certificate_path, certificate, certificate_len, CERTFILE_CERTIFICATE, e);
	if (rc == 0)
		rc = commit(&k, false, e);
	if (rc == 0) {
		rc = commit(&c, false, e);
		/* A key alone would be in the way of the next try. */
		if (rc != 0)
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
	return tls_read_key_fd(fd, path, text, len, e);
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
