/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving, on both sides of a call: from the bytes of a stream to messages, and the credit of
 * both (the rules are in grpc_call.h). A callback may end the call: after each, `dropping` says so,
 * and nothing more is delivered.
 */
#include "common/grpc_call.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdlib.h>

/* ---- the receive window ---- */

/* The only place that credits: see grpc_call.h. */
static void settle(struct grpc_call *c)
{
	size_t keep = c->owed + c->partial + c->unseen, n = c->held - keep;

	assert(keep <= c->held);
	if (n == 0)
		return;
	c->held = keep;
	h2_credit(c->stream, n);
}

static bool held_up(const struct grpc_call *c)
{
	return c->encoding == GRPC_GZIP && c->unread >= c->hold;
}

void grpc_credit(struct grpc_call *c, size_t n)
{
	assert(n <= c->unread);
	c->unread -= n;
	if (c->owed > c->unread)
		c->owed = c->unread;
	if (c->unread <= CALL_LOAN)
		c->partial = 0;
	settle(c);
	if (c->backlog != NULL && !held_up(c))
		event_active(&c->resume, EV_TIMEOUT, 0);
}

void grpc_receive_drop(struct grpc_call *c)
{
	c->dropping = true;
	c->owed = c->partial = c->unseen = 0;
	if (c->backlog != NULL)
		evbuffer_free(c->backlog);
	c->backlog = NULL;
	settle(c);
}

/* ---- receiving ---- */

static void deliver(struct grpc_call *c, const uint8_t *msg, size_t len)
{
	c->unread += len;
	if (c->owed > c->unread)
		c->owed = c->unread;
	c->ops->on_message(c, msg, len, c->arg);
}

static void deliver_compressed(struct grpc_call *c, const struct grpc_frame *f)
{
	uint8_t *msg = NULL;
	size_t len = 0;
	int r;

	if (c->encoding != GRPC_GZIP) {
		grpc_call_break(c, RPC_INTERNAL, "BAD_REQUEST", "a message is compressed, but %s",
		    c->encoding == GRPC_OTHER ? "its grpc-encoding is not supported"
		                              : "grpc-encoding was not given");
		return;
	}
	r = grpc_codec_gunzip(f->body, f->len, c->max_message, &msg, &len);
	if (r == TX_ETOOBIG)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "TOO_LARGE",
		    "a message is larger than %zu bytes when it is decompressed", c->max_message);
	else if (r == TX_ENOMEM)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
	else if (r < 0)
		grpc_call_break(
		    c, RPC_INTERNAL, "BAD_REQUEST", "a message is not gzip, though it says so");
	else
		deliver(c, msg, len);
	free(msg);
}

static void decoder_failed(struct grpc_call *c, int error)
{
	if (error == TX_ETOOBIG)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "TOO_LARGE",
		    "a message of %zu bytes is over the limit of %zu", c->in.size, c->max_message);
	else if (error == TX_ENOMEM)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
	else
		grpc_call_break(c, RPC_INTERNAL, "BAD_REQUEST",
		    "a message begins with byte %u, neither 0 nor 1", c->in.prefix[0]);
}

/* Delivers the messages in data[len] as far as that may go on now; returns how much it took. */
static size_t feed(struct grpc_call *c, const uint8_t *data, size_t len)
{
	const uint8_t *at = data;
	size_t left = len;

	while (left > 0 && !c->dropping && !held_up(c)) {
		size_t before = left, had = c->in.have;
		struct grpc_frame f = {0};
		int r = grpc_codec_step(&c->in, &at, &left, &f);

		c->unseen -= before - left;
		if (r < 0) {
			decoder_failed(c, r);
		} else if (r == 0) {
			if (c->unread > CALL_LOAN)
				c->partial += c->in.have - had;
		} else {
			c->owed += c->partial + (f.len - had);
			c->partial = 0;
			if (f.compressed)
				deliver_compressed(c, &f);
			else
				deliver(c, f.body, f.len);
			free(f.owned);
		}
	}
	return len - left;
}

static int hold_up(struct grpc_call *c, const uint8_t *data, size_t len)
{
	if (c->backlog == NULL)
		c->backlog = evbuffer_new();
	if (c->backlog == NULL || evbuffer_add(c->backlog, data, len) < 0)
		return TX_ENOMEM;
	return 0;
}

void grpc_receive_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	struct grpc_call *c = arg;
	size_t n = 0;

	(void)s;
	c->held += len;
	if (!c->dropping) {
		c->unseen += len;
		if (c->backlog == NULL)
			n = feed(c, data, len);
		if (!c->dropping && n < len && hold_up(c, data + n, len - n) < 0)
			grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
	}
	settle(c);
}

static void peer_ended(struct grpc_call *c)
{
	if (c->server)
		grpc_server_ended(c);
	else
		grpc_client_ended(c);
}

void grpc_receive_end(struct h2_stream *s, void *arg)
{
	struct grpc_call *c = arg;

	(void)s;
	c->peer_ended = true;
	if (c->backlog == NULL || c->dropping)
		peer_ended(c);
	else if (!c->server)
		grpc_receive_flush(c); /* nothing comes later that could wait for it */
}

static void feed_backlog(struct grpc_call *c)
{
	struct evbuffer *queue = c->backlog;
	struct evbuffer_iovec v;

	c->backlog = NULL;
	while (queue != NULL && !c->dropping && !held_up(c) &&
	       evbuffer_peek(queue, -1, NULL, &v, 1) > 0)
		evbuffer_drain(queue, feed(c, v.iov_base, v.iov_len));
	if (queue != NULL && !c->dropping && evbuffer_get_length(queue) > 0)
		c->backlog = queue;
	else if (queue != NULL)
		evbuffer_free(queue);
	settle(c);
	if (c->backlog == NULL && c->peer_ended && !c->dropping)
		peer_ended(c);
}

void grpc_receive_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	feed_backlog(arg);
}

void grpc_receive_flush(struct grpc_call *c)
{
	if (c->backlog == NULL)
		return;
	if (__builtin_mul_overflow(c->max_message, 4, &c->hold))
		c->hold = SIZE_MAX;
	feed_backlog(c);
	if (c->backlog != NULL)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "TOO_LARGE",
		    "more than %zu bytes of compressed messages were not read at the end", c->hold);
}
