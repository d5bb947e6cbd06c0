/* SPDX-License-Identifier: Apache-2.0 */
/* h2 against peers that break the protocol or mean harm; their frames are written by hand. */
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

enum {
	DATA,
	HEADERS,
	PRIORITY,
	RST_STREAM,
	SETTINGS,
	PUSH_PROMISE,
	PING,
	GOAWAY,
	WINDOW_UPDATE,
	CONTINUATION
};
#define END_STREAM  0x1
#define ACK         0x1
#define END_HEADERS 0x4

#define MANY 20000

/* A server of ours (or a client), what its streams came to, and the hostile other end. */
struct scene {
	struct h2_pair p;
	struct h2_pair_side *victim, *peer;
	unsigned opened, closed, headers, ended;
	size_t bytes, fields;
	bool hold; /* give no credit */
	struct h2_stream *last;
	uint32_t last_code;
};

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct scene *x = arg;

	(void)s;
	(void)fields;
	(void)end;
	x->headers++;
	x->fields += n;
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	struct scene *x = arg;

	(void)data;
	x->bytes += len;
	if (!x->hold)
		h2_credit(s, len);
}

static void on_end(struct h2_stream *s, void *arg)
{
	struct scene *x = arg;
	static const struct h2_field ok[] = {H2_FIELD(":status", "200")};

	x->ended++;
	if (h2_is_server(h2_stream_conn(s)))
		assert_int_equal(h2_respond(s, ok, 1, true), 0);
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	struct scene *x = arg;

	x->closed++;
	x->last_code = code;
	if (x->last == s)
		x->last = NULL;
}

static const struct h2_stream_ops stream_ops = {on_headers, on_data, on_end, NULL, on_close};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct scene *x = arg;

	(void)c;
	x->opened++;
	x->last = s;
	h2_stream_set(s, &stream_ops, x);
	return 0;
}

static const struct h2_conn_ops conn_ops = {on_stream, NULL, NULL};

/* A server of ours, before the client's preface. */
static void scene_bare(struct scene *x, const struct h2_limits *limits)
{
	memset(x, 0, sizeof(*x));
	h2_pair_init(&x->p);
	x->victim = &x->p.server;
	x->peer = &x->p.client;
	h2_pair_start(&x->p, x->victim, limits, &conn_ops, x);
}

static void scene_server(struct scene *x, const struct h2_limits *limits)
{
	scene_bare(x, limits);
	h2_raw_preface(x->peer);
	h2_pair_settle(&x->p);
	h2_raw_frame(x->peer, SETTINGS, ACK, 0, NULL, 0);
	h2_pair_settle(&x->p);
	assert_false(x->victim->closed);
}

/* A client of ours with one request open. */
static void scene_client(struct scene *x, const struct h2_limits *limits)
{
	static const struct h2_field request[] = {H2_FIELD(":method", "POST"),
	    H2_FIELD(":scheme", "https"), H2_FIELD(":path", "/x"), H2_FIELD(":authority", "a")};

	memset(x, 0, sizeof(*x));
	h2_pair_init(&x->p);
	x->victim = &x->p.client;
	x->peer = &x->p.server;
	h2_pair_start(&x->p, x->victim, limits, &conn_ops, x);
	assert_int_equal(h2_open(x->victim->conn, &x->last, request, 4, false, &stream_ops, x), 0);
	h2_pair_settle(&x->p);
	evbuffer_drain(bufferevent_get_input(x->peer->bev), 24);
}

static void scene_free(struct scene *x)
{
	h2_pair_free(&x->p);
	assert_true(x->closed >= x->opened);
}

/* The connection ended for `code`, its streams before it, and the peer was told `h2_code`. */
static void assert_ended(struct scene *x, int code, uint32_t h2_code)
{
	struct h2_raw_frame f;
	uint32_t last = UINT32_MAX;

	h2_pair_settle(&x->p);
	assert_true(x->victim->closed);
	assert_int_equal(x->victim->why.code, code);
	assert_true(strlen(x->victim->why.message) > 0);
	while (h2_raw_find(x->peer, GOAWAY, &f))
		last = f.payload[7];
	assert_int_equal(last, h2_code);
}

static void assert_reset(struct scene *x, uint32_t stream, uint32_t code)
{
	struct h2_raw_frame f;

	h2_pair_settle(&x->p);
	assert_true(h2_raw_find(x->peer, RST_STREAM, &f));
	assert_int_equal(f.stream, stream);
	assert_int_equal(f.payload[3], code);
}

/* An honest request is served as before. */
static void assert_serves(struct scene *x, uint32_t stream)
{
	unsigned ended = x->ended;
	struct h2_raw_frame f;

	h2_pair_settle(&x->p);
	while (h2_raw_read(x->peer, &f))
		;
	h2_raw_request(x->peer, stream, true);
	h2_pair_settle(&x->p);
	assert_false(x->victim->closed);
	assert_int_equal(x->ended, ended + 1);
	assert_true(h2_raw_find(x->peer, HEADERS, &f));
	assert_int_equal(f.stream, stream);
}

/* ---- not HTTP/2 ---- */

static void garbage_instead_of_the_preface_ends_the_connection(void **state)
{
	static const char *const lines[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on, a client hello",
	    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "PRI * HTTP/1.0\r\n\r\nSM\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct scene x;

		scene_bare(&x, NULL);
		h2_raw_write(x.peer, lines[i], strlen(lines[i]));
		h2_raw_write(x.peer, "!!!!!!!!", 8);
		assert_ended(&x, TX_EPROTO, H2_PROTOCOL_ERROR);
		scene_free(&x);
	}
}

static void an_answer_that_is_not_http2_ends_the_clients_connection(void **state)
{
	static const char text[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
	struct scene x;

	(void)state;
	scene_client(&x, NULL);
	h2_raw_write(x.peer, text, strlen(text));
	h2_pair_settle(&x.p);
	assert_true(x.victim->closed);
	assert_int_equal(x.victim->why.code, TX_EPROTO);
	assert_int_equal(x.closed, 1);
	scene_free(&x);
}

static void a_request_in_single_bytes_is_served(void **state)
{
	static const uint8_t wire[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	                              "\0\0\0\4\0\0\0\0\0"
	                              "\0\0\x9\1\5\0\0\0\1\x83\x87\4\2/x\1\1a";
	struct scene x;

	(void)state;
	scene_bare(&x, NULL);
	for (size_t i = 0; i < sizeof(wire) - 1; i++) {
		h2_raw_write(x.peer, wire + i, 1);
		event_base_loop(x.p.base, EVLOOP_NONBLOCK);
	}
	h2_pair_settle(&x.p);
	assert_int_equal(x.ended, 1);
	scene_free(&x);
}

static void random_bytes_end_the_connection_and_nothing_else(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct scene x;
		uint8_t bytes[400];

		scene_server(&x, NULL);
		h2_raw_request(x.peer, 1, false);
		for (size_t i = 0; i < sizeof(bytes); i++) {
			seed = seed * 1664525 + 1013904223;
			bytes[i] = (uint8_t)(seed >> 24);
			/* Mostly short frames of known types on streams that exist. */
			if (round % 2 == 0 && (i % 13 < 2 || (i % 13 > 4 && i % 13 < 8)))
				bytes[i] = 0;
			else if (round % 2 == 0 && i % 13 < 5)
				bytes[i] &= 0xf;
		}
		h2_raw_write(x.peer, bytes, sizeof(bytes));
		h2_pair_settle(&x.p);
		assert_true(x.opened >= 1);
		scene_free(&x);
	}
}

/* ---- broken frames ---- */

static void a_frame_larger_than_allowed_ends_the_connection(void **state)
{
	struct h2_limits limits = {.max_frame = 16384};
	static const uint8_t zeros[16385];
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	h2_raw_request(x.peer, 1, false);
	h2_raw_frame(x.peer, DATA, 0, 1, zeros, sizeof(zeros));
	assert_ended(&x, TX_EPROTO, 6 /* FRAME_SIZE_ERROR */);
	assert_int_equal(x.bytes, 0);
	scene_free(&x);
}

static void frames_where_none_may_be_end_the_connection(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t stream;
		size_t len;
	} frames[] = {{DATA, 0, 4}, {DATA, 5, 4}, {HEADERS, 0, 4}, {HEADERS, 2, 4},
	    {SETTINGS, 1, 0}, {SETTINGS, 0, 5}, {PING, 0, 7}, {PING, 1, 8}, {RST_STREAM, 0, 4},
	    {RST_STREAM, 5, 4}, {WINDOW_UPDATE, 0, 3}, {WINDOW_UPDATE, 0, 4}, {CONTINUATION, 1, 4},
	    {GOAWAY, 1, 8}, {PUSH_PROMISE, 1, 8}};
	static const uint8_t zeros[16];

	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct scene x;

		scene_server(&x, NULL);
		h2_raw_frame(x.peer, frames[i].type, 0, frames[i].stream, zeros, frames[i].len);
		h2_pair_settle(&x.p);
		if (!x.victim->closed)
			fail_msg(
			    "frame type %d, stream %u went by", frames[i].type, frames[i].stream);
		assert_int_equal(x.victim->why.code, TX_EPROTO);
		scene_free(&x);
	}
}

static void a_promised_push_ends_the_clients_connection(void **state)
{
	static const uint8_t promise[] = {0, 0, 0, 2, 0x82, 0x87, 0x84};
	struct scene x;

	(void)state;
	scene_client(&x, NULL);
	h2_raw_frame(x.peer, SETTINGS, 0, 0, NULL, 0);
	h2_raw_frame(x.peer, SETTINGS, ACK, 0, NULL, 0);
	h2_raw_frame(x.peer, PUSH_PROMISE, END_HEADERS, 1, promise, sizeof(promise));
	assert_ended(&x, TX_EPROTO, H2_PROTOCOL_ERROR);
	scene_free(&x);
}

static void a_request_without_its_pseudo_headers_is_reset_alone(void **state)
{
	static const uint8_t no_path[] = {0x83, 0x87};
	static const uint8_t upper_case[] = {0x83, 0x87, 0x84, 0x00, 1, 'X', 1, 'y'};
	static const uint8_t connection[] = {
	    0x83, 0x87, 0x84, 0x00, 10, 'c', 'o', 'n', 'n', 'e', 'c', 't', 'i', 'o', 'n', 1, 'y'};
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	h2_raw_frame(x.peer, HEADERS, END_HEADERS, 1, no_path, sizeof(no_path));
	assert_reset(&x, 1, H2_PROTOCOL_ERROR);
	h2_raw_frame(x.peer, HEADERS, END_HEADERS, 3, upper_case, sizeof(upper_case));
	assert_reset(&x, 3, H2_PROTOCOL_ERROR);
	h2_raw_frame(x.peer, HEADERS, END_HEADERS, 5, connection, sizeof(connection));
	assert_reset(&x, 5, H2_PROTOCOL_ERROR);
	assert_int_equal(x.opened, 0);
	assert_serves(&x, 7);
	scene_free(&x);
}

static void frames_of_unknown_types_are_ignored(void **state)
{
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	for (uint8_t type = 0xa; type < 0x40; type++)
		h2_raw_frame(x.peer, type, 0xff, type % 3, "payload", 7);
	assert_serves(&x, 1);
	scene_free(&x);
}

/* ---- more than was granted ---- */

static void data_beyond_the_streams_window_is_not_delivered(void **state)
{
	struct h2_limits limits = {.stream_window = 30000};
	static const uint8_t zeros[16000];
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	x.hold = true;
	h2_raw_request(x.peer, 1, false);
	for (int i = 0; i < 4; i++)
		h2_raw_frame(x.peer, DATA, 0, 1, zeros, sizeof(zeros));
	assert_reset(&x, 1, 3 /* FLOW_CONTROL_ERROR */);
	assert_true(x.bytes <= 30000 + sizeof(zeros));
	assert_int_equal(x.closed, 1);
	assert_serves(&x, 3);
	scene_free(&x);
}

static void streams_beyond_the_limit_are_not_opened(void **state)
{
	struct h2_limits limits = {.max_streams = 5};
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	for (uint32_t i = 0; i < 6; i++)
		h2_raw_request(x.peer, 2 * i + 1, false);
	assert_ended(&x, TX_EPROTO, H2_PROTOCOL_ERROR);
	assert_int_equal(x.opened, 5);
	scene_free(&x);
}

static void streams_beyond_a_limit_not_yet_known_are_refused(void **state)
{
	struct h2_limits limits = {.max_streams = 2};
	struct scene x;

	(void)state;
	scene_bare(&x, &limits);
	h2_raw_preface(x.peer); /* its SETTINGS are not acknowledged */
	for (uint32_t i = 0; i < 3; i++)
		h2_raw_request(x.peer, 2 * i + 1, false);
	assert_reset(&x, 5, H2_REFUSED_STREAM);
	assert_int_equal(x.opened, 2);
	assert_false(x.victim->closed);
	scene_free(&x);
}

/* `n` fields "f: v" after a request's pseudo headers, then `more` of 0xbe, which is the newest of
 * the dynamic table. */
static void send_fields(struct scene *x, uint32_t stream, size_t n, size_t value_len, size_t more)
{
	static const uint8_t pseudo[] = {0x83, 0x87, 0x84, 0x01, 1, 'a'};
	struct evbuffer *b = evbuffer_new();
	size_t len;
	bool first = true;

	evbuffer_add(b, pseudo, sizeof(pseudo));
	for (size_t i = 0; i < n; i++) {
		/* A literal with indexing; its value's length takes a continued integer from 127
		 * on. */
		uint8_t h[] = {0x40, 1, 'f', 0x7f, (uint8_t)(0x80 | ((value_len - 127) & 0x7f)),
		    (uint8_t)((value_len - 127) >> 7)};
		uint8_t value[4000];

		memset(value, 'v', value_len);
		evbuffer_add(b, h, sizeof(h));
		evbuffer_add(b, value, value_len);
	}
	for (size_t i = 0; i < more; i++)
		evbuffer_add(b, "\xbe", 1);
	for (; (len = evbuffer_get_length(b)) > 0; first = false) {
		size_t part = len < 16384 ? len : 16384;

		h2_raw_frame(x->peer, first ? HEADERS : CONTINUATION,
		    (uint8_t)((part == len ? END_HEADERS : 0) | (first ? END_STREAM : 0)), stream,
		    evbuffer_pullup(b, (ev_ssize_t)part), part);
		evbuffer_drain(b, part);
	}
	evbuffer_free(b);
}

static void a_header_over_the_limits_resets_its_stream_alone(void **state)
{
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	send_fields(&x, 1, 124, 130, 0); /* 128 in all */
	h2_pair_settle(&x.p);
	assert_int_equal(x.opened, 1);
	assert_int_equal(x.fields, 128);
	send_fields(&x, 3, 125, 130, 0);
	assert_reset(&x, 3, H2_ENHANCE_YOUR_CALM);
	send_fields(&x, 5, 20, 3900, 0);
	assert_reset(&x, 5, H2_ENHANCE_YOUR_CALM);
	assert_int_equal(x.opened, 1);
	assert_serves(&x, 7);
	scene_free(&x);
}

static void a_header_bomb_ends_the_connection(void **state)
{
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	send_fields(&x, 1, 1, 3900, 16000); /* 20 KB that unfold to 62 MB */
	assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
	assert_int_equal(x.opened, 0);
	scene_free(&x);
}

static void a_flood_of_continuations_ends_the_connection(void **state)
{
	static const uint8_t pseudo[] = {0x83, 0x87, 0x84, 0x01, 1, 'a'};

	(void)state;
	for (size_t len = 0; len < 2; len++) {
		struct scene x;

		scene_server(&x, NULL);
		h2_raw_frame(x.peer, HEADERS, 0, 1, pseudo, sizeof(pseudo));
		for (int i = 0; i < 1000; i++)
			h2_raw_frame(x.peer, CONTINUATION, 0, 1, "\x90", len);
		assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
		assert_int_equal(x.opened, 0);
		scene_free(&x);
	}
}

/* ---- floods, each against its budget ---- */

static void send_reset(struct scene *x, uint32_t stream)
{
	h2_raw_frame(x->peer, RST_STREAM, 0, stream, "\0\0\0\x8", 4);
}

static void rapid_resets_end_the_connection(void **state)
{
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	for (uint32_t i = 0; i < MANY; i++) {
		h2_raw_request(x.peer, 2 * i + 1, false);
		send_reset(&x, 2 * i + 1);
	}
	assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
	assert_in_range(x.opened, 1000, 2500);
	assert_int_equal(x.closed, x.opened);
	scene_free(&x);
}

static void resets_that_we_are_made_to_send_end_the_connection(void **state)
{
	/* content-length: 5 */
	static const uint8_t five[] = {0x83, 0x87, 0x84, 0x01, 1, 'a', 0x0f, 0x0d, 1, '5'};
	struct scene x;

	(void)state;
	for (int how = 0; how < 3; how++) {
		scene_server(&x, NULL);
		for (uint32_t i = 0; i < MANY && !x.victim->closed; i++) {
			uint32_t stream = 2 * i + 1;

			if (how == 0) { /* a body that is not as long as it said */
				h2_raw_frame(
				    x.peer, HEADERS, END_HEADERS, stream, five, sizeof(five));
				h2_raw_frame(x.peer, DATA, END_STREAM, stream, NULL, 0);
			} else if (how == 1) { /* a window beyond 2^31 - 1 */
				h2_raw_request(x.peer, stream, false);
				h2_raw_frame(
				    x.peer, WINDOW_UPDATE, 0, stream, "\x7f\xff\xff\xff", 4);
			} else { /* never a request */
				h2_raw_frame(x.peer, HEADERS, END_HEADERS, stream, "\x83\x87", 2);
			}
			if (i % 100 == 0)
				event_base_loop(x.p.base, EVLOOP_NONBLOCK);
		}
		assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
		assert_int_equal(x.closed, x.opened);
		scene_free(&x);
	}
}

static void resets_that_cross_ours_are_free(void **state)
{
	struct h2_limits limits = {.reset_burst = 3, .reset_rate = 1};
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	for (uint32_t i = 0; i < 50; i++) {
		h2_raw_request(x.peer, 2 * i + 1, false);
		h2_pair_settle(&x.p);
		h2_reset(x.last, H2_CANCEL);
		h2_pair_settle(&x.p);
		send_reset(&x, 2 * i + 1);
	}
	assert_serves(&x, 101);
	scene_free(&x);
}

static void a_server_may_reset_every_stream_of_a_client(void **state)
{
	struct h2_limits limits = {.reset_burst = 3, .reset_rate = 1};
	static const struct h2_field request[] = {H2_FIELD(":method", "POST"),
	    H2_FIELD(":scheme", "https"), H2_FIELD(":path", "/x"), H2_FIELD(":authority", "a")};
	struct scene x;

	(void)state;
	scene_client(&x, &limits);
	h2_raw_frame(x.peer, SETTINGS, 0, 0, NULL, 0);
	for (uint32_t i = 0; i < 50; i++) {
		send_reset(&x, 2 * i + 1);
		h2_pair_settle(&x.p);
		assert_null(x.last);
		assert_int_equal(
		    h2_open(x.victim->conn, &x.last, request, 4, false, &stream_ops, &x), 0);
		h2_pair_settle(&x.p);
	}
	assert_false(x.victim->closed);
	/* Those of streams that are none are not. */
	for (int i = 0; i < 50; i++)
		send_reset(&x, 1);
	h2_pair_settle(&x.p);
	assert_int_equal(x.victim->why.code, TX_ELIMIT);
	scene_free(&x);
}

static void floods_of_control_frames_end_the_connection(void **state)
{
	static const struct {
		uint8_t type, flags;
		uint32_t stream;
		size_t len;
	} floods[] = {{PING, 0, 0, 8}, {PING, ACK, 0, 8}, {SETTINGS, 0, 0, 0}, {SETTINGS, 0, 0, 6},
	    {PRIORITY, 0, 3, 5}, {DATA, 0, 1, 0}, {0xfe, 0, 0, 0}, {GOAWAY, 0, 0, 8}};
	static const uint8_t payload[8] = {0, 1, 0, 0};
	struct scene x;

	(void)state;
	for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); i++) {
		scene_server(&x, NULL);
		h2_raw_request(x.peer, 1, false);
		for (int n = 0; n < MANY; n++)
			h2_raw_frame(x.peer, floods[i].type, floods[i].flags, floods[i].stream,
			    payload, floods[i].len);
		assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
		assert_int_equal(x.closed, x.opened);
		scene_free(&x);
	}
}

static void a_flood_from_a_peer_that_does_not_read_is_not_stored(void **state)
{
	struct h2_limits limits = {.ping_burst = 1u << 30};
	struct evbuffer *out;
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	bufferevent_disable(x.peer->bev, EV_READ);
	out = bufferevent_get_output(x.victim->bev);
	for (int n = 0; n < 100 && !x.victim->closed; n++) {
		for (int i = 0; i < 1000; i++)
			h2_raw_frame(x.peer, PING, 0, 0, "12345678", 8);
		event_base_loop(x.p.base, EVLOOP_NONBLOCK);
		if (x.victim->bev != NULL)
			assert_true(evbuffer_get_length(out) < H2_SEND_HIGH + 65536);
	}
	assert_true(h2_pair_run(&x.p, &x.victim->closed)); /* GOAWAY cannot be written: a linger */
	assert_int_equal(x.victim->why.code, TX_ELIMIT);
	scene_free(&x);
}

static void a_ping_for_each_time_that_we_sent_data_is_free(void **state)
{
	struct h2_limits limits = {.ping_burst = 2, .ping_rate = 1};
	static const struct h2_field ok[] = {H2_FIELD(":status", "200")};
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	h2_raw_request(x.peer, 1, false);
	h2_pair_settle(&x.p);
	assert_int_equal(h2_respond(x.last, ok, 1, false), 0);
	for (int i = 0; i < 200; i++) {
		struct evbuffer *b = evbuffer_new();

		evbuffer_add(b, "output", 6);
		assert_int_equal(h2_send(x.last, b), 0);
		evbuffer_free(b);
		h2_pair_settle(&x.p);
		h2_raw_frame(x.peer, PING, 0, 0, "estimate", 8);
		h2_pair_settle(&x.p);
	}
	assert_false(x.victim->closed);
	for (int i = 0; i < 200; i++)
		h2_raw_frame(x.peer, PING, 0, 0, "estimate", 8);
	assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
	scene_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(garbage_instead_of_the_preface_ends_the_connection),
	    cmocka_unit_test(an_answer_that_is_not_http2_ends_the_clients_connection),
	    cmocka_unit_test(a_request_in_single_bytes_is_served),
	    cmocka_unit_test(random_bytes_end_the_connection_and_nothing_else),
	    cmocka_unit_test(a_frame_larger_than_allowed_ends_the_connection),
	    cmocka_unit_test(frames_where_none_may_be_end_the_connection),
	    cmocka_unit_test(a_promised_push_ends_the_clients_connection),
	    cmocka_unit_test(a_request_without_its_pseudo_headers_is_reset_alone),
	    cmocka_unit_test(frames_of_unknown_types_are_ignored),
	    cmocka_unit_test(data_beyond_the_streams_window_is_not_delivered),
	    cmocka_unit_test(streams_beyond_the_limit_are_not_opened),
	    cmocka_unit_test(streams_beyond_a_limit_not_yet_known_are_refused),
	    cmocka_unit_test(a_header_over_the_limits_resets_its_stream_alone),
	    cmocka_unit_test(a_header_bomb_ends_the_connection),
	    cmocka_unit_test(a_flood_of_continuations_ends_the_connection),
	    cmocka_unit_test(rapid_resets_end_the_connection),
	    cmocka_unit_test(resets_that_we_are_made_to_send_end_the_connection),
	    cmocka_unit_test(resets_that_cross_ours_are_free),
	    cmocka_unit_test(a_server_may_reset_every_stream_of_a_client),
	    cmocka_unit_test(floods_of_control_frames_end_the_connection),
	    cmocka_unit_test(a_flood_from_a_peer_that_does_not_read_is_not_stored),
	    cmocka_unit_test(a_ping_for_each_time_that_we_sent_data_is_free),
	};

	return cmocka_run_group_tests_name("h2_attack", tests, NULL, NULL);
}
