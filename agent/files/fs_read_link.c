/* SPDX-License-Identifier: Apache-2.0 */
/* ReadLink. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "common/escape.h"
#include "telex/v1/file.pb-c.h"

/* What the kernel calls an open file. The length, or a negative errno. */
static ssize_t name_of(int fd, char *out, size_t size)
{
	struct stat st;
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, size);
	if (n < 0)
		return -errno;
	/* One that was removed meanwhile has " (deleted)" at its end. */
	if (fstat(fd, &st) != 0 || st.st_nlink == 0)
		return -ENOENT;
	return n;
}

static ssize_t target_of(int fd, char *out, size_t size)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode))
		return -EINVAL;
	n = readlinkat(fd, "", out, size);
	return n >= 0 ? n : -errno;
}

static void refuse(struct rpc_status *status, const char *path)
{
	char safe[256];

	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, RPC_FAILED_PRECONDITION, "NOT_A_LINK",
	    "cannot read the link %s: it is no symbolic link", safe);
	rpc_status_meta(status, "path", "%s", safe);
}

void fs_read_link(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__ReadLinkRequest *r = (const Telex__V1__ReadLinkRequest *)request;
	Telex__V1__ReadLinkResponse response = TELEX__V1__READ_LINK_RESPONSE__INIT;
	char path[REQUEST_PATH_SIZE], target[REQUEST_PATH_SIZE + 1];
	ssize_t n;
	int fd;

	if (!request_path(path, &r->path, status))
		return;
	fd = roots_open(
	    call_roots(c), ROOTS_READ, path, O_PATH | (r->canonical ? 0 : O_NOFOLLOW), status);
	if (fd < 0)
		return;
	n = r->canonical ? name_of(fd, target, sizeof(target))
	                 : target_of(fd, target, sizeof(target));
	close(fd);
	if (n >= 0) {
		response.target.data = (uint8_t *)target;
		response.target.len = (size_t)n;
		(void)call_send(c, &response.base);
	} else if (n == -EINVAL) {
		refuse(status, path);
	} else {
		failure_errno(status, (int)-n, "read the link", path);
	}
}
