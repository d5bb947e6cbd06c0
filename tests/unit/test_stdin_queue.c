/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "lib/stdin_queue.h"

static uint8_t pattern(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

/* Puts up to len pattern bytes that begin at offset; returns how many were taken. */
static size_t put(struct stdin_queue *q, uint64_t offset, size_t len)
{
	uint8_t *data = malloc(len);
	size_t taken;

	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = pattern(offset + i);
	assert_int_equal(stdin_queue_put(q, data, len, &taken), 0);
	free(data);
	return taken;
}

/* Takes all that is unsent and checks it against the pattern. */
static void take_all(struct stdin_queue *q, uint64_t offset, size_t len, size_t max)
{
	struct evbuffer *out = evbuffer_new();
	const uint8_t *data;
	int n;

	assert_non_null(out);
	while ((n = stdin_queue_take(q, max, out)) > 0)
		assert_true((size_t)n <= max);
	assert_int_equal(n, 0);
	assert_int_equal(evbuffer_get_length(out), len);
	data = evbuffer_pullup(out, -1);
	for (size_t i = 0; i < len; i++)
		if (data[i] != pattern(offset + i))
			fail_msg("byte %zu is wrong", i);
	evbuffer_free(out);
}

static void bytes_come_out_as_they_went_in(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);

	(void)state;
	assert_int_equal(put(q, 0, 1), 1);
	assert_int_equal(put(q, 1, 10000), 10000);
	assert_int_equal(put(q, 10001, 300000), 300000);
	assert_int_equal(stdin_queue_unsent(q), 310001);
	take_all(q, 0, 310001, 1000);
	assert_int_equal(stdin_queue_sent(q), 310001);
	assert_int_equal(stdin_queue_unsent(q), 0);
	assert_int_equal(stdin_queue_held(q), 310001);
	stdin_queue_free(q);
}

static void no_more_than_the_room_is_taken(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);

	(void)state;
	assert_int_equal(put(q, 0, STDIN_QUEUE_ROOM + 5), STDIN_QUEUE_ROOM);
	assert_int_equal(put(q, 0, 1), 0);
	take_all(q, 0, STDIN_QUEUE_ROOM, STDIN_QUEUE_ROOM);
	assert_int_equal(put(q, 0, 1), 0);
	assert_int_equal(stdin_queue_ack(q, 100), 0);
	assert_int_equal(put(q, STDIN_QUEUE_ROOM, 1000), 100);
	stdin_queue_free(q);
}

static void a_long_stream_passes_through(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);
	uint64_t offset = 0;

	(void)state;
	for (size_t round = 0; round < 400; round++) {
		size_t len = round * 37 % 50000 + 1;

		assert_int_equal(put(q, offset, len), len);
		take_all(q, offset, len, 65536);
		offset += len;
		assert_int_equal(stdin_queue_ack(q, offset - len / 2), 0);
	}
	assert_int_equal(stdin_queue_ack(q, offset), 0);
	assert_int_equal(stdin_queue_held(q), 0);
	stdin_queue_free(q);
}

static void what_was_never_sent_cannot_be_acknowledged(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);

	(void)state;
	put(q, 0, 10);
	assert_int_equal(stdin_queue_ack(q, 1), TX_EPROTO);
	take_all(q, 0, 10, 100);
	assert_int_equal(stdin_queue_ack(q, 11), TX_EPROTO);
	assert_int_equal(stdin_queue_ack(q, UINT64_MAX), TX_EPROTO);
	assert_int_equal(stdin_queue_ack(q, 10), 0);
	assert_int_equal(stdin_queue_ack(q, 3), 0); /* old news */
	assert_int_equal(stdin_queue_held(q), 0);
	stdin_queue_free(q);
}

static void a_rewind_sends_again_what_is_not_acknowledged(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);

	(void)state;
	put(q, 0, 200000);
	take_all(q, 0, 200000, 65536);
	assert_int_equal(stdin_queue_ack(q, 140000), 0);
	assert_int_equal(stdin_queue_rewind(q, 139999), TX_EPROTO);
	assert_int_equal(stdin_queue_rewind(q, 200001), TX_EPROTO);
	assert_int_equal(stdin_queue_rewind(q, 150000), 0);
	take_all(q, 150000, 50000, 65536);
	stdin_queue_free(q);
}

static void queued_output_outlives_the_queue(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);
	struct evbuffer *out = evbuffer_new();
	const uint8_t *data;

	(void)state;
	put(q, 0, 5000);
	assert_int_equal(stdin_queue_take(q, 5000, out), 5000);
	stdin_queue_free(q);
	data = evbuffer_pullup(out, -1);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(data[i], pattern(i));
	evbuffer_free(out);
}

static void a_closed_queue_takes_and_drops(void **state)
{
	struct stdin_queue *q = stdin_queue_new(STDIN_QUEUE_ROOM);

	(void)state;
	put(q, 0, 5000);
	stdin_queue_close(q);
	assert_true(stdin_queue_closed(q));
	assert_int_equal(put(q, 0, 3 * STDIN_QUEUE_ROOM), 3 * STDIN_QUEUE_ROOM);
	assert_int_equal(stdin_queue_unsent(q), 0);
	assert_int_equal(stdin_queue_held(q), 0);
	assert_int_equal(stdin_queue_ack(q, 99999), 0);
	stdin_queue_free(q);
	stdin_queue_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bytes_come_out_as_they_went_in),
	    cmocka_unit_test(no_more_than_the_room_is_taken),
	    cmocka_unit_test(a_long_stream_passes_through),
	    cmocka_unit_test(what_was_never_sent_cannot_be_acknowledged),
	    cmocka_unit_test(a_rewind_sends_again_what_is_not_acknowledged),
	    cmocka_unit_test(queued_output_outlives_the_queue),
	    cmocka_unit_test(a_closed_queue_takes_and_drops),
	};

	return cmocka_run_group_tests_name("stdin_queue", tests, NULL, NULL);
}
