/* SPDX-License-Identifier: Apache-2.0 */
/* Read: from the file into one buffer, and from that to the worker; no other copy is made. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/info.h"
#include "agent/files/methods.h"
#include "agent/files/open_file.h"
#include "agent/files/request.h"
#include "common/digest.h"
#include "common/file_range.h"
#include "common/pb_splice.h"
#include "telex/v1/file.pb-c.h"

#define CHUNK      FILE_RANGE_PIECE
#define GONE       (-1)
#define CHUNK_DATA 2 /* FileChunk.data */
#define CHUNK_OF   1 /* ReadResponse.chunk */

static const uint8_t zeros[64 << 10];

struct reading {
	struct call *call;
	int fd;
	uint8_t *buffer;
	struct digest *digest; /* NULL: none was asked for */
	bool sparse;
	uint64_t at, end;
};

/* Each returns 0, GONE or an errno. */

static int add(struct reading *r, const void *data, size_t len)
{
	if (r->digest == NULL)
		return 0;
	return digest_add(r->digest, data, len) == 0 ? 0 : ENOMEM;
}

static int send_chunk(struct reading *r, size_t len)
{
	Telex__V1__FileChunk chunk = TELEX__V1__FILE_CHUNK__INIT;
	uint8_t head[PB_SPLICE_HEAD_MAX];
	struct iovec parts[2];
	int n;

	chunk.offset = r->at;
	n = pb_splice_head(head, CHUNK_OF, &chunk.base, CHUNK_DATA, len);
	if (n < 0)
		return EIO;
	parts[0] = (struct iovec){head, (size_t)n};
	parts[1] = (struct iovec){r->buffer, len};
	return call_send_parts(r->call, parts, 2) < 0 ? GONE : add(r, r->buffer, len);
}

static int send_hole(struct reading *r, uint64_t to)
{
	Telex__V1__ReadResponse response = TELEX__V1__READ_RESPONSE__INIT;
	Telex__V1__FileHole hole = TELEX__V1__FILE_HOLE__INIT;
	int error = 0;

	hole.offset = r->at;
	hole.length = to - r->at;
	response.response_case = TELEX__V1__READ_RESPONSE__RESPONSE_HOLE;
	response.hole = &hole;
	if (call_send(r->call, &response.base) < 0)
		return GONE;
	for (uint64_t left = hole.length; r->digest != NULL && left > 0 && error == 0;) {
		size_t len = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);

		left -= len;
		error = call_gone(r->call) ? GONE : add(r, zeros, len);
	}
	r->at = to;
	return error;
}

/* *ended: the file has no more. */
static int send_data(struct reading *r, uint64_t to, bool *ended)
{
	int error = 0;

	while (error == 0 && r->at < to) {
		size_t len = to - r->at < CHUNK ? (size_t)(to - r->at) : CHUNK;
		ssize_t n = file_range_get(r->fd, r->buffer, len, r->at);

		if (n < 0)
			return errno;
		*ended = n == 0;
		if (*ended)
			return 0;
		error = send_chunk(r, (size_t)n);
		r->at += (uint64_t)n;
	}
	return error;
}

static int send_all(struct reading *r)
{
	bool ended = false, data;
	struct stat st;
	uint64_t to;
	int error = 0;

	while (error == 0 && r->at < r->end && !ended) {
		data = true;
		to = r->end;
		/* What is behind the size may be there all the same (/proc), or by now. */
		if (r->sparse && fstat(r->fd, &st) == 0 && r->at < (uint64_t)st.st_size)
			file_range_part(r->fd, r->at,
			    (uint64_t)st.st_size < r->end ? (uint64_t)st.st_size : r->end, &data,
			    &to);
		error = data ? send_data(r, to, &ended) : send_hole(r, to);
	}
	return error;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static int send_end(struct reading *r, const char *path, const struct stat *before)
{
	Telex__V1__ReadResponse response = TELEX__V1__READ_RESPONSE__INIT;
	Telex__V1__ReadEnd end = TELEX__V1__READ_END__INIT;
	uint8_t digest[DIGEST_SIZE];
	struct stat after;
	struct info info;
	int error = info_from_fd(&info, r->fd, path, false);

	if (error == 0 && fstat(r->fd, &after) != 0)
		error = errno;
	if (error != 0) {
		info_clear(&info);
		return error;
	}
	end.file = &info.file;
	end.changed = after.st_size != before->st_size ||
	              !same_time(&after.st_mtim, &before->st_mtim) ||
	              !same_time(&after.st_ctim, &before->st_ctim);
	if (r->digest != NULL && digest_end(r->digest, digest) == 0) {
		end.sha256.data = digest;
		end.sha256.len = DIGEST_SIZE;
	}
	response.response_case = TELEX__V1__READ_RESPONSE__RESPONSE_END;
	response.end = &end;
	error = call_send(r->call, &response.base) < 0 ? GONE : 0;
	info_clear(&info);
	return error;
}

static int send_begin(struct reading *r, const char *path)
{
	Telex__V1__ReadResponse response = TELEX__V1__READ_RESPONSE__INIT;
	Telex__V1__ReadBegin begin = TELEX__V1__READ_BEGIN__INIT;
	struct info info;
	int error = info_from_fd(&info, r->fd, path, false);

	begin.file = &info.file;
	response.response_case = TELEX__V1__READ_RESPONSE__RESPONSE_BEGIN;
	response.begin = &begin;
	if (error == 0)
		error = call_send(r->call, &response.base) < 0 ? GONE : 0;
	info_clear(&info);
	return error;
}

static int add_piece(const void *data, size_t len, void *arg)
{
	struct reading *r = arg;

	return call_gone(r->call) ? ECANCELED : add(r, data, len);
}

/* What the client has already: it is not sent. `begin` does not wait until it is in the digest. */
static int pass_over(struct reading *r, uint64_t resume_at)
{
	uint64_t to = resume_at < r->end ? resume_at : r->end, done = 0;
	int error = 0;

	if (to <= r->at)
		return 0;
	if (r->digest != NULL) {
		if (call_flush(r->call) < 0)
			return GONE;
		error = file_range_read(r->fd, r->at, to - r->at, add_piece, r, &done);
	}
	r->at = to;
	return error == ECANCELED ? GONE : error;
}

static int begin(struct reading *r, const Telex__V1__ReadRequest *request)
{
	r->sparse = request->sparse;
	r->at = request->offset;
	r->end = UINT64_MAX;
	if (request->length > 0 &&
	    __builtin_add_overflow(request->offset, request->length, &r->end))
		r->end = UINT64_MAX;
	if (posix_memalign((void **)&r->buffer, 4096, CHUNK) != 0)
		return ENOMEM;
	if (request->checksum && (r->digest = digest_new()) == NULL)
		return ENOMEM;
	(void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return 0;
}

void fs_read(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__ReadRequest *m = (const Telex__V1__ReadRequest *)request;
	struct reading r = {.call = c};
	char path[REQUEST_PATH_SIZE];
	struct stat before;
	uint64_t from;
	int error;

	if (!request_path(path, &m->path, status))
		return;
	r.fd = open_file(call_roots(c), ROOTS_READ, path, O_RDONLY, "read", &before, status);
	if (r.fd < 0)
		return;
	error = begin(&r, m);
	if (error == 0 && m->tell_begin)
		error = send_begin(&r, path);
	if (error == 0)
		error = pass_over(&r, m->resume_at);
	from = r.at;
	if (error == 0)
		error = send_all(&r);
	if (error == 0)
		error = send_end(&r, path, &before);
	if (error > 0)
		failure_errno(status, error, "read", path);
	else if (r.at > from)
		call_summary(c, "bytes=%llu", (unsigned long long)(r.at - from));
	digest_free(r.digest);
	free(r.buffer);
	close(r.fd);
}
