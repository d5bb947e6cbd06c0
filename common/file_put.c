/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pair goes in this order: key beside its place, certificate beside its place (from here on it is
 * decided), key moved, certificate moved. So a certificate that waits beside its place says that
 * its key was there before it: if that is gone, it was moved. A key that waits alone was for
 * nothing.
 */
#include "common/file_put.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd_io.h"
#include "common/log.h"

#define RENEWED ".telex-renewed"
#define TRIES   100

static int join(char out[PATH_MAX], const char *path, const char *suffix, struct err *e)
{
	if ((size_t)snprintf(out, PATH_MAX, "%s%s", path, suffix) < PATH_MAX)
		return 0;
	return err_set(e, TX_ETOOBIG, "%s: the path is too long", path);
}

/* Best effort: not every file system can. */
static void sync_folder(const char *path)
{
	char folder[PATH_MAX];
	char *slash;
	int fd;

	if (join(folder, path, "", NULL) != 0)
		return;
	slash = strrchr(folder, '/');
	if (slash == NULL)
		snprintf(folder, sizeof(folder), ".");
	else
		slash[slash == folder ? 1 : 0] = '\0';
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

int file_put(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e)
{
	char temporary[PATH_MAX];
	int rc = join(temporary, path, ".tmp", e);
	int fd, error = 0;

	if (rc != 0)
		return rc;
	(void)unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return err_sys(e, errno, "cannot write %s", temporary);
	if (fchmod(fd, mode) != 0)
		error = errno;
	if (error == 0)
		error = fd_write_all(fd, bytes, len);
	if (error == 0 && fsync(fd) != 0)
		error = errno;
	if (error != 0)
		rc = err_sys(e, error, "cannot write %s", temporary);
	close(fd);
	if (error == 0 && rename(temporary, path) != 0)
		rc = err_sys(e, errno, "cannot write %s", path);
	if (rc != 0)
		(void)unlink(temporary);
	else
		sync_folder(path);
	return rc;
}

/* Where a link leads: it stays one. */
static const char *place_of(const char *path, char resolved[PATH_MAX])
{
	return realpath(path, resolved) != NULL ? resolved : path;
}

int file_beside(char out[PATH_MAX], const char *path, const char *suffix, struct err *e)
{
	char resolved[PATH_MAX];

	return join(out, place_of(path, resolved), suffix, e);
}

static int move(const char *from, const char *to, struct err *e)
{
	if (rename(from, to) != 0)
		return err_sys(e, errno, "cannot move %s to its place", from);
	sync_folder(to);
	return 0;
}

struct pair {
	char certificate[PATH_MAX], key[PATH_MAX];         /* their places */
	char certificate_new[PATH_MAX], key_new[PATH_MAX]; /* beside */
};

static int pair_of(
    struct pair *p, const char *certificate_path, const char *key_path, struct err *e)
{
	char resolved[PATH_MAX];
	int rc = join(p->certificate, place_of(certificate_path, resolved), "", e);

	if (rc == 0)
		rc = join(p->key, place_of(key_path, resolved), "", e);
	if (rc == 0)
		rc = join(p->certificate_new, p->certificate, RENEWED, e);
	return rc == 0 ? join(p->key_new, p->key, RENEWED, e) : rc;
}

int file_put_pair(const char *certificate_path, const void *certificate, size_t certificate_len,
    const char *key_path, const void *key, size_t key_len, struct err *e)
{
	struct pair p;
	int rc = pair_of(&p, certificate_path, key_path, e);

	if (rc == 0)
		rc = file_put(p.key_new, key, key_len, 0600, e);
	if (rc != 0)
		return rc;
	rc = file_put(p.certificate_new, certificate, certificate_len, 0644, e);
	if (rc != 0) {
		(void)unlink(p.key_new);
		return rc;
	}
	rc = move(p.key_new, p.key, e);
	if (rc != 0) {
		(void)unlink(p.certificate_new);
		(void)unlink(p.key_new);
		return rc;
	}
	return move(p.certificate_new, p.certificate, e);
}

bool file_finish_pair(const char *certificate_path, const char *key_path)
{
	struct pair p;
	struct err e;

	if (pair_of(&p, certificate_path, key_path, NULL) != 0)
		return false;
	if (access(p.certificate_new, F_OK) != 0) {
		(void)unlink(p.key_new);
		return false;
	}
	if ((access(p.key_new, F_OK) == 0 && move(p.key_new, p.key, &e) != 0) ||
	    move(p.certificate_new, p.certificate, &e) != 0) {
		log_error("%s", e.message);
		return false;
	}
	return true;
}

/* ---- reading ---- */

static int open_one(const char *path, int *fd, struct err *e)
{
	/* O_NONBLOCK: a FIFO without a writer must not hold anybody up. */
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return *fd >= 0 ? 0 : err_sys(e, errno, "cannot open %s", path);
}

static void close_both(int fds[2])
{
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

static bool is_same_file(int fd, const char *path)
{
	struct stat opened, there;

	return fstat(fd, &opened) == 0 && stat(path, &there) == 0 &&
	       opened.st_dev == there.st_dev && opened.st_ino == there.st_ino &&
	       opened.st_mtim.tv_sec == there.st_mtim.tv_sec &&
	       opened.st_mtim.tv_nsec == there.st_mtim.tv_nsec;
}

/* One that waits beside its place is decided on; its key may be moved already. */
static int open_decided(const struct pair *p, int fds[2], struct err *e)
{
	int rc = open_one(p->key_new, &fds[1], e);

	return rc == 0 ? 0 : open_one(p->key, &fds[1], e);
}

static int open_once(const struct pair *p, int fds[2], bool *settled, struct err *e)
{
	int rc;

	*settled = false;
	if (open_one(p->certificate_new, &fds[0], NULL) == 0) {
		rc = open_decided(p, fds, e);
		*settled = rc == 0 && is_same_file(fds[0], p->certificate_new);
		return rc;
	}
	rc = open_one(p->certificate, &fds[0], e);
	if (rc == 0)
		rc = open_one(p->key, &fds[1], e);
	*settled = rc == 0 && access(p->certificate_new, F_OK) != 0 &&
	           is_same_file(fds[0], p->certificate);
	return rc;
}

int file_open_pair(const char *certificate_path, const char *key_path, int fds[2], struct err *e)
{
	bool settled = false;
	struct pair p;
	int rc = pair_of(&p, certificate_path, key_path, e);

	fds[0] = fds[1] = -1;
	/* Again, when a writer was at work meanwhile: it takes two moves. */
	for (int i = 0; rc == 0 && !settled && i < TRIES; i++) {
		close_both(fds);
		rc = open_once(&p, fds, &settled, e);
	}
	if (rc != 0)
		close_both(fds);
	return rc;
}
