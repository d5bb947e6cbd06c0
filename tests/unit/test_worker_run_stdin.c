/* SPDX-License-Identifier: Apache-2.0 */
/* A Run call's stdin, from the client to the keeper's ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/caller.h"

#define MIB ((size_t)1 << 20)

/* Takes KM_INPUT messages: the last one's head and eof. */
static bool take_input(struct caller *f, struct ring *in, bool *eof)
{
	union km_any msg;
	bool any = false;

	while (fake_keeper_take(f->keeper, KM_INPUT, &msg, NULL)) {
		any = true;
		*eof = msg.input.eof != 0;
		assert_int_equal(ring_accept(in, msg.input.head), 0);
	}
	return any;
}

static void stdin_goes_through_the_ring_and_is_acked(void **state)
{
	struct caller *f = *state;
	struct ring *in;
	const uint8_t *at;
	bool eof = false;
	size_t len;

	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	caller_send_stdin(f, 0, "abc", 3, false);
	caller_send_stdin(f, 3, "def", 3, true);
	f->log[0] = '\0';
	assert_true(take_input(f, in, &eof));
	assert_true(eof);
	at = ring_peek(in, 0, &len);
	assert_int_equal(len, 6);
	assert_memory_equal(at, "abcdef", 6);
	assert_int_equal(ring_release(in, 6), 0);
	caller_input_done(f, 6, false);
	caller_saw(f, "ack:6");
	ring_unref(in);
}

static void stdin_that_comes_before_the_job_waits_for_it(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, false);
	const uint8_t *at;
	struct ring *in;
	bool eof = false;
	union km_any msg;
	size_t len;

	caller_send_start(f, true);
	caller_send_stdin(f, 0, "abc", 3, false);
	caller_send_stdin(f, 3, "def", 3, true);
	job.stdin_pipe = job.stdin_held = 1;
	job.stdin_head = 2; /* an earlier call's */
	caller_answer_start(f, &job);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	assert_int_equal(ring_create(&in, RING_INPUT, 4096, NULL), 0);
	assert_int_equal(ring_accept(in, 2), 0);
	fake_keeper_ring(f->keeper, f->att, KM_STDIN, in);
	caller_settle(f);
	caller_saw(f, "started(p1,0,2)");
	assert_true(take_input(f, in, &eof));
	assert_true(eof);
	at = ring_peek(in, 2, &len);
	assert_int_equal(len, 4);
	assert_memory_equal(at, "cdef", 4);
	ring_unref(in);
}

static void stdin_that_is_repeated_is_taken_once(void **state)
{
	struct caller *f = *state;
	const uint8_t *at;
	struct ring *in;
	bool eof = false;
	size_t len;

	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	caller_send_stdin(f, 0, "abcd", 4, false);
	caller_send_stdin(f, 0, "ab", 2, false);
	caller_send_stdin(f, 2, "cdef", 4, false);
	assert_true(take_input(f, in, &eof));
	assert_false(eof);
	at = ring_peek(in, 0, &len);
	assert_int_equal(len, 6);
	assert_memory_equal(at, "abcdef", 6);
	ring_unref(in);
}

static void a_hole_in_stdin_is_refused(void **state)
{
	struct caller *f = *state;
	struct ring *in;

	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	caller_send_stdin(f, 1, "b", 1, false);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "stdin.offset");
	ring_unref(in);
}

static void stdin_after_its_end_is_refused(void **state)
{
	struct caller *f = *state;
	struct ring *in;

	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	caller_send_stdin(f, 0, "a", 1, true);
	caller_send_stdin(f, 0, "a", 1, true); /* again, as after a reconnect: no harm */
	assert_false(f->done);
	caller_send_stdin(f, 1, "b", 1, false);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "stdin.data");
	ring_unref(in);
}

static void a_chunk_over_a_mebibyte_is_refused(void **state)
{
	static uint8_t data[MIB + 1];
	struct caller *f = *state;

	caller_start(f, true);
	caller_send_stdin(f, 0, data, sizeof(data), false);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "stdin.data");
}

static void stdin_for_a_process_without_is_refused(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, true);

	caller_start(f, false);
	caller_send_stdin(f, 0, "a", 1, false);
	caller_refused(f, RPC_FAILED_PRECONDITION, "STDIN_NOT_PIPED", NULL);
	/* The same when it comes first. */
	caller_open(f);
	caller_send_start(f, false);
	caller_send_stdin(f, 0, "a", 1, false);
	caller_answer_start(f, &job);
	caller_refused(f, RPC_FAILED_PRECONDITION, "STDIN_NOT_PIPED", NULL);
}

static void stdin_that_another_holds_is_refused(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, true);

	job.stdin_pipe = 1;
	caller_send_start(f, true);
	caller_answer_start(f, &job);
	assert_false(f->done);
	caller_send_stdin(f, 0, "a", 1, false);
	caller_refused(f, RPC_FAILED_PRECONDITION, "STDIN_HELD", NULL);
}

static void stdin_waits_for_room_and_is_whole(void **state)
{
	struct caller *f = *state;
	size_t size = 3 * MIB, taken = 0, sent = 0;
	uint8_t *data = malloc(size);
	struct ring *in;
	bool eof = false;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	for (; sent < size; sent += MIB / 2)
		caller_send_stdin(f, sent, data + sent, MIB / 2, sent + MIB / 2 == size);
	/* What the window holds back waits with the client. */
	assert_true(rpc_pending(f->call) > MIB);
	while (taken < size) {
		const uint8_t *at;
		size_t len;

		assert_true(take_input(f, in, &eof));
		assert_true(eof == (ring_head(in) == size));
		at = ring_peek(in, taken, &len);
		assert_memory_equal(at, data + taken, len);
		taken += len;
		assert_int_equal(ring_release(in, taken), 0);
		caller_input_done(f, taken, false);
	}
	assert_true(eof);
	free(data);
	ring_unref(in);
}

static void a_process_that_closed_stdin_is_fed_no_more(void **state)
{
	static uint8_t data[MIB];
	struct caller *f = *state;
	struct ring *in;

	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	caller_send_stdin(f, 0, data, sizeof(data), false);
	f->log[0] = '\0';
	caller_input_done(f, 10, true);
	caller_saw(f, "ack:10closed");
	/* The rest is dropped, and never held back. */
	for (uint64_t at = MIB; at < 8 * MIB; at += MIB)
		caller_send_stdin(f, at, data, sizeof(data), false);
	assert_int_equal(rpc_pending(f->call), 0);
	assert_false(f->done);
	ring_unref(in);
}

static void acks_are_one_a_turn(void **state)
{
	struct caller *f = *state;
	struct km_input_done m = {.att = 0};
	struct ring *in;

	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	caller_send_stdin(f, 0, "abc", 3, false);
	f->log[0] = '\0';
	m.att = f->att;
	for (m.written = 1; m.written <= 3; m.written++) {
		struct km_input_done copy = m;

		fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &copy, -1);
	}
	caller_settle(f);
	caller_saw(f, "ack:3");
	ring_unref(in);
}

/* As much output as is sent at once stands before the exit: the ack does not wait until it is too
 * late. */
static void the_last_ack_comes_before_the_exit(void **state)
{
	static uint8_t data[H2_SEND_HIGH];
	struct caller *f = *state;
	struct km_input_done done = {.att = 0, .written = 3};
	struct ring *in, *out;

	f->silent = true;
	caller_start(f, true);
	in = caller_ring(f, KM_STDIN, RING_INPUT, 4096);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	caller_send_stdin(f, 0, "abc", 3, true);
	f->log[0] = '\0';
	fake_keeper_write(out, data, sizeof(data));
	done.att = f->att;
	fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &done, -1);
	caller_end(f, 0);
	caller_saw(f, "ack:3 exited OK");
	assert_int_equal(f->length[0], sizeof(data));
	ring_unref(in);
	ring_unref(out);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, caller_set_up, caller_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(stdin_goes_through_the_ring_and_is_acked),
	    RUN_TEST(stdin_that_comes_before_the_job_waits_for_it),
	    RUN_TEST(stdin_that_is_repeated_is_taken_once),
	    RUN_TEST(a_hole_in_stdin_is_refused),
	    RUN_TEST(stdin_after_its_end_is_refused),
	    RUN_TEST(a_chunk_over_a_mebibyte_is_refused),
	    RUN_TEST(stdin_for_a_process_without_is_refused),
	    RUN_TEST(stdin_that_another_holds_is_refused),
	    RUN_TEST(stdin_waits_for_room_and_is_whole),
	    RUN_TEST(a_process_that_closed_stdin_is_fed_no_more),
	    RUN_TEST(acks_are_one_a_turn),
	    RUN_TEST(the_last_ack_comes_before_the_exit),
	};

	return cmocka_run_group_tests_name("worker_run_stdin", tests, NULL, NULL);
}
