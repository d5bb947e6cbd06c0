/* SPDX-License-Identifier: Apache-2.0 */
/* Write: the messages of an upload. Bytes are written from the message that brought them. */
#include <string.h>

#include "agent/files/methods.h"
#include "agent/files/upload.h"
#include "common/err.h"
#include "common/pb_splice.h"
#include "common/rpc_arena.h"
#include "telex/v1/file.pb-c.h"

#define CHUNK_OF   2 /* WriteRequest.chunk */
#define CHUNK_DATA 2 /* FileChunk.data */

enum step { STEP_ON, STEP_DONE, STEP_FAILED };

static enum step bad(struct rpc_status *status, const char *why)
{
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "%s", why);
	return STEP_FAILED;
}

static enum step take_end(
    struct upload *u, const Telex__V1__WriteEnd *end, struct rpc_status *status)
{
	if (end->abandoned) {
		rpc_status_set(status, RPC_CANCELLED, "ABANDONED",
		    "the client gave the upload up; nothing was changed");
		return STEP_FAILED;
	}
	return upload_end(u, &end->sha256, status) < 0 ? STEP_FAILED : STEP_DONE;
}

static enum step put(
    struct upload *u, uint64_t offset, const uint8_t *data, size_t len, struct rpc_status *status)
{
	return upload_put(u, offset, data, len, status) < 0 ? STEP_FAILED : STEP_ON;
}

/* A message that is not a chunk in its usual form. */
static enum step take_other(
    struct upload *u, const Telex__V1__WriteRequest *m, struct rpc_status *status)
{
	if (m == NULL)
		return bad(status, "a message is not a valid WriteRequest");
	switch (m->request_case) {
	case TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK:
		return put(u, m->chunk->offset, m->chunk->data.data, m->chunk->data.len, status);
	case TELEX__V1__WRITE_REQUEST__REQUEST_END:
		return take_end(u, m->end, status);
	case TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN:
		return bad(status, "an upload begins once");
	default:
		return bad(status, "a message of an upload is a chunk or its end");
	}
}

static enum step take(struct upload *u, const uint8_t *msg, size_t len, struct rpc_status *status)
{
	struct rpc_arena arena = {0};
	struct pb_span span;
	uint64_t offset;
	enum step step;

	if (pb_splice_find(msg, len, CHUNK_OF, CHUNK_DATA, &span, &offset, 1) == 1)
		return put(u, offset, span.data, span.data_len, status);
	step = take_other(u,
	    (const Telex__V1__WriteRequest *)rpc_arena_unpack(
	        &arena, &telex__v1__write_request__descriptor, msg, len),
	    status);
	rpc_arena_clear(&arena);
	return step;
}

static void answer(struct call *c, const struct upload *u)
{
	Telex__V1__WriteResponse response = TELEX__V1__WRITE_RESPONSE__INIT;

	response.size = upload_size(u);
	response.sha256.data = (uint8_t *)(uintptr_t)upload_digest(u);
	response.sha256.len = DIGEST_SIZE;
	call_summary(c, "files=1 bytes=%llu", (unsigned long long)response.size);
	(void)call_send(c, &response.base);
}

void fs_write(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__WriteRequest *m = (const Telex__V1__WriteRequest *)request;
	enum step step = STEP_ON;
	struct upload *u;
	bool appends;
	const uint8_t *msg;
	size_t len;
	int rc = 1;

	if (m->request_case != TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN) {
		bad(status, "the first message of an upload is its begin");
		return;
	}
	if (upload_begin(&u, c, m->begin, status) < 0)
		return;
	appends = m->begin->append;
	while (step == STEP_ON && (rc = call_receive(c, &msg, &len)) > 0)
		step = take(u, msg, len, status);
	if (step == STEP_DONE)
		answer(c, u);
	else if (step == STEP_ON && rc == 0)
		bad(status, "the upload ended without its end; nothing was changed");
	/* What was appended cannot be gone on with: ended by its client without the end, it goes.
	 */
	upload_free(u, step == STEP_ON && !(rc == 0 && appends));
}
