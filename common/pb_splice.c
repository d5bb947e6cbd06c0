/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes fields by reference: writes and reads the little of protobuf's encoding that stands around
 * them. All numbers read are a peer's: a cursor never passes its end, and a length is compared with
 * what is left before it is used.
 */
#include "common/pb_splice.h"

#include <string.h>

#include "common/err.h"

#define SUB_MAX   64         /* packed bytes before the data */
#define FIELD_MAX 0x1fffffff /* the largest field number */

enum wire_type { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 };

static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		out[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	out[n++] = (uint8_t)value;
	return n;
}

static size_t put_tag(uint8_t *out, uint32_t field)
{
	return put_varint(out, (uint64_t)field << 3 | WIRE_LEN);
}

int pb_splice_head(uint8_t head[PB_SPLICE_HEAD_MAX], uint32_t outer, const ProtobufCMessage *sub,
    uint32_t inner, size_t data_len)
{
	uint8_t body[SUB_MAX + 16];
	size_t n = protobuf_c_message_get_packed_size(sub), used;

	if (n > SUB_MAX || data_len > (size_t)INT32_MAX - PB_SPLICE_HEAD_MAX)
		return TX_ETOOBIG;
	protobuf_c_message_pack(sub, body);
	if (data_len > 0) {
		n += put_tag(body + n, inner);
		n += put_varint(body + n, data_len);
	}
	used = put_tag(head, outer);
	used += put_varint(head + used, n + data_len);
	memcpy(head + used, body, n);
	return (int)(used + n);
}

struct cursor {
	const uint8_t *at, *end;
};

static int take_varint(struct cursor *c, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned int shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (c->at == c->end)
			return TX_EPROTO;
		byte = *c->at++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0) {
			*value = v;
			return 0;
		}
	}
	return TX_EPROTO;
}

/* One field: its number and type, its value (VARINT) or its bytes (all others). */
struct field {
	uint32_t number;
	uint32_t type;
	uint64_t value;
	const uint8_t *bytes;
	size_t len;
};

static int take_field(struct cursor *c, struct field *f)
{
	uint64_t tag, len = 0;

	if (take_varint(c, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > FIELD_MAX)
		return TX_EPROTO;
	f->number = (uint32_t)(tag >> 3);
	f->type = (uint32_t)(tag & 7);
	f->value = 0;
	switch (f->type) {
	case WIRE_VARINT:
		return take_varint(c, &f->value);
	case WIRE_I64:
		len = 8;
		break;
	case WIRE_I32:
		len = 4;
		break;
	case WIRE_LEN:
		if (take_varint(c, &len) < 0)
			return TX_EPROTO;
		break;
	default:
		return TX_EPROTO;
	}
	if (len > (uint64_t)(c->end - c->at))
		return TX_EPROTO;
	f->bytes = c->at;
	f->len = (size_t)len;
	c->at += len;
	return 0;
}

int pb_splice_find(const uint8_t *msg, size_t len, uint32_t outer, uint32_t inner,
    struct pb_span *out, uint64_t *varints, size_t n_varints)
{
	struct pb_span span = {0};
	struct cursor c;
	struct field f;

	if (len == 0)
		return 0;
	c = (struct cursor){msg, msg + len};
	if (take_field(&c, &f) < 0)
		return TX_EPROTO;
	if (f.number != outer || f.type != WIRE_LEN || c.at != c.end)
		return 0;
	span.sub = f.bytes;
	span.sub_len = f.len;
	if (varints != NULL)
		memset(varints, 0, n_varints * sizeof(*varints));
	c = (struct cursor){span.sub, span.sub + span.sub_len};
	while (c.at != c.end) {
		if (take_field(&c, &f) < 0)
			return TX_EPROTO;
		if (f.type == WIRE_LEN && f.number == inner) {
			span.data = f.bytes;
			span.data_len = f.len;
		} else if (f.type == WIRE_VARINT && varints != NULL && f.number <= n_varints) {
			varints[f.number - 1] = f.value;
		}
	}
	*out = span;
	return 1;
}
