/* SPDX-License-Identifier: Apache-2.0 */
/* Truncate. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/open_file.h"
#include "agent/files/request.h"
#include "telex/v1/file.pb-c.h"

void fs_truncate(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__TruncateRequest *r = (const Telex__V1__TruncateRequest *)request;
	Telex__V1__TruncateResponse response = TELEX__V1__TRUNCATE_RESPONSE__INIT;
	char path[REQUEST_PATH_SIZE];
	struct stat st;
	int fd, error = 0;

	if (!request_path(path, &r->path, status))
		return;
	fd = open_file(call_roots(c), ROOTS_WRITE, path, O_WRONLY, "cut", &st, status);
	if (fd < 0)
		return;
	if (r->size > INT64_MAX)
		error = EFBIG;
	else
		while (ftruncate(fd, (off_t)r->size) != 0 && (error = errno) == EINTR)
			error = 0;
	close(fd);
	if (error != 0)
		failure_errno(status, error, "cut", path);
	else
		(void)call_send(c, &response.base);
}
