/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetAttributes. Below a folder, files and links are changed as they come, and folders when all in
 * them is: so that taking rights away does not lock the work itself out. One that cannot be read is
 * changed first, and tried again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/attributes.h"
#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/mode_change.h"
#include "agent/files/names.h"
#include "agent/files/request.h"
#include "agent/files/scope.h"
#include "agent/files/tally.h"
#include "common/beneath.h"
#include "common/err.h"
#include "common/escape.h"
#include "common/walk.h"
#include "telex/v1/file.pb-c.h"

#define ASK_EVERY 64 /* entries, whether the worker is gone */

struct change {
	const Telex__V1__SetAttributesRequest *request;
	uint32_t uid, gid;
	bool has_mode, has_times;
	struct timespec times[2];
	struct scope scope;
	struct tally tally;
};

/* ---- what is asked for ---- */

static int bad(struct rpc_status *status, const char *why)
{
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "%s", why);
	return TX_EINVAL;
}

static int read_name(
    enum names_kind kind, const char *text, uint32_t *id, struct rpc_status *status)
{
	const char *what = kind == NAMES_USER ? "user" : "group";
	char safe[128];

	*id = ATTRIBUTES_KEEP;
	if (text[0] == '\0' || names_id(kind, text, id) == 0)
		return 0;
	escape_text(safe, sizeof(safe), text, strlen(text));
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
	    "there is no %s '%s' on this machine, and it is no number", what, safe);
	return TX_ENOENT;
}

/* Owner and group, as numbers. */
static int read_owners(struct change *c, struct rpc_status *status)
{
	const Telex__V1__SetAttributesRequest *r = c->request;
	char safe[128];

	if (read_name(NAMES_USER, r->owner, &c->uid, status) < 0 ||
	    read_name(NAMES_GROUP, r->group, &c->gid, status) < 0)
		return TX_ENOENT;
	if (!r->login_group)
		return 0;
	if (r->owner[0] == '\0' || r->group[0] != '\0')
		return bad(status, "a login group goes with an owner, and without a group");
	if (names_login_group(r->owner, &c->gid) == 0)
		return 0;
	escape_text(safe, sizeof(safe), r->owner, strlen(r->owner));
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
	    "'%s' is no name of a user on this machine, whose login group could be meant", safe);
	return TX_ENOENT;
}

static bool read_time(const Google__Protobuf__Timestamp *t, struct timespec *out)
{
	*out = (struct timespec){.tv_nsec = UTIME_OMIT};
	if (t == NULL)
		return true;
	*out = (struct timespec){.tv_sec = t->seconds, .tv_nsec = t->nanos};
	return t->nanos >= 0 && t->nanos <= 999999999;
}

static int check_xattrs(const Telex__V1__SetAttributesRequest *r, struct rpc_status *status)
{
	static const char words[] = "an extended attribute's name is 1 to 255 bytes without NUL";
	char name[256];

	for (size_t i = 0; i < r->n_set_extended_attributes; i++) {
		const Telex__V1__ExtendedAttribute *x = r->set_extended_attributes[i];

		if (attributes_name(name, x->name.data, x->name.len) != 0)
			return bad(status, words);
		if (x->value.len > 65536)
			return bad(status, "an extended attribute's value is at most 64 KiB");
	}
	for (size_t i = 0; i < r->n_remove_extended_attributes; i++)
		if (attributes_name(name, r->remove_extended_attributes[i].data,
		        r->remove_extended_attributes[i].len) != 0)
			return bad(status, words);
	return 0;
}

static int read_request(struct change *c, struct rpc_status *status)
{
	const Telex__V1__SetAttributesRequest *r = c->request;
	char safe[128];

	if (r->mode != NULL && r->mode_change[0] != '\0')
		return bad(status, "either a mode or a change of it");
	if (r->mode != NULL && r->mode->mode > 07777)
		return bad(status, "a mode is at most 7777");
	if (r->mode_change[0] != '\0' && !mode_change_valid(r->mode_change)) {
		escape_text(safe, sizeof(safe), r->mode_change, strlen(r->mode_change));
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "'%s' is no change of a mode; one is like 'u+x,go-w' or '0644'", safe);
		return TX_EINVAL;
	}
	c->has_mode = r->mode != NULL || r->mode_change[0] != '\0';
	c->has_times = r->modified != NULL || r->accessed != NULL;
	if (!read_time(r->accessed, &c->times[0]) || !read_time(r->modified, &c->times[1]))
		return bad(status, "nanoseconds are 0 to 999999999");
	if (read_owners(c, status) < 0)
		return TX_ENOENT;
	return check_xattrs(r, status);
}

/* ---- one file ---- */

/* Each returns 0 or an errno. */

static int set_owner(const struct change *c, int fd, const struct stat *st)
{
	const bool same = (c->uid == ATTRIBUTES_KEEP || c->uid == st->st_uid) &&
	                  (c->gid == ATTRIBUTES_KEEP || c->gid == st->st_gid);

	return same ? 0 : attributes_owner(fd, c->uid, c->gid);
}

static int set_xattrs(const struct change *c, int fd)
{
	const Telex__V1__SetAttributesRequest *r = c->request;
	char name[256];
	int error = 0;

	for (size_t i = 0; i < r->n_remove_extended_attributes && error == 0; i++) {
		(void)attributes_name(name, r->remove_extended_attributes[i].data,
		    r->remove_extended_attributes[i].len);
		error = attributes_remove(fd, name);
		if (error == ENODATA)
			error = 0;
	}
	for (size_t i = 0; i < r->n_set_extended_attributes && error == 0; i++) {
		const Telex__V1__ExtendedAttribute *x = r->set_extended_attributes[i];

		(void)attributes_name(name, x->name.data, x->name.len);
		error = attributes_set(fd, name, x->value.data, x->value.len);
	}
	return error;
}

static int set_mode(const struct change *c, int fd)
{
	struct stat st;
	unsigned mode;

	/* As it is by now: a change of owner takes set-user-ID away. */
	if (fstat(fd, &st) != 0)
		return errno;
	if (c->request->mode != NULL)
		mode = c->request->mode->mode;
	else if (mode_change_apply(
	             c->request->mode_change, st.st_mode, S_ISDIR(st.st_mode), &mode) < 0)
		return EINVAL;
	return mode == (st.st_mode & 07777) ? 0 : attributes_mode(fd, mode);
}

/* below: it is not the file that was named: what a link cannot have is passed over. */
static int apply(const struct change *c, int fd, bool below, const char **what)
{
	struct stat st;
	bool link;
	int error, xattrs = 0;

	*what = "look at";
	if (fstat(fd, &st) != 0)
		return errno;
	link = S_ISLNK(st.st_mode);
	*what = "change the owner of";
	error = set_owner(c, fd, &st);
	if (error == 0 && !(link && below)) {
		*what = "set extended attributes of";
		xattrs = set_xattrs(c, fd);
		if (xattrs != EACCES || !c->has_mode)
			error = xattrs;
	}
	if (error == 0 && c->has_mode && !(link && below)) {
		*what = "change the mode of";
		error = set_mode(c, fd);
		/* They needed the rights that it has now. */
		if (error == 0 && xattrs != 0) {
			*what = "set extended attributes of";
			error = set_xattrs(c, fd);
		}
	}
	if (error == 0 && c->has_times) {
		*what = "set the times of";
		error = attributes_times(fd, c->times);
	}
	return error;
}

static void apply_counted(struct change *c, int fd, const char *below)
{
	const char *what;
	int error = apply(c, fd, below[0] != '\0', &what);

	if (error == 0)
		c->tally.done++;
	else
		tally_errno(&c->tally, error, what, below);
}

/* ---- all below ---- */

static void apply_named(struct change *c, const struct walk_entry *e)
{
	int fd = open_beneath(e->dir_fd, e->name, O_PATH | O_NOFOLLOW);

	if (fd < 0) {
		if (errno != ENOENT)
			tally_errno(&c->tally, errno, "look at", e->path);
		return;
	}
	apply_counted(c, fd, e->path);
	close(fd);
}

static void take(struct change *c, struct walk *w, const struct walk_entry *e)
{
	struct rpc_status status;
	char path[REQUEST_PATH_SIZE];
	int error;

	if (!scope_allows(&c->scope, e->dir_fd, e->name, e->path)) {
		(void)tally_path(&c->tally, e->path, path, sizeof(path));
		failure_outside(&status, path, "may not be changed");
		tally_status(&c->tally, &status);
		return;
	}
	if (e->type != DT_DIR && e->type != DT_UNKNOWN) {
		apply_named(c, e);
		return;
	}
	error = walk_enter(w, true);
	if (error == 0)
		return;
	apply_named(c, e);
	/* It is none, or it has gone. */
	if (error == ENOTDIR || error == ELOOP || error == ENOENT)
		return;
	if (error == EACCES)
		error = walk_enter(w, true);
	if (error == 0)
		*walk_note(w) = 1;
	else
		tally_errno(&c->tally, error, "read the folder", e->path);
}

/* False: the worker is gone. */
static bool walk_all(struct change *c, struct call *call, int top_fd)
{
	struct walk *w;
	struct walk_entry e;
	unsigned long seen = 0;
	int error = walk_new(&w, top_fd), more = 1;

	if (error != 0) {
		tally_errno(&c->tally, error, "read the folder", "");
		return true;
	}
	while ((seen++ % ASK_EVERY != 0 || !call_gone(call)) && (more = walk_next(w, &e)) > 0) {
		if (e.error != 0)
			tally_errno(&c->tally, e.error, "read the folder", e.path);
		else if (!e.leaving)
			take(c, w, &e);
		else if (e.note == 0)
			apply_named(c, &e);
	}
	if (more < 0)
		tally_errno(&c->tally, ENOMEM, "read the folder", "");
	walk_free(w);
	return more <= 0;
}

static bool run(struct change *c, struct call *call, int fd)
{
	struct stat st;
	int top;

	if (fstat(fd, &st) != 0) {
		tally_errno(&c->tally, errno, "look at", "");
		return true;
	}
	if (!c->request->recursive || !S_ISDIR(st.st_mode)) {
		apply_counted(c, fd, "");
		return true;
	}
	c->scope.whole = roots_allow_tree(c->scope.roots, ROOTS_WRITE, fd, NULL);
	top = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY);
	if (top >= 0) {
		if (!walk_all(c, call, top))
			return false;
		apply_counted(c, fd, "");
		return true;
	}
	apply_counted(c, fd, "");
	top = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY);
	if (top >= 0)
		return walk_all(c, call, top);
	tally_errno(&c->tally, errno, "read the folder", "");
	return true;
}

void fs_set_attributes(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__SetAttributesRequest *r = (const Telex__V1__SetAttributesRequest *)request;
	Telex__V1__SetAttributesResponse response = TELEX__V1__SET_ATTRIBUTES_RESPONSE__INIT;
	struct change change = {.request = r};
	char path[REQUEST_PATH_SIZE];
	int fd;

	if (!request_path(path, &r->path, status) || read_request(&change, status) < 0)
		return;
	tally_init(&change.tally, path);
	change.scope = (struct scope){.roots = call_roots(c), .access = ROOTS_WRITE, .top = path};
	fd = roots_open(
	    call_roots(c), ROOTS_WRITE, path, O_PATH | (r->follow ? 0 : O_NOFOLLOW), status);
	if (fd < 0)
		return;
	if (run(&change, c, fd)) {
		call_summary(
		    c, "files=%" PRIu64 " failed=%" PRIu64, change.tally.done, change.tally.failed);
		tally_end(&change.tally, "files", status);
		response.files = change.tally.done;
		if (change.tally.failed == 0)
			(void)call_send(c, &response.base);
	}
	close(fd);
}
