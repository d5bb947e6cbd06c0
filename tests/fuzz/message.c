/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/message.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define DEPTH_MAX  6
#define FIELDS_MAX 64 /* of one message */

struct buffer {
	uint8_t *data;
	size_t len, room;
};

const char *fuzz_message_place;

static const char *const texts[] = {"", "a", "/", "/tmp/a", "..", ".", "/a/../b", "a/b", "~", "A=b",
    "LD_PRELOAD=x", "root", "me:us", "0", "/bin/sh", "spiffe://test.internal/user/alice", "job-1",
    "group", "*", "\xff\xfe", "\x1b[2J", "telex.v1.ProcessService", "xterm"};

static void put(struct buffer *b, const void *data, size_t len)
{
	if (b->room - b->len < len) {
		b->room = 2 * b->room + len + 64;
		b->data = xreallocarray(b->data, b->room, 1);
	}
	if (len > 0)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void put_varint(struct buffer *b, uint64_t v)
{
	uint8_t byte;

	for (; v >= 128; v >>= 7) {
		byte = (uint8_t)(v | 128);
		put(b, &byte, 1);
	}
	byte = (uint8_t)v;
	put(b, &byte, 1);
}

static void put_bytes(struct buffer *b, const void *data, size_t len)
{
	put_varint(b, len);
	put(b, data, len);
}

static void put_text(struct buffer *b, struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in);
	const char *text;
	const uint8_t *data;
	size_t len;

	if (how < 128) {
		data = fuzz_bytes(in, how, &len);
		if (len > 0 && data[0] == '@' && fuzz_message_place != NULL) {
			size_t place = strlen(fuzz_message_place);

			put_varint(b, place + len - 1);
			put(b, fuzz_message_place, place);
			put(b, data + 1, len - 1);
		} else {
			put_bytes(b, data, len);
		}
		return;
	}
	text = texts[(how - 128u) % (sizeof(texts) / sizeof(texts[0]))];
	put_bytes(b, text, strlen(text));
}

static void put_message(struct buffer *b, struct fuzz_input *in,
    const ProtobufCMessageDescriptor *type, unsigned depth);

static void put_value(
    struct buffer *b, struct fuzz_input *in, const ProtobufCFieldDescriptor *f, unsigned depth)
{
	struct buffer inner = {NULL, 0, 0};
	uint64_t v;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
		put_varint(b, (uint64_t)f->id << 3 | 2);
		put_text(b, in);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		put_message(&inner, in, f->descriptor, depth + 1);
		put_varint(b, (uint64_t)f->id << 3 | 2);
		put_bytes(b, inner.data, inner.len);
		free(inner.data);
		break;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		put_varint(b, (uint64_t)f->id << 3 | 1);
		v = fuzz_number(in, 8);
		put(b, &v, 8);
		break;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		put_varint(b, (uint64_t)f->id << 3 | 5);
		v = fuzz_number(in, 4);
		put(b, &v, 4);
		break;
	default:
		put_varint(b, (uint64_t)f->id << 3);
		put_varint(b, fuzz_number(in, fuzz_byte(in) % 9));
	}
}

static void put_message(
    struct buffer *b, struct fuzz_input *in, const ProtobufCMessageDescriptor *type, unsigned depth)
{
	for (int i = 0; i < FIELDS_MAX && depth < DEPTH_MAX; i++) {
		uint8_t which = fuzz_byte(in);

		if (which == 0 || type->n_fields == 0)
			break;
		put_value(b, in, &type->fields[(which - 1u) % type->n_fields], depth);
	}
}

uint8_t *fuzz_message(struct fuzz_input *in, const ProtobufCMessageDescriptor *type, size_t *len)
{
	struct buffer b = {xmalloc(64), 0, 64};

	put_message(&b, in, type, 0);
	*len = b.len;
	return b.data;
}
