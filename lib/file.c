/* SPDX-License-Identifier: Apache-2.0 */
/* The questions of FileService that look and change nothing. */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "lib/error.h"
#include "lib/file_info.h"
#include "lib/question.h"
#include "lib/request.h"

#define SERVICE FILE_INFO_SERVICE

static int stat_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__StatResponse *r = (const void *)msg;
	struct file_info info;
	int rc;

	if (r->file == NULL)
		return TX_EPROTO;
	rc = file_info(&info, r->file);
	if (rc == 0 && to->file != NULL)
		to->file(&info.file, arg);
	file_info_free(&info);
	return rc;
}

static int give_entry(
    const Telex__V1__ListEntry *entry, const struct question_answer *to, void *arg)
{
	struct telex_file_failure failure;
	struct file_info info;
	int rc = file_info(&info, entry->file);

	if (rc == 0 && entry->error != NULL) {
		failure.code = (int)entry->error->code;
		failure.reason = entry->error->reason;
		failure.message = entry->error->message;
		failure.sys_errno = entry->error->errno_value;
	}
	if (rc == 0)
		to->file_entry(&info.file, entry->error != NULL ? &failure : NULL, arg);
	file_info_free(&info);
	return rc;
}

static int list_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__FileServiceListResponse *r = (const void *)msg;
	int rc = 0;

	for (size_t i = 0; i < r->n_entries && rc == 0 && to->file_entry != NULL; i++)
		rc = give_entry(r->entries[i], to, arg);
	return rc;
}

static int read_link_answer(
    const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__ReadLinkResponse *r = (const void *)msg;
	char *target = malloc(r->target.len + 1);

	if (target == NULL)
		return TX_ENOMEM;
	if (r->target.len > 0)
		memcpy(target, r->target.data, r->target.len);
	target[r->target.len] = '\0';
	if (to->link_target != NULL)
		to->link_target(target, arg);
	free(target);
	return 0;
}

static int filesystem_answer(
    const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__StatFilesystemResponse *r = (const void *)msg;
	const struct telex_filesystem f = {
	    .type = r->type,
	    .total = r->total,
	    .free = r->free,
	    .available = r->available,
	    .files = r->files,
	    .files_free = r->files_free,
	    .block_size = r->block_size,
	    .name_max = r->name_max,
	    .read_only = r->read_only,
	};

	if (to->filesystem != NULL)
		to->filesystem(&f, arg);
	return 0;
}

static int checksum_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__ChecksumResponse *r = (const void *)msg;

	if (r->digest.len == 0)
		return TX_EPROTO;
	if (to->digest != NULL)
		to->digest(r->digest.data, r->digest.len, r->length, arg);
	return 0;
}

static const struct question_kind stat_kind = {
    .method = {SERVICE, "Stat", &telex__v1__stat_response__descriptor, false, 0},
    .again = true,
    .answer = stat_answer,
};
static const struct question_kind list_kind = {
    .method = {SERVICE, "List", &telex__v1__file_service_list_response__descriptor, true, 0},
    .again = true,
    .works = true,
    .answer = list_answer,
};
static const struct question_kind read_link_kind = {
    .method = {SERVICE, "ReadLink", &telex__v1__read_link_response__descriptor, false, 0},
    .again = true,
    .answer = read_link_answer,
};
static const struct question_kind filesystem_kind = {
    .method = {SERVICE, "StatFilesystem", &telex__v1__stat_filesystem_response__descriptor, false,
        0},
    .again = true,
    .answer = filesystem_answer,
};
static const struct question_kind checksum_kind = {
    .method = {SERVICE, "Checksum", &telex__v1__checksum_response__descriptor, false, 0},
    .again = true,
    .works = true,
    .answer = checksum_answer,
};

int telex_file_stat(struct telex_client *client, const char *user, const char *path,
    const struct telex_stat_options *options, int64_t timeout_ms,
    void (*each)(const struct telex_file *file, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__StatRequest request = TELEX__V1__STAT_REQUEST__INIT;
	const struct question_answer to = {.file = each};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	request.user = file_info_user(user);
	if (options != NULL) {
		request.follow = options->follow;
		request.extended_attributes = options->extended_attributes;
		request.target = options->target;
	}
	return question_ask(client, &stat_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_file_list(struct telex_client *client, const char *user, const char *path,
    const struct telex_list_options *o, int64_t timeout_ms,
    void (*each)(
        const struct telex_file *file, const struct telex_file_failure *failure, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__FileServiceListRequest request = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	Telex__V1__FileIdentity only = TELEX__V1__FILE_IDENTITY__INIT;
	const struct question_answer to = {.file_entry = each};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	request.user = file_info_user(user);
	if (o != NULL) {
		request.hidden = o->hidden;
		request.depth = o->depth;
		request.sorted = o->sorted;
		request.extended_attributes = o->extended_attributes;
		request.across_mounts = o->across_mounts;
		request.names_only = o->names_only;
		request.targets = o->targets;
		if (o->only.inode != 0) {
			only.inode = o->only.inode;
			only.device_major = o->only.device_major;
			only.device_minor = o->only.device_minor;
			request.only = &only;
		}
		if (o->pattern != NULL)
			request.pattern = request_text(o->pattern);
	}
	return question_ask(client, &list_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_file_read_link(struct telex_client *client, const char *user, const char *path,
    bool canonical, int64_t timeout_ms, void (*each)(const char *target, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__ReadLinkRequest request = TELEX__V1__READ_LINK_REQUEST__INIT;
	const struct question_answer to = {.link_target = each};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	request.user = file_info_user(user);
	request.canonical = canonical;
	return question_ask(
	    client, &read_link_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_file_stat_filesystem(struct telex_client *client, const char *user, const char *path,
    int64_t timeout_ms, void (*each)(const struct telex_filesystem *filesystem, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__StatFilesystemRequest request = TELEX__V1__STAT_FILESYSTEM_REQUEST__INIT;
	const struct question_answer to = {.filesystem = each};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	request.user = file_info_user(user);
	return question_ask(
	    client, &filesystem_kind, &request.base, timeout_ms, &to, done, arg, error);
}

/* NOLINTNEXTLINE(readability-function-size): the API is what it is */
int telex_file_checksum(struct telex_client *client, const char *user, const char *path,
    enum telex_checksum algorithm, uint64_t offset, uint64_t length, int64_t timeout_ms,
    void (*each)(const void *digest, size_t len, uint64_t bytes, void *arg), telex_done *done,
    void *arg, struct telex_error *error)
{
	Telex__V1__ChecksumRequest request = TELEX__V1__CHECKSUM_REQUEST__INIT;
	const struct question_answer to = {.digest = each};

	if (file_info_path(&request.path, "path", path, error) < 0)
		return -1;
	if (algorithm != TELEX_CHECKSUM_SHA256 && algorithm != TELEX_CHECKSUM_XXH3)
		return error_set(
		    error, TELEX_ERROR_USAGE, "the checksum's algorithm is none of its values");
	request.user = file_info_user(user);
	request.algorithm = (Telex__V1__ChecksumAlgorithm)algorithm;
	request.offset = offset;
	request.length = length;
	return question_ask(
	    client, &checksum_kind, &request.base, timeout_ms, &to, done, arg, error);
}
