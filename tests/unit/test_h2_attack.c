/* SPDX-License-Identifier: Apache-2.0 */
/* h2 against peers that do not speak HTTP/2, or break it. Those that send too much are in
 * test_h2_flood.c. */
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
		scene_assert_ended(&x, TX_EPROTO, H2_PROTOCOL_ERROR);
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
	scene_assert_ended(&x, TX_EPROTO, 6 /* FRAME_SIZE_ERROR */);
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
	scene_assert_ended(&x, TX_EPROTO, H2_PROTOCOL_ERROR);
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
	scene_assert_reset(&x, 1, H2_PROTOCOL_ERROR);
	h2_raw_frame(x.peer, HEADERS, END_HEADERS, 3, upper_case, sizeof(upper_case));
	scene_assert_reset(&x, 3, H2_PROTOCOL_ERROR);
	h2_raw_frame(x.peer, HEADERS, END_HEADERS, 5, connection, sizeof(connection));
	scene_assert_reset(&x, 5, H2_PROTOCOL_ERROR);
	assert_int_equal(x.opened, 0);
	scene_assert_serves(&x, 7);
	scene_free(&x);
}

static void frames_of_unknown_types_are_ignored(void **state)
{
	struct scene x;

	(void)state;
	scene_server(&x, NULL);
	for (uint8_t type = 0xa; type < 0x40; type++)
		h2_raw_frame(x.peer, type, 0xff, type % 3, "payload", 7);
	scene_assert_serves(&x, 1);
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
	};

	return cmocka_run_group_tests_name("h2_attack", tests, NULL, NULL);
}
