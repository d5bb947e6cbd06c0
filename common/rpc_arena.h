/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for one unpacked message: taken in a row, given back all at once, and bounded by the size
 * of what is unpacked, since a few bytes on the wire ("an empty submessage, a million times") can
 * be a hundred times as many in memory.
 */
#ifndef TX_COMMON_RPC_ARENA_H
#define TX_COMMON_RPC_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_ARENA_FIRST 1024 /* bytes that need no malloc */

struct rpc_arena_chunk;

/* Zero is empty. Must not move while it holds something. */
struct rpc_arena {
	struct rpc_arena_chunk *chunks; /* the newest first */
	uint8_t *at, *end;
	size_t total, limit; /* of the chunks */
	bool exhausted;      /* the limit, or malloc, said no */
	_Alignas(max_align_t) uint8_t first[RPC_ARENA_FIRST];
};

/*
 * Unpacks into the arena, which must be empty. NULL: not such a message, or (a->exhausted) too much
 * memory for its size. The message lives until rpc_arena_clear; protobuf_c_message_free_unpacked
 * must not be called on it.
 */
ProtobufCMessage *rpc_arena_unpack(
    struct rpc_arena *a, const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len);
void rpc_arena_clear(struct rpc_arena *a);
/* The most that a message of this size may take. */
size_t rpc_arena_limit(size_t len);

#endif
