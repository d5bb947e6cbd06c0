/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of one entry that could not be sent or made. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/escape.h"
#include "common/rpc_status.h"
#include "common/tree.h"

static const struct {
	int sys_errno;
	const char *reason;
} reasons[] = {
    {ENOENT, "NO_SUCH_FILE"},
    {EEXIST, "FILE_EXISTS"},
    {ENOTDIR, "NOT_A_FOLDER"},
    {EISDIR, "IS_A_FOLDER"},
    {ENOTEMPTY, "NOT_EMPTY"},
    {EROFS, "READ_ONLY"},
    {EBUSY, "BUSY"},
    {ETXTBSY, "BUSY"},
    {EXDEV, "OUTSIDE_ROOT"},
    {ELOOP, "LINK_LOOP"},
    {EOPNOTSUPP, "NOT_SUPPORTED"},
    {EACCES, "FILE_DENIED"},
    {EPERM, "FILE_DENIED"},
    {ENOSPC, "DISK_FULL"},
    {EDQUOT, "QUOTA"},
    {EMFILE, "TOO_MANY_FILES"},
    {ENFILE, "TOO_MANY_FILES"},
    {EFBIG, "UPLOAD_LIMIT"},
    {ENAMETOOLONG, "NAME_TOO_LONG"},
};

static const char *reason_of(int sys_errno)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].sys_errno == sys_errno)
			return reasons[i].reason;
	return "SYSTEM";
}

void tree_failure_words(
    Telex__V1__FileError *out, int code, const char *reason, const char *fmt, ...)
{
	va_list ap;

	telex__v1__file_error__init(out);
	out->code = (uint32_t)code;
	out->reason = strdup(reason);
	va_start(ap, fmt);
	if (vasprintf(&out->message, fmt, ap) < 0)
		out->message = NULL;
	va_end(ap);
}

const char *tree_shown(char out[TREE_SHOWN_SIZE], const char *path)
{
	if (path[0] == '\0')
		path = "the target";
	escape_text(out, TREE_SHOWN_SIZE, path, strlen(path));
	return out;
}

void tree_failure(Telex__V1__FileError *out, int sys_errno, const char *what, const char *path)
{
	char shown[TREE_SHOWN_SIZE];
	int code = rpc_code_from_errno(sys_errno);

	tree_shown(shown, path);
	if (sys_errno == EROFS)
		code = RPC_FAILED_PRECONDITION;
	if (sys_errno == EXDEV)
		code = RPC_PERMISSION_DENIED;
	tree_failure_words(out, code, reason_of(sys_errno), "cannot %s %s: %s", what, shown,
	    sys_errno == EXDEV ? "a link on the way leads out of the tree" : strerror(sys_errno));
	out->errno_value = sys_errno;
}

void tree_failure_clear(Telex__V1__FileError *e)
{
	/* What was never set is protobuf-c's empty string, which nobody owns. */
	if (e->reason != protobuf_c_empty_string)
		free(e->reason);
	if (e->message != protobuf_c_empty_string)
		free(e->message);
	telex__v1__file_error__init(e);
}
