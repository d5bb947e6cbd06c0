/* SPDX-License-Identifier: Apache-2.0 */
/* A Run call's outputs, from the keeper's rings to the client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/caller.h"

#define MIB ((size_t)1 << 20)

static void output_comes_in_order_and_the_exit_last(void **state)
{
	struct caller *f = *state;
	struct ring *out, *err;

	caller_start(f, false);
	caller_saw(f, "started(p1,1,0)");
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, 4096);
	err = caller_ring(f, KM_STDERR, RING_OUTPUT, 4096);
	fake_keeper_write(out, "hello", 5);
	caller_wake(f, 0);
	caller_saw(f, "out:0+5");
	fake_keeper_write(out, " world", 6);
	fake_keeper_write(err, "oops", 4);
	caller_wake(f, KM_BIT(KM_STDOUT));
	caller_saw(f, "err:0+4 out:5+6.");
	/* What came between the last wake-up and the end is sent before the exit. */
	fake_keeper_write(err, "!", 1);
	caller_end(f, 7);
	caller_saw(f, "err:4+1. exited OK");
	assert_memory_equal(f->bytes[0], "hello world", 11);
	assert_memory_equal(f->bytes[1], "oops!", 5);
	assert_int_equal(f->exit_code, 7);
	ring_unref(out);
	ring_unref(err);
}

static void a_process_without_output_ends_both_streams(void **state)
{
	struct caller *f = *state;
	union km_any msg;

	caller_start(f, false);
	caller_end(f, 0);
	caller_saw(f, "started(p1,1,0) out:0+0. err:0+0. exited OK");
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	assert_int_equal(msg.detach.delivered, KM_DELIVERED_LIKELY);
}

static void an_end_before_the_record_still_starts_first(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, false);
	union km_any msg;

	caller_send_start(f, false);
	caller_answer_start(f, &job);
	caller_end(f, 3);
	caller_saw(f, "");
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	/* Gone by now: `started` tells what is known all the same. */
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	caller_settle(f);
	caller_saw(f, "started(p1,0,0) out:0+0. err:0+0. exited OK");
}

static void the_keeper_is_told_what_was_seen(void **state)
{
	struct caller *f = *state;
	struct ring *out;
	union km_any msg;

	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, 4096);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.seen, 0);
	fake_keeper_write(out, "abc", 3);
	caller_wake(f, 0);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.att, f->att);
	assert_int_equal(msg.release.stream, KM_STDOUT);
	assert_int_equal(msg.release.acked, 0);
	assert_int_equal(msg.release.seen, 3);
	/* A wake-up for nothing new is not worth a message. */
	caller_wake(f, 0);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
	caller_send_ack(f, 1, 3);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 3);
	assert_int_equal(msg.release.seen, 3);
	ring_unref(out);
}

static void acks_are_told_by_the_quarter(void **state)
{
	static uint8_t data[4096];
	struct caller *f = *state;
	struct ring *out;
	union km_any msg;

	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	caller_wake(f, 0);
	while (fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL))
		assert_int_equal(msg.release.acked, 0);
	caller_send_ack(f, 1, 500);
	caller_send_ack(f, 1, 1023);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
	caller_send_ack(f, 1, 1024);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 1024);
	caller_send_ack(f, 1, 100);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
	caller_send_ack(f, 1, 4096);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 4096);
	ring_unref(out);
}

static void an_ack_beyond_what_was_sent_is_refused(void **state)
{
	struct caller *f = *state;
	struct ring *out;

	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, 4096);
	fake_keeper_write(out, "abc", 3);
	caller_wake(f, 0);
	caller_send_ack(f, 1, 4);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "ack.offset");
	caller_open(f);
	caller_start(f, false);
	caller_send_ack(f, 3, 0);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "ack.stream");
	ring_unref(out);
}

static void output_resumes_at_the_offset(void **state)
{
	struct caller *f = *state;
	Telex__V1__Resume resume = TELEX__V1__RESUME__INIT;
	struct km_job job = caller_job(f, true);
	struct ring *out;

	resume.stdout_offset = f->begin[0] = 3;
	caller_send_start_with(f, "p1", false, &resume, NULL);
	job.head[KM_STDOUT] = 6;
	caller_answer_start(f, &job);
	f->log[0] = '\0';
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	caller_settle(f);
	caller_saw(f, "out:3+3");
	assert_memory_equal(f->bytes[0], "def", 3);
	ring_unref(out);
}

/* Each stream by itself: one that was overtaken, and one that was not. */
static void one_stream_may_go_on_at_the_oldest_byte(void **state)
{
	struct caller *f = *state;
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;
	Telex__V1__Resume resume = TELEX__V1__RESUME__INIT;
	struct km_job job = caller_job(f, false);
	struct ring *out;
	union km_any msg;

	attach.process_id = (char *)"p1";
	attach.resume = &resume;
	resume.stdout_offset = UINT64_MAX;
	resume.stderr_offset = 2;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	q.attach = &attach;
	caller_send(f, &q);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_int_equal(msg.attach.from, KM_FROM_OFFSET);
	assert_true(msg.attach.offset[KM_STDOUT] == KM_OFFSET_OLDEST);
	assert_true(msg.attach.offset[KM_STDERR] == 2);
	f->att = job.att = msg.attach.att;
	job.tail[KM_STDOUT] = 4;
	job.head[KM_STDOUT] = 6;
	job.head[KM_STDERR] = 2;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	caller_settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, NULL, 0);
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	f->begin[0] = 4;
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	caller_settle(f);
	caller_saw(f, "started(p1,0,0) out:4+2");
	ring_unref(out);
}

static void an_attach_says_where_it_begins_and_how_it_counts(void **state)
{
	struct caller *f = *state;
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;
	struct km_job job = caller_job(f, false);
	struct ring *out;
	union km_any msg;

	attach.process_id = (char *)"p1";
	attach.from = TELEX__V1__ATTACH_FROM__ATTACH_FROM_NEWEST;
	attach.lossy = true;
	attach.attachment_key = 77;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	q.attach = &attach;
	caller_send(f, &q);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_int_equal(msg.attach.from, KM_FROM_NEWEST);
	assert_int_equal(msg.attach.flags, KM_ATTACH_LOSSY);
	assert_true(msg.attach.key == 77);
	f->att = job.att = msg.attach.att;
	job.tail[KM_STDOUT] = 0;
	job.head[KM_STDOUT] = 4;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	caller_settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, NULL, 0);
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	f->begin[0] = 4;
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	caller_settle(f);
	caller_saw(f, "started(p1,0,0) out:4+2");
	ring_unref(out);
}

static void another_with_its_key_takes_the_place_of_a_call(void **state)
{
	struct caller *f = *state;
	struct km_detached gone = {.why = KM_WHY_REPLACED};

	caller_start(f, false);
	gone.att = f->att;
	fake_keeper_send(f->keeper, KM_DETACHED, 0, &gone, -1);
	caller_refused(f, RPC_ABORTED, "REPLACED", NULL);
	/* The keeper has forgotten it already. */
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
}

static void an_offset_that_is_gone_is_out_of_range(void **state)
{
	struct caller *f = *state;
	struct ring *out;

	caller_start(f, false);
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	ring_set_oldest(out, 4);
	assert_int_equal(ring_release(out, 4), 0);
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	caller_refused(f, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", NULL);
	assert_string_equal(rpc_status_get(&f->status, "oldest"), "4");
	assert_string_equal(rpc_status_get(&f->status, "newest"), "6");
	ring_unref(out);
}

static void large_output_is_whole_and_in_pieces(void **state)
{
	struct caller *f = *state;
	size_t size = 4 * MIB, sent = 0;
	uint8_t *data = malloc(size);
	struct ring *out;
	union km_any msg;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	f->silent = true;
	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, MIB);
	while (sent < size) {
		size_t room, n = size - sent;

		ring_space(out, &room);
		assert_true(room > 0);
		n = n < room ? n : room;
		fake_keeper_write(out, data + sent, n);
		sent += n;
		caller_wake(f, 0);
		assert_int_equal(f->length[0], sent);
		caller_send_ack(f, 1, sent);
		while (fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL))
			assert_int_equal(ring_release(out, msg.release.acked), 0);
	}
	assert_memory_equal(f->bytes[0], data, size);
	assert_int_equal(f->largest, 256 * 1024);
	free(data);
	ring_unref(out);
}

static void a_slow_reader_bounds_what_is_sent(void **state)
{
	static uint8_t data[8 * MIB];
	struct caller *f = *state;
	struct ring *out;
	size_t owed;

	f->silent = f->hold = true;
	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	caller_wake(f, KM_BIT(KM_STDOUT));
	/* A window and one message reach the client at most; behind it waits what H2_SEND_HIGH
	 * allows. */
	assert_true(f->length[0] <= MIB + MIB / 4);
	for (int i = 0; i < 100 && f->length[0] < sizeof(data); i++) {
		owed = f->owed;
		f->owed = 0;
		rpc_credit(f->call, owed);
		caller_settle(f);
	}
	assert_int_equal(f->length[0], sizeof(data));
	caller_send_ack(f, 1, sizeof(data));
	assert_false(f->done);
	ring_unref(out);
}

static void a_stopped_reader_cannot_be_ahead(void **state)
{
	static uint8_t data[8 * MIB];
	struct caller *f = *state;
	struct ring *out;

	f->silent = f->hold = true;
	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	caller_wake(f, 0);
	/* Were this much sent, it would wait in this process's memory. The status waits behind what
	 * is queued. */
	caller_send_ack(f, 1, 5 * MIB / 2);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
	f->hold = false;
	rpc_credit(f->call, f->owed);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "ack.offset");
	ring_unref(out);
}

static void both_outputs_have_their_turn(void **state)
{
	static uint8_t data[2 * MIB];
	struct caller *f = *state;
	struct ring *out, *err;

	f->silent = f->hold = true;
	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	err = caller_ring(f, KM_STDERR, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	fake_keeper_write(err, data, sizeof(data));
	caller_wake(f, 0);
	assert_true(f->length[0] >= MIB / 4);
	assert_true(f->length[1] >= MIB / 4);
	ring_unref(out);
	ring_unref(err);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, caller_set_up, caller_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(output_comes_in_order_and_the_exit_last),
	    RUN_TEST(a_process_without_output_ends_both_streams),
	    RUN_TEST(an_end_before_the_record_still_starts_first),
	    RUN_TEST(the_keeper_is_told_what_was_seen),
	    RUN_TEST(acks_are_told_by_the_quarter),
	    RUN_TEST(an_ack_beyond_what_was_sent_is_refused),
	    RUN_TEST(output_resumes_at_the_offset),
	    RUN_TEST(one_stream_may_go_on_at_the_oldest_byte),
	    RUN_TEST(an_attach_says_where_it_begins_and_how_it_counts),
	    RUN_TEST(another_with_its_key_takes_the_place_of_a_call),
	    RUN_TEST(an_offset_that_is_gone_is_out_of_range),
	    RUN_TEST(large_output_is_whole_and_in_pieces),
	    RUN_TEST(a_slow_reader_bounds_what_is_sent),
	    RUN_TEST(a_stopped_reader_cannot_be_ahead),
	    RUN_TEST(both_outputs_have_their_turn),
	};

	return cmocka_run_group_tests_name("worker_run_output", tests, NULL, NULL);
}
