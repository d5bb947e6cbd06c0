/* SPDX-License-Identifier: Apache-2.0 */
/* A list of blocks; a block lives until it is acknowledged and no message in an output buffer
 * refers to it. */
#include "lib/stdin_queue.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/err.h"

#define BLOCK_SMALL ((size_t)8 * 1024)
#define BLOCK_LARGE ((size_t)128 * 1024)

struct block {
	TAILQ_ENTRY(block) entry;
	uint64_t offset; /* of data[0] in the stream */
	size_t len, size;
	unsigned refs;
	uint8_t data[];
};

TAILQ_HEAD(block_list, block);

struct stdin_queue {
	struct block_list blocks;
	uint64_t acked, sent, end;
	size_t room;
	bool closed;
};

static void block_unref(struct block *b)
{
	if (--b->refs == 0)
		free(b);
}

static void block_release(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	block_unref(arg);
}

struct stdin_queue *stdin_queue_new(size_t room)
{
	struct stdin_queue *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	TAILQ_INIT(&q->blocks);
	q->room = room;
	return q;
}

static void drop_blocks(struct stdin_queue *q)
{
	struct block *b;

	while ((b = TAILQ_FIRST(&q->blocks)) != NULL) {
		TAILQ_REMOVE(&q->blocks, b, entry);
		block_unref(b);
	}
}

void stdin_queue_free(struct stdin_queue *q)
{
	if (q == NULL)
		return;
	drop_blocks(q);
	free(q);
}

/* The last block when it has room, or a new one. */
static struct block *block_to_fill(struct stdin_queue *q, size_t wanted)
{
	struct block *b = TAILQ_LAST(&q->blocks, block_list);
	size_t size = wanted > BLOCK_SMALL ? BLOCK_LARGE : BLOCK_SMALL;

	if (b != NULL && b->len < b->size)
		return b;
	b = malloc(sizeof(*b) + size);
	if (b == NULL)
		return NULL;
	b->offset = q->end;
	b->len = 0;
	b->size = size;
	b->refs = 1;
	TAILQ_INSERT_TAIL(&q->blocks, b, entry);
	return b;
}

int stdin_queue_put(struct stdin_queue *q, const void *data, size_t len, size_t *taken)
{
	const uint8_t *from = data;
	size_t room = q->room - stdin_queue_held(q);

	*taken = 0;
	if (q->closed) {
		*taken = len;
		return 0;
	}
	if (len > room)
		len = room;
	while (*taken < len) {
		struct block *b = block_to_fill(q, len - *taken);
		size_t n = len - *taken;

		if (b == NULL)
			return TX_ENOMEM;
		if (n > b->size - b->len)
			n = b->size - b->len;
		memcpy(b->data + b->len, from + *taken, n);
		b->len += n;
		q->end += n;
		*taken += n;
	}
	return 0;
}

int stdin_queue_take(struct stdin_queue *q, size_t max, struct evbuffer *out)
{
	struct block *b;
	size_t skip, n;

	TAILQ_FOREACH(b, &q->blocks, entry)
	if (q->sent < b->offset + b->len)
		break;
	if (b == NULL)
		return 0;
	skip = (size_t)(q->sent - b->offset);
	n = b->len - skip;
	if (n > max)
		n = max;
	b->refs++;
	if (evbuffer_add_reference(out, b->data + skip, n, block_release, b) < 0) {
		b->refs--;
		return TX_ENOMEM;
	}
	q->sent += n;
	return (int)n;
}

int stdin_queue_ack(struct stdin_queue *q, uint64_t offset)
{
	struct block *b;

	if (q->closed || offset <= q->acked)
		return 0;
	if (offset > q->sent)
		return TX_EPROTO;
	q->acked = offset;
	while ((b = TAILQ_FIRST(&q->blocks)) != NULL) {
		if (b->offset + b->len > offset)
			break;
		/* The last block is still to be filled. */
		if (TAILQ_NEXT(b, entry) == NULL && b->len < b->size)
			break;
		TAILQ_REMOVE(&q->blocks, b, entry);
		block_unref(b);
	}
	return 0;
}

int stdin_queue_rewind(struct stdin_queue *q, uint64_t offset)
{
	if (offset < q->acked || offset > q->end)
		return TX_EPROTO;
	q->sent = offset;
	return 0;
}

void stdin_queue_close(struct stdin_queue *q)
{
	drop_blocks(q);
	q->acked = q->sent = q->end;
	q->closed = true;
}

uint64_t stdin_queue_sent(const struct stdin_queue *q)
{
	return q->sent;
}

size_t stdin_queue_unsent(const struct stdin_queue *q)
{
	return (size_t)(q->end - q->sent);
}

size_t stdin_queue_held(const struct stdin_queue *q)
{
	return (size_t)(q->end - q->acked);
}

bool stdin_queue_closed(const struct stdin_queue *q)
{
	return q->closed;
}
