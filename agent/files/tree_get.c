/* SPDX-License-Identifier: Apache-2.0 */
/* GetTree: trees are sent from here (common/tree_send.h), and the client makes them. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "agent/files/tree_call.h"
#include "common/file_errno.h"
#include "common/tree_send.h"

#define FIELD_RECEIVE 2 /* of GetTreeRequest */
#define FIELD_SEND    1 /* of GetTreeResponse */
#define SOURCES_MAX   1024u

struct getting {
	struct tree_call call;
	struct tree_source *sources;
	char (*paths)[REQUEST_PATH_SIZE]; /* each one's, absolute */
	size_t n;
	bool whole; /* everything below them may be read */
};

/* ---- the sources ---- */

/* A file is named in its folder; where a link was named, in that of what it leads to. */
static int open_beside(const struct roots *roots, char path[REQUEST_PATH_SIZE], int fd,
    const char **name, struct rpc_status *status)
{
	struct stat opened, named;
	int parent = roots_parent(roots, ROOTS_READ, path, name, status);

	if (parent >= 0 && fstat(fd, &opened) == 0 &&
	    fstatat(parent, *name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    named.st_ino == opened.st_ino && named.st_dev == opened.st_dev)
		return parent;
	if (parent >= 0)
		close(parent);
	if (!tree_call_path(path, REQUEST_PATH_SIZE, fd, NULL)) {
		failure_errno(status, ENAMETOOLONG, "follow", path);
		return -1;
	}
	return roots_parent(roots, ROOTS_READ, path, name, status);
}

static bool open_source(struct getting *g, size_t i, const ProtobufCBinaryData *given,
    bool contents, struct rpc_status *status)
{
	const struct roots *roots = call_roots(g->call.c);
	struct tree_source *s = &g->sources[i];
	char *path = g->paths[i];
	const char *name = ".", *last;
	struct stat st;
	int fd;

	if (!request_path(path, given, status))
		return false;
	fd = roots_open(roots, ROOTS_READ, path, O_PATH, status);
	if (fd < 0)
		return false;
	last = tree_path_name(path);
	s->path = strdup(contents ? "" : (last[0] != '\0' ? last : "root"));
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		s->dir_fd = roots_open(roots, ROOTS_READ, path, O_RDONLY | O_DIRECTORY, status);
	else
		s->dir_fd = open_beside(roots, path, fd, &name, status);
	s->name = strdup(name);
	close(fd);
	if (s->dir_fd >= 0 && (s->path == NULL || s->name == NULL))
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
	return s->dir_fd >= 0 && s->path != NULL && s->name != NULL;
}

/* Patterns are held against what the sources really are, whatever links led there. */
static bool find_real(struct getting *g, struct rpc_status *status)
{
	for (size_t i = 0; i < g->n; i++) {
		const struct tree_source *s = &g->sources[i];

		if (s->sys_errno != 0 || tree_call_path(g->paths[i], REQUEST_PATH_SIZE, s->dir_fd,
		                             strcmp(s->name, ".") != 0 ? s->name : NULL))
			continue;
		failure_errno(status, ENAMETOOLONG, "read", g->paths[i]);
		return false;
	}
	return true;
}

/* One of several that cannot be opened is told by its errno, and the others go on. */
static bool is_left_out(struct getting *g, struct rpc_status *status)
{
	struct tree_source *s = &g->sources[g->n];

	s->sys_errno = file_errno_of(status->reason);
	if (s->sys_errno == 0 || g->paths[g->n][0] != '/')
		return false;
	if (s->path == NULL)
		s->path = strdup(tree_path_name(g->paths[g->n]));
	if (s->name == NULL)
		s->name = strdup(".");
	memset(status, 0, sizeof(*status));
	return s->path != NULL && s->name != NULL;
}

static bool open_sources(
    struct getting *g, const Telex__V1__GetTreeStart *start, struct rpc_status *status)
{
	if (start->n_paths == 0 || start->n_paths > SOURCES_MAX ||
	    (start->contents && start->n_paths != 1)) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "paths: 1 to %u, and with contents just one", SOURCES_MAX);
		rpc_status_meta(status, "field", "start.paths");
		return false;
	}
	g->sources = calloc(start->n_paths, sizeof(*g->sources));
	g->paths = calloc(start->n_paths, sizeof(*g->paths));
	if (g->sources == NULL || g->paths == NULL) {
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
		return false;
	}
	g->whole = true;
	for (; g->n < start->n_paths; g->n++) {
		g->sources[g->n].dir_fd = -1;
		if (!open_source(g, g->n, &start->paths[g->n], start->contents, status)) {
			if (start->n_paths > 1 && is_left_out(g, status))
				continue;
			g->n++;
			return false;
		}
		if (!roots_allow_tree(call_roots(g->call.c), ROOTS_READ, g->sources[g->n].dir_fd,
		        strcmp(g->sources[g->n].name, ".") != 0 ? g->sources[g->n].name : NULL))
			g->whole = false;
	}
	return g->whole || find_real(g, status);
}

static void close_sources(struct getting *g)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->sources[i].dir_fd >= 0)
			close(g->sources[i].dir_fd);
		free((char *)(uintptr_t)g->sources[i].name);
		free((char *)(uintptr_t)g->sources[i].path);
	}
	free(g->sources);
	free(g->paths);
}

static bool is_allowed(const struct tree_name *name, void *arg)
{
	struct getting *g = arg;
	const char *base = g->paths[name->source - g->sources];
	char full[2 * REQUEST_PATH_SIZE];
	int n = snprintf(full, sizeof(full), "%s%s%s", base,
	    name->below[0] != '\0' && base[1] != '\0' ? "/" : "", name->below);

	if (n <= 0 || (size_t)n >= sizeof(full))
		return false;
	return roots_allow(call_roots(g->call.c), ROOTS_READ, full);
}

/* ---- the transfer ---- */

static int take(struct getting *g, struct tree_sender *s, struct err *e)
{
	const uint8_t *msg, *inner;
	size_t len, inner_len;
	uint32_t field;
	int rc = call_receive(g->call.c, &msg, &len);

	if (rc == 0)
		return err_set(e, TX_EPROTO, "the requests end before the tree is finished");
	if (rc < 0)
		return rc;
	if (tree_outer_parse(msg, len, &field, &inner, &inner_len) == 1 && field == FIELD_RECEIVE)
		return tree_sender_receive(s, inner, inner_len, e);
	return 0;
}

/* Until the client has all of it. 0, or a negative TX_E…. */
static int run(struct getting *g, struct tree_sender *s, struct err *e)
{
	int rc = 0;

	while (tree_sender_summary(s) == NULL) {
		while (rc >= 0 && call_readable(g->call.c) && tree_sender_summary(s) == NULL)
			rc = take(g, s, e);
		if (rc >= 0 && tree_sender_summary(s) == NULL)
			rc = tree_sender_step(s);
		if (rc == 0 && tree_sender_summary(s) == NULL) {
			rc = call_flush(g->call.c);
			if (rc == 0)
				rc = take(g, s, e);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void get(struct getting *g, const Telex__V1__GetTreeStart *start, struct rpc_status *status)
{
	Telex__V1__TreeOptions none = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_sender_config cfg = {.options = start->options != NULL ? start->options : &none,
	    .sources = g->sources,
	    .n_sources = g->n,
	    .salt = g->paths[0],
	    .title = g->paths[0],
	    .allowed = g->whole ? NULL : is_allowed,
	    .emit = tree_call_emit,
	    .arg = g};
	struct tree_sender *s;
	struct err e = {0};
	int rc = tree_sender_new(&s, &cfg);

	if (rc == 0) {
		rc = run(g, s, &e);
		call_summary(g->call.c, "bytes=%" PRIu64 " failed=%" PRIu64, tree_sender_bytes(s),
		    tree_sender_errors(s));
		tree_sender_free(s);
	}
	tree_call_status(rc, &e, status);
}

/* A link below a source is followed by the sender, which knows of no roots: where they are not
 * everything, one could lead out of them. */
static bool may_follow(
    const struct call *c, const Telex__V1__TreeOptions *options, struct rpc_status *status)
{
	if (options == NULL || !options->follow || roots_allow_all(call_roots(c), ROOTS_READ))
		return true;
	rpc_status_set(status, RPC_PERMISSION_DENIED, "OUTSIDE_ROOT",
	    "links are followed only for who may read everything; send them as links (without -L)");
	return false;
}

void fs_get_tree(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__GetTreeRequest *r = (const Telex__V1__GetTreeRequest *)request;
	struct getting g = {.call = {.c = c, .field = FIELD_SEND}};

	if (r->request_case != TELEX__V1__GET_TREE_REQUEST__REQUEST_START) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "the first request must be `start`");
		return;
	}
	if (may_follow(c, r->start->options, status) && open_sources(&g, r->start, status))
		get(&g, r->start, status);
	close_sources(&g);
}
