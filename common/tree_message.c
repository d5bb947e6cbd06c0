/* SPDX-License-Identifier: Apache-2.0 */
/* The one message of trees that is worth packing and reading by hand: data. Wire format:
 * protobuf.dev/programming-guides/encoding. */
#include <stdlib.h>
#include <string.h>

#include "common/tree.h"

#define TAG_SEND_DATA   0x12 /* TreeSend.data */
#define TAG_DATA_INDEX  0x08 /* TreeData.index, offset, data */
#define TAG_DATA_OFFSET 0x10
#define TAG_DATA_DATA   0x1a

static size_t put_varint(uint8_t *out, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		out[n++] = (uint8_t)(value | 0x80);
	out[n++] = (uint8_t)value;
	return n;
}

size_t tree_data_head(
    uint8_t head[TREE_DATA_HEAD_MAX], uint64_t index, uint64_t offset, size_t data_len)
{
	uint8_t sub[48];
	size_t len = 0, n;

	sub[len++] = TAG_DATA_INDEX;
	len += put_varint(sub + len, index);
	if (offset != 0) {
		sub[len++] = TAG_DATA_OFFSET;
		len += put_varint(sub + len, offset);
	}
	sub[len++] = TAG_DATA_DATA;
	len += put_varint(sub + len, data_len);
	head[0] = TAG_SEND_DATA;
	n = 1 + put_varint(head + 1, len + data_len);
	memcpy(head + n, sub, len);
	return n + len;
}

static int get_varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
		uint8_t byte = *(*at)++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = value;
			return 1;
		}
	}
	return 0;
}

int tree_data_parse(const uint8_t *msg, size_t len, struct tree_data *out)
{
	const uint8_t *at = msg, *end = msg + len;
	uint64_t size;

	*out = (struct tree_data){0};
	if (at == end || *at++ != TAG_SEND_DATA || !get_varint(&at, end, &size) ||
	    size != (uint64_t)(end - at))
		return 0;
	while (at < end) {
		uint8_t tag = *at++;

		if (!get_varint(&at, end, &size))
			return 0;
		if (tag == TAG_DATA_INDEX) {
			out->index = size;
		} else if (tag == TAG_DATA_OFFSET) {
			out->offset = size;
		} else if (tag == TAG_DATA_DATA && size == (uint64_t)(end - at)) {
			out->data = at;
			out->len = (size_t)size;
			return 1;
		} else {
			return 0;
		}
	}
	return 0;
}

size_t tree_outer_head(uint8_t head[TREE_OUTER_HEAD_MAX], uint32_t field, size_t len)
{
	size_t n = put_varint(head, (uint64_t)field << 3 | 2);

	return n + put_varint(head + n, len);
}

int tree_outer_parse(
    const uint8_t *msg, size_t len, uint32_t *field, const uint8_t **inner, size_t *inner_len)
{
	const uint8_t *at = msg, *end = msg + len;
	uint64_t tag, size;

	if (!get_varint(&at, end, &tag) || (tag & 7) != 2 || tag >> 3 > UINT32_MAX ||
	    !get_varint(&at, end, &size) || size != (uint64_t)(end - at))
		return 0;
	*field = (uint32_t)(tag >> 3);
	*inner = at;
	*inner_len = (size_t)size;
	return 1;
}

Telex__V1__TreeEntry *tree_entry_copy(const Telex__V1__TreeEntry *e)
{
	size_t size = telex__v1__tree_entry__get_packed_size(e);
	uint8_t *packed = malloc(size + 1);
	Telex__V1__TreeEntry *copy = NULL;

	if (packed != NULL) {
		telex__v1__tree_entry__pack(e, packed);
		copy = telex__v1__tree_entry__unpack(NULL, size, packed);
	}
	free(packed);
	return copy;
}
