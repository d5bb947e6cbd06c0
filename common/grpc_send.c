/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending, on both sides of a call. A message goes to h2 as one evbuffer, its prefix and first
 * bytes in one piece of memory and large parts by reference.
 */
#include "common/grpc_call.h"

#include <event2/buffer.h>
#include <string.h>

#define COALESCE_MAX 512 /* a head of up to this goes into the prefix's memory */

void grpc_send_writable(struct h2_stream *s, void *arg)
{
	struct grpc_call *c = arg;

	(void)s;
	if (!c->ended && c->ops != NULL && c->ops->on_writable != NULL)
		c->ops->on_writable(c, c->arg);
}

size_t grpc_pending(const struct grpc_call *c)
{
	return h2_pending(c->stream);
}

void grpc_compress(struct grpc_call *c, bool on)
{
	c->compress = on;
}

/* Whether a message may be queued now: headers sent, a buffer there. */
static int ready(struct grpc_call *c, size_t len)
{
	if (c->ended)
		return TX_ECLOSED;
	if (len > UINT32_MAX)
		return TX_ETOOBIG;
	if (c->out == NULL)
		c->out = evbuffer_new();
	if (c->out == NULL)
		return TX_ENOMEM;
	return c->server ? grpc_server_respond(c) : 0;
}

/* Hands `out` to h2 when r is 0; after a failure nothing of the message is left over. */
static int flush(struct grpc_call *c, int r)
{
	if (r == 0)
		r = h2_send(c->stream, c->out);
	if (r < 0)
		evbuffer_drain(c->out, evbuffer_get_length(c->out));
	return r == TX_ESTATE ? TX_ECLOSED : r;
}

/* Prefix and bytes in one piece of memory. */
static int put_plain(struct evbuffer *out, uint32_t message_len, const void *data, size_t len)
{
	struct evbuffer_iovec v;

	if (evbuffer_reserve_space(out, (ev_ssize_t)(GRPC_PREFIX_SIZE + len), &v, 1) < 1)
		return TX_ENOMEM;
	grpc_codec_prefix(v.iov_base, false, message_len);
	if (len > 0)
		memcpy((uint8_t *)v.iov_base + GRPC_PREFIX_SIZE, data, len);
	v.iov_len = GRPC_PREFIX_SIZE + len;
	return evbuffer_commit_space(out, &v, 1) < 0 ? TX_ENOMEM : 0;
}

int grpc_send(struct grpc_call *c, const void *msg, size_t len)
{
	int r = ready(c, len);

	if (r < 0)
		return r;
	if (c->compress && c->gzip)
		return flush(c, grpc_codec_gzip(c->out, msg, len));
	return flush(c, put_plain(c->out, (uint32_t)len, msg, len));
}

/* The first bytes are copied behind the prefix when they are few, the rest is moved. */
static int put_buffer(struct evbuffer *out, struct evbuffer *msg)
{
	uint32_t len = (uint32_t)evbuffer_get_length(msg);
	struct evbuffer_iovec v = {0};
	int r;

	if (evbuffer_peek(msg, -1, NULL, &v, 1) < 1 || v.iov_len > COALESCE_MAX)
		v.iov_len = 0;
	r = put_plain(out, len, v.iov_base, v.iov_len);
	if (r < 0)
		return r;
	if (evbuffer_drain(msg, v.iov_len) < 0 || evbuffer_add_buffer(out, msg) < 0)
		return TX_ENOMEM;
	return 0;
}

int grpc_send_buffer(struct grpc_call *c, struct evbuffer *msg)
{
	size_t len = evbuffer_get_length(msg);
	int r = ready(c, len);

	if (r < 0)
		return r;
	if (c->compress && c->gzip) {
		const uint8_t *flat = evbuffer_pullup(msg, -1);

		if (flat == NULL && len > 0)
			return TX_ENOMEM;
		r = flush(c, grpc_codec_gzip(c->out, flat, len));
		if (r == 0)
			evbuffer_drain(msg, len);
		return r;
	}
	return flush(c, put_buffer(c->out, msg));
}
