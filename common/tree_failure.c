/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of one entry that could not be sent or made. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/escape.h"
#include "common/file_errno.h"
#include "common/rpc_status.h"
#include "common/tree.h"

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

const char *tree_shown(char out[TREE_SHOWN_SIZE], const char *title, const char *path)
{
	if (path[0] == '\0')
		path = title != NULL ? title : "the target";
	escape_text(out, TREE_SHOWN_SIZE, path, strlen(path));
	return out;
}

void tree_failure(
    Telex__V1__FileError *out, int sys_errno, const char *what, const char *shown, const char *left)
{
	const struct file_errno *f = file_errno_find(sys_errno);
	char words[FILE_ERRNO_WORDS];

	/* Of a name below a folder it says that a link on the way leads elsewhere. */
	if (sys_errno == EXDEV)
		tree_failure_words(out, RPC_PERMISSION_DENIED, "OUTSIDE_ROOT",
		    "cannot %s %s: a link on the way leads out of the tree", what, shown);
	else
		tree_failure_words(out, f->code, f->reason, "cannot %s %s: %s", what, shown,
		    file_errno_words(words, sizeof(words), sys_errno, left));
	out->errno_value = sys_errno;
}

void tree_failure_limit(Telex__V1__FileError *out, const char *shown, uint64_t max_bytes)
{
	tree_failure_words(out, RPC_RESOURCE_EXHAUSTED, "UPLOAD_LIMIT",
	    "%s: the policy lets one transfer write %llu bytes, and that is not enough", shown,
	    (unsigned long long)max_bytes);
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
