/* SPDX-License-Identifier: Apache-2.0 */
/* h2 as its users see it: what is sent arrives. Ends and aborts are in test_h2_life.c, hostile
 * peers in test_h2_attack.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/h2_world.h"

/* ---- requests and responses ---- */

static void request_and_response_cross_with_their_trailers(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	world_establish(w, 0);
	world_send_text(w->client[0].s, "ping");
	assert_int_equal(h2_end(w->client[0].s, world_trailers, 2), 0);
	h2_pair_settle(&w->p);
	assert_string_equal(w->server[0].headers,
	    ":method: POST\n:scheme: https\n:path: /p\n:authority: a\nx-one: 1\n--\n"
	    "x-status: 0\nx-text: fine\n--\n");
	world_assert_body(&w->server[0], "ping", 4);
	assert_int_equal(w->server[0].ends, 1);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, false), 0);
	world_send_text(w->server[0].s, "po");
	world_send_text(w->server[0].s, "ng");
	assert_int_equal(h2_end(w->server[0].s, world_trailers, 2), 0);
	h2_pair_settle(&w->p);
	assert_string_equal(
	    w->client[0].headers, ":status: 200\nx-two: 2\n--\nx-status: 0\nx-text: fine\n--\n");
	world_assert_body(&w->client[0], "pong", 4);
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
	world_open(w, 0, true);
	h2_pair_settle(&w->p);
	assert_int_equal(w->server[0].ends, 1);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, true), 0);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, true), TX_ESTATE);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].ends, 1);
	assert_true(w->client[0].closed && w->server[0].closed);
	world_free(w);
}

static void what_is_sent_before_the_response_headers_waits_for_them(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	world_open(w, 0, true);
	h2_pair_settle(&w->p);
	world_send_text(w->server[0].s, "early");
	assert_int_equal(h2_end(w->server[0].s, NULL, 0), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(h2_pending(w->server[0].s), 5);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, false), 0);
	h2_pair_settle(&w->p);
	world_assert_body(&w->client[0], "early", 5);
	assert_true(w->client[0].closed);
	world_free(w);
}

static void after_the_end_nothing_more_is_sent(void **state)
{
	struct world *w = world_new(NULL, NULL);
	struct evbuffer *b = evbuffer_new();

	(void)state;
	world_establish(w, 0);
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

static void a_whole_response_waits_for_the_end_of_the_request(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	world_establish(w, 0);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, false), 0);
	assert_int_equal(h2_end(w->server[0].s, world_trailers, 2), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].ends, 1);
	assert_int_equal(w->client[0].sections, 2);
	assert_false(w->client[0].closed || w->server[0].closed);
	/* What is written in the meantime is taken, and is no failure. */
	world_send_text(w->client[0].s, "late");
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), 0);
	h2_pair_settle(&w->p);
	assert_true(w->client[0].closed && w->server[0].closed);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_int_equal(w->server[0].code, H2_NO_ERROR);
	world_free(w);
}

static void a_request_that_outlasts_its_response_is_reset(void **state)
{
	const struct h2_limits limits = {.linger_ms = 1};
	struct world *w = world_new(NULL, &limits);

	(void)state;
	world_establish(w, 0);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, false), 0);
	assert_int_equal(h2_end(w->server[0].s, world_trailers, 2), 0);
	while (!w->client[0].closed)
		event_base_loop(w->p.base, EVLOOP_ONCE);
	assert_true(w->server[0].closed);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_int_equal(w->server[0].code, H2_CANCEL);
	world_free(w);
}

static void few_requests_may_outlast_their_responses(void **state)
{
	const struct h2_limits limits = {.max_streams = 3};
	struct world *w = world_new(NULL, &limits);

	(void)state;
	for (int i = 0; i < 3; i++) {
		world_establish(w, i);
		assert_int_equal(h2_respond(w->server[i].s, world_response, 2, true), 0);
		h2_pair_settle(&w->p);
	}
	assert_true(w->server[0].closed);
	assert_int_equal(w->server[0].code, H2_CANCEL);
	world_free(w);
}

static void several_sends_of_one_turn_make_one_piece_of_output(void **state)
{
	struct world *w = world_new(NULL, NULL);
	struct evbuffer *out;
	struct evbuffer_iovec v[8];

	(void)state;
	world_establish(w, 0);
	world_establish(w, 1);
	/* The other end does not read: the output stays to be looked at. */
	bufferevent_disable(w->p.server.bev, EV_READ);
	out = bufferevent_get_output(w->p.client.bev);
	world_send_text(w->client[0].s, "one");
	world_send_text(w->client[1].s, "two");
	world_send_text(w->client[0].s, "three");
	assert_int_equal(h2_ping(w->p.client.conn, NULL), 0);
	assert_int_equal(evbuffer_get_length(out), 0);
	h2_pair_settle(&w->p);
	assert_true(evbuffer_get_length(out) >= 11 + 3 * 9);
	assert_int_equal(evbuffer_peek(out, -1, NULL, v, 8), 1);
	bufferevent_enable(w->p.server.bev, EV_READ);
	h2_pair_settle(&w->p);
	world_assert_body(&w->server[0], "onethree", 8);
	world_assert_body(&w->server[1], "two", 3);
	world_free(w);
}

/* ---- bulk ---- */

#define BULK ((size_t)10 << 20)

/* Both directions at once, `limits` at both ends. */
static void bulk(const struct h2_limits *limits, size_t chunk, bool by_reference)
{
	struct world *w = world_new(limits, limits);
	uint8_t *data = world_pattern(BULK);
	struct end *ends[] = {&w->client[0], &w->server[0]};

	world_establish(w, 0);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, false), 0);
	for (int i = 0; i < 2; i++) {
		world_send(ends[i], data, BULK, chunk, by_reference);
	}
	assert_true(h2_pair_run(&w->p, &w->client[0].closed));
	h2_pair_settle(&w->p);
	for (int i = 0; i < 2; i++) {
		world_assert_body(ends[i], data, BULK);
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

/* ---- back-pressure ---- */

static void a_receiver_without_credit_stalls_its_own_stream_alone(void **state)
{
	struct h2_limits limits = {.stream_window = 100000};
	struct world *w = world_new(&limits, &limits);
	uint8_t *data = world_pattern(BULK);
	struct end *slow = &w->client[0], *fast = &w->client[1];
	struct evbuffer *out = bufferevent_get_output(w->p.client.bev);

	(void)state;
	world_establish(w, 0);
	world_establish(w, 1);
	w->server[0].hold = true;
	world_send(slow, data, BULK, 65536, true);
	world_send(fast, data, BULK, 65536, true);
	assert_true(h2_pair_run(&w->p, &w->server[1].ended));
	world_assert_body(&w->server[1], data, BULK);
	assert_int_equal(evbuffer_get_length(w->server[0].body), 100000);
	assert_true(h2_pending(slow->s) <= H2_SEND_HIGH + 65536);
	assert_int_equal(evbuffer_get_length(out), 0);
	assert_int_equal(slow->writables, 0);
	/* Credit sets it going again. */
	w->server[0].hold = false;
	h2_credit(w->server[0].s, 100000);
	assert_true(h2_pair_run(&w->p, &w->server[0].ended));
	world_assert_body(&w->server[0], data, BULK);
	assert_true(slow->writables > 0);
	world_free(w);
	free(data);
}

static void a_transport_that_does_not_write_bounds_the_output(void **state)
{
	struct world *w = world_new(NULL, NULL);
	uint8_t *data = world_pattern(BULK);
	struct evbuffer *out = bufferevent_get_output(w->p.client.bev);

	(void)state;
	world_establish(w, 0);
	bufferevent_disable(w->p.server.bev, EV_READ);
	world_send(&w->client[0], data, BULK, 65536, true);
	h2_pair_settle(&w->p);
	assert_in_range(evbuffer_get_length(out), H2_SEND_HIGH, H2_SEND_HIGH + 300000);
	assert_true(h2_pending(w->client[0].s) <= H2_SEND_HIGH + 65536);
	bufferevent_enable(w->p.server.bev, EV_READ);
	assert_true(h2_pair_run(&w->p, &w->server[0].ended));
	world_assert_body(&w->server[0], data, BULK);
	world_free(w);
	free(data);
}

static void a_large_chunk_is_never_copied(void **state)
{
	struct world *w = world_new(NULL, NULL);
	uint8_t *data = world_pattern(300000);
	struct evbuffer *out = bufferevent_get_output(w->p.client.bev);
	struct evbuffer_iovec v[32];
	size_t in_place = 0;
	int n;

	(void)state;
	world_establish(w, 0);
	bufferevent_disable(w->p.server.bev, EV_READ);
	world_send(&w->client[0], data, 300000, 300000, true);
	h2_pair_settle(&w->p);
	n = evbuffer_peek(out, -1, NULL, v, 32);
	assert_in_range(n, 1, 32);
	for (int i = 0; i < n; i++)
		if ((uint8_t *)v[i].iov_base >= data && (uint8_t *)v[i].iov_base < data + 300000)
			in_place += v[i].iov_len;
	assert_int_equal(in_place, 300000);
	bufferevent_enable(w->p.server.bev, EV_READ);
	assert_true(h2_pair_run(&w->p, &w->server[0].ended));
	world_assert_body(&w->server[0], data, 300000);
	world_free(w);
	free(data);
}

static unsigned freed;

static void count_freed(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	(void)arg;
	freed++;
}

static void a_reference_is_released_once_after_its_last_byte(void **state)
{
	struct h2_limits limits = {.stream_window = 70000};
	struct world *w = world_new(&limits, &limits);
	uint8_t *data = world_pattern(200000);
	struct evbuffer *b = evbuffer_new();

	(void)state;
	freed = 0;
	world_establish(w, 0);
	w->server[0].hold = true;
	evbuffer_add_reference(b, data, 200000, count_freed, NULL);
	assert_int_equal(h2_send(w->client[0].s, b), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(h2_pending(w->client[0].s), 130000);
	assert_int_equal(freed, 0);
	w->server[0].hold = false;
	h2_credit(w->server[0].s, 70000);
	h2_pair_settle(&w->p);
	assert_int_equal(freed, 1);
	world_assert_body(&w->server[0], data, 200000);
	/* And when the stream goes with it half sent. */
	w->server[0].hold = true;
	evbuffer_add_reference(b, data, 200000, count_freed, NULL);
	assert_int_equal(h2_send(w->client[0].s, b), 0);
	h2_pair_settle(&w->p);
	h2_reset(w->client[0].s, H2_CANCEL);
	h2_pair_settle(&w->p);
	assert_int_equal(freed, 2);
	evbuffer_free(b);
	world_free(w);
	free(data);
}

static void the_peers_limit_of_streams_is_kept(void **state)
{
	struct h2_limits two = {.max_streams = 2};
	struct world *w = world_new(NULL, &two);
	struct end *e = &w->client[2];

	(void)state;
	world_establish(w, 0);
	world_establish(w, 1);
	assert_int_equal(
	    h2_open(w->p.client.conn, &e->s, world_request, 5, true, NULL, NULL), TX_ELIMIT);
	h2_reset(w->client[0].s, H2_CANCEL);
	h2_pair_settle(&w->p);
	world_establish(w, 2);
	assert_int_equal(h2_stream_count(w->p.server.conn), 2);
	world_free(w);
}

static unsigned pongs;

static void on_pong(struct h2_conn *c, void *arg)
{
	(void)c;
	(void)arg;
	pongs++;
}

static void a_ping_is_answered_once(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	pongs = 0;
	assert_int_equal(h2_ping(w->p.client.conn, on_pong), 0);
	assert_int_equal(h2_ping(w->p.client.conn, on_pong), TX_ESTATE);
	assert_int_equal(pongs, 0);
	h2_pair_settle(&w->p);
	assert_int_equal(pongs, 1);
	assert_int_equal(h2_ping(w->p.server.conn, on_pong), 0);
	assert_int_equal(h2_ping(w->p.client.conn, on_pong), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(pongs, 3);
	world_free(w);
}

static void fields_too_large_to_send_are_told_at_once(void **state)
{
	struct world *w = world_new(NULL, NULL);
	char *big = malloc(70000);
	struct h2_field fields[] = {H2_FIELD("x", "y"), {"big", big, 3, 70000}};
	struct end *e = &w->client[1];

	(void)state;
	memset(big, 'b', 70000);
	world_establish(w, 0);
	assert_int_equal(h2_end(w->client[0].s, fields, 2), TX_ETOOBIG);
	assert_int_equal(h2_respond(w->server[0].s, fields, 2, true), TX_ETOOBIG);
	assert_int_equal(h2_open(w->p.client.conn, &e->s, fields, 2, true, NULL, NULL), TX_ETOOBIG);
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), 0);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, true), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_true(w->client[0].closed);
	world_free(w);
	free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_and_response_cross_with_their_trailers),
	    cmocka_unit_test(a_bodyless_exchange_ends_with_its_headers),
	    cmocka_unit_test(what_is_sent_before_the_response_headers_waits_for_them),
	    cmocka_unit_test(after_the_end_nothing_more_is_sent),
	    cmocka_unit_test(a_whole_response_waits_for_the_end_of_the_request),
	    cmocka_unit_test(a_request_that_outlasts_its_response_is_reset),
	    cmocka_unit_test(few_requests_may_outlast_their_responses),
	    cmocka_unit_test(several_sends_of_one_turn_make_one_piece_of_output),
	    cmocka_unit_test(ten_megabytes_each_way_by_reference),
	    cmocka_unit_test(ten_megabytes_each_way_under_small_windows),
	    cmocka_unit_test(ten_megabytes_each_way_in_small_chunks),
	    cmocka_unit_test(a_receiver_without_credit_stalls_its_own_stream_alone),
	    cmocka_unit_test(a_transport_that_does_not_write_bounds_the_output),
	    cmocka_unit_test(a_large_chunk_is_never_copied),
	    cmocka_unit_test(a_reference_is_released_once_after_its_last_byte),
	    cmocka_unit_test(the_peers_limit_of_streams_is_kept),
	    cmocka_unit_test(a_ping_is_answered_once),
	    cmocka_unit_test(fields_too_large_to_send_are_told_at_once),
	};

	return cmocka_run_group_tests_name("h2", tests, NULL, NULL);
}
