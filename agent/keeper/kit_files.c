/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/kit_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_put.h"
#include "common/memfile.h"

/* Bytes: what a worker takes of each; one more is copied, so that it says of which it is too many.
 */
#define FILE_MAX_BYTES (((size_t)1 << 20) + 1)

int kit_files_check_key(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot read %s", path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) == 0)
		return 0;
	return err_set(e, TX_EPERM,
	    "others may read or write %s, which is secret (mode %04o); type: chmod 600 %s", path,
	    (unsigned)st.st_mode & 07777, path);
}

static int copy(const char *name, int from, const char *path, int *to, struct err *e)
{
	int rc = memfile_copy(name, from, FILE_MAX_BYTES, 0400, to, e);

	return rc == 0 ? 0 : err_wrap(e, "%s", path);
}

static int read_pair(struct kit_files *f, const struct config *c, struct err *e)
{
	int fds[2];
	int rc = file_open_pair(c->certificate, c->key, fds, e);

	if (rc != 0)
		return rc;
	rc = kit_files_check_key(fds[1], c->key, e);
	if (rc == 0)
		rc = copy("certificate", fds[0], c->certificate, &f->certificate, e);
	if (rc == 0)
		rc = copy("key", fds[1], c->key, &f->key, e);
	close(fds[0]);
	close(fds[1]);
	return rc;
}

/* One that is not there is the reader's to tell of where `missing_too` says so. */
static int read_one(int *to, const char *name, const char *path, bool missing_too, struct err *e)
{
	/* A FIFO without a writer must not hold the keeper up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0 && missing_too && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	rc = copy(name, fd, path, to, e);
	close(fd);
	return rc;
}

int kit_files_read(struct kit_files *f, const struct config *c, struct err *e)
{
	int rc;

	*f = KIT_FILES_NONE;
	rc = read_pair(f, c, e);
	if (rc == 0)
		rc = read_one(&f->ca, "ca", c->ca, false, e);
	if (rc == 0)
		rc = read_one(&f->policy, "policy", c->policy, true, e);
	if (rc != 0)
		kit_files_close(f);
	return rc;
}

/* -1 stays -1. */
static int again(int *to, int fd, struct err *e)
{
	*to = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd >= 0 && *to < 0 ? err_sys(e, errno, "cannot duplicate a descriptor") : 0;
}

int kit_files_renew(
    struct kit_files *f, const struct kit_files *old, const struct config *c, struct err *e)
{
	int rc;

	*f = KIT_FILES_NONE;
	rc = read_pair(f, c, e);
	if (rc == 0)
		rc = again(&f->ca, old->ca, e);
	if (rc == 0)
		rc = again(&f->policy, old->policy, e);
	if (rc != 0)
		kit_files_close(f);
	return rc;
}

void kit_files_close(struct kit_files *f)
{
	const int fds[] = {f->certificate, f->key, f->ca, f->policy};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*f = KIT_FILES_NONE;
}
