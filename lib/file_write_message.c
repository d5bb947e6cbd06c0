/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/file_write_message.h"

#include <event2/buffer.h>
#include <string.h>

#include "common/duration.h"
#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/file_info.h"
#include "lib/request.h"
#include "lib/stdin_queue.h"

#define FIELD_CHUNK      2 /* of WriteRequest */
#define FIELD_CHUNK_DATA 2 /* of FileChunk */
#define CHUNK_MAX        ((size_t)256 * 1024)

static ProtobufCBinaryData path_of(const struct telex_file_write *write)
{
	return request_bytes(write->path, strlen(write->path));
}

int file_write_message_begin(
    struct rpc_call *rpc, const struct telex_file_write *write, const char *id, uint64_t offset)
{
	Telex__V1__WriteRequest request = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteBegin begin = TELEX__V1__WRITE_BEGIN__INIT;
	Telex__V1__FileMode mode = TELEX__V1__FILE_MODE__INIT;
	Google__Protobuf__Timestamp modified = GOOGLE__PROTOBUF__TIMESTAMP__INIT;

	begin.user = file_info_user(write->user);
	begin.path = path_of(write);
	begin.upload_id = request_text(id);
	begin.offset = offset;
	begin.replace = (Telex__V1__Replace)write->replace;
	begin.append = write->append;
	if (write->set_mode) {
		mode.mode = write->mode;
		begin.mode = &mode;
	}
	if (write->set_modified) {
		modified.seconds = write->modified_ns / NS_PER_S;
		modified.nanos = (int32_t)(write->modified_ns % NS_PER_S);
		if (modified.nanos < 0) {
			modified.seconds--;
			modified.nanos += (int32_t)NS_PER_S;
		}
		begin.modified = &modified;
	}
	request.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
	request.begin = &begin;
	return rpc_send(rpc, &request.base);
}

int file_write_message_chunk(struct rpc_call *rpc, struct stdin_queue *q)
{
	Telex__V1__FileChunk chunk = TELEX__V1__FILE_CHUNK__INIT;
	struct evbuffer *message = evbuffer_new();
	uint8_t head[PB_SPLICE_HEAD_MAX];
	int n, rc = TX_ENOMEM;

	if (message == NULL)
		return TX_ENOMEM;
	chunk.offset = stdin_queue_sent(q);
	n = stdin_queue_take(q, CHUNK_MAX, message);
	if (n < 0)
		goto out;
	rc = pb_splice_head(head, FIELD_CHUNK, &chunk.base, FIELD_CHUNK_DATA, (size_t)n);
	if (rc < 0)
		goto out;
	if (evbuffer_prepend(message, head, (size_t)rc) < 0) {
		rc = TX_ENOMEM;
		goto out;
	}
	rc = rpc_send_encoded(rpc, message);
out:
	evbuffer_free(message);
	return rc;
}

int file_write_message_end(struct rpc_call *rpc, const uint8_t sha256[DIGEST_SIZE], bool abandoned)
{
	Telex__V1__WriteRequest request = TELEX__V1__WRITE_REQUEST__INIT;
	Telex__V1__WriteEnd end = TELEX__V1__WRITE_END__INIT;

	end.abandoned = abandoned;
	if (!abandoned)
		end.sha256 = request_bytes(sha256, DIGEST_SIZE);
	request.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
	request.end = &end;
	return rpc_send(rpc, &request.base);
}

static int send_and_end(struct rpc_call *rpc, const ProtobufCMessage *request)
{
	int rc = rpc_send(rpc, request);

	if (rc == 0)
		rpc_half_close(rpc);
	return rc;
}

int file_write_message_ask(
    struct rpc_call *rpc, const struct telex_file_write *write, const char *id)
{
	Telex__V1__GetUploadRequest request = TELEX__V1__GET_UPLOAD_REQUEST__INIT;

	request.user = file_info_user(write->user);
	request.path = path_of(write);
	request.upload_id = request_text(id);
	return send_and_end(rpc, &request.base);
}

int file_write_message_check(struct rpc_call *rpc, const struct telex_file_write *write)
{
	Telex__V1__ChecksumRequest request = TELEX__V1__CHECKSUM_REQUEST__INIT;

	request.user = file_info_user(write->user);
	request.path = path_of(write);
	request.algorithm = TELEX__V1__CHECKSUM_ALGORITHM__CHECKSUM_ALGORITHM_SHA256;
	return send_and_end(rpc, &request.base);
}
