/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/watch/watch_conn_internal.h"

#define HEAD     sizeof(struct files_frame)
#define IN_SIZE  ((size_t)4 << 10)
#define KEPT_MAX ((size_t)64 << 10) /* a buffer that is empty is no larger */

size_t watch_conn_pending(const struct watch_conn *c)
{
	return c->out.end - c->out.at;
}

static void reset(struct watch_conn_buffer *b)
{
	b->at = b->end = 0;
	if (b->size <= KEPT_MAX)
		return;
	free(b->data);
	b->data = NULL;
	b->size = 0;
}

/* So that `need` bytes have room from b->at on. */
static bool reserve(struct watch_conn_buffer *b, size_t need)
{
	size_t have = b->end - b->at;
	size_t size = b->size * 2 > need ? b->size * 2 : need;
	uint8_t *more;

	if (b->size - b->at >= need)
		return true;
	if (have > 0)
		memmove(b->data, b->data + b->at, have);
	b->at = 0;
	b->end = have;
	if (b->size >= need)
		return true;
	more = realloc(b->data, size);
	if (more == NULL)
		return false;
	b->data = more;
	b->size = size;
	return true;
}

/* ---- reading ---- */

/* How many bytes the frame at in.at has in all, as far as that is known. */
static size_t needed(struct watch_conn *c)
{
	struct files_frame head;

	if (c->in.end - c->in.at < HEAD)
		return HEAD;
	memcpy(&head, c->in.data + c->in.at, HEAD);
	if (head.length > FILES_FRAME_MAX) {
		c->broken = true;
		return HEAD;
	}
	return HEAD + head.length;
}

bool watch_conn_next(struct watch_conn *c, struct files_frame *head, const uint8_t **body)
{
	size_t have = c->in.end - c->in.at;
	size_t need = needed(c);

	if (c->broken || have < need)
		return false;
	memcpy(head, c->in.data + c->in.at, HEAD);
	*body = c->in.data + c->in.at + HEAD;
	/* Where it lies it stays until more is read. */
	c->in.at += need;
	return true;
}

/* All of them together hold no more than so much of what is not whole. */
static bool may_hold(struct watch_conn *c, size_t need)
{
	size_t more = need > c->in.size ? need - c->in.size : 0;

	return need <= KEPT_MAX || c->all->held + more <= WATCH_CONNS_HELD_MAX;
}

static bool make_room(struct watch_conn *c)
{
	size_t need = needed(c) < IN_SIZE ? IN_SIZE : needed(c);
	size_t before;
	bool done;

	if (c->broken || !may_hold(c, need))
		return false;
	before = c->in.size;
	if (c->in.at == c->in.end)
		reset(&c->in);
	done = reserve(&c->in, need);
	c->all->held += c->in.size;
	c->all->held -= before;
	return done;
}

void watch_conn_read(struct watch_conn *c)
{
	ssize_t n;

	if (!make_room(c)) {
		c->broken = true;
		return;
	}
	n = recv(c->fd, c->in.data + c->in.end, c->in.size - c->in.end, MSG_DONTWAIT);
	if (n > 0)
		c->in.end += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		c->broken = true;
}

/* ---- writing ---- */

void watch_conn_put(struct watch_conn *c, uint32_t type, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	const struct files_frame head = {(uint32_t)len, type};

	if (c->broken)
		return;
	if (len > FILES_FRAME_MAX || !reserve(&c->out, watch_conn_pending(c) + HEAD + len)) {
		c->broken = true;
		return;
	}
	memcpy(c->out.data + c->out.end, &head, HEAD);
	protobuf_c_message_pack(m, c->out.data + c->out.end + HEAD);
	c->out.end += HEAD + len;
}

void watch_conn_write(struct watch_conn *c)
{
	while (!c->broken && watch_conn_pending(c) > 0) {
		ssize_t n = send(c->fd, c->out.data + c->out.at, watch_conn_pending(c),
		    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			c->out.at += (size_t)n;
		else if (n < 0 && errno != EINTR)
			c->broken = true;
	}
	if (!c->broken)
		reset(&c->out);
}

void watch_conn_clear(struct watch_conn *c)
{
	c->all->held -= c->in.size;
	free(c->in.data);
	free(c->out.data);
}
