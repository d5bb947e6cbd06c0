/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h2 when memory runs out: one scenario, run once for each allocation in it (ours, nghttp2's and
 * libevent's), which fails. Whatever comes of it, nothing crashes, leaks or hangs, on_close and
 * on_closed come once, and what looks whole is whole.
 */
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

#include "tests/support/alloc_fail.h"
#include "tests/support/h2_pair.h"

#define BODY ((size_t)300000)

static void silent(int severity, const char *text)
{
	(void)severity;
	(void)text;
}

/* ---- the scenario ---- */

struct side {
	struct h2_conn *conn;
	struct h2_stream *s;
	size_t got, left;
	unsigned opened, closes, sections;
	uint32_t code;
	bool ended, wrong;
};

static struct side client, server;
static struct event_base *base;
static uint8_t body[BODY];

static const struct h2_field request[] = {H2_FIELD(":method", "POST"), H2_FIELD(":scheme", "https"),
    H2_FIELD(":path", "/x"), H2_FIELD(":authority", "a"), H2_FIELD("x-a", "1"),
    H2_FIELD("x-b", "2"), H2_FIELD("x-c", "3"), H2_FIELD("x-d", "4"), H2_FIELD("x-e", "5"),
    H2_FIELD("x-f", "6"), H2_FIELD("x-g", "7"), H2_FIELD("x-h", "8"), H2_FIELD("x-i", "9"),
    H2_FIELD("x-j", "10"), H2_FIELD("x-k", "11"), H2_FIELD("x-l", "12"), H2_FIELD("x-m", "13")};
static const struct h2_field response[] = {H2_FIELD(":status", "200")};
static const struct h2_field trailers[] = {H2_FIELD("x-status", "0")};

static void push(struct side *x)
{
	while (x->left > 0 && x->s != NULL && h2_pending(x->s) < H2_SEND_LOW) {
		struct evbuffer *b = evbuffer_new();
		size_t n = x->left < 70000 ? x->left : 70000;

		if (b == NULL || evbuffer_add(b, body + BODY - x->left, 100) != 0 ||
		    evbuffer_add_reference(b, body + BODY - x->left + 100, n - 100, NULL, NULL) !=
		        0 ||
		    h2_send(x->s, b) < 0) {
			if (b != NULL)
				evbuffer_free(b);
			h2_reset(x->s, H2_INTERNAL_ERROR);
			return;
		}
		evbuffer_free(b);
		x->left -= n;
	}
	if (x->left == 0 && x->s != NULL && h2_end(x->s, trailers, 1) == TX_ENOMEM)
		h2_reset(x->s, H2_INTERNAL_ERROR);
}

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct side *x = arg;

	(void)s;
	(void)fields;
	(void)n;
	(void)end;
	x->sections++;
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	struct side *x = arg;

	if (x->got + len > BODY || memcmp(body + x->got, data, len) != 0)
		x->wrong = true;
	x->got += len;
	h2_credit(s, len);
}

static void on_end(struct h2_stream *s, void *arg)
{
	struct side *x = arg;

	x->ended = true;
	if (!h2_is_server(h2_stream_conn(s)))
		return;
	if (h2_respond(s, response, 1, false) < 0)
		h2_reset(s, H2_INTERNAL_ERROR);
	else
		push(x);
}

static void on_writable(struct h2_stream *s, void *arg)
{
	(void)s;
	push(arg);
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	struct side *x = arg;

	(void)s;
	x->s = NULL;
	x->closes++;
	x->code = code;
	h2_drain(h2_stream_conn(s));
}

static const struct h2_stream_ops ops = {on_headers, on_data, on_end, on_writable, on_close};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct side *x = arg;

	(void)c;
	x->s = s;
	x->opened++;
	h2_stream_set(s, &ops, x);
	return 0;
}

static void on_closed(struct h2_conn *c, const struct err *why, void *arg)
{
	struct side *x = arg;

	(void)c;
	assert_true(why->code <= 0);
	assert_null(x->s);
	x->conn = NULL;
}

static const struct h2_conn_ops conn_ops = {on_stream, NULL, on_closed};

static void start(struct side *x, struct bufferevent *bev, bool is_server)
{
	static const struct h2_limits limits = {.stream_window = 65000};
	struct err e;

	if (h2_conn_new(&x->conn, base, bev, is_server, &limits, &conn_ops, x, NULL, &e) < 0) {
		assert_int_equal(e.code, TX_ENOMEM);
		bufferevent_flush(bev, EV_WRITE, BEV_FINISHED);
		bufferevent_free(bev);
	}
}

static void settle(void)
{
	for (int i = 0; i < 200; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* True when the n-th allocation was never reached. */
static bool run(long n, bool keep)
{
	struct bufferevent *bev[2];
	bool whole;

	memset(&client, 0, sizeof(client));
	memset(&server, 0, sizeof(server));
	client.left = server.left = BODY;
	base = event_base_new();
	assert_non_null(base);
	assert_int_equal(bufferevent_pair_new(base, 0, bev), 0);
	alloc_fail_at(n, keep);
	start(&client, bev[0], false);
	start(&server, bev[1], true);
	if (client.conn != NULL &&
	    h2_open(client.conn, &client.s, request, 17, false, &ops, &client) == 0) {
		client.opened++;
		push(&client);
	}
	settle();
	alloc_fail_stop();
	if (client.conn != NULL)
		h2_close(client.conn, H2_NO_ERROR);
	if (server.conn != NULL)
		h2_close(server.conn, H2_NO_ERROR);
	while (client.conn != NULL || server.conn != NULL)
		event_base_loop(base, EVLOOP_ONCE);
	event_base_free(base);
	assert_int_equal(client.closes, client.opened);
	assert_int_equal(server.closes, server.opened);
	assert_false(client.wrong || server.wrong);
	whole = client.opened == 1 && client.code == H2_NO_ERROR;
	if (whole) {
		assert_int_equal(server.got, BODY);
		assert_int_equal(client.got, BODY);
		assert_int_equal(client.sections, 2);
		assert_true(client.ended && server.ended);
	}
	return alloc_fail_count() < n && whole;
}

static void each_allocation_may_fail_once(void **state)
{
	long n = 1;

	(void)state;
	while (!run(n, false))
		n++;
	assert_in_range(n, 100, 100000);
}

static void memory_may_run_out_at_any_point_for_good(void **state)
{
	long n = 1;

	(void)state;
	while (!run(n, true))
		n++;
	assert_in_range(n, 100, 100000);
}

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < BODY; i++)
		body[i] = (uint8_t)(i * 7 + i / 251);
	event_set_log_callback(silent);
	event_set_mem_functions(malloc, realloc, free);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	libevent_global_shutdown();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_allocation_may_fail_once),
	    cmocka_unit_test(memory_may_run_out_at_any_point_for_good),
	};

	return cmocka_run_group_tests_name("h2_memory", tests, setup, teardown);
}
