/* SPDX-License-Identifier: Apache-2.0 */
/* A bump allocator behind protobuf-c's allocator interface. */
#include "common/rpc_arena.h"

#include <stdlib.h>

#define CHUNK_MIN ((size_t)4096)
#define CHUNK_MAX ((size_t)1024 * 1024)
#define ALIGNMENT _Alignof(max_align_t)

struct rpc_arena_chunk {
	struct rpc_arena_chunk *next;
	_Alignas(max_align_t) uint8_t bytes[];
};

/*
 * protobuf-c needs up to 96 bytes for a field while it parses, and the message's structs after
 * that. Short strings, the worst that honest messages have, come to 40 times their size on the
 * wire; large messages are not made of these alone.
 */
size_t rpc_arena_limit(size_t len)
{
	size_t small, large;

	if (__builtin_mul_overflow(len, 48, &small) ||
	    __builtin_add_overflow(small, (size_t)64 << 10, &small))
		small = SIZE_MAX;
	if (__builtin_mul_overflow(len, 16, &large) ||
	    __builtin_add_overflow(large, (size_t)4 << 20, &large))
		large = SIZE_MAX;
	return small < large ? small : large;
}

static bool add_chunk(struct rpc_arena *a, size_t need)
{
	size_t size = a->total < CHUNK_MIN ? CHUNK_MIN : a->total;
	struct rpc_arena_chunk *chunk;

	if (size > CHUNK_MAX)
		size = CHUNK_MAX;
	if (size < need)
		size = need;
	if (a->limit - a->total < size)
		size = a->limit - a->total;
	if (size < need)
		return false;
	chunk = malloc(sizeof(*chunk) + size);
	if (chunk == NULL)
		return false;
	chunk->next = a->chunks;
	a->chunks = chunk;
	a->total += size;
	a->at = chunk->bytes;
	a->end = chunk->bytes + size;
	return true;
}

static void *take(void *arg, size_t size)
{
	struct rpc_arena *a = arg;
	uint8_t *p;

	if (__builtin_add_overflow(size, ALIGNMENT - 1, &size))
		size = SIZE_MAX;
	size &= ~(ALIGNMENT - 1);
	if (size > (size_t)(a->end - a->at) && !add_chunk(a, size)) {
		a->exhausted = true;
		return NULL;
	}
	p = a->at;
	a->at += size;
	return p;
}

static void give_back(void *arg, void *p)
{
	(void)arg;
	(void)p;
}

ProtobufCMessage *rpc_arena_unpack(
    struct rpc_arena *a, const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len)
{
	ProtobufCAllocator allocator = {take, give_back, a};
	ProtobufCMessage *msg;

	a->at = a->first;
	a->end = a->first + sizeof(a->first);
	a->limit = rpc_arena_limit(len);
	a->exhausted = false;
	msg = protobuf_c_message_unpack(type, &allocator, len, data);
	if (msg == NULL)
		rpc_arena_clear(a);
	return msg;
}

void rpc_arena_clear(struct rpc_arena *a)
{
	while (a->chunks != NULL) {
		struct rpc_arena_chunk *chunk = a->chunks;

		a->chunks = chunk->next;
		free(chunk);
	}
	a->at = a->end = NULL;
	a->total = 0;
}
