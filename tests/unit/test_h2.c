/* SPDX-License-Identifier: Apache-2.0 */
/* h2 as its users see it: both ends are ours. What hostile peers do is in test_h2_attack.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/h2_pair.h"

/* ---- a stream's end that remembers ---- */

enum { ACT_NONE, ACT_RESET, ACT_CLOSE };
enum { AT_STREAM, AT_HEADERS, AT_DATA, AT_END, AT_WRITABLE, AT_CLOSE, AT_COUNT };

struct end {
	struct h2_stream *s; /* NULL: not open, or closed */
	struct evbuffer *body;
	char headers[512]; /* "name: value\n"; sections are separated by "--\n" */
	unsigned sections, ends, closes, writables;
	bool closed, ended;
	uint32_t code;
	int why;   /* h2_why at on_close; 1: none */
	bool hold; /* give no credit */
	/* A sender: `left` bytes from `source`, chunks of `chunk`, then h2_end. */
	const uint8_t *source;
	size_t left, chunk, max_pending;
	bool sends, by_reference, sent_end;
	int act, at; /* h2_reset or h2_close in that callback */
	bool answer; /* a server: 200 at once, an echo of the end */
};

struct world {
	struct h2_pair p;
	struct end client[4], server[4];
	unsigned accepted;
	bool refuse;
};

static const struct h2_field REQUEST[] = {
    H2_FIELD(":method", "POST"),
    H2_FIELD(":scheme", "https"),
    H2_FIELD(":path", "/p"),
    H2_FIELD(":authority", "a"),
    H2_FIELD("x-one", "1"),
};
static const struct h2_field RESPONSE[] = {
    H2_FIELD(":status", "200"),
    H2_FIELD("x-two", "2"),
};
static const struct h2_field TRAILERS[] = {
    H2_FIELD("x-status", "0"),
    H2_FIELD("x-text", "fine"),
};

static void act(struct end *e, struct h2_stream *s, int at)
{
	if (e->act == ACT_NONE || e->at != at)
		return;
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
		assert_int_equal(h2_end(e->s, TRAILERS, 2), 0);
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
	if (e->sends)
		push(e);
	if (e->answer) {
		h2_respond(s, RESPONSE, 2, false);
		h2_end(s, TRAILERS, 2);
	}
}

static void on_writable(struct h2_stream *s, void *arg)
{
	struct end *e = arg;

	e->writables++;
	assert_true(h2_pending(s) < H2_SEND_LOW);
	act(e, s, AT_WRITABLE);
	if (e->act == ACT_NONE && e->sends)
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
	for (int i = 0; i < 4; i++)
		assert_null(ends[i].s);
}

static const struct h2_conn_ops conn_ops = {on_stream, NULL, on_closed};

static struct world *world_new(
    const struct h2_limits *client_limits, const struct h2_limits *server_limits)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	for (int i = 0; i < 4; i++) {
		w->client[i].body = evbuffer_new();
		w->server[i].body = evbuffer_new();
	}
	h2_pair_init(&w->p);
	h2_pair_start(&w->p, &w->p.client, client_limits, &conn_ops, w);
	h2_pair_start(&w->p, &w->p.server, server_limits, &conn_ops, w);
	return w;
}

static void world_free(struct world *w)
{
	h2_pair_free(&w->p);
	for (int i = 0; i < 4; i++) {
		evbuffer_free(w->client[i].body);
		evbuffer_free(w->server[i].body);
		assert_true(w->client[i].closes <= 1 && w->server[i].closes <= 1);
	}
	free(w);
}

static struct end *open_stream(struct world *w, int i, bool end)
{
	struct end *e = &w->client[i];

	assert_int_equal(h2_open(w->p.client.conn, &e->s, REQUEST, 5, end, &ops, e), 0);
	return e;
}

/* A client's stream that the server has, both halves open. */
static void establish(struct world *w, int i)
{
	open_stream(w, i, false);
	h2_pair_settle(&w->p);
	assert_int_equal(w->accepted, i + 1);
}

static void send_text(struct h2_stream *s, const char *text)
{
	struct evbuffer *b = evbuffer_new();

	evbuffer_add(b, text, strlen(text));
	assert_int_equal(h2_send(s, b), 0);
	evbuffer_free(b);
}

static void assert_body(struct end *e, const void *want, size_t len)
{
	assert_int_equal(evbuffer_get_length(e->body), len);
	assert_memory_equal(evbuffer_pullup(e->body, -1), want, len);
}

static uint8_t *pattern(size_t len)
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

/* ---- requests and responses ---- */

static void request_and_response_cross_with_their_trailers(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	establish(w, 0);
	send_text(w->client[0].s, "ping");
	assert_int_equal(h2_end(w->client[0].s, TRAILERS, 2), 0);
	h2_pair_settle(&w->p);
	assert_string_equal(w->server[0].headers,
	    ":method: POST\n:scheme: https\n:path: /p\n:authority: a\nx-one: 1\n--\n"
	    "x-status: 0\nx-text: fine\n--\n");
	assert_body(&w->server[0], "ping", 4);
	assert_int_equal(w->server[0].ends, 1);
	assert_int_equal(h2_respond(w->server[0].s, RESPONSE, 2, false), 0);
	send_text(w->server[0].s, "po");
	send_text(w->server[0].s, "ng");
	assert_int_equal(h2_end(w->server[0].s, TRAILERS, 2), 0);
	h2_pair_settle(&w->p);
	assert_string_equal(
	    w->client[0].headers, ":status: 200\nx-two: 2\n--\nx-status: 0\nx-text: fine\n--\n");
	assert_body(&w->client[0], "pong", 4);
	assert_int_equal(w->client[0].ends, 1);
	assert_true(w->client[0].closed && w->server[0].closed);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_int_equal(w->client[0].why, 1);
	assert_int_equal(h2_stream_count(w->p.client.conn), 0);
	assert_int_equal(h2_stream_count(w->p.server.conn), 0);
	world_free(w);
}

static void a_bodyless_exchange_ends_with_its_headers(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	open_stream(w, 0, true);
	h2_pair_settle(&w->p);
	assert_int_equal(w->server[0].ends, 1);
	assert_int_equal(h2_respond(w->server[0].s, RESPONSE, 2, true), 0);
	assert_int_equal(h2_respond(w->server[0].s, RESPONSE, 2, true), TX_ESTATE);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].ends, 1);
	assert_true(w->client[0].closed && w->server[0].closed);
	world_free(w);
}

static void what_is_sent_before_the_response_headers_waits_for_them(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	open_stream(w, 0, true);
	h2_pair_settle(&w->p);
	send_text(w->server[0].s, "early");
	assert_int_equal(h2_end(w->server[0].s, NULL, 0), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(h2_pending(w->server[0].s), 5);
	assert_int_equal(h2_respond(w->server[0].s, RESPONSE, 2, false), 0);
	h2_pair_settle(&w->p);
	assert_body(&w->client[0], "early", 5);
	assert_true(w->client[0].closed);
	world_free(w);
}

static void after_the_end_nothing_more_is_sent(void **state)
{
	struct world *w = world_new(NULL, NULL);
	struct evbuffer *b = evbuffer_new();

	(void)state;
	establish(w, 0);
	evbuffer_add(b, "x", 1);
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), 0);
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), TX_ESTATE);
	assert_int_equal(h2_send(w->client[0].s, b), TX_ESTATE);
	assert_int_equal(evbuffer_get_length(b), 1);
	h2_reset(w->client[0].s, H2_CANCEL);
	assert_int_equal(h2_send(w->client[0].s, b), TX_ECLOSED);
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), TX_ECLOSED);
	evbuffer_free(b);
	world_free(w);
}

static void a_whole_response_releases_a_request_that_is_still_open(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	establish(w, 0);
	assert_int_equal(h2_respond(w->server[0].s, RESPONSE, 2, false), 0);
	assert_int_equal(h2_end(w->server[0].s, TRAILERS, 2), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].ends, 1);
	assert_int_equal(w->client[0].sections, 2);
	assert_true(w->client[0].closed && w->server[0].closed);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_int_equal(w->server[0].code, H2_NO_ERROR);
	world_free(w);
}

static void several_sends_of_one_turn_make_one_piece_of_output(void **state)
{
	struct world *w = world_new(NULL, NULL);
	struct evbuffer *out;
	struct evbuffer_iovec v[8];

	(void)state;
	establish(w, 0);
	establish(w, 1);
	/* The other end does not read: the output stays to be looked at. */
	bufferevent_disable(w->p.server.bev, EV_READ);
	out = bufferevent_get_output(w->p.client.bev);
	send_text(w->client[0].s, "one");
	send_text(w->client[1].s, "two");
	send_text(w->client[0].s, "three");
	assert_int_equal(h2_ping(w->p.client.conn, NULL), 0);
	assert_int_equal(evbuffer_get_length(out), 0);
	h2_pair_settle(&w->p);
	assert_true(evbuffer_get_length(out) >= 11 + 3 * 9);
	assert_int_equal(evbuffer_peek(out, -1, NULL, v, 8), 1);
	bufferevent_enable(w->p.server.bev, EV_READ);
	h2_pair_settle(&w->p);
	assert_body(&w->server[0], "onethree", 8);
	assert_body(&w->server[1], "two", 3);
	world_free(w);
}

/* ---- bulk ---- */

#define BULK ((size_t)10 << 20)

/* Both directions at once, `limits` at both ends. */
static void bulk(const struct h2_limits *limits, size_t chunk, bool by_reference)
{
	struct world *w = world_new(limits, limits);
	uint8_t *data = pattern(BULK);
	struct end *ends[] = {&w->client[0], &w->server[0]};

	establish(w, 0);
	assert_int_equal(h2_respond(w->server[0].s, RESPONSE, 2, false), 0);
	for (int i = 0; i < 2; i++) {
		ends[i]->source = data;
		ends[i]->left = BULK;
		ends[i]->chunk = chunk;
		ends[i]->sends = true;
		ends[i]->by_reference = by_reference;
		push(ends[i]);
	}
	assert_true(h2_pair_run(&w->p, &w->client[0].closed));
	h2_pair_settle(&w->p);
	for (int i = 0; i < 2; i++) {
		assert_body(ends[i], data, BULK);
		assert_int_equal(ends[i]->ends, 1);
		assert_int_equal(ends[i]->code, H2_NO_ERROR);
		assert_true(ends[i]->max_pending < H2_SEND_HIGH + chunk);
	}
	world_free(w);
	free(data);
}

static void ten_megabytes_each_way_by_reference(void **state)
{
	(void)state;
	bulk(NULL, 128 << 10, true);
	bulk(NULL, 1 << 20, true);
}

static void ten_megabytes_each_way_under_small_windows(void **state)
{
	struct h2_limits small = {.stream_window = 20000, .max_frame = 16384};

	(void)state;
	bulk(&small, 100001, true);
	bulk(&small, 100001, false);
	small.stream_window = 5000;
	bulk(&small, 65536, true);
}

static void ten_megabytes_each_way_in_small_chunks(void **state)
{
	(void)state;
	bulk(NULL, 777, false);
	bulk(NULL, 5000, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_and_response_cross_with_their_trailers),
	    cmocka_unit_test(a_bodyless_exchange_ends_with_its_headers),
	    cmocka_unit_test(what_is_sent_before_the_response_headers_waits_for_them),
	    cmocka_unit_test(after_the_end_nothing_more_is_sent),
	    cmocka_unit_test(a_whole_response_releases_a_request_that_is_still_open),
	    cmocka_unit_test(several_sends_of_one_turn_make_one_piece_of_output),
	    cmocka_unit_test(ten_megabytes_each_way_by_reference),
	    cmocka_unit_test(ten_megabytes_each_way_under_small_windows),
	    cmocka_unit_test(ten_megabytes_each_way_in_small_chunks),
	};

	return cmocka_run_group_tests_name("h2", tests, NULL, NULL);
}
