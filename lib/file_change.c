/* SPDX-License-Identifier: Apache-2.0 */
/* The questions of FileService that change something. Those that are the same when they are asked
 * twice are asked again after a lost connection. */
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/err.h"
#include "lib/error.h"
#include "lib/file_info.h"
#include "lib/question.h"
#include "lib/request.h"

#define SERVICE FILE_INFO_SERVICE

static int remove_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__FileServiceRemoveResponse *r = (const void *)msg;

	if (to->count != NULL)
		to->count(r->removed, arg);
	return 0;
}

static int copy_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__CopyResponse *r = (const void *)msg;
	const struct telex_copied copied = {r->files, r->bytes, r->shared_bytes};

	if (to->copied != NULL)
		to->copied(&copied, arg);
	return 0;
}

static int set_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__SetAttributesResponse *r = (const void *)msg;

	if (to->count != NULL)
		to->count(r->files, arg);
	return 0;
}

static const struct question_kind make_kind = {
    .method = {SERVICE, "MakeDirectory", &telex__v1__make_directory_response__descriptor, false, 0},
    .answer = question_no_answer,
};
static const struct question_kind make_parents_kind = {
    .method = {SERVICE, "MakeDirectory", &telex__v1__make_directory_response__descriptor, false, 0},
    .again = true,
    .answer = question_no_answer,
};
static const struct question_kind remove_kind = {
    .method = {SERVICE, "Remove", &telex__v1__file_service_remove_response__descriptor, false, 0},
    .works = true,
    .answer = remove_answer,
};
static const struct question_kind move_kind = {
    .method = {SERVICE, "Move", &telex__v1__move_response__descriptor, false, 0},
    .works = true,
    .answer = question_no_answer,
};
static const struct question_kind copy_kind = {
    .method = {SERVICE, "Copy", &telex__v1__copy_response__descriptor, false, 0},
    .works = true,
    .answer = copy_answer,
};
static const struct question_kind set_kind = {
    .method = {SERVICE, "SetAttributes", &telex__v1__set_attributes_response__descriptor, false, 0},
    .works = true,
    .answer = set_answer,
};
static const struct question_kind link_kind = {
    .method = {SERVICE, "Link", &telex__v1__link_response__descriptor, false, 0},
    .answer = question_no_answer,
};
static const struct question_kind truncate_kind = {
    .method = {SERVICE, "Truncate", &telex__v1__truncate_response__descriptor, false, 0},
    .again = true,
    .answer = question_no_answer,
};

static int check_replace(enum telex_replace replace, bool exchange, struct telex_error *error)
{
	if (replace == TELEX_REPLACE_ALWAYS || replace == TELEX_REPLACE_NEVER ||
	    (replace == TELEX_REPLACE_EXCHANGE && exchange))
		return 0;
	return error_set(error, TELEX_ERROR_USAGE, "replace is none of its values");
}

int telex_file_make_directory(struct telex_client *client, const char *user, const char *path,
    int mode, bool parents, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__MakeDirectoryRequest request = TELEX__V1__MAKE_DIRECTORY_REQUEST__INIT;
	Telex__V1__FileMode file_mode = TELEX__V1__FILE_MODE__INIT;
	const struct question_answer to = {0};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	if (mode > 07777)
		return error_set(error, TELEX_ERROR_USAGE, "mode must be 0 to 07777");
	request.user = file_info_user(user);
	request.parents = parents;
	file_mode.mode = (uint32_t)mode;
	if (mode >= 0)
		request.mode = &file_mode;
	return question_ask(client, parents ? &make_parents_kind : &make_kind, &request.base,
	    timeout_ms, &to, done, arg, error);
}

int telex_file_remove(struct telex_client *client, const char *user, const char *path,
    const struct telex_remove_options *o, int64_t timeout_ms,
    void (*each)(uint64_t removed, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__FileServiceRemoveRequest request = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;
	const struct question_answer to = {.count = each};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	request.user = file_info_user(user);
	if (o != NULL) {
		request.recursive = o->recursive;
		request.force = o->force;
		request.across_mounts = o->across_mounts;
		request.directory_only = o->directory_only;
	}
	return question_ask(client, &remove_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_file_move(struct telex_client *client, const char *user, const char *source,
    const char *target, enum telex_replace replace, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__MoveRequest request = TELEX__V1__MOVE_REQUEST__INIT;
	const struct question_answer to = {0};

	if (file_info_path(&request.source, "source", source, error) < 0 ||
	    file_info_path(&request.target, "target", target, error) < 0 ||
	    check_replace(replace, true, error) < 0)
		return -1;
	request.user = file_info_user(user);
	request.replace = (Telex__V1__Replace)replace;
	return question_ask(client, &move_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_file_copy(struct telex_client *client, const char *user, const char *source,
    const char *target, const struct telex_copy_options *o, int64_t timeout_ms,
    void (*each)(const struct telex_copied *copied, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__CopyRequest request = TELEX__V1__COPY_REQUEST__INIT;
	const struct question_answer to = {.copied = each};

	if (file_info_path(&request.source, "source", source, error) < 0 ||
	    file_info_path(&request.target, "target", target, error) < 0 ||
	    (o != NULL && check_replace(o->replace, false, error) < 0))
		return -1;
	request.user = file_info_user(user);
	if (o != NULL) {
		request.replace = (Telex__V1__Replace)o->replace;
		request.recursive = o->recursive;
		request.preserve = o->preserve;
		request.follow = o->follow;
		request.preserve_attributes = o->preserve_attributes;
		request.preserve_links = o->preserve_links;
	}
	return question_ask(client, &copy_kind, &request.base, timeout_ms, &to, done, arg, error);
}

/* ---- attributes ---- */

static void fill_time(Google__Protobuf__Timestamp *out, int64_t ns)
{
	int64_t seconds = ns / NS_PER_S, rest = ns % NS_PER_S;

	google__protobuf__timestamp__init(out);
	if (rest < 0) {
		rest += NS_PER_S;
		seconds--;
	}
	out->seconds = seconds;
	out->nanos = (int32_t)rest;
}

/* What a request of attributes lends from. */
struct lent {
	Telex__V1__FileMode mode;
	Google__Protobuf__Timestamp modified, accessed;
	Telex__V1__ExtendedAttribute *attributes, **list;
	ProtobufCBinaryData *removed;
};

static void lent_free(struct lent *l)
{
	free(l->attributes);
	free(l->list);
	free(l->removed);
}

static int lend_extended(struct lent *l, Telex__V1__SetAttributesRequest *request,
    const struct telex_set_attributes *a, struct telex_error *error)
{
	size_t removed = 0;

	while (a->remove_extended != NULL && a->remove_extended[removed] != NULL)
		removed++;
	l->attributes = calloc(a->n_extended + 1, sizeof(*l->attributes));
	l->list = calloc(a->n_extended + 1, sizeof(*l->list));
	l->removed = calloc(removed + 1, sizeof(*l->removed));
	if (l->attributes == NULL || l->list == NULL || l->removed == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < a->n_extended; i++) {
		const struct telex_attribute *x = &a->extended[i];

		telex__v1__extended_attribute__init(&l->attributes[i]);
		l->attributes[i].name = request_bytes(x->name, strlen(x->name));
		l->attributes[i].value = request_bytes(x->value, x->len);
		l->list[i] = &l->attributes[i];
	}
	for (size_t i = 0; i < removed; i++)
		l->removed[i] = request_bytes(a->remove_extended[i], strlen(a->remove_extended[i]));
	request->n_set_extended_attributes = a->n_extended;
	request->set_extended_attributes = l->list;
	request->n_remove_extended_attributes = removed;
	request->remove_extended_attributes = l->removed;
	return 0;
}

static int lend(struct lent *l, Telex__V1__SetAttributesRequest *request,
    const struct telex_set_attributes *a, struct telex_error *error)
{
	request->follow = a->follow;
	request->recursive = a->recursive;
	telex__v1__file_mode__init(&l->mode);
	l->mode.mode = a->mode;
	if (a->set_mode)
		request->mode = &l->mode;
	if (a->mode_change != NULL)
		request->mode_change = request_text(a->mode_change);
	if (a->owner != NULL)
		request->owner = request_text(a->owner);
	if (a->group != NULL)
		request->group = request_text(a->group);
	request->login_group = a->login_group;
	fill_time(&l->modified, a->modified_ns);
	fill_time(&l->accessed, a->accessed_ns);
	if (a->set_modified)
		request->modified = &l->modified;
	if (a->set_accessed)
		request->accessed = &l->accessed;
	return lend_extended(l, request, a, error);
}

int telex_file_set_attributes(struct telex_client *client, const char *user, const char *path,
    const struct telex_set_attributes *a, int64_t timeout_ms,
    void (*each)(uint64_t files, void *arg), telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__SetAttributesRequest request = TELEX__V1__SET_ATTRIBUTES_REQUEST__INIT;
	const struct question_answer to = {.count = each};
	struct lent lent = {0};
	int rc = -1;

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	if (a->set_mode && (a->mode > 07777 || a->mode_change != NULL))
		return error_set(error, TELEX_ERROR_USAGE,
		    "mode must be 0 to 07777, and there is either it or mode_change");
	request.user = file_info_user(user);
	if (lend(&lent, &request, a, error) == 0)
		rc = question_ask(
		    client, &set_kind, &request.base, timeout_ms, &to, done, arg, error);
	lent_free(&lent);
	return rc;
}

int telex_file_link(struct telex_client *client, const char *user, const char *target,
    const char *path, bool symbolic, enum telex_replace replace, int64_t timeout_ms,
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__LinkRequest request = TELEX__V1__LINK_REQUEST__INIT;
	const struct question_answer to = {0};

	if (file_info_path(&request.target, "target", target, error) < 0 ||
	    file_info_path(&request.path, "path", path, error) < 0 ||
	    check_replace(replace, false, error) < 0)
		return -1;
	request.user = file_info_user(user);
	request.symbolic = symbolic;
	request.replace = (Telex__V1__Replace)replace;
	return question_ask(client, &link_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_file_truncate(struct telex_client *client, const char *user, const char *path,
    uint64_t size, int64_t timeout_ms, telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__TruncateRequest request = TELEX__V1__TRUNCATE_REQUEST__INIT;
	const struct question_answer to = {0};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	request.user = file_info_user(user);
	request.size = size;
	return question_ask(
	    client, &truncate_kind, &request.base, timeout_ms, &to, done, arg, error);
}
