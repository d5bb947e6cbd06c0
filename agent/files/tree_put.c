/* SPDX-License-Identifier: Apache-2.0 */
/* PutTree: the client sends a tree, and it is made here (common/tree_receive.h). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/names.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "agent/files/target.h"
#include "agent/files/tree_call.h"
#include "common/tree_receive.h"

#define FIELD_SEND    2 /* of PutTreeRequest */
#define FIELD_RECEIVE 2 /* of PutTreeResponse */
#define UMASK         022
#define SPECIAL_BITS  07000

struct putting {
	struct tree_call call;
	char base[REQUEST_PATH_SIZE]; /* what the entry with the empty path becomes */
	char real[REQUEST_PATH_SIZE]; /* the same without links, for patterns */
	char name[256];
	const char *marker; /* NULL: none */
	int parent_fd, target_fd;
};

/* ---- the target ---- */

/* Makes the folders of `path` that are not there, as far as it has a slash behind them. */
static bool make_folders(struct putting *p, const char *path, struct rpc_status *status)
{
	const struct roots *roots = call_roots(p->call.c);
	char folder[REQUEST_PATH_SIZE + 1];
	const char *name;

	for (const char *slash = strchr(path + 1, '/'); slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		int fd, rc = 0;

		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
		fd = roots_open(roots, ROOTS_WRITE, folder, O_PATH | O_DIRECTORY, status);
		if (fd >= 0) {
			close(fd);
			continue;
		}
		/* What lies above the roots is there, or nothing can be done about it. */
		if (strcmp(status->reason, "NO_SUCH_FILE") != 0 ||
		    !roots_allow(roots, ROOTS_WRITE, folder))
			continue;
		fd = roots_parent(roots, ROOTS_WRITE, folder, &name, status);
		if (fd < 0)
			return false;
		if (mkdirat(fd, name, 0777 & ~UMASK) != 0 && errno != EEXIST)
			rc = failure_errno(status, errno, "make the folder", folder);
		close(fd);
		if (rc < 0)
			return false;
	}
	*status = (struct rpc_status){0};
	return true;
}

/* The folders above the target; and the target, where it must be one. */
static bool make_missing(struct putting *p, const Telex__V1__PutTreeStart *start, const char *path,
    struct rpc_status *status)
{
	char whole[REQUEST_PATH_SIZE + 1];

	if (!start->parents || (start->options != NULL && start->options->dry_run))
		return true;
	snprintf(whole, sizeof(whole), "%s%s", path, start->into ? "/" : "");
	return make_folders(p, whole, status);
}

static bool name_valid(const ProtobufCBinaryData *name)
{
	return name->len < 256 && tree_path_valid(name->data, name->len) &&
	       (name->len == 0 || memchr(name->data, '/', name->len) == NULL);
}

/* Into the folder, which is there: under the name that was given, or as what it is. */
static void use_folder(struct putting *p, const char *path, int fd)
{
	const char *name;
	struct rpc_status ignored;

	snprintf(p->base, sizeof(p->base), "%s", path);
	if (p->marker != NULL && tree_marked(fd, p->marker))
		p->name[0] = '\0';
	if (p->name[0] == '\0') {
		p->target_fd = fd;
		p->parent_fd =
		    roots_parent(call_roots(p->call.c), ROOTS_WRITE, path, &name, &ignored);
		if (p->parent_fd >= 0)
			snprintf(p->name, sizeof(p->name), "%s", name);
		return;
	}
	snprintf(p->base + strlen(p->base), sizeof(p->base) - strlen(p->base), "%s%s",
	    path[1] != '\0' ? "/" : "", p->name);
	p->parent_fd = fd;
	p->target_fd =
	    openat(fd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

static bool open_target(
    struct putting *p, const Telex__V1__PutTreeStart *start, struct rpc_status *status)
{
	const struct roots *roots = call_roots(p->call.c);
	char path[REQUEST_PATH_SIZE];
	const char *name;
	int fd;

	if (!request_path(path, &start->path, status))
		return false;
	if (!name_valid(&start->name)) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "name: one component of at most 255 bytes is needed");
		rpc_status_meta(status, "field", "start.name");
		return false;
	}
	if (start->transfer_id[0] != '\0' && !tree_id_valid(start->transfer_id)) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "transfer_id: 16 to 32 of 0-9 a-f are needed");
		rpc_status_meta(status, "field", "start.transfer_id");
		return false;
	}
	if (start->transfer_id[0] != '\0')
		p->marker = start->transfer_id;
	if (start->name.len > 0)
		memcpy(p->name, start->name.data, start->name.len);
	p->name[start->name.len] = '\0';
	if (!make_missing(p, start, path, status))
		return false;
	fd = roots_open(roots, ROOTS_WRITE, path, O_RDONLY | O_DIRECTORY, status);
	if (fd >= 0) {
		*status = (struct rpc_status){0};
		use_folder(p, path, fd);
		return true;
	}
	if (start->into || (strcmp(status->reason, "NO_SUCH_FILE") != 0 &&
	                       strcmp(status->reason, "NOT_A_FOLDER") != 0)) {
		target_missing(roots, path, path, "write into", status);
		return false;
	}
	p->parent_fd = target_parent(roots, path, "write", &name, status);
	if (p->parent_fd < 0)
		return false;
	*status = (struct rpc_status){0};
	snprintf(p->base, sizeof(p->base), "%s", path);
	snprintf(p->name, sizeof(p->name), "%s", name);
	return true;
}

static bool find_real(struct putting *p, struct rpc_status *status)
{
	bool ok = p->target_fd >= 0
	              ? tree_call_path(p->real, sizeof(p->real), p->target_fd, NULL)
	              : tree_call_path(p->real, sizeof(p->real), p->parent_fd, p->name);

	if (!ok)
		failure_errno(status, ENAMETOOLONG, "write", p->base);
	return ok;
}

/* ---- the transfer ---- */

static bool is_allowed(const char *path, void *arg)
{
	struct putting *p = arg;
	char full[2 * REQUEST_PATH_SIZE];
	int n = snprintf(full, sizeof(full), "%s%s%s", p->real,
	    path[0] != '\0' && p->real[1] != '\0' ? "/" : "", path);

	return n > 0 && (size_t)n < sizeof(full) &&
	       roots_allow(call_roots(p->call.c), ROOTS_WRITE, full);
}

static int send_started(struct putting *p)
{
	Telex__V1__PutTreeResponse response = TELEX__V1__PUT_TREE_RESPONSE__INIT;
	Telex__V1__PutTreeStarted started = TELEX__V1__PUT_TREE_STARTED__INIT;
	int rc;

	response.response_case = TELEX__V1__PUT_TREE_RESPONSE__RESPONSE_STARTED;
	response.started = &started;
	started.path.data = (uint8_t *)p->base;
	started.path.len = strlen(p->base);
	rc = call_send(p->call.c, &response.base);
	return rc == 0 ? call_flush(p->call.c) : rc;
}

/* Until all is done. 0, or a negative TX_E…. */
static int receive(struct putting *p, struct tree_receiver *r, struct err *e)
{
	const uint8_t *msg, *inner;
	size_t len, inner_len;
	uint32_t field;
	int rc = 0;

	while (rc == 0 && !tree_receiver_finished(r)) {
		rc = call_receive(p->call.c, &msg, &len);
		if (rc == 0)
			return err_set(
			    e, TX_EPROTO, "the requests end before the tree is finished");
		if (rc < 0)
			return rc;
		rc = 0;
		if (tree_outer_parse(msg, len, &field, &inner, &inner_len) == 1 &&
		    field == FIELD_SEND)
			rc = tree_receiver_take(r, inner, inner_len, e);
		if (rc == 0 && !call_readable(p->call.c)) {
			rc = tree_receiver_flush(r);
			if (rc == 0)
				rc = call_flush(p->call.c);
		}
	}
	return rc;
}

static bool allow_tree(const struct putting *p, enum roots_access access)
{
	const struct roots *roots = call_roots(p->call.c);

	return p->target_fd >= 0 ? roots_allow_tree(roots, access, p->target_fd, NULL)
	                         : roots_allow_tree(roots, access, p->parent_fd, p->name);
}

static const char *name_of(bool group, uint32_t id)
{
	return names_of(group ? NAMES_GROUP : NAMES_USER, id);
}

static void put(struct putting *p, const Telex__V1__PutTreeStart *start, struct rpc_status *status)
{
	Telex__V1__TreeOptions none = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {
	    .options = start->options != NULL ? start->options : &none,
	    .parent_fd = p->parent_fd,
	    .name = p->name,
	    .title = p->base,
	    .name_of = name_of,
	    .target_fd = p->target_fd,
	    .umask = UMASK,
	    .special = SPECIAL_BITS,
	    .any_owner = geteuid() == 0,
	    .marker = p->marker,
	    .waits = true,
	    .max_bytes = call_max_upload_bytes(p->call.c),
	    .max_files = call_max_upload_files(p->call.c),
	    .max_parts = call_max_unfinished(p->call.c),
	    .emit = tree_call_emit,
	    .arg = p};
	const Telex__V1__TreeSummary *done;
	struct tree_receiver *r = NULL;
	struct err e = {0};
	int rc;

	if (!allow_tree(p, ROOTS_WRITE))
		cfg.allowed = is_allowed;
	cfg.unreadable = !allow_tree(p, ROOTS_READ);
	rc = tree_receiver_new(&r, &cfg);
	if (rc == 0)
		rc = send_started(p);
	if (rc == 0)
		rc = receive(p, r, &e);
	if (r != NULL) {
		done = tree_receiver_summary(r);
		call_summary(p->call.c,
		    "files=%" PRIu64 " bytes=%" PRIu64 " removed=%" PRIu64 " failed=%" PRIu64,
		    done->files, done->bytes, done->removed, done->failed);
	}
	tree_receiver_free(r);
	tree_call_status(rc, &e, status);
}

void fs_put_tree(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__PutTreeRequest *r = (const Telex__V1__PutTreeRequest *)request;
	struct putting p = {
	    .call = {.c = c, .field = FIELD_RECEIVE}, .parent_fd = -1, .target_fd = -1};

	if (r->request_case != TELEX__V1__PUT_TREE_REQUEST__REQUEST_START) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "the first request must be `start`");
		return;
	}
	if (open_target(&p, r->start, status) && find_real(&p, status))
		put(&p, r->start, status);
	if (p.parent_fd >= 0)
		close(p.parent_fd);
	if (p.target_fd >= 0)
		close(p.target_fd);
}
