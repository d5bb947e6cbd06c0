/* SPDX-License-Identifier: Apache-2.0 */
/* MakeDirectory. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/attributes.h"
#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "agent/files/target.h"
#include "common/beneath.h"
#include "telex/v1/file.pb-c.h"

#define PARENT_MODE 0755u
#define SPECIAL     06000u /* mkdir(2) does not set them */

/* With exactly this mode. 0 or an errno. */
static int make(int dir_fd, const char *name, unsigned mode)
{
	mode_t before = umask(0);
	int error = mkdirat(dir_fd, name, mode & ~SPECIAL) == 0 ? 0 : errno, fd;

	umask(before);
	if (error != 0 || (mode & SPECIAL) == 0)
		return error;
	fd = open_beneath(dir_fd, name, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return errno;
	error = attributes_mode(fd, mode);
	close(fd);
	return error;
}

/* Whether the path is a folder, also by a link that stays in the roots. */
static bool is_folder(const struct roots *roots, const char *path)
{
	struct rpc_status status;
	int fd = roots_open(roots, ROOTS_WRITE, path, O_PATH | O_DIRECTORY, &status);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* One folder, by its path. *error: an errno, where *status is not filled. */
static bool make_at(const struct roots *roots, const char *path, unsigned mode, int *error,
    struct rpc_status *status)
{
	const char *name;
	int fd = roots_parent(roots, ROOTS_WRITE, path, &name, status);

	if (fd < 0)
		return false;
	*error = make(fd, name, mode);
	close(fd);
	return true;
}

static void cut(char *path)
{
	*strrchr(path, '/') = '\0';
}

/* Makes what is missing above `path`: up to the first folder that is there, and down again. Each is
 * looked up from its root anew: whatever others do there meanwhile, none is made outside. */
static bool make_parents(const struct roots *roots, const char *path, struct rpc_status *status)
{
	const size_t whole = strlen(path);
	char above[REQUEST_PATH_SIZE];
	int error = 0;

	memcpy(above, path, whole + 1);
	do {
		struct rpc_status found;

		cut(above);
		/* The file system's top is there, or nothing is. */
		if (above[0] == '\0' || is_folder(roots, above))
			return true;
		if (make_at(roots, above, PARENT_MODE, &error, &found))
			continue;
		if (found.code != RPC_NOT_FOUND) {
			*status = found;
			return false;
		}
		error = ENOENT;
	} while (error == ENOENT);
	while (error == 0 && strlen(above) < whole) {
		above[strlen(above)] = '/';
		if (strlen(above) < whole && !make_at(roots, above, PARENT_MODE, &error, status))
			return false;
		if (error == EEXIST)
			error = 0;
	}
	if (error != 0 && error != EEXIST) {
		failure_errno(status, error, "make the folder", above);
		return false;
	}
	return true;
}

void fs_make_directory(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__MakeDirectoryRequest *r = (const Telex__V1__MakeDirectoryRequest *)request;
	Telex__V1__MakeDirectoryResponse response = TELEX__V1__MAKE_DIRECTORY_RESPONSE__INIT;
	const unsigned mode = r->mode != NULL ? r->mode->mode : 0755;
	char path[REQUEST_PATH_SIZE];
	int error;

	if (!request_path(path, &r->path, status))
		return;
	if (mode > 07777) {
		rpc_status_set(
		    status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "mode %o is more than 7777", mode);
		return;
	}
	if (r->parents && is_folder(call_roots(c), path)) {
		(void)call_send(c, &response.base);
		return;
	}
	if (r->parents && !make_parents(call_roots(c), path, status))
		return;
	if (!make_at(call_roots(c), path, mode, &error, status)) {
		target_no_parent(call_roots(c), path, "make the folder", status);
		return;
	}
	if (error == EEXIST && r->parents && is_folder(call_roots(c), path))
		error = 0;
	else
		response.made = error == 0;
	if (error != 0)
		failure_errno(status, error, "make the folder", path);
	else
		(void)call_send(c, &response.base);
}
