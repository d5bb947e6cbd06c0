/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/request.h"

#include <string.h>

#include "common/escape.h"
#include "common/glob.h"

bool request_path(
    char out[REQUEST_PATH_SIZE], const ProtobufCBinaryData *path, struct rpc_status *status)
{
	char safe[256];

	if (path->len > 0 && path->len < REQUEST_PATH_SIZE &&
	    memchr(path->data, '\0', path->len) == NULL) {
		memcpy(out, path->data, path->len);
		out[path->len] = '\0';
		if (glob_path_plain(out))
			return true;
	}
	escape_text(safe, sizeof(safe), path->data, path->len);
	rpc_status_set(
	    status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "'%s' is not an absolute path", safe);
	return false;
}
