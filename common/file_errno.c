/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file_errno.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/rpc_status.h"

static const struct file_errno rows[] = {
    {ENOENT, RPC_NOT_FOUND, "NO_SUCH_FILE", NULL, NULL},
    {EEXIST, RPC_ALREADY_EXISTS, "FILE_EXISTS", NULL, NULL},
    {ENOTDIR, RPC_FAILED_PRECONDITION, "NOT_A_FOLDER", NULL, NULL},
    {EISDIR, RPC_FAILED_PRECONDITION, "IS_A_FOLDER", NULL, NULL},
    {ENOTEMPTY, RPC_FAILED_PRECONDITION, "NOT_EMPTY", NULL, "remove it recursively (rm -r)"},
    {EROFS, RPC_FAILED_PRECONDITION, "READ_ONLY", NULL, NULL},
    {EBUSY, RPC_FAILED_PRECONDITION, "BUSY", NULL,
        "something is mounted there, or the system uses it"},
    {ETXTBSY, RPC_FAILED_PRECONDITION, "BUSY", NULL,
        "a process runs it; put a new file in its place"},
    {EXDEV, RPC_FAILED_PRECONDITION, "CROSS_DEVICE", NULL, "copy it, then remove it"},
    {ELOOP, RPC_FAILED_PRECONDITION, "LINK_LOOP", NULL, NULL},
    {ENOTSUP, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL, NULL},
    {ENOSYS, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL, NULL},
    {ENOTTY, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL, NULL},
    {ENXIO, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL, NULL},
    {ENODEV, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED", NULL, NULL},
    {EACCES, RPC_PERMISSION_DENIED, "FILE_DENIED", NULL, NULL},
    {EPERM, RPC_PERMISSION_DENIED, "FILE_DENIED", NULL, NULL},
    {ENOSPC, RPC_RESOURCE_EXHAUSTED, "DISK_FULL", NULL, "make room there, then try again"},
    {EDQUOT, RPC_RESOURCE_EXHAUSTED, "QUOTA", NULL, "remove files there, then try again"},
    {EMFILE, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES", NULL, NULL},
    {ENFILE, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES", NULL, NULL},
    {EMLINK, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES", NULL, NULL},
    {ENOMEM, RPC_RESOURCE_EXHAUSTED, "SYSTEM", NULL, NULL},
    {E2BIG, RPC_RESOURCE_EXHAUSTED, "TOO_LARGE",
        "its extended attributes are too many, or too large", "leave them out"},
    {ESTALE, RPC_ABORTED, "CHANGED", "it was changed or moved away meanwhile", "try again"},
    {ENAMETOOLONG, RPC_INVALID_ARGUMENT, "NAME_TOO_LONG", NULL, NULL},
    {EINVAL, RPC_INVALID_ARGUMENT, "BAD_REQUEST", NULL, NULL},
    {EFBIG, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
        "it is larger than a file of this file system, or of this process, may be", NULL},
    {ENODATA, RPC_NOT_FOUND, "NO_SUCH_ATTRIBUTE", NULL, NULL},
};

const struct file_errno *file_errno_find(int sys_errno)
{
	static const struct file_errno other = {0, RPC_INTERNAL, "SYSTEM", NULL, NULL};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].sys_errno == sys_errno)
			return &rows[i];
	return &other;
}

int file_errno_of(const char *reason)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].reason, reason) == 0)
			return rows[i].sys_errno;
	return 0;
}

const char *file_errno_words(char *out, unsigned long size, int sys_errno, const char *left)
{
	const struct file_errno *f = file_errno_find(sys_errno);
	const bool told = left != NULL && left[0] != '\0';

	snprintf(out, size, "%s%s%s%s%s%s", f->words != NULL ? f->words : strerror(sys_errno),
	    told ? " (" : "", told ? left : "", told ? ")" : "", f->way_out != NULL ? "; " : "",
	    f->way_out != NULL ? f->way_out : "");
	return out;
}
