/* SPDX-License-Identifier: Apache-2.0 */
/* List: a folder's entries, or all below it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/info.h"
#include "agent/files/list_out.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "agent/files/scope.h"
#include "common/beneath.h"
#include "common/err.h"
#include "common/tree_meta.h"
#include "common/walk.h"

#define ASK_EVERY 64 /* entries, whether the worker is gone */

struct listing {
	struct call *call;
	const Telex__V1__FileServiceListRequest *request;
	struct scope scope;
	struct walk *walk;
	struct list_out out;
	unsigned long seen;
};

/* ---- one entry ---- */

static int send_entry(struct listing *l, struct info *info, int error)
{
	Telex__V1__ListEntry entry = TELEX__V1__LIST_ENTRY__INIT;
	Telex__V1__FileError failure;
	struct rpc_status status;
	char path[REQUEST_PATH_SIZE];
	const char *below = (const char *)info->file.path.data;
	int rc;

	entry.file = &info->file;
	if (error == 0)
		return list_out_add(&l->out, &entry);
	snprintf(path, sizeof(path), "%s%s%s", l->scope.top,
	    below[0] == '\0' || l->scope.top[1] == '\0' ? "" : "/", below);
	failure_errno(&status, error, "list", path);
	if (failure_entry(&failure, &status) < 0)
		return TX_ENOMEM;
	entry.error = &failure;
	rc = list_out_add(&l->out, &entry);
	failure_entry_clear(&failure);
	return rc;
}

static void set_name(struct info *out, const char *path, unsigned type)
{
	memset(out, 0, sizeof(*out));
	telex__v1__file_info__init(&out->file);
	out->file.path.data = (uint8_t *)(uintptr_t)path;
	out->file.path.len = strlen(path);
	out->file.type = tree_type(DTTOIF(type));
}

/* All that is known of an entry. 0 or an errno; info_clear in any case. */
static int look(const struct listing *l, const struct walk_entry *e, struct info *out)
{
	struct statx st;
	int fd, error;

	set_name(out, e->path, e->type);
	if (l->request->names_only && e->type != DT_UNKNOWN)
		return 0;
	if (statx(e->dir_fd, e->name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, INFO_MASK, &st) != 0)
		return errno;
	if (l->request->names_only) {
		out->file.type = tree_type(st.stx_mode);
		return 0;
	}
	if (!S_ISLNK(st.stx_mode) && !l->request->extended_attributes) {
		info_from_statx(out, &st, e->path);
		return 0;
	}
	/* What takes more than one look is opened, so that all is of one file. */
	fd = open_beneath(e->dir_fd, e->name, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return errno;
	error = info_from_fd(out, fd, e->path, l->request->extended_attributes);
	close(fd);
	if (error != 0) {
		info_clear(out);
		set_name(out, e->path, e->type);
	}
	return error;
}

static void add_target(const struct listing *l, const struct walk_entry *e, struct info *info)
{
	char path[REQUEST_PATH_SIZE];
	const char *slash = l->scope.top[1] == '\0' ? "" : "/";

	/* A longer one could not be opened at once. */
	if (snprintf(path, sizeof(path), "%s%s%s", l->scope.top, slash, e->path) <
	    (int)sizeof(path))
		info_add_target(info, l->scope.roots, path);
}

static bool matches(const struct listing *l, const struct walk_entry *e)
{
	const char *pattern = l->request->pattern;

	if (pattern[0] == '\0')
		return true;
	return fnmatch(pattern, strchr(pattern, '/') != NULL ? e->path : e->name, FNM_PATHNAME) ==
	       0;
}

/* Goes into it, where it is a folder and wanted. An errno: it cannot be read. */
static int enter(struct listing *l, const struct walk_entry *e, const struct info *info)
{
	int error;

	if (info->file.type != TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY ||
	    e->depth >= l->request->depth)
		return 0;
	error = walk_enter(l->walk, l->request->across_mounts);
	/* Another mount is not gone into; another file than before, neither. */
	return error == EXDEV || error == ENOENT || error == ENOTDIR || error == ELOOP ? 0 : error;
}

static int take(struct listing *l, const struct walk_entry *e)
{
	struct info info;
	int error, rc = 0;

	if (e->leaving || (!l->request->hidden && e->name[0] == '.') ||
	    !scope_allows(&l->scope, e->dir_fd, e->name, e->path))
		return 0;
	error = look(l, e, &info);
	/* What was removed since is not there. */
	if (error != ENOENT) {
		const bool wanted = matches(l, e);

		if (error == 0 && wanted && l->request->targets)
			add_target(l, e, &info);
		if (error == 0)
			error = enter(l, e, &info);
		if (wanted || error != 0)
			rc = send_entry(l, &info, error);
	}
	info_clear(&info);
	return rc;
}

/* A folder that cannot be read, or not to its end. */
static int take_failure(struct listing *l, const struct walk_entry *e)
{
	struct info info;

	set_name(&info, e->path, DT_DIR);
	return send_entry(l, &info, e->error);
}

/* ---- all of them ---- */

static int walk_all(struct listing *l)
{
	struct walk_entry e;
	int rc = 0, more;

	while (rc == 0 && (more = walk_next(l->walk, &e)) != 0) {
		if (more < 0)
			return TX_ENOMEM;
		if (l->seen++ % ASK_EVERY == 0 && call_gone(l->call))
			return TX_ECLOSED;
		rc = e.error != 0 ? take_failure(l, &e) : take(l, &e);
	}
	return rc;
}

static int list_folder(struct listing *l, int fd, struct rpc_status *status)
{
	int top, error, rc;

	l->scope.whole = roots_allow_tree(l->scope.roots, ROOTS_READ, fd, NULL);
	top = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY);
	if (top < 0)
		return failure_errno(status, errno, "list", l->scope.top);
	error = walk_new(&l->walk, top);
	if (error != 0)
		return failure_errno(status, error, "list", l->scope.top);
	rc = walk_all(l);
	if (rc == 0)
		rc = list_out_end(&l->out);
	if (rc == TX_ENOMEM)
		failure_errno(status, ENOMEM, "list", l->scope.top);
	else if (rc == TX_ELIMIT)
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES",
		    "there are too many files to be sorted (%zu MiB of entries); list them "
		    "unsorted",
		    LIST_OUT_SORTED >> 20);
	walk_free(l->walk);
	return rc;
}

static int list_file(struct listing *l, int fd, struct rpc_status *status)
{
	struct info info;
	int error = info_from_fd(&info, fd, l->scope.top, l->request->extended_attributes), rc = 0;

	if (error != 0)
		failure_errno(status, error, "list", l->scope.top);
	else if (l->request->targets)
		info_add_target(&info, l->scope.roots, l->scope.top);
	if (error == 0 && send_entry(l, &info, 0) == 0)
		rc = list_out_end(&l->out);
	info_clear(&info);
	return rc;
}

static bool is_link(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISLNK(st.st_mode);
}

/* What the path leads to; or the link itself, where it leads nowhere. */
static int open_top(const struct scope *s, struct rpc_status *status)
{
	struct rpc_status ignored;
	int fd = roots_open(s->roots, ROOTS_READ, s->top, O_PATH, status);

	if (fd >= 0)
		return fd;
	fd = roots_open(s->roots, ROOTS_READ, s->top, O_PATH | O_NOFOLLOW, &ignored);
	if (fd >= 0 && !is_link(fd)) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		rpc_status_set(status, RPC_OK, NULL, "%s", "");
	return fd;
}

static bool is_wanted(const Telex__V1__FileIdentity *only, const struct stat *st)
{
	return only == NULL ||
	       (only->inode == st->st_ino && only->device_major == major(st->st_dev) &&
	           only->device_minor == minor(st->st_dev));
}

void fs_list(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__FileServiceListRequest *r =
	    (const Telex__V1__FileServiceListRequest *)request;
	struct listing l = {.call = c, .request = r};
	char path[REQUEST_PATH_SIZE];
	struct stat st;
	int fd;

	if (!request_path(path, &r->path, status))
		return;
	l.scope = (struct scope){.roots = call_roots(c), .access = ROOTS_READ, .top = path};
	list_out_init(&l.out, c, r->sorted);
	fd = open_top(&l.scope, status);
	if (fd < 0)
		return;
	if (fstat(fd, &st) != 0)
		failure_errno(status, errno, "list", path);
	else if (!is_wanted(r->only, &st))
		failure_errno(status, ESTALE, "list", path);
	else if (S_ISDIR(st.st_mode))
		(void)list_folder(&l, fd, status);
	else
		(void)list_file(&l, fd, status);
	list_out_clear(&l.out);
	close(fd);
}
