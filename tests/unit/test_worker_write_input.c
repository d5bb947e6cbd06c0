/* SPDX-License-Identifier: Apache-2.0 */
/* A WriteInput call between a client on an in-memory connection and a fake keeper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"
#include "tests/support/worker_rig.h"

struct fixture {
	struct worker_rig rig;
	struct fake_keeper *keeper; /* the rig's */
	struct rpc_call *call;
	struct ring *ring; /* the keeper's */
	uint32_t att;
	uint64_t seq;
	bool done, answered, closed;
	uint64_t offset;
	struct rpc_status status;
};

static void on_response(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	const Telex__V1__WriteInputResponse *r = (const void *)msg;
	struct fixture *f = data;

	(void)c;
	f->answered = true;
	f->offset = r->offset;
	f->closed = r->closed;
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct fixture *f = data;

	(void)c;
	f->status = *status;
	f->done = true;
	f->call = NULL;
}

static void settle(struct fixture *f)
{
	worker_rig_settle(&f->rig);
}

static void write_as(
    struct fixture *f, const char *id, uint64_t offset, const void *data, size_t len, bool eof)
{
	static const struct rpc_client_ops ops = {.message = on_response, .done = on_done};
	const struct rpc_client_options o = {
	    .authority = "test",
	    .service = "telex.v1.ProcessService",
	    .method = "WriteInput",
	    .response = &telex__v1__write_input_response__descriptor,
	};
	Telex__V1__WriteInputRequest q = TELEX__V1__WRITE_INPUT_REQUEST__INIT;
	union km_any msg;

	q.process_id = (char *)id;
	q.offset = offset;
	q.data.data = (uint8_t *)data;
	q.data.len = len;
	q.eof = eof;
	f->done = f->answered = false;
	assert_int_equal(
	    rpc_open(&f->call, f->rig.pair.client.conn, f->rig.pair.base, &o, &ops, f), 0);
	assert_int_equal(rpc_send(f->call, &q.base), 0);
	rpc_half_close(f->call);
	settle(f);
	if (!fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL))
		return;
	assert_int_equal(msg.attach.flags, KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT);
	assert_int_equal(msg.attach.want_stdin, 1);
	f->att = msg.attach.att;
	f->seq = msg.hdr.seq;
}

static void write_input(struct fixture *f, uint64_t offset, const void *data, size_t len, bool eof)
{
	write_as(f, "p1", offset, data, len, eof);
}

/* KM_JOB of a process that has `head` bytes of stdin; and its ring, where there is one to come. */
static void answer_with(struct fixture *f, struct km_job job)
{
	job.att = f->att;
	snprintf(job.id, sizeof(job.id), "p1");
	snprintf(job.owner, sizeof(job.owner), RIG_USER);
	fake_keeper_send(f->keeper, KM_JOB, f->seq, &job, -1);
	settle(f);
}

static void answer(struct fixture *f, uint64_t head)
{
	const struct km_job job = {
	    .state = KM_STATE_RUNNING, .stdin_pipe = 1, .stdin_held = 1, .stdin_head = head};

	answer_with(f, job);
	if (f->done)
		return;
	fake_keeper_ring(f->keeper, f->att, KM_STDIN, f->ring);
	settle(f);
}

/* Takes KM_INPUT as the keeper does; returns its head. */
static uint64_t take_input(struct fixture *f, bool eof)
{
	union km_any m;

	assert_true(fake_keeper_take(f->keeper, KM_INPUT, &m, NULL));
	assert_int_equal(m.input.eof, eof);
	assert_int_equal(ring_accept(f->ring, m.input.head), 0);
	return m.input.head;
}

/* Answers the question that follows the bytes. */
static void confirm(struct fixture *f)
{
	struct km_info_reply reply = {0};
	union km_any m;

	assert_true(fake_keeper_take(f->keeper, KM_INFO, &m, NULL));
	fake_keeper_send(f->keeper, KM_INFO_REPLY, m.hdr.seq, &reply, -1);
	settle(f);
}

static void input_done(struct fixture *f, uint64_t written, bool closed)
{
	struct km_input_done m = {.att = f->att, .written = written, .closed = closed};

	fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &m, -1);
	settle(f);
}

static void refused(const struct fixture *f, int code, const char *reason)
{
	assert_true(f->done);
	assert_int_equal(f->status.code, code);
	assert_string_equal(f->status.reason, reason);
}

static void answered(const struct fixture *f, uint64_t offset, bool closed)
{
	assert_true(f->done);
	assert_int_equal(f->status.code, RPC_OK);
	assert_true(f->answered);
	assert_int_equal(f->offset, offset);
	assert_int_equal(f->closed, closed);
}

static void detached(struct fixture *f)
{
	union km_any m;

	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &m, NULL));
	assert_int_equal(m.detach.att, f->att);
}

static void make_ring(struct fixture *f, uint64_t offset)
{
	struct err e;

	ring_unref(f->ring);
	assert_int_equal(ring_create_at(&f->ring, RING_INPUT, 4096, offset, &e), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	f->keeper = f->rig.keeper;
	make_ring(f, 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	worker_rig_free(&f->rig);
	ring_unref(f->ring);
	free(f);
	return 0;
}

/* ---- the bytes ---- */

static void bytes_are_answered_when_the_keeper_has_them(void **state)
{
	struct fixture *f = *state;
	const uint8_t *at;
	size_t len;

	write_input(f, 0, "hello", 5, false);
	answer(f, 0);
	/* The question is answered before the bytes were seen: it is asked again. */
	confirm(f);
	assert_false(f->done);
	assert_int_equal(take_input(f, false), 5);
	confirm(f);
	answered(f, 5, false);
	at = ring_peek(f->ring, 0, &len);
	assert_int_equal(len, 5);
	assert_memory_equal(at, "hello", 5);
	detached(f);
}

static void what_it_has_already_is_passed_over(void **state)
{
	struct fixture *f = *state;
	const uint8_t *at;
	size_t len;

	make_ring(f, 3);
	write_input(f, 0, "hello", 5, true);
	answer(f, 3);
	assert_int_equal(take_input(f, true), 5);
	confirm(f);
	answered(f, 5, false);
	at = ring_peek(f->ring, 3, &len);
	assert_int_equal(len, 2);
	assert_memory_equal(at, "lo", 2);
	detached(f);
	/* All of it: nothing is left to do. */
	write_input(f, 0, "hello", 5, false);
	answer(f, 5);
	answered(f, 5, false);
	assert_int_equal(fake_keeper_count(f->keeper, KM_INPUT), 0);
}

static void more_than_there_is_room_for_waits(void **state)
{
	static uint8_t data[10000];
	struct fixture *f = *state;
	uint64_t head = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	write_input(f, 0, data, sizeof(data), true);
	answer(f, 0);
	while (head < sizeof(data)) {
		const uint8_t *at;
		uint64_t next;
		size_t len;

		assert_false(f->done);
		next = take_input(f, head + 4096 >= sizeof(data));
		at = ring_peek(f->ring, head, &len);
		assert_int_equal(len, next - head);
		assert_memory_equal(at, data + head, len);
		head = next;
		assert_int_equal(ring_release(f->ring, head), 0);
		if (head < sizeof(data))
			input_done(f, head, false);
	}
	confirm(f);
	answered(f, sizeof(data), false);
}

static void the_end_alone_is_given(void **state)
{
	struct fixture *f = *state;

	write_input(f, 0, NULL, 0, true);
	answer(f, 0);
	assert_int_equal(take_input(f, true), 0);
	confirm(f);
	answered(f, 0, false);
	/* And again, by one that had no answer. */
	write_input(f, 0, NULL, 0, true);
	answer_with(
	    f, (struct km_job){
	           .state = KM_STATE_RUNNING, .stdin_pipe = 1, .stdin_held = 1, .stdin_closed = 1});
	answered(f, 0, false);
}

static void what_was_given_stays_when_its_client_goes_away(void **state)
{
	struct fixture *f = *state;

	write_input(f, 0, "hello", 5, false);
	answer(f, 0);
	rpc_cancel(f->call);
	/* The bytes before the goodbye. */
	detached(f);
	assert_int_equal(take_input(f, false), 5);
}

/* ---- what does not go ---- */

static void a_hole_is_out_of_range(void **state)
{
	struct fixture *f = *state;

	write_input(f, 9, "x", 1, false);
	answer(f, 4);
	refused(f, RPC_OUT_OF_RANGE, "OFFSET_AHEAD");
	assert_string_equal(rpc_status_get(&f->status, "expected"), "4");
	detached(f);
}

static void a_process_that_closed_its_stdin_says_so(void **state)
{
	struct fixture *f = *state;

	write_input(f, 0, "hello", 5, false);
	answer(f, 0);
	input_done(f, 2, true);
	answered(f, 2, true);
	write_input(f, 2, "hello", 5, false);
	answer_with(f, (struct km_job){.state = KM_STATE_RUNNING,
	                   .stdin_pipe = 1,
	                   .stdin_held = 1,
	                   .stdin_closed = 1,
	                   .stdin_head = 2});
	answered(f, 2, true);
}

static void without_a_stdin_it_is_refused(void **state)
{
	struct fixture *f = *state;

	write_input(f, 0, "x", 1, false);
	answer_with(f, (struct km_job){.state = KM_STATE_RUNNING, .stdin_closed = 1});
	refused(f, RPC_FAILED_PRECONDITION, "STDIN_NOT_PIPED");
}

static void after_the_end_it_is_refused(void **state)
{
	struct km_ended ended = {.att = 0};
	struct fixture *f = *state;

	write_input(f, 0, "x", 1, false);
	answer_with(
	    f, (struct km_job){
	           .state = KM_STATE_ENDED, .stdin_pipe = 1, .stdin_held = 1, .stdin_closed = 1});
	refused(f, RPC_FAILED_PRECONDITION, "PROCESS_ENDED");
	detached(f);
	/* And when it ends before it began to read: a queued one. */
	write_input(f, 0, "x", 1, false);
	answer_with(f, (struct km_job){.state = KM_STATE_QUEUED, .stdin_pipe = 1, .stdin_held = 1});
	assert_false(f->done);
	ended.att = f->att;
	fake_keeper_send(f->keeper, KM_ENDED, 0, &ended, -1);
	settle(f);
	refused(f, RPC_FAILED_PRECONDITION, "PROCESS_ENDED");
}

static void who_holds_stdin_is_said(void **state)
{
	struct km_refused why = {.why = KM_WHY_STDIN_HELD, .text = "spiffe://test/user/bob"};
	struct km_detached gone = {.why = KM_WHY_STDIN_HELD};
	struct fixture *f = *state;

	write_input(f, 0, "x", 1, false);
	fake_keeper_send(f->keeper, KM_REFUSED, f->seq, &why, -1);
	settle(f);
	refused(f, RPC_FAILED_PRECONDITION, "STDIN_HELD");
	assert_string_equal(rpc_status_get(&f->status, "holder"), "spiffe://test/user/bob");
	/* It is taken away in between. */
	write_input(f, 0, "x", 1, false);
	answer(f, 0);
	gone.att = f->att;
	fake_keeper_send(f->keeper, KM_DETACHED, 0, &gone, -1);
	settle(f);
	refused(f, RPC_FAILED_PRECONDITION, "STDIN_HELD");
	/* Nothing is told of what is gone. */
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
}

static void bad_requests_ask_nobody(void **state)
{
	static uint8_t data[(1 << 20) + 1];
	struct fixture *f = *state;

	write_as(f, "no/such", 0, "x", 1, false);
	refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	write_input(f, 0, data, sizeof(data), false);
	refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "data");
	write_input(f, UINT64_MAX, "xy", 2, false);
	refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "offset");
	assert_int_equal(fake_keeper_count(f->keeper, KM_ATTACH), 0);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(bytes_are_answered_when_the_keeper_has_them),
	    RUN_TEST(what_it_has_already_is_passed_over),
	    RUN_TEST(more_than_there_is_room_for_waits),
	    RUN_TEST(the_end_alone_is_given),
	    RUN_TEST(what_was_given_stays_when_its_client_goes_away),
	    RUN_TEST(a_hole_is_out_of_range),
	    RUN_TEST(a_process_that_closed_its_stdin_says_so),
	    RUN_TEST(without_a_stdin_it_is_refused),
	    RUN_TEST(after_the_end_it_is_refused),
	    RUN_TEST(who_holds_stdin_is_said),
	    RUN_TEST(bad_requests_ask_nobody),
	};

	return cmocka_run_group_tests_name("worker_write_input", tests, NULL, NULL);
}
