/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each method's request says of user and paths: one row a method, with a function that points
 * to the fields. A path is read or written by what the method does to what it names.
 */
#include "agent/worker/file_request.h"

#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/escape.h"
#include "common/keeper_msg.h"
#include "common/mem.h"
#include "telex/v1/file.pb-c.h"

#define HEARTBEAT_MIN_NS NS_PER_S
#define HEARTBEAT_MAX_NS (3600 * NS_PER_S)

/* ---- paths ---- */

static char *bad(struct rpc_status *status, const void *bytes, size_t len, const char *what)
{
	char safe[256];

	escape_text(safe, sizeof(safe), bytes, len);
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "the path '%s' %s", safe, what);
	rpc_status_meta(status, "path", "%s", safe);
	return NULL;
}

/* Appends the components of `text`. False: there is ".." among them. */
static bool append(char *out, size_t *used, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *slash = memchr(text, '/', (size_t)(end - text));
		size_t n = (size_t)((slash != NULL ? slash : end) - text);

		if (n == 2 && text[0] == '.' && text[1] == '.')
			return false;
		if (n > 0 && !(n == 1 && text[0] == '.')) {
			if (*used > 0 && out[*used - 1] != '/')
				out[(*used)++] = '/';
			memcpy(out + *used, text, n);
			*used += n;
		}
		text += n + 1;
	}
	return true;
}

char *file_path_plain(const void *bytes, size_t len, const char *home, struct rpc_status *status)
{
	const char *text = bytes;
	bool absolute = len > 0 && text[0] == '/';
	size_t used = 0;
	char *out;

	if (len == 0) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "no path is given");
		return NULL;
	}
	if (memchr(text, '\0', len) != NULL)
		return bad(status, bytes, len, "has a NUL in it");
	if (len > FILE_PATH_MAX)
		return bad(status, bytes, len, "is longer than 4095 bytes");
	out = xmalloc(len + (home != NULL ? strlen(home) : 0) + 3);
	if (absolute || home != NULL)
		out[used++] = '/';
	if (!absolute && home != NULL && !append(out, &used, home, strlen(home))) {
		free(out);
		return bad(
		    status, bytes, len, "is relative, and the user's home folder has .. in it");
	}
	if (!append(out, &used, text, len)) {
		free(out);
		return bad(status, bytes, len, "has '..' in it, which is not resolved here");
	}
	if (used > FILE_PATH_MAX) {
		free(out);
		return bad(status, bytes, len, "is longer than 4095 bytes below the home folder");
	}
	out[used] = '\0';
	return out;
}

/* Whether it ends in ".", as rmdir(2) and rename(2) refuse it: it is no name in a folder, but the
 * folder, and of a relative path the user's home. */
static bool ends_in_dot(const void *bytes, size_t len)
{
	const char *text = bytes;

	while (len > 0 && text[len - 1] == '/')
		len--;
	return len > 0 && text[len - 1] == '.' && (len == 1 || text[len - 2] == '/');
}

/* ---- the methods ---- */

/* MOVE: it is written, and is there no more afterwards. */
enum how { READ = 1, WRITE, WATCH, MOVE };

struct use {
	const char *field; /* bytes, or repeated bytes */
	enum how how;
};

static const struct row {
	const char *method;
	const char *begin; /* the member of the oneof that comes first; NULL: there is no oneof */
	struct use paths[2];
	bool carries;
} rows[] = {
    {"Stat", NULL, {{"path", READ}}, false},
    {"List", NULL, {{"path", READ}}, false},
    {"MakeDirectory", NULL, {{"path", WRITE}}, false},
    {"Remove", NULL, {{"path", MOVE}}, false},
    {"Move", NULL, {{"source", MOVE}, {"target", WRITE}}, true},
    {"Copy", NULL, {{"source", READ}, {"target", WRITE}}, false},
    {"SetAttributes", NULL, {{"path", WRITE}}, false},
    /* By a hard link's new name the file could be written, too. */
    {"Link", NULL, {{"target", WRITE}, {"path", WRITE}}, true},
    {"ReadLink", NULL, {{"path", READ}}, false},
    {"StatFilesystem", NULL, {{"path", READ}}, false},
    {"Checksum", NULL, {{"path", READ}}, false},
    {"Read", NULL, {{"path", READ}}, false},
    {"Write", "begin", {{"path", WRITE}}, false},
    {"GetUpload", NULL, {{"path", WRITE}}, false},
    {"Truncate", NULL, {{"path", WRITE}}, false},
    {"PutTree", "start", {{"path", WRITE}}, false},
    {"GetTree", "start", {{"paths", READ}}, false},
    {"Watch", "begin", {{"paths", WATCH}}, false},
};

static const struct row *find_row(const char *method)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].method, method) == 0)
			return &rows[i];
	return NULL;
}

/* A member of a message, by its name; NULL: it has none such. */
static void *member(ProtobufCMessage *m, const char *name)
{
	const ProtobufCFieldDescriptor *f =
	    protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);

	return f != NULL ? (char *)m + f->offset : NULL;
}

/* The message that is first of a stream: what its oneof holds. */
static ProtobufCMessage *unwrap(ProtobufCMessage *m, const char *name, struct rpc_status *status)
{
	const ProtobufCFieldDescriptor *f =
	    protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
	uint32_t which;

	memcpy(&which, (char *)m + f->quantifier_offset, sizeof(which));
	if (which == f->id)
		return *(ProtobufCMessage **)member(m, name);
	rpc_status_set(
	    status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "the first message is not `%s`", name);
	return NULL;
}

static void add_path(struct file_request *f, ProtobufCBinaryData *field, const struct use *use)
{
	f->paths = xreallocarray(f->paths, f->n_paths + 1, sizeof(*f->paths));
	f->paths[f->n_paths++] = (struct file_path){.field = field,
	    .read = use->how == READ,
	    .write = use->how == WRITE || use->how == MOVE,
	    .watch = use->how == WATCH,
	    .goes = use->how == MOVE};
	f->watches = f->watches || use->how == WATCH;
}

static void add_paths(struct file_request *f, ProtobufCMessage *m, const struct use *use)
{
	const ProtobufCFieldDescriptor *d =
	    protobuf_c_message_descriptor_get_field_by_name(m->descriptor, use->field);
	size_t n = 1;
	ProtobufCBinaryData *list = member(m, use->field);

	if (d->label == PROTOBUF_C_LABEL_REPEATED) {
		memcpy(&n, (char *)m + d->quantifier_offset, sizeof(n));
		list = *(ProtobufCBinaryData **)member(m, use->field);
	}
	for (size_t i = 0; i < n; i++)
		add_path(f, &list[i], use);
}

static int take_heartbeat(
    struct file_request *f, const Google__Protobuf__Duration *d, struct rpc_status *status)
{
	if (d == NULL)
		return 0;
	if (d->seconds >= 0 && d->seconds <= HEARTBEAT_MAX_NS / NS_PER_S && d->nanos >= 0 &&
	    d->nanos < NS_PER_S) {
		f->heartbeat_ns = d->seconds * NS_PER_S + d->nanos;
		if (f->heartbeat_ns >= HEARTBEAT_MIN_NS && f->heartbeat_ns <= HEARTBEAT_MAX_NS)
			return 0;
	}
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
	    "heartbeat_interval must be 1 second to 1 hour");
	return TX_EINVAL;
}

/* What a few of them have besides. */
static int look_closer(struct file_request *f, ProtobufCMessage *m, struct rpc_status *status)
{
	const protobuf_c_boolean *symbolic = member(m, "symbolic");
	const int *replace = member(m, "replace");
	const ProtobufCBinaryData *name = member(m, "name");
	Google__Protobuf__Duration **heartbeat = member(m, "heartbeat_interval");

	/* A symbolic link's target is any text. */
	if (symbolic != NULL && *symbolic) {
		f->paths[0] = f->paths[1];
		f->n_paths = 1;
		f->carries = false;
	}
	f->exchanges = replace != NULL && *replace == TELEX__V1__REPLACE__REPLACE_EXCHANGE;
	if (name != NULL && name->len > 0)
		f->name = name;
	return heartbeat != NULL ? take_heartbeat(f, *heartbeat, status) : 0;
}

static int take_paths(struct file_request *f, const char *home, struct rpc_status *status)
{
	if (f->n_paths == 0) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "no path is given");
		return TX_EINVAL;
	}
	for (size_t i = 0; i < f->n_paths; i++) {
		struct file_path *p = &f->paths[i];

		if (p->goes && ends_in_dot(p->field->data, p->field->len)) {
			bad(status, p->field->data, p->field->len,
			    "ends in '.': the folder is removed or moved by its name");
			return TX_EINVAL;
		}
		p->path = file_path_plain(p->field->data, p->field->len, home, status);
		if (p->path == NULL)
			return TX_EINVAL;
		f->needs_home = f->needs_home || p->path[0] != '/';
		p->field->data = (uint8_t *)p->path;
		p->field->len = strlen(p->path);
	}
	return 0;
}

int file_request_look(struct file_request *out, const char *method, ProtobufCMessage *m,
    const char *home, struct rpc_status *status)
{
	const struct row *row = find_row(method);
	int rc;

	*out = (struct file_request){.user = "", .carries = row->carries};
	if (row->begin != NULL && (m = unwrap(m, row->begin, status)) == NULL)
		return TX_EPROTO;
	out->user = *(char **)member(m, "user");
	if (strlen(out->user) >= KM_TEXT_SIZE) {
		rpc_status_set(
		    status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "the user's name is too long");
		return TX_EINVAL;
	}
	for (size_t i = 0; i < 2 && row->paths[i].field != NULL; i++)
		add_paths(out, m, &row->paths[i]);
	rc = look_closer(out, m, status);
	return rc == 0 ? take_paths(out, home, status) : rc;
}

char *file_request_below(const struct file_request *f)
{
	const char *folder = f->paths[0].path;

	if (f->name == NULL || memchr(f->name->data, '\0', f->name->len) != NULL ||
	    memchr(f->name->data, '/', f->name->len) != NULL ||
	    (f->name->len <= 2 && memcmp(f->name->data, "..", f->name->len) == 0))
		return NULL;
	return xasprintf("%s%s%.*s", folder, folder[1] == '\0' ? "" : "/", (int)f->name->len,
	    (const char *)f->name->data);
}

void file_request_clear(struct file_request *f)
{
	for (size_t i = 0; i < f->n_paths; i++)
		free(f->paths[i].path);
	free(f->paths);
	*f = (struct file_request){0};
}
