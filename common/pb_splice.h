/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large bytes fields of protobuf messages without a copy
 * (protobuf.dev/programming-guides/encoding).
 *
 * telex streams bytes as { oneof: field `outer` { fields…; bytes field `inner` = data } }.
 * protobuf-c would copy the data to pack and to unpack it. Both functions do the one nesting that
 * telex needs; everything else is protobuf-c's.
 */
#ifndef TX_COMMON_PB_SPLICE_H
#define TX_COMMON_PB_SPLICE_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PB_SPLICE_HEAD_MAX 128

/*
 * Encodes into head[] all that comes before the data in a message whose only field is `outer`,
 * holding the submessage `sub` (packed by protobuf-c, its bytes field left empty; at most 64 bytes
 * packed) and then its bytes field `inner` of data_len bytes. The message is head, then the data.
 * Returns head's length, or TX_ETOOBIG.
 */
int pb_splice_head(uint8_t head[PB_SPLICE_HEAD_MAX], uint32_t outer, const ProtobufCMessage *sub,
    uint32_t inner, size_t data_len);

/* What pb_splice_find found. */
struct pb_span {
	const uint8_t *sub; /* the submessage `outer`, whole */
	size_t sub_len;
	const uint8_t *data; /* its bytes field `inner`; NULL and 0 when it has none */
	size_t data_len;
};

/*
 * Finds, in a packed message, the submessage `outer` when it is the only field, and in that the
 * field `inner`. Returns 1 (found), 0 (another message: unpack it) or TX_EPROTO (not protobuf).
 * `varints`, when not NULL, gets the submessage's varint fields numbered 1..n_varints
 * (varints[number - 1]; absent: 0).
 */
int pb_splice_find(const uint8_t *msg, size_t len, uint32_t outer, uint32_t inner,
    struct pb_span *out, uint64_t *varints, size_t n_varints);

#endif
