/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of a call share: sending and the small things. */
#include "common/rpc_call.h"

#include <event2/buffer.h>
#include <stdlib.h>

#define PACK_ON_STACK                                                                              \
	2048 /* a message of up to this is copied once more rather than given an evbuffer */

void rpc_call_free(struct rpc_call *c)
{
	rpc_arena_clear(&c->arena);
	if (c->out != NULL)
		evbuffer_free(c->out);
	free(c);
}

static int send_large(struct rpc_call *c, const ProtobufCMessage *msg, size_t len)
{
	struct evbuffer_iovec v;
	int r;

	if (c->out == NULL)
		c->out = evbuffer_new();
	if (c->out == NULL || evbuffer_reserve_space(c->out, (ev_ssize_t)len, &v, 1) < 1)
		return TX_ENOMEM;
	v.iov_len = protobuf_c_message_pack(msg, v.iov_base);
	if (evbuffer_commit_space(c->out, &v, 1) < 0)
		return TX_ENOMEM;
	r = grpc_send_buffer(c->grpc, c->out);
	if (r < 0)
		evbuffer_drain(c->out, evbuffer_get_length(c->out));
	return r;
}

int rpc_send(struct rpc_call *c, const ProtobufCMessage *msg)
{
	uint8_t packed[PACK_ON_STACK];
	size_t len = protobuf_c_message_get_packed_size(msg);

	if (len > sizeof(packed))
		return send_large(c, msg, len);
	protobuf_c_message_pack(msg, packed);
	return grpc_send(c->grpc, packed, len);
}

int rpc_send_encoded(struct rpc_call *c, struct evbuffer *encoded)
{
	return grpc_send_buffer(c->grpc, encoded);
}

size_t rpc_pending(const struct rpc_call *c)
{
	return grpc_pending(c->grpc);
}

void rpc_credit(struct rpc_call *c, size_t n)
{
	grpc_credit(c->grpc, n);
}

size_t rpc_message_size(const struct rpc_call *c)
{
	return c->message_size;
}

void rpc_cancel(struct rpc_call *c)
{
	grpc_cancel(c->grpc);
}

void rpc_compress(struct rpc_call *c, bool on)
{
	grpc_compress(c->grpc, on);
}

void *rpc_call_data(struct rpc_call *c)
{
	return c->data;
}

struct event_base *rpc_call_base(struct rpc_call *c)
{
	return c->base;
}

struct h2_conn *rpc_call_conn(struct rpc_call *c)
{
	return grpc_conn(c->grpc);
}
