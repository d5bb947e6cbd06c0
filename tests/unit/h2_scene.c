/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <string.h>

#include "common/duration.h"
#include "tests/unit/h2_scene.h"

const struct h2_field scene_request[4] = {H2_FIELD(":method", "POST"), H2_FIELD(":scheme", "https"),
    H2_FIELD(":path", "/x"), H2_FIELD(":authority", "a")};

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

const struct h2_stream_ops scene_stream_ops = {on_headers, on_data, on_end, NULL, on_close};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct scene *x = arg;
	int64_t begin = clock_monotonic_ns();

	(void)c;
	while (clock_monotonic_ns() - begin < x->open_takes)
		;
	x->opened++;
	x->last = s;
	h2_stream_set(s, &scene_stream_ops, x);
	return 0;
}

static const struct h2_conn_ops conn_ops = {on_stream, NULL, NULL};

/* A server of ours, before the client's preface. */
void scene_bare(struct scene *x, const struct h2_limits *limits)
{
	memset(x, 0, sizeof(*x));
	h2_pair_init(&x->p);
	x->victim = &x->p.server;
	x->peer = &x->p.client;
	h2_pair_start(&x->p, x->victim, limits, &conn_ops, x);
}

void scene_server(struct scene *x, const struct h2_limits *limits)
{
	scene_bare(x, limits);
	h2_raw_preface(x->peer);
	h2_pair_settle(&x->p);
	h2_raw_frame(x->peer, SETTINGS, ACK, 0, NULL, 0);
	h2_pair_settle(&x->p);
	assert_false(x->victim->closed);
}

/* A client of ours with one request open. */
void scene_client(struct scene *x, const struct h2_limits *limits)
{
	memset(x, 0, sizeof(*x));
	h2_pair_init(&x->p);
	x->victim = &x->p.client;
	x->peer = &x->p.server;
	h2_pair_start(&x->p, x->victim, limits, &conn_ops, x);
	assert_int_equal(
	    h2_open(x->victim->conn, &x->last, scene_request, 4, false, &scene_stream_ops, x), 0);
	h2_pair_settle(&x->p);
	evbuffer_drain(bufferevent_get_input(x->peer->bev), 24);
}

void scene_free(struct scene *x)
{
	h2_pair_free(&x->p);
	assert_true(x->closed >= x->opened);
}

/* The connection ended for `code`, its streams before it, and the peer was told `h2_code`. */
void scene_assert_ended(struct scene *x, int code, uint32_t h2_code)
{
	struct h2_raw_frame f;
	uint32_t last = UINT32_MAX;

	/* Who is near its end is slowed down. */
	assert_true(h2_pair_run(&x->p, &x->victim->closed));
	h2_pair_settle(&x->p);
	assert_int_equal(x->victim->why.code, code);
	assert_true(strlen(x->victim->why.message) > 0);
	while (h2_raw_find(x->peer, GOAWAY, &f))
		last = f.payload[7];
	assert_int_equal(last, h2_code);
}

void scene_assert_reset(struct scene *x, uint32_t stream, uint32_t code)
{
	struct h2_raw_frame f;

	h2_pair_settle(&x->p);
	assert_true(h2_raw_find(x->peer, RST_STREAM, &f));
	assert_int_equal(f.stream, stream);
	assert_int_equal(f.payload[3], code);
}

/* An honest request is served as before. */
void scene_assert_serves(struct scene *x, uint32_t stream)
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
