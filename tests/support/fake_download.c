/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_download.h"

#include <stdlib.h>

#include "common/digest.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/fake_agent.h"

#define CHUNK 100000

static void fill(
    Telex__V1__FileInfo *info, Google__Protobuf__Timestamp *modified, const struct fake_download *d)
{
	telex__v1__file_info__init(info);
	google__protobuf__timestamp__init(modified);
	modified->seconds = d->modified;
	info->modified = modified;
	info->size = d->size;
	info->inode = 7;
}

static void send_begin(struct rpc_call *c, const struct fake_download *d)
{
	Telex__V1__ReadResponse out = TELEX__V1__READ_RESPONSE__INIT;
	Telex__V1__ReadBegin begin = TELEX__V1__READ_BEGIN__INIT;
	Google__Protobuf__Timestamp modified;
	Telex__V1__FileInfo info;

	fill(&info, &modified, d);
	begin.file = &info;
	out.response_case = TELEX__V1__READ_RESPONSE__RESPONSE_BEGIN;
	out.begin = &begin;
	rpc_send(c, &out.base);
}

static void send_chunk(struct rpc_call *c, uint64_t at, uint8_t *bytes, size_t n)
{
	Telex__V1__ReadResponse out = TELEX__V1__READ_RESPONSE__INIT;
	Telex__V1__FileChunk chunk = TELEX__V1__FILE_CHUNK__INIT;

	chunk.offset = at;
	chunk.data = (ProtobufCBinaryData){n, bytes};
	out.response_case = TELEX__V1__READ_RESPONSE__RESPONSE_CHUNK;
	out.chunk = &chunk;
	rpc_send(c, &out.base);
}

static void send_end(struct rpc_call *c, const struct fake_download *d, struct digest *sum)
{
	Telex__V1__ReadResponse out = TELEX__V1__READ_RESPONSE__INIT;
	Telex__V1__ReadEnd end = TELEX__V1__READ_END__INIT;
	Google__Protobuf__Timestamp modified;
	Telex__V1__FileInfo info;
	uint8_t sha256[DIGEST_SIZE];

	if (digest_end(sum, sha256) < 0)
		abort();
	sha256[0] ^= (uint8_t)d->wrong_sum;
	fill(&info, &modified, d);
	end.file = &info;
	end.sha256 = (ProtobufCBinaryData){DIGEST_SIZE, sha256};
	out.response_case = TELEX__V1__READ_RESPONSE__RESPONSE_END;
	out.end = &end;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

/* False: it has failed. */
static bool send_bytes(struct rpc_call *c, struct fake_download *d, uint64_t at, uint64_t to,
    uint64_t skip, struct digest *sum)
{
	uint8_t bytes[CHUNK];

	while (at < to) {
		size_t n = 0;

		for (uint64_t i = at; n < CHUNK && i < to && (i < skip) == (at < skip); i++)
			bytes[n++] = fake_pattern(i);
		if (digest_add(sum, bytes, n) < 0)
			abort();
		if (at >= skip)
			send_chunk(c, at, bytes, n);
		at += n;
		if (d->fail_at > 0 && at >= d->fail_at) {
			d->fail_at = 0;
			rpc_fail(c, RPC_ABORTED, "HELPER_DIED", "it has ended");
			return false;
		}
	}
	return true;
}

static void read_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ReadRequest *m = (const Telex__V1__ReadRequest *)msg;
	struct fake_download *d = fake_agent_download(rpc_call_context(c));
	uint64_t to = m->length > 0 && !d->ignores_length ? m->offset + m->length : d->size;
	struct digest *sum = digest_new();

	d->reads++;
	d->resumed_at = m->resume_at;
	if (m->tell_begin && !d->no_begin)
		send_begin(c, d);
	if (send_bytes(c, d, m->offset, to < d->size ? to : d->size, m->resume_at, sum) &&
	    !d->holds_end)
		send_end(c, d, sum);
	digest_free(sum);
}

const struct rpc_method fake_downloads[] = {
    {.name = "Read",
        .request = &telex__v1__read_request__descriptor,
        .response = &telex__v1__read_response__descriptor,
        .server_stream = true,
        .message = read_message},
};
const size_t n_fake_downloads = sizeof(fake_downloads) / sizeof(fake_downloads[0]);
