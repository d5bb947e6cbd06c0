/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/failure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/err.h"
#include "common/escape.h"

/* What a client is told of an errno; others are INTERNAL (SYSTEM). */
static const struct row {
	int sys_errno;
	int code;
	const char *reason;
	const char *way_out; /* or NULL */
} rows[] = {
    {ENOENT, RPC_NOT_FOUND, "NO_SUCH_FILE", NULL},
    {EEXIST, RPC_ALREADY_EXISTS, "FILE_EXISTS", NULL},
    {ENOTDIR, RPC_FAILED_PRECONDITION, "NOT_A_FOLDER", NULL},
    {EISDIR, RPC_FAILED_PRECONDITION, "IS_A_FOLDER", NULL},
    {ENOTEMPTY, RPC_FAILED_PRECONDITION, "NOT_EMPTY", "remove it recursively (rm -r)"},
    {EROFS, RPC_FAILED_PRECONDITION, "READ_ONLY", NULL},
    {EBUSY, RPC_FAILED_PRECONDITION, "BUSY", NULL},
    {ETXTBSY, RPC_FAILED_PRECONDITION, "BUSY", NULL},
    {EXDEV, RPC_FAILED_PRECONDITION, "CROSS_DEVICE", NULL},
    {ELOOP, RPC_FAILED_PRECONDITION, "LINK_LOOP", NULL},
    {ENOTSUP, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL},
    {ENOSYS, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL},
    {ENOTTY, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL},
    {ENXIO, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL},
    {ENODEV, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL},
    {EACCES, RPC_PERMISSION_DENIED, "FILE_DENIED", NULL},
    {EPERM, RPC_PERMISSION_DENIED, "FILE_DENIED", NULL},
    {ENOSPC, RPC_RESOURCE_EXHAUSTED, "DISK_FULL", "make room there, then try again"},
    {EDQUOT, RPC_RESOURCE_EXHAUSTED, "QUOTA", NULL},
    {EMFILE, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES", NULL},
    {ENFILE, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES", NULL},
    {EMLINK, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES", NULL},
    {ESTALE, RPC_ABORTED, "CHANGED", "try again"},
    {ENOMEM, RPC_RESOURCE_EXHAUSTED, "SYSTEM", NULL},
    {ENAMETOOLONG, RPC_INVALID_ARGUMENT, "NAME_TOO_LONG", NULL},
    {EINVAL, RPC_INVALID_ARGUMENT, "BAD_REQUEST", NULL},
    {EFBIG, RPC_INVALID_ARGUMENT, "BAD_REQUEST", NULL},
    {ENODATA, RPC_NOT_FOUND, "NO_SUCH_ATTRIBUTE", NULL},
};

static const struct row *find(int sys_errno)
{
	static const struct row other = {0, RPC_INTERNAL, "SYSTEM", NULL};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].sys_errno == sys_errno)
			return &rows[i];
	return &other;
}

const char *failure_reason(int sys_errno)
{
	return find(sys_errno)->reason;
}

/* Of the file system that holds it, or its folder. */
static void add_available(struct rpc_status *status, const char *path)
{
	struct statvfs v;
	char folder[4096];
	char *slash;

	if (statvfs(path, &v) != 0) {
		if ((size_t)snprintf(folder, sizeof(folder), "%s", path) >= sizeof(folder) ||
		    (slash = strrchr(folder, '/')) == NULL)
			return;
		slash[slash == folder ? 1 : 0] = '\0';
		if (statvfs(folder, &v) != 0)
			return;
	}
	rpc_status_meta(status, "available", "%llu",
	    (unsigned long long)v.f_bavail * (unsigned long long)v.f_frsize);
}

int failure_errno(struct rpc_status *status, int sys_errno, const char *what, const char *path)
{
	const struct row *r = find(sys_errno);
	const char *name = strerrorname_np(sys_errno);
	char safe[256];

	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, r->code, r->reason, "cannot %s %s: %s%s%s", what, safe,
	    sys_errno == ESTALE ? "it was changed or moved away meanwhile" : strerror(sys_errno),
	    r->way_out != NULL ? "; " : "", r->way_out != NULL ? r->way_out : "");
	rpc_status_meta(status, "path", "%s", safe);
	rpc_status_meta(status, "errno", "%d", sys_errno);
	if (name != NULL)
		rpc_status_meta(status, "errno_name", "%s", name);
	if (sys_errno == ENOSPC)
		add_available(status, path);
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
