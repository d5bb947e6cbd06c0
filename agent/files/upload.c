/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/attributes.h"
#include "agent/files/failure.h"
#include "agent/files/open_file.h"
#include "agent/files/request.h"
#include "agent/files/target.h"
#include "agent/files/upload_append.h"
#include "common/err.h"
#include "common/escape.h"
#include "common/file_range.h"
#include "common/temp_file.h"

#define NEW_MODE 0644u /* 0666 less the umask 022 */
#define WRITE    "write"
#define NEVER    TELEX__V1__REPLACE__REPLACE_NEVER

struct upload {
	struct call *call;
	const Telex__V1__WriteBegin *begin;
	char path[REQUEST_PATH_SIZE];
	int dir_fd;
	const char *name; /* in path */
	struct temp_file temp;
	struct upload_append append; /* instead */
	struct digest *digest;
	uint64_t at; /* bytes that are there, and in the digest */
	bool stays;  /* the client may go on with it after this failure */
	uint8_t sha256[DIGEST_SIZE];
};

static struct temp_file_reaped reaped;

static int refuse(
    struct upload *u, struct rpc_status *status, int code, const char *reason, const char *why)
{
	char safe[256];

	escape_text(safe, sizeof(safe), u->path, strlen(u->path));
	rpc_status_set(status, code, reason, "cannot write %s: %s", safe, why);
	rpc_status_meta(status, "path", "%s", safe);
	return TX_EINVAL;
}

static int fail(struct upload *u, int error, struct rpc_status *status)
{
	const uint64_t written = u->append.written;
	const bool back = upload_append_close(&u->append, false);
	int rc;

	/* What is left is told without what came. */
	if (error == ENOSPC || error == EDQUOT)
		temp_file_drop(&u->temp);
	rc = failure_errno(status, error, WRITE, u->path);
	if (!back)
		rpc_status_add(status,
		    "; %" PRIu64 " bytes were appended and could not be taken back", written);
	return rc;
}

/* ---- the beginning ---- */

static const char *problem_of(const Telex__V1__WriteBegin *b)
{
	if (b->replace > NEVER)
		return "an upload can change places with nothing";
	if (b->mode != NULL && b->mode->mode > 07777)
		return "a mode is at most 7777";
	if (b->sha256.len != 0 && b->sha256.len != DIGEST_SIZE)
		return "a SHA-256 has 32 bytes";
	if (b->upload_id[0] != '\0' && !temp_file_id_valid(b->upload_id))
		return "an upload_id is 16 to 64 of 0-9 a-f";
	if (b->upload_id[0] == '\0' && b->offset != 0)
		return "without an upload_id there is nothing to go on with";
	if (b->append && (b->offset != 0 || b->upload_id[0] != '\0'))
		return "appending has no upload_id and cannot be gone on with";
	if (b->modified != NULL && (b->modified->nanos < 0 || b->modified->nanos > 999999999))
		return "nanoseconds are 0 to 999999999";
	return NULL;
}

static int check_limit(struct upload *u, uint64_t size, struct rpc_status *status)
{
	uint64_t most = call_max_upload_bytes(u->call);

	if (most == 0 || size <= most)
		return 0;
	refuse(u, status, RPC_RESOURCE_EXHAUSTED, "UPLOAD_LIMIT",
	    "it is more than the policy lets this role upload (max_upload_bytes)");
	rpc_status_meta(status, "limit", "%" PRIu64, most);
	return TX_ELIMIT;
}

/* What it would replace. */
static int look_at_target(struct upload *u, struct rpc_status *status)
{
	struct stat st;

	if (fstatat(u->dir_fd, u->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail(u, errno, status);
	/* Renaming over a device or a FIFO would make an end of it. */
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return open_file_refuse(status, st.st_mode, WRITE, u->path);
	return u->begin->replace == NEVER ? fail(u, EEXIST, status) : 0;
}

static int add_piece(const void *data, size_t len, void *arg)
{
	struct upload *u = arg;

	if (call_gone(u->call))
		return ECANCELED;
	return digest_add(u->digest, data, len) == 0 ? 0 : ENOMEM;
}

/* What is there already counts in the digest, too. */
static int go_on(struct upload *u, uint64_t there, struct rpc_status *status)
{
	const uint64_t offset = u->begin->offset;
	uint64_t done = 0;
	int error;

	if (offset > there) {
		u->stays = there > 0;
		refuse(u, status, RPC_OUT_OF_RANGE, "OFFSET_AHEAD",
		    "it begins after what is there of it");
		rpc_status_meta(status, "expected", "%" PRIu64, there);
		return TX_EINVAL;
	}
	error = temp_file_resize(&u->temp, offset);
	if (error == 0 && offset > 0)
		error = file_range_read(u->temp.fd, 0, offset, add_piece, u, &done);
	if (error == ECANCELED)
		u->stays = true;
	if (error == 0 && done != offset)
		error = EIO;
	u->at = offset;
	return error == 0 ? 0 : fail(u, error, status);
}

static int open_temp(struct upload *u, struct rpc_status *status)
{
	char id[TEMP_FILE_ID_SIZE];
	const char *name = u->begin->upload_id;
	uint64_t there = 0;
	int error = 0, rc;

	(void)temp_file_reap(u->dir_fd, &reaped);
	if (name[0] == '\0') {
		error = temp_file_id_make(id);
		name = id;
	}
	if (error == 0)
		error = temp_file_open(&u->temp, u->dir_fd, name, &there);
	if (error == EAGAIN)
		return refuse(u, status, RPC_ABORTED, "UPLOAD_BUSY",
		    "another call is writing the same upload");
	if (error != 0)
		return fail(u, error, status);
	rc = go_on(u, there, status);
	if (rc == 0 && u->begin->size != NULL)
		error = temp_file_reserve(&u->temp, u->at, u->begin->size->bytes);
	return error == 0 ? rc : fail(u, error, status);
}

static int start(struct upload *u, struct rpc_status *status)
{
	const Telex__V1__WriteBegin *b = u->begin;
	const char *problem = problem_of(b);
	int rc = 0;

	if (problem != NULL)
		return refuse(u, status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", problem);
	if (b->size != NULL)
		rc = check_limit(u, b->size->bytes, status);
	if (rc < 0)
		return rc;
	if (b->append)
		return upload_append_open(&u->append, call_roots(u->call), u->path,
		    b->mode != NULL ? b->mode->mode : NEW_MODE, status);
	u->dir_fd = target_parent(call_roots(u->call), u->path, WRITE, &u->name, status);
	if (u->dir_fd < 0)
		return TX_ESYS;
	rc = look_at_target(u, status);
	return rc < 0 ? rc : open_temp(u, status);
}

int upload_begin(struct upload **out, struct call *c, const Telex__V1__WriteBegin *begin,
    struct rpc_status *status)
{
	struct upload *u = calloc(1, sizeof(*u));
	int rc = TX_EINVAL;

	if (u == NULL || (u->digest = digest_new()) == NULL) {
		free(u);
		return failure_errno(status, ENOMEM, WRITE, "");
	}
	u->call = c;
	u->begin = begin;
	u->dir_fd = -1;
	u->temp = (struct temp_file)TEMP_FILE_INIT;
	u->append = (struct upload_append)UPLOAD_APPEND_INIT;
	if (request_path(u->path, &begin->path, status))
		rc = start(u, status);
	if (rc < 0)
		upload_free(u, u->stays);
	else
		*out = u;
	return rc;
}

/* ---- bytes ---- */

static int check_offset(struct upload *u, uint64_t offset, struct rpc_status *status)
{
	if (offset == u->at)
		return 0;
	if (offset > u->at) {
		u->stays = true;
		refuse(u, status, RPC_OUT_OF_RANGE, "OFFSET_AHEAD",
		    "a chunk begins after what is there");
	} else {
		refuse(u, status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "a chunk goes back to what is there already");
	}
	rpc_status_meta(status, "expected", "%" PRIu64, u->at);
	return TX_EINVAL;
}

int upload_put(
    struct upload *u, uint64_t offset, const void *data, size_t len, struct rpc_status *status)
{
	const Telex__V1__FileSize *size = u->begin->size;
	int rc = check_offset(u, offset, status), error;

	if (rc < 0 || len == 0)
		return rc;
	if (len > UINT64_MAX - u->at)
		return fail(u, EFBIG, status);
	if (size != NULL && u->at + len > size->bytes)
		return refuse(u, status, RPC_DATA_LOSS, "CHECKSUM",
		    "more came than the size that was promised; nothing was changed");
	rc = check_limit(u, u->at + len, status);
	if (rc < 0)
		return rc;
	if (u->append.fd >= 0)
		error = upload_append_write(&u->append, data, len);
	else
		error = temp_file_write(&u->temp, data, len, u->at);
	if (error == 0 && digest_add(u->digest, data, len) < 0)
		error = ENOMEM;
	if (error != 0)
		return fail(u, error, status);
	u->at += len;
	return 0;
}

/* ---- the end ---- */

static bool differs(const ProtobufCBinaryData *promised, const uint8_t *is)
{
	return promised->len != 0 &&
	       (promised->len != DIGEST_SIZE || memcmp(promised->data, is, DIGEST_SIZE) != 0);
}

static int check_whole(
    struct upload *u, const ProtobufCBinaryData *sha256, struct rpc_status *status)
{
	const Telex__V1__FileSize *size = u->begin->size;

	if (digest_end(u->digest, u->sha256) < 0)
		return fail(u, ENOMEM, status);
	if (size != NULL && size->bytes != u->at) {
		refuse(u, status, RPC_DATA_LOSS, "CHECKSUM",
		    "less came than the size that was promised; nothing was changed");
		rpc_status_meta(status, "received", "%" PRIu64, u->at);
		return TX_EPROTO;
	}
	if (differs(&u->begin->sha256, u->sha256) || differs(sha256, u->sha256))
		return refuse(u, status, RPC_DATA_LOSS, "CHECKSUM",
		    "what came has another SHA-256 than was promised; nothing was changed");
	return 0;
}

static int set_attributes(const struct upload *u)
{
	const Google__Protobuf__Timestamp *m = u->begin->modified;
	const Telex__V1__FileMode *mode = u->begin->mode;
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}};
	bool replaces;
	int error = attributes_of_replaced(u->dir_fd, u->name, u->temp.fd, &replaces);

	if (error == 0 && (mode != NULL || !replaces))
		error = attributes_mode(u->temp.fd, mode != NULL ? mode->mode : NEW_MODE);
	if (error != 0)
		return error;
	if (m == NULL)
		return 0;
	ts[1] = (struct timespec){.tv_sec = m->seconds, .tv_nsec = m->nanos};
	return futimens(u->temp.fd, ts) == 0 ? 0 : errno;
}

int upload_end(struct upload *u, const ProtobufCBinaryData *sha256, struct rpc_status *status)
{
	const int never = u->begin->replace == NEVER ? TEMP_FILE_NEVER : 0;
	int rc = check_whole(u, sha256, status), error;

	if (rc < 0)
		return rc;
	if (u->append.fd >= 0) {
		error = upload_append_end(&u->append);
	} else {
		error = set_attributes(u);
		if (error == 0)
			error = temp_file_commit(&u->temp, u->name, TEMP_FILE_DURABLE | never);
	}
	return error == 0 ? 0 : fail(u, error, status);
}

uint64_t upload_size(const struct upload *u)
{
	return u->append.fd >= 0 ? u->append.begin + u->at : u->at;
}

const uint8_t *upload_digest(const struct upload *u)
{
	return u->sha256;
}

void upload_free(struct upload *u, bool cut)
{
	bool named;

	if (u == NULL)
		return;
	named = u->begin->upload_id[0] != '\0';
	if ((cut || u->stays) && named)
		temp_file_keep_among(&u->temp, call_max_unfinished(u->call));
	else
		temp_file_drop(&u->temp);
	(void)upload_append_close(&u->append, cut);
	if (u->dir_fd >= 0)
		close(u->dir_fd);
	digest_free(u->digest);
	free(u);
}
