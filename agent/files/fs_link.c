/* SPDX-License-Identifier: Apache-2.0 */
/* Link: a symbolic or a hard one, which takes the place of what is there at once. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/rights.h"
#include "agent/files/roots.h"
#include "agent/files/target.h"
#include "common/temp_file.h"
#include "telex/v1/file.pb-c.h"

#define RETRIES 8

struct linking {
	int target_fd; /* of a hard link; -1: symbolic */
	char target[REQUEST_PATH_SIZE];
	int dir_fd;
	const char *name;
};

/* 0 or an errno. */
static int make(const struct linking *l, const char *name)
{
	char from[40];

	if (l->target_fd < 0)
		return symlinkat(l->target, l->dir_fd, name) == 0 ? 0 : errno;
	/* By the descriptor: no second look at the path. What it is of is not followed further. */
	snprintf(from, sizeof(from), "/proc/self/fd/%d", l->target_fd);
	return linkat(AT_FDCWD, from, l->dir_fd, name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

/* Two names of one file: rename(2) would leave both. */
static bool is_there_already(const struct linking *l)
{
	struct stat a, b;

	return l->target_fd >= 0 && fstat(l->target_fd, &a) == 0 &&
	       fstatat(l->dir_fd, l->name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* By a temporary name, which then takes the place. 0 or an errno. */
static int replace(const struct linking *l)
{
	char id[TEMP_FILE_ID_SIZE], temp[TEMP_FILE_NAME_SIZE];
	int error = EEXIST;

	if (is_there_already(l))
		return 0;
	for (int i = 0; i < RETRIES && error == EEXIST; i++) {
		error = temp_file_id_make(id);
		if (error != 0)
			return error;
		temp_file_name(temp, id);
		error = make(l, temp);
	}
	if (error == 0 && renameat(l->dir_fd, temp, l->dir_fd, l->name) != 0) {
		error = errno;
		(void)unlinkat(l->dir_fd, temp, 0);
	}
	return error;
}

/* What the link leads to. A hard link makes a file writable, and maybe readable, where its new name
 * is: who may not do that with the target may not link to it. */
static bool take_target(struct linking *l, const struct roots *roots,
    const Telex__V1__LinkRequest *r, struct rpc_status *status)
{
	if (!r->symbolic) {
		if (!request_path(l->target, &r->target, status))
			return false;
		l->target_fd =
		    roots_open(roots, ROOTS_WRITE, l->target, O_PATH | O_NOFOLLOW, status);
		return l->target_fd >= 0;
	}
	if (r->target.len == 0 || r->target.len >= sizeof(l->target) ||
	    memchr(r->target.data, '\0', r->target.len) != NULL) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "a symbolic link's target is 1 to 4095 bytes without NUL");
		return false;
	}
	memcpy(l->target, r->target.data, r->target.len);
	l->target[r->target.len] = '\0';
	return true;
}

void fs_link(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__LinkRequest *r = (const Telex__V1__LinkRequest *)request;
	Telex__V1__LinkResponse response = TELEX__V1__LINK_RESPONSE__INIT;
	struct linking l = {.target_fd = -1, .dir_fd = -1};
	char path[REQUEST_PATH_SIZE];
	int error;

	if (r->replace > TELEX__V1__REPLACE__REPLACE_NEVER) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "a new link can change places with nothing");
		return;
	}
	if (!request_path(path, &r->path, status) || !take_target(&l, call_roots(c), r, status))
		return;
	l.dir_fd = target_parent(call_roots(c), path, "make the link", &l.name, status);
	if (l.target_fd >= 0 && l.dir_fd >= 0 &&
	    !rights_stay(call_roots(c), l.target_fd, NULL, l.dir_fd, l.name, false)) {
		failure_outside(status, l.target,
		    "may not be linked to where more may be done with it than here");
		close(l.dir_fd);
		l.dir_fd = -1;
	}
	if (l.dir_fd >= 0) {
		error = make(&l, l.name);
		if (error == EEXIST && r->replace != TELEX__V1__REPLACE__REPLACE_NEVER)
			error = replace(&l);
		if (error != 0)
			failure_errno(
			    status, error, r->symbolic ? "make the link" : "link to", path);
		else
			(void)call_send(c, &response.base);
		close(l.dir_fd);
	}
	if (l.target_fd >= 0)
		close(l.target_fd);
}
