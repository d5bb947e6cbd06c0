/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/files/names.h"
#include "common/err.h"
#include "common/escape.h"
#include "common/file_errno.h"
#include "common/file_quota.h"
#include "common/file_room.h"

const char *failure_reason(int sys_errno)
{
	return file_errno_find(sys_errno)->reason;
}

static const char *quota_name(const struct file_quota *q)
{
	if (q->whose == FILE_QUOTA_UNKNOWN)
		return "";
	return names_of(q->whose == FILE_QUOTA_USER ? NAMES_USER : NAMES_GROUP, q->id);
}

static void tell_quota(struct rpc_status *status, const struct file_quota *q)
{
	const char *kind = q->whose == FILE_QUOTA_USER ? "user" : "group";
	const char *name = quota_name(q);

	if (q->mount[0] != '\0')
		rpc_status_meta(status, "file_system", "%s", q->mount);
	if (q->whose == FILE_QUOTA_UNKNOWN)
		return;
	if (name[0] != '\0')
		rpc_status_meta(status, kind, "%s", name);
	else
		rpc_status_meta(status, kind, "%" PRIu32, q->id);
	if (q->limit == 0)
		return;
	rpc_status_meta(status, "available", "%" PRIu64, q->left);
	rpc_status_meta(status, "limit", "%" PRIu64, q->limit);
}

int failure_errno(struct rpc_status *status, int sys_errno, const char *what, const char *path)
{
	const struct file_errno *f = file_errno_find(sys_errno);
	const char *name = strerrorname_np(sys_errno);
	char safe[256], words[FILE_ERRNO_WORDS], left[FILE_QUOTA_WORDS] = "";
	const bool quota = sys_errno == EDQUOT;
	struct file_quota whose;
	struct file_room room;
	const bool known = sys_errno == ENOSPC && file_room_at(&room, path);

	if (quota) {
		(void)file_quota_at(&whose, path);
		(void)file_quota_words(left, sizeof(left), &whose, quota_name(&whose));
	} else if (known) {
		(void)file_room_words(left, sizeof(left), &room);
	}
	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, f->code, f->reason, "cannot %s %s: %s", what, safe,
	    file_errno_words(words, sizeof(words), sys_errno, left));
	rpc_status_meta(status, "path", "%s", safe);
	rpc_status_meta(status, "errno", "%d", sys_errno);
	if (name != NULL)
		rpc_status_meta(status, "errno_name", "%s", name);
	if (known)
		rpc_status_meta(status, "available", "%" PRIu64, room.bytes);
	if (quota)
		tell_quota(status, &whose);
	return TX_ESYS;
}

int failure_outside(struct rpc_status *status, const char *path, const char *why)
{
	char safe[256];

	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, RPC_PERMISSION_DENIED, "OUTSIDE_ROOT", "%s %s", safe, why);
	rpc_status_meta(status, "path", "%s", safe);
	return TX_EPERM;
}

int failure_entry(Telex__V1__FileError *out, const struct rpc_status *status)
{
	const char *number = rpc_status_get(status, "errno");

	telex__v1__file_error__init(out);
	out->code = (uint32_t)status->code;
	out->errno_value = number != NULL ? (int32_t)strtol(number, NULL, 10) : 0;
	out->reason = strdup(status->reason);
	out->message = strdup(status->message);
	if (out->reason != NULL && out->message != NULL)
		return 0;
	failure_entry_clear(out);
	return TX_ENOMEM;
}

void failure_entry_clear(Telex__V1__FileError *e)
{
	if (e->reason != protobuf_c_empty_string)
		free(e->reason);
	if (e->message != protobuf_c_empty_string)
		free(e->message);
	telex__v1__file_error__init(e);
}
