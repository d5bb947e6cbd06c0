/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/upload_append.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/open_file.h"
#include "agent/files/target.h"
#include "common/beneath.h"
#include "common/err.h"
#include "common/temp_file.h"

#define APPEND "append to"

static int make(struct upload_append *a, const struct roots *roots, const char *path, unsigned mode,
    struct rpc_status *status)
{
	int error = 0;

	a->dir_fd = target_parent(roots, path, APPEND, &a->name, status);
	if (a->dir_fd < 0)
		return TX_ESYS;
	a->fd = open_beneath_make(
	    a->dir_fd, a->name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
	if (a->fd < 0 || fchmod(a->fd, mode & 07777) != 0)
		error = errno;
	return error == 0 ? 0 : failure_errno(status, error, APPEND, path);
}

int upload_append_open(struct upload_append *a, const struct roots *roots, const char *path,
    unsigned mode, struct rpc_status *status)
{
	struct stat st;
	int rc = 0;

	*a = (struct upload_append)UPLOAD_APPEND_INIT;
	a->fd = open_file(roots, ROOTS_WRITE, path, O_WRONLY | O_APPEND, APPEND, &st, status);
	if (a->fd >= 0)
		a->begin = (uint64_t)st.st_size;
	else if (status->code == RPC_NOT_FOUND)
		rc = make(a, roots, path, mode, status);
	else
		rc = TX_ESYS;
	if (rc == 0)
		rpc_status_set(status, RPC_OK, NULL, "%s", "");
	else
		(void)upload_append_close(a, false);
	return rc;
}

int upload_append_write(struct upload_append *a, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(a->fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : EIO;
		at += n;
		len -= (size_t)n;
		a->written += (uint64_t)n;
	}
	return 0;
}

int upload_append_end(struct upload_append *a)
{
	int error = 0;

	while (fsync(a->fd) != 0 && (error = errno) == EINTR)
		error = 0;
	/* Some file systems have nothing to be synced. */
	if (error == EINVAL)
		error = 0;
	if (error == 0 && a->dir_fd >= 0)
		error = temp_file_sync_folder(a->dir_fd);
	if (error == EACCES)
		error = syncfs(a->fd) != 0 ? errno : 0;
	a->whole = error == 0;
	return error;
}

static bool take_back(const struct upload_append *a)
{
	struct stat st;

	if (fstat(a->fd, &st) != 0 || (uint64_t)st.st_size != a->begin + a->written)
		return a->written == 0;
	if (a->dir_fd >= 0)
		return unlinkat(a->dir_fd, a->name, 0) == 0;
	return a->written == 0 || ftruncate(a->fd, (off_t)a->begin) == 0;
}

bool upload_append_close(struct upload_append *a, bool keep)
{
	bool back = true;

	if (a->fd >= 0 && !a->whole && !keep)
		back = take_back(a);
	if (a->fd >= 0)
		close(a->fd);
	if (a->dir_fd >= 0)
		close(a->dir_fd);
	*a = (struct upload_append)UPLOAD_APPEND_INIT;
	return back;
}
