/* SPDX-License-Identifier: Apache-2.0 */
/* Move. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/move_across.h"
#include "agent/files/request.h"
#include "agent/files/rights.h"
#include "agent/files/roots.h"
#include "agent/files/target.h"
#include "telex/v1/file.pb-c.h"

static unsigned flags_of(Telex__V1__Replace replace)
{
	if (replace == TELEX__V1__REPLACE__REPLACE_NEVER)
		return RENAME_NOREPLACE;
	return replace == TELEX__V1__REPLACE__REPLACE_EXCHANGE ? RENAME_EXCHANGE : 0;
}

/* Whether both are names of one file, and not one name: rename(2) leaves both then. */
static bool are_two_names(const struct move_end *from, const struct move_end *to)
{
	struct stat a, b, in_a, in_b;

	if (fstatat(from->dir_fd, from->name, &a, AT_SYMLINK_NOFOLLOW) != 0 ||
	    fstatat(to->dir_fd, to->name, &b, AT_SYMLINK_NOFOLLOW) != 0 || a.st_nlink < 2 ||
	    S_ISDIR(a.st_mode) || a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return false;
	if (fstat(from->dir_fd, &in_a) != 0 || fstat(to->dir_fd, &in_b) != 0)
		return false;
	return strcmp(from->name, to->name) != 0 || in_a.st_dev != in_b.st_dev ||
	       in_a.st_ino != in_b.st_ino;
}

/* File systems that do not know the flag: a link is never made over something; of folders, they
 * cannot. */
static int rename_never(const struct move_end *from, const struct move_end *to)
{
	if (linkat(from->dir_fd, from->name, to->dir_fd, to->name, 0) != 0)
		return errno == EPERM ? ENOTSUP : errno;
	return unlinkat(from->dir_fd, from->name, 0) == 0 ? 0 : errno;
}

/* 0 or an errno. */
static int move(const struct move_end *from, const struct move_end *to, unsigned flags)
{
	if (flags == 0 && are_two_names(from, to))
		return unlinkat(from->dir_fd, from->name, 0) == 0 ? 0 : errno;
	if (renameat2(from->dir_fd, from->name, to->dir_fd, to->name, flags) == 0)
		return 0;
	if (errno == EINVAL && flags == RENAME_NOREPLACE)
		return rename_never(from, to);
	return errno;
}

static bool is_folder(const struct move_end *end)
{
	struct stat st;

	return fstatat(end->dir_fd, end->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

/* Whether it may have the other name. */
static bool may(const struct roots *roots, const struct move_end *from, const struct move_end *to,
    struct rpc_status *status)
{
	if (rights_stay(roots, from->dir_fd, from->name, to->dir_fd, to->name, is_folder(from)))
		return true;
	failure_outside(
	    status, from->path, "may not be moved where more may be done with it than here");
	return false;
}

static void run(struct call *c, const struct move_end *from, const struct move_end *to,
    Telex__V1__Replace replace, struct rpc_status *status)
{
	Telex__V1__MoveResponse response = TELEX__V1__MOVE_RESPONSE__INIT;
	const unsigned flags = flags_of(replace);
	int error = move(from, to, flags);
	struct stat st;

	if (error == EXDEV && flags != RENAME_EXCHANGE) {
		response.copied = true;
		move_across(c, from, to, flags == RENAME_NOREPLACE, status);
	} else if (error != 0) {
		/* Which of the two it is about. */
		const bool source =
		    fstatat(from->dir_fd, from->name, &st, AT_SYMLINK_NOFOLLOW) != 0;

		failure_errno(
		    status, error, source ? "move" : "move to", source ? from->path : to->path);
	}
	if (status->code == RPC_OK && !call_gone(c))
		(void)call_send(c, &response.base);
}

void fs_move(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__MoveRequest *r = (const Telex__V1__MoveRequest *)request;
	char source[REQUEST_PATH_SIZE], target[REQUEST_PATH_SIZE];
	struct move_end from = {.dir_fd = -1, .path = source};
	struct move_end to = {.dir_fd = -1, .path = target};

	if (!request_path(source, &r->source, status) || !request_path(target, &r->target, status))
		return;
	if (r->replace > TELEX__V1__REPLACE__REPLACE_EXCHANGE) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "replace %u is not known", (unsigned)r->replace);
		return;
	}
	from.dir_fd = roots_parent(call_roots(c), ROOTS_WRITE, source, &from.name, status);
	if (from.dir_fd >= 0)
		to.dir_fd = target_parent(call_roots(c), target, "move to", &to.name, status);
	if (to.dir_fd >= 0 && may(call_roots(c), &from, &to, status) &&
	    (r->replace != TELEX__V1__REPLACE__REPLACE_EXCHANGE ||
	        may(call_roots(c), &to, &from, status)))
		run(c, &from, &to, r->replace, status);
	if (from.dir_fd >= 0)
		close(from.dir_fd);
	if (to.dir_fd >= 0)
		close(to.dir_fd);
}
