/* SPDX-License-Identifier: Apache-2.0 */
/* Copy. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/copy.h"
#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "agent/files/target.h"
#include "common/beneath.h"
#include "common/err.h"
#include "common/escape.h"
#include "telex/v1/file.pb-c.h"

#define NAME_SIZE 4096

struct request {
	const Telex__V1__CopyRequest *m;
	char source[REQUEST_PATH_SIZE], target[REQUEST_PATH_SIZE];
	int fd, dir_fd;
	const char *name;
	struct stat st;
};

static bool name_of(int fd, char out[NAME_SIZE])
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, NAME_SIZE - 1);
	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}

/* Whether the copy would lie in the folder that is copied. The walk stops there, too, whatever
 * these names say. */
static bool is_inside(const struct request *r)
{
	char source[NAME_SIZE], folder[NAME_SIZE];
	size_t len;

	if (!S_ISDIR(r->st.st_mode) || !name_of(r->fd, source) || !name_of(r->dir_fd, folder))
		return false;
	len = strcmp(source, "/") == 0 ? 0 : strlen(source);
	return strncmp(source, folder, len) == 0 && (folder[len] == '/' || folder[len] == '\0');
}

static int refuse(const struct request *r, const char *why, struct rpc_status *status)
{
	char safe[256];

	escape_text(safe, sizeof(safe), r->source, strlen(r->source));
	rpc_status_set(
	    status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "cannot copy %s: %s", safe, why);
	rpc_status_meta(status, "path", "%s", safe);
	return TX_EINVAL;
}

static int check(const struct request *r, const struct roots *roots, struct rpc_status *status)
{
	struct stat st;

	if (is_inside(r))
		return refuse(r, "the copy would be inside of it", status);
	if (S_ISDIR(r->st.st_mode) && r->m->recursive &&
	    !roots_allow_tree(roots, ROOTS_WRITE, r->dir_fd, r->name))
		return failure_outside(
		    status, r->target, "may not be written with all that is below it");
	if (fstatat(r->dir_fd, r->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	if (r->m->replace == TELEX__V1__REPLACE__REPLACE_NEVER)
		return failure_errno(status, EEXIST, "copy to", r->target);
	if (st.st_dev == r->st.st_dev && st.st_ino == r->st.st_ino)
		return refuse(r, "the target is the same file", status);
	if (S_ISDIR(r->st.st_mode) && !S_ISDIR(st.st_mode))
		return failure_errno(status, ENOTDIR, "copy to", r->target);
	if (!S_ISDIR(r->st.st_mode) && S_ISDIR(st.st_mode))
		return failure_errno(status, EISDIR, "copy to", r->target);
	return 0;
}

/* A tree is made durable all at once. */
static void sync_tree(struct copy *c, const struct request *r)
{
	int fd = open_beneath(r->dir_fd, r->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

	if (fd < 0)
		fd = open_beneath(r->dir_fd, ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return;
	if (syncfs(fd) != 0) {
		c->tally.top = r->target;
		tally_errno(&c->tally, errno, "write the copy", "");
	}
	close(fd);
}

static void run(struct call *call, const struct request *r, struct rpc_status *status)
{
	Telex__V1__CopyResponse response = TELEX__V1__COPY_RESPONSE__INIT;
	struct copy c = {.call = call,
	    .recursive = r->m->recursive,
	    .preserve = r->m->preserve || r->m->preserve_attributes,
	    .xattrs = r->m->preserve,
	    .hard_links = r->m->preserve || r->m->preserve_links,
	    .follow = r->m->follow,
	    .never = r->m->replace == TELEX__V1__REPLACE__REPLACE_NEVER,
	    .durable = !S_ISDIR(r->st.st_mode),
	    .target = r->target,
	    .scope = {.roots = call_roots(call), .access = ROOTS_READ, .top = r->source}};

	c.scope.whole = roots_allow_tree(c.scope.roots, ROOTS_READ, r->fd, NULL);
	copy_init(&c);
	copy_any(&c, r->fd, r->dir_fd, r->name);
	if (S_ISDIR(r->st.st_mode) && c.tally.done > 0)
		sync_tree(&c, r);
	call_summary(call, "files=%" PRIu64 " bytes=%" PRIu64 " failed=%" PRIu64, c.tally.done,
	    c.bytes, c.tally.failed);
	tally_end(&c.tally, "copied", status);
	response.files = c.tally.done;
	response.bytes = c.bytes;
	response.shared_bytes = c.shared;
	if (c.tally.failed == 0 && !c.stopped)
		(void)call_send(call, &response.base);
	copy_clear(&c);
}

void fs_copy(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	struct request r = {.m = (const Telex__V1__CopyRequest *)request, .fd = -1, .dir_fd = -1};
	const struct roots *roots = call_roots(c);

	if (!request_path(r.source, &r.m->source, status) ||
	    !request_path(r.target, &r.m->target, status))
		return;
	if (r.m->replace > TELEX__V1__REPLACE__REPLACE_NEVER) {
		(void)refuse(&r, "a copy can change places with nothing", status);
		return;
	}
	r.fd = roots_open(
	    roots, ROOTS_READ, r.source, O_PATH | (r.m->follow ? 0 : O_NOFOLLOW), status);
	if (r.fd >= 0 && fstat(r.fd, &r.st) != 0)
		failure_errno(status, errno, "copy", r.source);
	else if (r.fd >= 0)
		r.dir_fd = target_parent(roots, r.target, "copy to", &r.name, status);
	if (r.dir_fd >= 0 && check(&r, roots, status) == 0)
		run(c, &r, status);
	if (r.fd >= 0)
		close(r.fd);
	if (r.dir_fd >= 0)
		close(r.dir_fd);
}
