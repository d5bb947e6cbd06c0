/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_upload.h"

#include <stdlib.h>
#include <string.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/fake_agent.h"

static struct fake_upload *upload_of(struct rpc_call *c)
{
	return fake_agent_upload(rpc_call_context(c));
}

static void cut(struct rpc_call *c)
{
	fake_agent_cut(rpc_call_context(c));
}

static void fail(struct rpc_call *c, const struct fake_upload *u)
{
	rpc_fail(c, u->code, u->reason, "it is as the test wants it");
}

static void digest_of(uint64_t length, uint8_t out[DIGEST_SIZE])
{
	struct digest *d = digest_new();
	uint8_t bytes[4096];

	for (uint64_t at = 0; at < length;) {
		size_t n = 0;

		while (n < sizeof(bytes) && at < length)
			bytes[n++] = fake_pattern(at++);
		if (digest_add(d, bytes, n) < 0)
			abort();
	}
	if (digest_end(d, out) < 0)
		abort();
	digest_free(d);
}

/* ---- Write ---- */

static void begin(struct rpc_call *c, struct fake_upload *u, const Telex__V1__WriteBegin *m)
{
	u->begins++;
	if (u->busy > 0) {
		u->busy--;
		fail(c, u);
		return;
	}
	if (m->offset > (u->there ? u->length : 0)) {
		rpc_fail(c, RPC_OUT_OF_RANGE, "OFFSET_AHEAD", "it begins after what is there");
		return;
	}
	u->there = true;
	u->length = m->offset;
	u->append = m->append;
	u->never = m->replace == TELEX__V1__REPLACE__REPLACE_NEVER;
	u->mode = m->mode != NULL ? m->mode->mode : 0;
	u->seconds = m->modified != NULL ? m->modified->seconds : 0;
	u->nanos = m->modified != NULL ? m->modified->nanos : 0;
}

static void chunk(struct rpc_call *c, struct fake_upload *u, const Telex__V1__FileChunk *m)
{
	u->wrong = u->wrong || m->offset != u->length;
	for (size_t i = 0; i < m->data.len; i++)
		u->wrong = u->wrong || m->data.data[i] != fake_pattern(m->offset + i);
	u->length += m->data.len;
	if (u->fail_at > 0 && u->length >= u->fail_at) {
		u->fail_at = 0;
		fail(c, u);
	} else if (u->cut_at > 0 && u->length >= u->cut_at) {
		u->cut_at = 0;
		u->length -= u->lose;
		cut(c);
	}
}

static void whole(struct rpc_call *c, struct fake_upload *u, const Telex__V1__WriteEnd *m)
{
	Telex__V1__WriteResponse out = TELEX__V1__WRITE_RESPONSE__INIT;

	if (u->cut_before_end) {
		u->cut_before_end = false;
		cut(c);
		return;
	}
	digest_of(u->length, u->sha256);
	u->wrong = u->wrong || m->sha256.len != DIGEST_SIZE ||
	           memcmp(m->sha256.data, u->sha256, DIGEST_SIZE) != 0;
	u->there = false;
	u->written = u->length;
	if (u->cut_after_end) {
		u->cut_after_end = false;
		cut(c);
		return;
	}
	u->sha256[0] ^= (uint8_t)u->lies;
	out.size = u->length;
	out.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, u->sha256};
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

static void write_raw(struct rpc_call *c, const uint8_t *msg, size_t len)
{
	Telex__V1__WriteRequest *m = telex__v1__write_request__unpack(NULL, len, msg);
	struct fake_upload *u = upload_of(c);

	if (m == NULL)
		abort();
	/* What comes after the connection was cut under it did not get there. */
	if (rpc_call_data(c) == NULL) {
		if (m->request_case == TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN) {
			begin(c, u, m->begin);
		} else if (m->request_case == TELEX__V1__WRITE_REQUEST__REQUEST_CHUNK) {
			bool cuts = u->cut_at > 0;

			chunk(c, u, m->chunk);
			if (cuts && u->cut_at == 0)
				rpc_call_set_data(c, u);
		} else if (m->end->abandoned) {
			u->abandoned = true;
			u->there = false;
			rpc_fail(c, RPC_CANCELLED, "ABANDONED", "it was given up");
		} else {
			bool cuts = u->cut_before_end || u->cut_after_end;

			whole(c, u, m->end);
			if (cuts)
				rpc_call_set_data(c, u);
		}
	}
	telex__v1__write_request__free_unpacked(m, NULL);
	if (u->holds) {
		u->held = c;
		u->owed += rpc_message_size(c);
	} else {
		rpc_credit(c, rpc_message_size(c));
	}
}

static void write_closed(struct rpc_call *c)
{
	struct fake_upload *u = upload_of(c);

	if (u->held == c)
		u->held = NULL;
}

void fake_upload_release(struct fake_upload *u)
{
	u->holds = false;
	if (u->held != NULL)
		rpc_credit(u->held, u->owed);
	u->owed = 0;
}

/* ---- what is asked ---- */

static void ask_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	Telex__V1__GetUploadResponse out = TELEX__V1__GET_UPLOAD_RESPONSE__INIT;
	struct fake_upload *u = upload_of(c);

	(void)msg;
	u->asks++;
	if (!u->there) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_UPLOAD", "there is none");
		return;
	}
	out.offset = u->length;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

static void check_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	Telex__V1__ChecksumResponse out = TELEX__V1__CHECKSUM_RESPONSE__INIT;
	struct fake_upload *u = upload_of(c);

	(void)msg;
	u->checks++;
	if (u->denies_checksum) {
		rpc_fail(c, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "no");
		return;
	}
	out.length = u->written;
	out.digest = (ProtobufCBinaryData){DIGEST_SIZE, u->sha256};
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

const struct rpc_method fake_uploads[] = {
    {.name = "Write",
        .request = &telex__v1__write_request__descriptor,
        .response = &telex__v1__write_response__descriptor,
        .client_stream = true,
        .manual_credit = true,
        .raw = write_raw,
        .closed = write_closed},
    {.name = "GetUpload",
        .request = &telex__v1__get_upload_request__descriptor,
        .response = &telex__v1__get_upload_response__descriptor,
        .message = ask_message},
    {.name = "Checksum",
        .request = &telex__v1__checksum_request__descriptor,
        .response = &telex__v1__checksum_response__descriptor,
        .message = check_message},
};
const size_t n_fake_uploads = sizeof(fake_uploads) / sizeof(fake_uploads[0]);
