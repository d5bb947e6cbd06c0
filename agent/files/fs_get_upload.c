/* SPDX-License-Identifier: Apache-2.0 */
/* GetUpload. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "common/escape.h"
#include "common/temp_file.h"
#include "telex/v1/file.pb-c.h"

static void none_such(struct rpc_status *status, const char *path)
{
	char safe[256];

	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, RPC_NOT_FOUND, "NO_SUCH_UPLOAD",
	    "there is nothing of this upload to %s; begin it at 0", safe);
	rpc_status_meta(status, "path", "%s", safe);
}

void fs_get_upload(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__GetUploadRequest *r = (const Telex__V1__GetUploadRequest *)request;
	Telex__V1__GetUploadResponse response = TELEX__V1__GET_UPLOAD_RESPONSE__INIT;
	Google__Protobuf__Timestamp expires = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	char path[REQUEST_PATH_SIZE];
	const char *name;
	int dir_fd, error;

	if (!request_path(path, &r->path, status))
		return;
	if (!temp_file_id_valid(r->upload_id)) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "an upload_id is 16 to 64 of 0-9 a-f");
		return;
	}
	dir_fd = roots_parent(call_roots(c), ROOTS_WRITE, path, &name, status);
	if (dir_fd < 0)
		return;
	error = temp_file_look(dir_fd, r->upload_id, &response.offset, &expires.seconds);
	close(dir_fd);
	if (error == ENOENT || (error == 0 && expires.seconds <= (int64_t)time(NULL))) {
		none_such(status, path);
	} else if (error != 0) {
		failure_errno(status, error, "look at the upload to", path);
	} else {
		response.expires = &expires;
		(void)call_send(c, &response.base);
	}
}
