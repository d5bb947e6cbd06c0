/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side: a request's headers, and how a call ended. The status is the first of: our own
 * (deadline, cancelled, a message that cannot be read), the server's trailers, what HTTP said, what
 * the end of the stream says.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/grpc_call.h"

/* ---- the status ---- */

/* -1: none, or not a number of three digits. */
static int http_status(const struct h2_field *f)
{
	int value = 0;

	if (f == NULL || f->value_len != 3)
		return -1;
	for (size_t i = 0; i < 3; i++) {
		if (f->value[i] < '0' || f->value[i] > '9')
			return -1;
		value = value * 10 + (f->value[i] - '0');
	}
	return value;
}

/* gRPC's table for answers that are not gRPC's. */
static int code_from_http(int status)
{
	switch (status) {
	case 400:
		return RPC_INTERNAL;
	case 401:
		return RPC_UNAUTHENTICATED;
	case 403:
		return RPC_PERMISSION_DENIED;
	case 404:
		return RPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return RPC_UNAVAILABLE;
	default:
		return RPC_UNKNOWN;
	}
}

static const struct h2_field *find(const struct h2_field *fields, size_t n, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (fields[i].name_len == len && memcmp(fields[i].name, name, len) == 0)
			return &fields[i];
	return NULL;
}

/* A number that gRPC knows, else UNKNOWN. */
static int read_code(const struct h2_field *f)
{
	int code = 0;

	if (f->value_len == 0 || f->value_len > 2)
		return RPC_UNKNOWN;
	for (size_t i = 0; i < f->value_len; i++) {
		if (f->value[i] < '0' || f->value[i] > '9')
			return RPC_UNKNOWN;
		code = code * 10 + (f->value[i] - '0');
	}
	return code <= RPC_UNAUTHENTICATED ? code : RPC_UNKNOWN;
}

static void take_details(struct grpc_call *c, const struct h2_field *f)
{
	uint8_t *packed = malloc(f->value_len + 1);
	int n;

	if (packed == NULL)
		return;
	n = grpc_base64_decode(packed, f->value, f->value_len);
	if (n > 0)
		rpc_status_unpack_details(&c->status, packed, (size_t)n);
	free(packed);
}

/* Takes grpc-status and what goes with it; false: there is none. */
static bool take_status(struct grpc_call *c, const struct h2_field *fields, size_t n)
{
	const struct h2_field *code = find(fields, n, "grpc-status"), *f;
	char message[sizeof(c->status.message)] = "";

	if (code == NULL)
		return false;
	if (c->has_status)
		return true;
	f = find(fields, n, "grpc-message");
	if (f != NULL)
		grpc_percent_decode(message, sizeof(message), f->value, f->value_len);
	grpc_call_set_status(c, read_code(code), "%s", message);
	c->status.domain[0] = '\0';
	f = find(fields, n, "grpc-status-details-bin");
	if (f != NULL)
		take_details(c, f);
	return true;
}

static int code_from_h2(uint32_t code)
{
	switch (code) {
	case H2_REFUSED_STREAM:
		return RPC_UNAVAILABLE;
	case H2_CANCEL:
		return RPC_CANCELLED;
	case H2_ENHANCE_YOUR_CALM:
		return RPC_RESOURCE_EXHAUSTED;
	case 0xc: /* INADEQUATE_SECURITY */
		return RPC_PERMISSION_DENIED;
	case 0x5: /* STREAM_CLOSED */
	case 0xd: /* HTTP_1_1_REQUIRED */
		return RPC_UNKNOWN;
	default:
		return RPC_INTERNAL;
	}
}

/* ---- the response ---- */

/* The first headers of an answer that is no gRPC. */
static void not_grpc(struct grpc_call *c, int status)
{
	if (status != 200)
		grpc_call_break(c, code_from_http(status), NULL,
		    "the server answered with HTTP status %d", status);
	else
		grpc_call_break(
		    c, RPC_UNKNOWN, NULL, "the server answered with something that is not gRPC");
}

static void on_response(struct grpc_call *c, const struct h2_field *fields, size_t n, bool end)
{
	const struct h2_field *type = find(fields, n, "content-type");
	const struct h2_field *encoding = find(fields, n, "grpc-encoding");
	int status = http_status(find(fields, n, ":status"));

	c->responded = true;
	if (status != 200 || type == NULL || type->value_len < sizeof(CONTENT_TYPE) - 1 ||
	    memcmp(type->value, CONTENT_TYPE, sizeof(CONTENT_TYPE) - 1) != 0) {
		/* A proxy in between may answer in HTTP and still know the status. */
		if (!take_status(c, fields, n))
			not_grpc(c, status);
		grpc_receive_drop(c);
		if (!end)
			h2_reset(c->stream, H2_CANCEL);
		return;
	}
	if (encoding != NULL)
		c->encoding = grpc_call_encoding(encoding);
}

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct grpc_call *c = arg;
	const struct h2_field *status;

	(void)s;
	if (c->dropping)
		return;
	if (!c->responded) {
		status = find(fields, n, ":status");
		if (!end && status != NULL && status->value_len > 0 && status->value[0] == '1')
			return;
		on_response(c, fields, n, end);
	}
	if (end && !c->dropping && !take_status(c, fields, n))
		grpc_call_set_status(
		    c, RPC_UNKNOWN, "the server ended the call without a grpc-status");
}

/* The server has said its last: all messages were delivered. */
void grpc_client_ended(struct grpc_call *c)
{
	if (!c->dropping && grpc_codec_partial(&c->in) &&
	    (!c->has_status || c->status.code == RPC_OK))
		grpc_call_break(c, RPC_INTERNAL, NULL, "the response ends inside a message");
	else
		grpc_call_set_status(c, RPC_INTERNAL, "the server ended the call without trailers");
	if (c->ended)
		return;
	/* Nobody reads what we have not sent: where that is nothing, the end is said in order. */
	c->ended = true;
	if (h2_pending(c->stream) > 0 || h2_end(c->stream, NULL, 0) < 0)
		h2_reset(c->stream, H2_NO_ERROR);
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	struct grpc_call *c = arg;
	const struct err *why = h2_why(h2_stream_conn(s));

	grpc_receive_flush(c);
	if (why != NULL)
		grpc_call_set_status(c, RPC_UNAVAILABLE, "%s", why->message);
	else
		grpc_call_set_status(
		    c, code_from_h2(code), "the server reset the call (HTTP/2 error %u)", code);
	grpc_call_done(c);
}

/* ---- the request ---- */

#define MAX_REQUEST_FIELDS 9

struct request {
	struct h2_field fields[MAX_REQUEST_FIELDS];
	size_t n;
	char timeout[16];
};

static void add(struct request *q, const char *name, const char *value)
{
	assert(q->n < MAX_REQUEST_FIELDS);
	q->fields[q->n++] = (struct h2_field){name, value, strlen(name), strlen(value)};
}

static void make_request(struct request *q, const struct grpc_client_options *o)
{
	q->n = 0;
	add(q, ":method", "POST");
	add(q, ":scheme", "https");
	add(q, ":path", o->path);
	add(q, ":authority", o->authority);
	add(q, "te", "trailers");
	add(q, "content-type", CONTENT_TYPE);
	add(q, "grpc-accept-encoding", ACCEPT_ENCODING);
	if (o->gzip)
		add(q, "grpc-encoding", "gzip");
	if (o->timeout_ns > 0)
		add(q, "grpc-timeout", grpc_timeout_format(q->timeout, o->timeout_ns));
}

int grpc_open(struct grpc_call **out, struct h2_conn *h2, struct event_base *base,
    const struct grpc_client_options *o, const struct grpc_ops *ops, void *arg)
{
	static const struct h2_stream_ops stream_ops = {
	    .on_headers = on_headers,
	    .on_data = grpc_receive_data,
	    .on_end = grpc_receive_end,
	    .on_writable = grpc_send_writable,
	    .on_close = on_close,
	};
	struct grpc_call *c = grpc_call_new(base, false, o->max_message);
	struct request q;
	int r;

	if (c == NULL)
		return TX_ENOMEM;
	make_request(&q, o);
	c->gzip = o->gzip;
	c->ops = ops;
	c->arg = arg;
	r = h2_open(h2, &c->stream, q.fields, q.n, false, &stream_ops, c);
	if (r < 0) {
		grpc_call_free(c);
		return r;
	}
	if (o->timeout_ns > 0)
		grpc_call_set_timeout(c, o->timeout_ns);
	*out = c;
	return 0;
}

void grpc_half_close(struct grpc_call *c)
{
	if (c->ended)
		return;
	c->ended = true;
	if (h2_end(c->stream, NULL, 0) < 0)
		h2_reset(c->stream, H2_INTERNAL_ERROR);
}
