/* SPDX-License-Identifier: Apache-2.0 */
/* How streams and connections of h2 end: by reset, close, drain and hang-up, from either side and
 * inside every callback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/h2_world.h"

#define SOME ((size_t)2 << 20)

/* ---- reset ---- */

static void a_reset_ends_both_ends_of_the_stream_alone(void **state)
{
	(void)state;
	for (int by_server = 0; by_server < 2; by_server++) {
		struct world *w = world_new(NULL, NULL);
		struct end *by = by_server ? &w->server[0] : &w->client[0];
		struct end *other = by_server ? &w->client[0] : &w->server[0];

		world_establish(w, 0);
		world_establish(w, 1);
		h2_reset(by->s, H2_INTERNAL_ERROR);
		h2_reset(by->s, H2_CANCEL);
		assert_false(by->closed);
		h2_pair_settle(&w->p);
		assert_true(by->closed && other->closed);
		assert_int_equal(by->code, H2_INTERNAL_ERROR);
		assert_int_equal(other->code, H2_INTERNAL_ERROR);
		world_send_text(w->client[1].s, "still here");
		h2_pair_settle(&w->p);
		world_assert_body(&w->server[1], "still here", 10);
		world_free(w);
	}
}

static void a_reset_before_the_request_was_sent_leaves_nothing(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	world_open(w, 0, false);
	world_send_text(w->client[0].s, "never");
	h2_reset(w->client[0].s, H2_CANCEL);
	h2_pair_settle(&w->p);
	assert_true(w->client[0].closed);
	assert_int_equal(w->client[0].code, H2_CANCEL);
	assert_int_equal(w->accepted, 0);
	assert_int_equal(h2_stream_count(w->p.client.conn), 0);
	world_open(w, 1, true);
	h2_pair_settle(&w->p);
	assert_int_equal(w->accepted, 1);
	world_free(w);
}

static void a_reset_is_told_although_the_peer_does_not_read(void **state)
{
	struct world *w = world_new(NULL, NULL);
	uint8_t *data = world_pattern(SOME);

	(void)state;
	world_establish(w, 0);
	bufferevent_disable(w->p.server.bev, EV_READ);
	world_send(&w->client[0], data, SOME, 65536, true);
	h2_pair_settle(&w->p);
	h2_reset(w->client[0].s, H2_CANCEL);
	h2_pair_settle(&w->p);
	assert_true(w->client[0].closed);
	bufferevent_enable(w->p.server.bev, EV_READ);
	h2_pair_settle(&w->p);
	assert_true(w->server[0].closed);
	assert_int_equal(w->server[0].code, H2_CANCEL);
	world_free(w);
	free(data);
}

static void a_stream_that_on_stream_refuses_is_reset(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	w->refuse = true;
	world_open(w, 0, false);
	h2_pair_settle(&w->p);
	assert_true(w->client[0].closed);
	assert_int_equal(w->client[0].code, H2_REFUSED_STREAM);
	assert_int_equal(h2_stream_count(w->p.server.conn), 0);
	w->refuse = false;
	world_open(w, 1, false);
	h2_pair_settle(&w->p);
	assert_int_equal(w->accepted, 1);
	world_free(w);
}

/* Traffic in both directions, with one end of stream 0 acting in one of its callbacks. True when it
 * did. */
static bool act_in_traffic(enum world_act act, enum world_at at, bool at_server)
{
	struct world *w = world_new(NULL, NULL);
	uint8_t *data = world_pattern(SOME);
	struct end *e = at_server ? &w->server[0] : &w->client[0];
	bool acted;

	e->act = act;
	e->at = at;
	for (int i = 0; i < 2; i++) {
		world_open(w, i, false);
		world_send(&w->client[i], data, SOME, 100000, true);
	}
	h2_pair_settle(&w->p);
	for (int i = 0; i < w->accepted; i++)
		if (w->server[i].s != NULL &&
		    h2_respond(w->server[i].s, world_response, 2, false) == 0)
			world_send(&w->server[i], data, SOME, 100000, false);
	h2_pair_settle(&w->p);
	acted = e->acted > 0;
	if (act == ACT_CLOSE && acted) {
		assert_null(w->p.client.conn);
		assert_null(w->p.server.conn);
		assert_int_equal((at_server ? &w->p.server : &w->p.client)->why.code, TX_OK);
	} else if (acted) {
		assert_true(w->client[0].closed);
		assert_non_null(w->p.client.conn);
		world_assert_body(&w->server[1], data, SOME);
	}
	world_free(w);
	free(data);
	return acted;
}

static void a_reset_inside_any_callback_is_safe(void **state)
{
	(void)state;
	for (enum world_at at = AT_STREAM; at < AT_COUNT; at++) {
		assert_true(act_in_traffic(ACT_RESET, at, true));
		assert_int_equal(act_in_traffic(ACT_RESET, at, false), at != AT_STREAM);
	}
}

static void a_close_inside_any_callback_is_safe(void **state)
{
	(void)state;
	for (enum world_at at = AT_STREAM; at < AT_COUNT; at++) {
		assert_true(act_in_traffic(ACT_CLOSE, at, true));
		assert_int_equal(act_in_traffic(ACT_CLOSE, at, false), at != AT_STREAM);
	}
}

/* ---- the connection ---- */

static void a_close_ends_all_streams_before_the_connection(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	world_establish(w, 0);
	world_establish(w, 1);
	h2_close(w->p.server.conn, H2_ENHANCE_YOUR_CALM);
	h2_close(w->p.server.conn, H2_NO_ERROR);
	assert_int_equal(h2_ping(w->p.server.conn, NULL), TX_ECLOSED);
	assert_false(w->server[0].closed);
	h2_pair_settle(&w->p); /* on_closed asserts that no stream is left */
	assert_true(w->p.server.closed);
	assert_int_equal(w->p.server.why.code, TX_OK);
	assert_int_equal(w->server[0].code, H2_ENHANCE_YOUR_CALM);
	assert_int_equal(w->server[1].why, TX_OK);
	/* The other end heard why, then that the line was gone. */
	assert_int_equal(w->p.client.goaways, 1);
	assert_int_equal(w->p.client.goaway_code, H2_ENHANCE_YOUR_CALM);
	assert_true(w->p.client.closed);
	assert_int_equal(w->p.client.why.code, TX_ECLOSED);
	assert_non_null(strstr(w->p.client.why.message, "ENHANCE_YOUR_CALM"));
	assert_int_equal(w->client[0].why, TX_ECLOSED);
	world_free(w);
}

static void a_close_of_what_the_peer_does_not_read_takes_no_longer_than_a_linger(void **state)
{
	struct world *w = world_new(NULL, NULL);
	uint8_t *data = world_pattern(SOME);

	(void)state;
	world_establish(w, 0);
	bufferevent_disable(w->p.server.bev, EV_READ);
	world_send(&w->client[0], data, SOME, 65536, true);
	h2_pair_settle(&w->p);
	h2_close(w->p.client.conn, H2_NO_ERROR);
	h2_pair_settle(&w->p);
	assert_true(w->client[0].closed);
	assert_false(w->p.client.closed);
	world_free(w); /* waits for it */
	free(data);
}

static void an_abort_leaves_nothing_when_it_returns(void **state)
{
	(void)state;
	for (int closing = 0; closing < 2; closing++) {
		struct world *w = world_new(NULL, NULL);
		uint8_t *data = world_pattern(SOME);

		world_establish(w, 0);
		bufferevent_disable(w->p.server.bev, EV_READ);
		world_send(&w->client[0], data, SOME, 65536, true);
		h2_pair_settle(&w->p);
		if (closing != 0) { /* it lingers */
			h2_close(w->p.client.conn, H2_NO_ERROR);
			h2_pair_settle(&w->p);
			assert_false(w->p.client.closed);
		}
		h2_abort(w->p.client.conn);
		assert_true(w->client[0].closed);
		assert_true(w->p.client.closed);
		assert_int_equal(w->p.client.why.code, TX_OK);
		bufferevent_enable(w->p.server.bev, EV_READ);
		h2_pair_settle(&w->p);
		assert_int_equal(w->p.server.why.code, TX_ECLOSED);
		world_free(w);
		free(data);
	}
}

static void a_draining_server_serves_what_is_open_and_takes_no_more(void **state)
{
	struct world *w = world_new(NULL, NULL);
	struct end *e = &w->client[1];

	(void)state;
	world_establish(w, 0);
	h2_drain(w->p.server.conn);
	h2_drain(w->p.server.conn);
	h2_pair_settle(&w->p);
	assert_int_equal(w->p.client.goaways, 2); /* the notice, then the last word */
	assert_int_equal(w->p.client.goaway_code, H2_NO_ERROR);
	assert_int_equal(
	    h2_open(w->p.client.conn, &e->s, world_request, 5, true, NULL, NULL), TX_ECLOSED);
	world_send_text(w->client[0].s, "on we go");
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), 0);
	h2_pair_settle(&w->p);
	world_assert_body(&w->server[0], "on we go", 8);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, true), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_true(w->p.server.closed);
	assert_int_equal(w->p.server.why.code, TX_OK);
	assert_int_equal(w->p.client.why.code, TX_OK);
	world_free(w);
}

static void a_request_that_crosses_the_notice_of_a_drain_is_served(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	h2_pair_settle(&w->p);
	bufferevent_disable(w->p.client.bev, EV_READ);
	h2_drain(w->p.server.conn);
	h2_pair_settle(&w->p);
	world_open(w, 0, true); /* before the client can see it */
	h2_pair_settle(&w->p);
	bufferevent_enable(w->p.client.bev, EV_READ);
	h2_pair_settle(&w->p);
	assert_int_equal(w->accepted, 1);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, true), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(w->client[0].code, H2_NO_ERROR);
	assert_int_equal(w->client[0].sections, 1);
	assert_int_equal(w->p.server.why.code, TX_OK);
	world_free(w);
}

static void a_request_that_a_drain_keeps_from_being_sent_is_refused(void **state)
{
	struct world *w = world_new(NULL, NULL);

	(void)state;
	world_establish(w, 0);
	h2_drain(w->p.server.conn);
	world_open(w, 1, true); /* the notice is read before this is sent */
	h2_pair_settle(&w->p);
	assert_int_equal(w->accepted, 1);
	assert_true(w->client[1].closed);
	assert_int_equal(w->client[1].code, H2_REFUSED_STREAM);
	assert_false(w->client[0].closed);
	world_free(w);
}

static void a_draining_client_finishes_its_streams(void **state)
{
	struct world *w = world_new(NULL, NULL);
	struct end *e = &w->client[1];

	(void)state;
	world_establish(w, 0);
	h2_drain(w->p.client.conn);
	assert_int_equal(
	    h2_open(w->p.client.conn, &e->s, world_request, 5, true, NULL, NULL), TX_ECLOSED);
	h2_pair_settle(&w->p);
	assert_false(w->p.client.closed);
	assert_int_equal(h2_respond(w->server[0].s, world_response, 2, true), 0);
	h2_pair_settle(&w->p);
	assert_int_equal(h2_end(w->client[0].s, NULL, 0), 0);
	h2_pair_settle(&w->p);
	assert_true(w->p.client.closed);
	assert_int_equal(w->p.client.why.code, TX_OK);
	assert_int_equal(w->p.server.why.code, TX_OK);
	world_free(w);
}

static void an_idle_connection_drains_at_once(void **state)
{
	(void)state;
	for (int by_server = 0; by_server < 2; by_server++) {
		struct world *w = world_new(NULL, NULL);

		h2_pair_settle(&w->p);
		h2_drain(by_server ? w->p.server.conn : w->p.client.conn);
		h2_pair_settle(&w->p);
		assert_true(w->p.client.closed);
		assert_true(w->p.server.closed);
		assert_int_equal(w->p.client.why.code, TX_OK);
		assert_int_equal(w->p.server.why.code, TX_OK);
		world_free(w);
	}
}

static void a_drain_ends_although_the_peer_answers_no_ping(void **state)
{
	struct h2_pair p;

	(void)state;
	h2_pair_init(&p);
	h2_pair_start(&p, &p.server, NULL, NULL, NULL);
	h2_raw_preface(&p.client);
	h2_pair_settle(&p);
	h2_drain(p.server.conn);
	assert_true(h2_pair_run(&p, &p.server.closed));
	assert_int_equal(p.server.why.code, TX_OK);
	h2_pair_free(&p);
}

static void a_peer_that_hangs_up_closes_the_connection(void **state)
{
	struct h2_pair p;

	(void)state;
	h2_pair_init(&p);
	h2_pair_start(&p, &p.server, NULL, NULL, NULL);
	h2_raw_preface(&p.client);
	h2_pair_settle(&p);
	h2_pair_cut(&p, &p.client);
	h2_pair_settle(&p);
	assert_true(p.server.closed);
	assert_int_equal(p.server.why.code, TX_ECLOSED);
	h2_pair_free(&p);
}

static void what_came_before_the_hang_up_is_delivered(void **state)
{
	struct world *w = world_new_raw_server(NULL);
	static const uint8_t status_200[] = {0x88};

	(void)state;
	world_open(w, 0, false);
	h2_pair_settle(&w->p);
	h2_raw_frame(&w->p.server, 4, 0, 0, NULL, 0);
	h2_raw_frame(&w->p.server, 1, 4, 1, status_200, 1);
	h2_raw_frame(&w->p.server, 0, 0, 1, "last words", 10);
	h2_pair_cut(&w->p, &w->p.server);
	h2_pair_settle(&w->p);
	assert_string_equal(w->client[0].headers, ":status: 200\n--\n");
	world_assert_body(&w->client[0], "last words", 10);
	assert_int_equal(w->client[0].ends, 0);
	assert_true(w->client[0].closed);
	assert_int_not_equal(w->client[0].code, H2_NO_ERROR);
	assert_int_equal(w->client[0].why, TX_ECLOSED);
	assert_int_equal(w->p.client.why.code, TX_ECLOSED);
	world_free(w);
}

/* What the transport says of its end is told as it is, and every stream ends with it. */
static void a_transport_that_fails_ends_the_connection_with_its_reason(void **state)
{
	static const struct {
		short what;
		int error, code;
	} ways[] = {{BEV_EVENT_TIMEOUT | BEV_EVENT_READING, 0, TX_ETIMEOUT},
	    {BEV_EVENT_ERROR | BEV_EVENT_READING, 0, TX_ETLS},
	    {BEV_EVENT_ERROR | BEV_EVENT_READING, ECONNRESET, TX_ESYS},
	    {BEV_EVENT_EOF | BEV_EVENT_READING, 0, TX_ECLOSED}};

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct world *w = world_new(NULL, NULL);

		world_establish(w, 0);
		errno = ways[i].error;
		bufferevent_trigger_event(h2_bufferevent(w->p.client.conn), ways[i].what, 0);
		h2_pair_settle(&w->p);
		assert_true(w->p.client.closed);
		assert_int_equal(w->p.client.why.code, ways[i].code);
		assert_int_equal(w->p.client.why.sys_errno, ways[i].error);
		assert_true(w->client[0].closed);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_reset_ends_both_ends_of_the_stream_alone),
	    cmocka_unit_test(a_reset_before_the_request_was_sent_leaves_nothing),
	    cmocka_unit_test(a_reset_is_told_although_the_peer_does_not_read),
	    cmocka_unit_test(a_stream_that_on_stream_refuses_is_reset),
	    cmocka_unit_test(a_reset_inside_any_callback_is_safe),
	    cmocka_unit_test(a_close_inside_any_callback_is_safe),
	    cmocka_unit_test(a_close_ends_all_streams_before_the_connection),
	    cmocka_unit_test(a_close_of_what_the_peer_does_not_read_takes_no_longer_than_a_linger),
	    cmocka_unit_test(an_abort_leaves_nothing_when_it_returns),
	    cmocka_unit_test(a_draining_server_serves_what_is_open_and_takes_no_more),
	    cmocka_unit_test(a_request_that_crosses_the_notice_of_a_drain_is_served),
	    cmocka_unit_test(a_request_that_a_drain_keeps_from_being_sent_is_refused),
	    cmocka_unit_test(a_draining_client_finishes_its_streams),
	    cmocka_unit_test(an_idle_connection_drains_at_once),
	    cmocka_unit_test(a_drain_ends_although_the_peer_answers_no_ping),
	    cmocka_unit_test(a_peer_that_hangs_up_closes_the_connection),
	    cmocka_unit_test(what_came_before_the_hang_up_is_delivered),
	    cmocka_unit_test(a_transport_that_fails_ends_the_connection_with_its_reason),
	};

	return cmocka_run_group_tests_name("h2_life", tests, NULL, NULL);
}
