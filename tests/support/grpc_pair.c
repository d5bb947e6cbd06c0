/* SPDX-License-Identifier: Apache-2.0 */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/grpc_pair.h"

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "grpc_pair: %s\n", what);
	abort();
}

/* ---- the ends of gRPC ---- */

static void act(struct grpc_end *e, enum grpc_event at)
{
	if (e->at == at && e->act != NULL)
		e->act(e);
}

static void on_message(struct grpc_call *c, const uint8_t *msg, size_t len, void *arg)
{
	struct grpc_end *e = arg;

	e->messages++;
	e->bytes += len;
	free(e->last);
	e->last = malloc(len + 1);
	require(e->last != NULL, "no memory");
	memcpy(e->last, msg, len);
	e->last[len] = '\0';
	e->last_len = len;
	act(e, ON_MESSAGE);
	if (!e->hold)
		grpc_credit(c, len);
}

static void on_half_close(struct grpc_call *c, void *arg)
{
	struct grpc_end *e = arg;

	(void)c;
	e->half_closes++;
	act(e, ON_HALF_CLOSE);
}

static void on_writable(struct grpc_call *c, void *arg)
{
	struct grpc_end *e = arg;

	(void)c;
	e->writables++;
	act(e, ON_WRITABLE);
}

static void on_done(struct grpc_call *c, const struct rpc_status *status, void *arg)
{
	struct grpc_end *e = arg;

	require(c == e->call, "on_done of another call");
	e->dones++;
	e->status = *status;
	act(e, ON_DONE);
	if (e->call == c) /* the test may have opened another one */
		e->call = NULL;
}

static const struct grpc_ops end_ops = {on_message, on_half_close, on_writable, on_done};

static int on_call(struct grpc_call *c, const char *path, struct rpc_status *refuse, void *arg)
{
	struct grpc_pair *p = arg;
	const char *value;

	snprintf(p->path, sizeof(p->path), "%s", path);
	value = grpc_metadata(c, p->meta_name, &p->meta_len);
	if (value != NULL)
		memcpy(p->meta, value, p->meta_len + 1);
	if (p->refuse.code != RPC_OK) {
		*refuse = p->refuse;
		return TX_EPERM;
	}
	p->server.call = c;
	grpc_call_set(c, &end_ops, &p->server);
	act(&p->server, ON_CALL);
	return 0;
}

static void on_end(void *arg)
{
	((struct grpc_pair *)arg)->ends++;
}

/* ---- a plain end ---- */

static void h2_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct h2_end *e = arg;
	size_t used = strlen(e->headers);

	(void)s;
	(void)end;
	for (size_t i = 0; i < n && used < sizeof(e->headers); i++)
		used += (size_t)snprintf(e->headers + used, sizeof(e->headers) - used, "%s: %s\n",
		    fields[i].name, fields[i].value);
}

static void h2_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	struct h2_end *e = arg;
	size_t n = sizeof(e->data) - e->data_len;

	if (n > len)
		n = len;
	memcpy(e->data + e->data_len, data, n);
	e->data_len += n;
	e->bytes += len;
	if (!e->deaf)
		h2_credit(s, len);
}

/* A client that has its answer ends its own half, as stock clients do. */
static void h2_ended(struct h2_stream *s, void *arg)
{
	((struct h2_end *)arg)->ended = true;
	if (!h2_is_server(h2_stream_conn(s)))
		(void)h2_end(s, NULL, 0); /* TX_ESTATE: it has */
}

static void h2_closed(struct h2_stream *s, uint32_t code, void *arg)
{
	struct h2_end *e = arg;

	(void)s;
	e->closed = true;
	e->code = code;
	e->stream = NULL;
}

static const struct h2_stream_ops plain_ops = {
    .on_headers = h2_headers,
    .on_data = h2_data,
    .on_end = h2_ended,
    .on_close = h2_closed,
};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	static const struct grpc_server_ops ops = {.on_call = on_call, .on_end = on_end};
	struct grpc_pair *p = arg;

	(void)c;
	if (!p->plain_server)
		return grpc_serve(s, p->h2.base, p->max_message, &ops, p);
	p->plain.stream = s;
	h2_stream_set(s, &plain_ops, &p->plain);
	return 0;
}

/* ---- the pair ---- */

void grpc_pair_init(struct grpc_pair *p, uint32_t window)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream};
	struct h2_limits limits = {.stream_window = window};

	memset(p, 0, sizeof(*p));
	strcpy(p->meta_name, "x-none");
	h2_pair_init(&p->h2);
	h2_pair_start(&p->h2, &p->h2.server, &limits, &ops, p);
	h2_pair_start(&p->h2, &p->h2.client, &limits, NULL, NULL);
	h2_pair_settle(&p->h2);
}

void grpc_pair_free(struct grpc_pair *p)
{
	h2_pair_free(&p->h2);
	free(p->client.last);
	free(p->server.last);
}

void grpc_pair_open(struct grpc_pair *p, const struct grpc_client_options *o)
{
	static const struct grpc_client_options plain = {
	    .authority = "test:1", .path = "/test.v1.Test/Do"};

	require(grpc_open(&p->client.call, p->h2.client.conn, p->h2.base, o != NULL ? o : &plain,
	            &end_ops, &p->client) == 0,
	    "no call");
}

void grpc_pair_h2(struct grpc_pair *p, const struct h2_field *fields, size_t n)
{
	static const struct h2_field good[] = {
	    H2_FIELD(":method", "POST"),
	    H2_FIELD(":scheme", "https"),
	    H2_FIELD(":path", "/test.v1.Test/Do"),
	    H2_FIELD(":authority", "test:1"),
	    H2_FIELD("te", "trailers"),
	    H2_FIELD("content-type", "application/grpc"),
	};

	if (fields == NULL) {
		fields = good;
		n = sizeof(good) / sizeof(good[0]);
	}
	require(h2_open(p->h2.client.conn, &p->plain.stream, fields, n, false, &plain_ops,
	            &p->plain) == 0,
	    "no stream");
}

void grpc_pair_h2_send(struct grpc_pair *p, const void *data, size_t len)
{
	struct evbuffer *b = evbuffer_new();

	require(b != NULL && evbuffer_add(b, data, len) == 0, "no memory");
	require(h2_send(p->plain.stream, b) == 0, "cannot send");
	evbuffer_free(b);
}

void grpc_pair_h2_message(struct grpc_pair *p, bool compressed, const void *data, size_t len)
{
	uint8_t *m = malloc(GRPC_PREFIX_SIZE + len);

	require(m != NULL, "no memory");
	m[0] = compressed;
	for (size_t i = 0; i < 4; i++)
		m[1 + i] = (uint8_t)(len >> (24 - 8 * i));
	memcpy(m + GRPC_PREFIX_SIZE, data, len);
	grpc_pair_h2_send(p, m, GRPC_PREFIX_SIZE + len);
	free(m);
}

uint8_t *grpc_pair_bytes(size_t n, unsigned seed)
{
	uint8_t *bytes = malloc(n + 1);
	uint32_t x = seed * 2654435761u + 1;

	require(bytes != NULL, "no memory");
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(x >> 24);
	}
	return bytes;
}
