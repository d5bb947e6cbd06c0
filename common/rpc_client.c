/* SPDX-License-Identifier: Apache-2.0 */
/* The client: opens calls, unpacks responses, and checks that a unary call gets exactly one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc_call.h"

#define PATH_MAX_SIZE 256

/* The server broke the rules: `what` becomes the call's status. */
static void break_off(struct rpc_call *c, const char *what)
{
	c->broken = what;
	grpc_cancel(c->grpc);
}

static void deliver(struct rpc_call *c, const uint8_t *msg, size_t len)
{
	ProtobufCMessage *m;

	c->message_size = len;
	if (c->ops->raw != NULL) {
		c->ops->raw(c, msg, len, c->data);
		c->message_size = 0;
		return;
	}
	m = rpc_arena_unpack(&c->arena, c->response, msg, len);
	if (m == NULL)
		break_off(c, "a response cannot be read");
	else if (c->ops->message != NULL)
		c->ops->message(c, m, c->data);
	rpc_arena_clear(&c->arena);
	c->message_size = 0;
}

static void on_message(struct grpc_call *g, const uint8_t *msg, size_t len, void *arg)
{
	struct rpc_call *c = arg;

	if (!c->server_stream && c->received) {
		break_off(c, "a second response came where there is one");
		return;
	}
	c->received = true;
	deliver(c, msg, len);
	if (!c->ops->manual_credit)
		grpc_credit(g, len);
}

static void on_writable(struct grpc_call *g, void *arg)
{
	struct rpc_call *c = arg;

	(void)g;
	if (c->ops->writable != NULL)
		c->ops->writable(c, c->data);
}

static void on_done(struct grpc_call *g, const struct rpc_status *status, void *arg)
{
	struct rpc_call *c = arg;
	struct rpc_status own;

	(void)g;
	if (c->broken == NULL && status->code == RPC_OK && !c->server_stream && !c->received)
		c->broken = "the call ended well, but without a response";
	if (c->broken != NULL) {
		rpc_status_set(&own, RPC_INTERNAL, NULL, "%s", c->broken);
		status = &own;
	}
	if (c->ops->done != NULL)
		c->ops->done(c, status, c->data);
	rpc_call_free(c);
}

int rpc_open(struct rpc_call **out, struct h2_conn *h2, struct event_base *base,
    const struct rpc_client_options *o, const struct rpc_client_ops *ops, void *data)
{
	static const struct grpc_ops grpc_ops = {
	    .on_message = on_message,
	    .on_writable = on_writable,
	    .on_done = on_done,
	};
	char path[PATH_MAX_SIZE];
	struct grpc_client_options g = {
	    .authority = o->authority,
	    .path = path,
	    .timeout_ns = o->timeout_ns,
	    .max_message = o->max_message,
	};
	struct rpc_call *c;
	int n = snprintf(path, sizeof(path), "/%s/%s", o->service, o->method), r;

	if (n < 0 || (size_t)n >= sizeof(path))
		return TX_EINVAL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return TX_ENOMEM;
	c->base = base;
	c->ops = ops;
	c->data = data;
	c->response = o->response;
	c->server_stream = o->server_stream;
	r = grpc_open(&c->grpc, h2, base, &g, &grpc_ops, c);
	if (r < 0) {
		rpc_call_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void rpc_half_close(struct rpc_call *c)
{
	grpc_half_close(c->grpc);
}
