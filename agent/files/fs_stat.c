/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/info.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"

void fs_stat(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__StatRequest *r = (const Telex__V1__StatRequest *)request;
	Telex__V1__StatResponse response = TELEX__V1__STAT_RESPONSE__INIT;
	char path[REQUEST_PATH_SIZE];
	struct info info;
	int fd, error;

	if (!request_path(path, &r->path, status))
		return;
	fd = roots_open(
	    call_roots(c), ROOTS_READ, path, O_PATH | (r->follow ? 0 : O_NOFOLLOW), status);
	if (fd < 0)
		return;
	error = info_from_fd(&info, fd, path, r->extended_attributes);
	close(fd);
	if (error != 0) {
		failure_errno(status, error, "look at", path);
	} else {
		if (r->target)
			info_add_target(&info, call_roots(c), path);
		response.file = &info.file;
		(void)call_send(c, &response.base);
	}
	info_clear(&info);
}
