/* SPDX-License-Identifier: Apache-2.0 */
/* h2 against peers that send more than was granted, or too much of what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <string.h>

#include "tests/unit/h2_scene.h"

#define MANY 20000

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
	scene_assert_reset(&x, 1, 3 /* FLOW_CONTROL_ERROR */);
	assert_true(x.bytes <= 30000 + sizeof(zeros));
	assert_int_equal(x.closed, 1);
	scene_assert_serves(&x, 3);
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
	scene_assert_ended(&x, TX_EPROTO, H2_PROTOCOL_ERROR);
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
	scene_assert_reset(&x, 5, H2_REFUSED_STREAM);
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
	scene_assert_reset(&x, 3, H2_ENHANCE_YOUR_CALM);
	send_fields(&x, 5, 20, 3900, 0);
	scene_assert_reset(&x, 5, H2_ENHANCE_YOUR_CALM);
	assert_int_equal(x.opened, 1);
	scene_assert_serves(&x, 7);
	scene_free(&x);
}

static void a_header_bomb_ends_the_connection(void **state)
{
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	send_fields(&x, 1, 1, 3900, 16000); /* 20 KB that unfold to 62 MB */
	scene_assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
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
		scene_assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
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
	struct h2_limits limits = {.reset_rate = 1};
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	for (uint32_t i = 0; i < MANY; i++) {
		h2_raw_request(x.peer, 2 * i + 1, false);
		send_reset(&x, 2 * i + 1);
	}
	scene_assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
	assert_in_range(x.opened, 1000, 1100);
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
		scene_assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
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
	scene_assert_serves(&x, 101);
	scene_free(&x);
}

static void a_server_may_reset_every_stream_of_a_client(void **state)
{
	struct h2_limits limits = {.reset_burst = 3, .reset_rate = 1};
	struct scene x;

	(void)state;
	scene_client(&x, &limits);
	h2_raw_frame(x.peer, SETTINGS, 0, 0, NULL, 0);
	for (uint32_t i = 0; i < 50; i++) {
		send_reset(&x, 2 * i + 1);
		h2_pair_settle(&x.p);
		assert_null(x.last);
		assert_int_equal(h2_open(x.victim->conn, &x.last, scene_request, 4, false,
		                     &scene_stream_ops, &x),
		    0);
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
		scene_assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
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
	scene_assert_ended(&x, TX_ELIMIT, H2_ENHANCE_YOUR_CALM);
	scene_free(&x);
}

/* Others have their turn in between. */
static void a_turn_has_so_many_frames(void **state)
{
	struct h2_limits limits = {.max_streams = 1000};
	struct scene x;
	int loops = 0;

	(void)state;
	scene_server(&x, &limits);
	for (uint32_t i = 0; i < 300; i++)
		h2_raw_request(x.peer, 2 * i + 1, true);
	while (x.opened == 0 && loops++ < 100)
		event_base_loop(x.p.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_in_range(x.opened, 1, 64);
	h2_pair_settle(&x.p);
	assert_int_equal(x.opened, 300);
	assert_false(x.victim->closed);
	scene_assert_serves(&x, 601);
	scene_free(&x);
}

/* Whose frames cost more has fewer of them. */
static void a_turn_has_so_much_time(void **state)
{
	struct h2_limits limits = {.max_streams = 1000};
	struct scene x;
	int loops = 0;

	(void)state;
	scene_server(&x, &limits);
	x.open_takes = (int64_t)1000 * 1000;
	for (uint32_t i = 0; i < 64; i++)
		h2_raw_request(x.peer, 2 * i + 1, true);
	while (x.opened == 0 && loops++ < 100)
		event_base_loop(x.p.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_in_range(x.opened, 1, 8);
	x.open_takes = 0;
	h2_pair_settle(&x.p);
	assert_int_equal(x.opened, 64);
	assert_false(x.victim->closed);
	scene_free(&x);
}

/* What it sent before it hung up is looked at all the same, and at once. */
static void who_hangs_up_has_no_more_turns(void **state)
{
	struct h2_limits limits = {.max_streams = 1000};
	struct scene x;

	(void)state;
	scene_server(&x, &limits);
	for (uint32_t i = 0; i < 300; i++)
		h2_raw_request(x.peer, 2 * i + 1, true);
	h2_pair_settle(&x.p);
	h2_pair_cut(&x.p, x.peer);
	h2_pair_settle(&x.p);
	assert_int_equal(x.opened, 300);
	assert_int_equal(x.closed, 300);
	assert_true(x.victim->closed);
	scene_free(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	    cmocka_unit_test(a_turn_has_so_many_frames),
	    cmocka_unit_test(a_turn_has_so_much_time),
	    cmocka_unit_test(who_hangs_up_has_no_more_turns),
	};

	return cmocka_run_group_tests_name("h2_flood", tests, NULL, NULL);
}
