/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/h2_world.h"

const struct h2_field world_request[5] = {
    H2_FIELD(":method", "POST"),
    H2_FIELD(":scheme", "https"),
    H2_FIELD(":path", "/p"),
    H2_FIELD(":authority", "a"),
    H2_FIELD("x-one", "1"),
};
const struct h2_field world_response[2] = {
    H2_FIELD(":status", "200"),
    H2_FIELD("x-two", "2"),
};
const struct h2_field world_trailers[2] = {
    H2_FIELD("x-status", "0"),
    H2_FIELD("x-text", "fine"),
};

static void act(struct end *e, struct h2_stream *s, enum world_at at)
{
	if (e->act == ACT_NONE || e->at != at)
		return;
	e->acted++;
	if (e->act == ACT_RESET)
		h2_reset(s, H2_CANCEL);
	else
		h2_close(h2_stream_conn(s), H2_NO_ERROR);
}

static void push(struct end *e)
{
	while (e->source != NULL && e->s != NULL && h2_pending(e->s) < H2_SEND_HIGH) {
		struct evbuffer *b = evbuffer_new();
		size_t n = e->left < e->chunk ? e->left : e->chunk;

		if (e->by_reference)
			evbuffer_add_reference(b, e->source, n, NULL, NULL);
		else
			evbuffer_add(b, e->source, n);
		e->source += n;
		e->left -= n;
		assert_int_equal(h2_send(e->s, b), 0);
		assert_int_equal(evbuffer_get_length(b), 0);
		evbuffer_free(b);
		if (h2_pending(e->s) > e->max_pending)
			e->max_pending = h2_pending(e->s);
		if (e->left == 0)
			e->source = NULL;
	}
	/* A server that ended first would cut the request off. */
	if (e->source == NULL && e->s != NULL && !e->sent_end &&
	    (!h2_is_server(h2_stream_conn(e->s)) || e->ended)) {
		e->sent_end = true;
		assert_int_equal(h2_end(e->s, world_trailers, 2), 0);
	}
}

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct end *e = arg;
	size_t used = strlen(e->headers);

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(strlen(fields[i].name), fields[i].name_len);
		assert_int_equal(strlen(fields[i].value), fields[i].value_len);
		used += (size_t)snprintf(e->headers + used, sizeof(e->headers) - used, "%s: %s\n",
		    fields[i].name, fields[i].value);
	}
	snprintf(e->headers + used, sizeof(e->headers) - used, "--\n");
	e->sections++;
	act(e, s, AT_HEADERS);
	(void)end;
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	struct end *e = arg;

	evbuffer_add(e->body, data, len);
	if (!e->hold)
		h2_credit(s, len);
	act(e, s, AT_DATA);
}

static void on_end(struct h2_stream *s, void *arg)
{
	struct end *e = arg;

	e->ends++;
	e->ended = true;
	act(e, s, AT_END);
	if (e->acted == 0 && e->sends)
		push(e);
}

static void on_writable(struct h2_stream *s, void *arg)
{
	struct end *e = arg;

	e->writables++;
	assert_true(h2_pending(s) < H2_SEND_LOW);
	act(e, s, AT_WRITABLE);
	if (e->acted == 0 && e->sends)
		push(e);
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(e->s, s);
	act(e, s, AT_CLOSE);
	e->why = h2_why(h2_stream_conn(s)) != NULL ? h2_why(h2_stream_conn(s))->code : 1;
	e->s = NULL;
	e->closes++;
	e->closed = true;
	e->code = code;
}

static const struct h2_stream_ops ops = {on_headers, on_data, on_end, on_writable, on_close};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct world *w = arg;
	struct end *e = &w->server[w->accepted];

	assert_true(h2_is_server(c));
	if (w->refuse)
		return -1;
	w->accepted++;
	e->s = s;
	h2_stream_set(s, &ops, e);
	act(e, s, AT_STREAM);
	return 0;
}

static void on_closed(struct h2_conn *c, const struct err *why, void *arg)
{
	struct world *w = arg;
	struct end *ends = h2_is_server(c) ? w->server : w->client;

	(void)why;
	assert_int_equal(h2_stream_count(c), 0);
	for (int i = 0; i < WORLD_STREAMS; i++)
		assert_null(ends[i].s);
}

static const struct h2_conn_ops conn_ops = {on_stream, NULL, on_closed};

struct world *world_new_raw_server(const struct h2_limits *client_limits)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	for (int i = 0; i < WORLD_STREAMS; i++) {
		w->client[i].body = evbuffer_new();
		w->server[i].body = evbuffer_new();
	}
	h2_pair_init(&w->p);
	h2_pair_start(&w->p, &w->p.client, client_limits, &conn_ops, w);
	return w;
}

struct world *world_new(
    const struct h2_limits *client_limits, const struct h2_limits *server_limits)
{
	struct world *w = world_new_raw_server(client_limits);

	h2_pair_start(&w->p, &w->p.server, server_limits, &conn_ops, w);
	return w;
}

void world_free(struct world *w)
{
	h2_pair_free(&w->p);
	for (int i = 0; i < WORLD_STREAMS; i++) {
		evbuffer_free(w->client[i].body);
		evbuffer_free(w->server[i].body);
		assert_true(w->client[i].closes <= 1 && w->server[i].closes <= 1);
	}
	free(w);
}

struct end *world_open(struct world *w, int i, bool end)
{
	struct end *e = &w->client[i];

	assert_int_equal(h2_open(w->p.client.conn, &e->s, world_request, 5, end, &ops, e), 0);
	return e;
}

/* A client's stream that the server has, both halves open. */
void world_establish(struct world *w, int i)
{
	world_open(w, i, false);
	h2_pair_settle(&w->p);
	assert_int_equal(w->accepted, i + 1);
}

void world_send_text(struct h2_stream *s, const char *text)
{
	struct evbuffer *b = evbuffer_new();

	evbuffer_add(b, text, strlen(text));
	assert_int_equal(h2_send(s, b), 0);
	evbuffer_free(b);
}

void world_assert_body(struct end *e, const void *want, size_t len)
{
	assert_int_equal(evbuffer_get_length(e->body), len);
	assert_memory_equal(evbuffer_pullup(e->body, -1), want, len);
}

uint8_t *world_pattern(size_t len)
{
	uint8_t *p = malloc(len);
	uint32_t x = 1;

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

void world_send(struct end *e, const uint8_t *data, size_t len, size_t chunk, bool by_reference)
{
	e->source = data;
	e->left = len;
	e->chunk = chunk;
	e->by_reference = by_reference;
	e->sends = true;
	push(e);
}
