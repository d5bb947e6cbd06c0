/* SPDX-License-Identifier: Apache-2.0 */
/* A Run call between a client on an in-memory connection and a fake keeper: how it begins and ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/run.h"
#include "common/job_spec.h"
#include "tests/support/caller.h"

#define MIB ((size_t)1 << 20)

static void send_attach(struct caller *f, bool with_stdin)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;

	attach.process_id = (char *)"p1";
	attach.stdin = with_stdin;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	q.attach = &attach;
	caller_send(f, &q);
}

static void send_signal(struct caller *f, uint32_t signo)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal s = TELEX__V1__RUN_SIGNAL__INIT;

	s.signal = signo;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	q.signal = &s;
	caller_send(f, &q);
}

static void send_resize(struct caller *f, uint32_t rows, uint32_t columns)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__Resize resize = TELEX__V1__RESIZE__INIT;
	Telex__V1__TerminalSize size = TELEX__V1__TERMINAL_SIZE__INIT;

	size.rows = rows;
	size.columns = columns;
	resize.size = &size;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_RESIZE;
	q.resize = &resize;
	caller_send(f, &q);
}

/* ---- starting ---- */

static void a_start_reaches_the_keeper_whole(void **state)
{
	struct caller *f = *state;
	struct job_spec *spec = NULL;
	union km_any msg;
	struct err e;
	int fd;

	caller_send_start(f, true);
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, &fd));
	assert_string_equal(msg.start.id, "p1");
	assert_string_equal(msg.start.owner, RIG_USER);
	assert_int_equal(job_spec_open(&spec, fd, &e), 0);
	assert_string_equal(spec->argv[0], "true");
	assert_true(spec->stdin_pipe);
	job_spec_free(spec);
	close(fd);
}

static void the_first_request_must_start_or_attach(void **state)
{
	struct caller *f = *state;

	send_signal(f, SIGTERM);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "request");
	caller_open(f);
	rpc_half_close(f->call);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "request");
	caller_open(f);
	caller_send_start_with(f, "-bad", false, NULL, NULL);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "process_id");
	assert_int_equal(fake_keeper_count(f->keeper, KM_START), 0);
}

static void a_second_start_is_refused_and_detaches(void **state)
{
	struct caller *f = *state;

	caller_start(f, false);
	caller_send_start(f, false);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "request");
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void a_failed_start_says_its_stage(void **state)
{
	struct km_refused why = {
	    .why = KM_WHY_START, .stage = KM_STAGE_CHDIR, .sys_errno = ENOTDIR, .text = "no dir"};
	struct caller *f = *state;
	union km_any msg;

	caller_send_start(f, false);
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	fake_keeper_send(f->keeper, KM_REFUSED, msg.hdr.seq, &why, -1);
	caller_settle(f);
	caller_refused(f, rpc_code_from_errno(ENOTDIR), "START_FAILED", NULL);
	assert_string_equal(rpc_status_get(&f->status, "stage"), "chdir");
	assert_string_equal(rpc_status_get(&f->status, "errno_name"), "ENOTDIR");
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
}

static void attaching_asks_for_the_record_first(void **state)
{
	static const char *const argv[] = {"true"};
	struct caller *f = *state;
	struct km_job job = caller_job(f, false);
	struct job_record record = {.state = KM_STATE_RUNNING,
	    .pid = 42,
	    .id = "p1",
	    .owner = RIG_USER,
	    .user = "",
	    .group = "",
	    .argc = 1,
	    .argv = argv};
	union km_any msg;

	send_attach(f, false);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_int_equal(msg.attach.from, KM_FROM_OLDEST);
	assert_int_equal(msg.attach.want_stdin, 0);
	f->att = job.att = msg.attach.att;
	job.tail[KM_STDOUT] = job.head[KM_STDOUT] = 100;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	caller_settle(f);
	caller_saw(f, "");
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.one, 1);
	assert_string_equal(msg.list.id, "p1");
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	caller_settle(f);
	caller_saw(f, "started(p1,0,0)");
}

static void attaching_to_nothing_is_not_found(void **state)
{
	struct caller *f = *state;
	union km_any msg;

	send_attach(f, false);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	caller_refused(f, RPC_NOT_FOUND, "NO_SUCH_PROCESS", NULL);
}

/* ---- signals, heartbeat, the end ---- */

static void signals_go_to_the_keeper_one_by_one(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, true);
	struct km_done done = {0};
	union km_any msg;

	caller_send_start(f, false);
	send_signal(f, SIGTERM);
	send_signal(f, SIGINT);
	assert_int_equal(fake_keeper_count(f->keeper, KM_SIGNAL), 0);
	caller_answer_start(f, &job);
	assert_int_equal(fake_keeper_count(f->keeper, KM_SIGNAL), 1);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.signo, SIGINT);
	assert_int_equal(msg.signal.target, KM_TARGET_GROUP);
	assert_string_equal(msg.signal.by, RIG_USER);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	caller_settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.signo, SIGTERM);
	/* Too late for the process: no trouble of the client's. */
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_ENDED);
	caller_settle(f);
	assert_false(f->done);
	send_signal(f, 65);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "signal");
}

/* A running one with a terminal, attached to. */
static void attach_to_terminal(struct caller *f, struct km_job *job)
{
	union km_any msg;

	job->terminal = 1;
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	f->att = job->att = msg.attach.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, job, -1);
	caller_settle(f);
}

static void of_many_sizes_the_last_counts(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, false);
	struct km_done done = {0};
	union km_any msg;

	send_attach(f, false);
	send_resize(f, 1, 1);
	send_resize(f, 24, 80);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 0);
	attach_to_terminal(f, &job);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 1);
	for (uint32_t i = 1; i <= 100; i++)
		send_resize(f, i, 10000);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 1);
	assert_true(fake_keeper_take(f->keeper, KM_RESIZE, &msg, NULL));
	assert_int_equal(msg.resize.rows, 24);
	assert_int_equal(msg.resize.columns, 80);
	assert_string_equal(msg.resize.id, "p1");
	assert_string_equal(msg.resize.by, RIG_USER);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	caller_settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_RESIZE, &msg, NULL));
	assert_int_equal(msg.resize.rows, 100);
	/* Too late for the process: no trouble of the client's. */
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_ENDED);
	caller_settle(f);
	assert_false(f->done);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 0);
}

static void absurd_sizes_are_refused(void **state)
{
	static const uint32_t sizes[][2] = {
	    {0, 80}, {24, 0}, {10001, 80}, {24, 10001}, {65536 + 24, 80}, {24, UINT32_MAX}};
	struct caller *f = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct km_job job = caller_job(f, false);

		if (i > 0)
			caller_open(f);
		send_attach(f, false);
		attach_to_terminal(f, &job);
		send_resize(f, sizes[i][0], sizes[i][1]);
		caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    sizes[i][0] == 24 ? "resize.size.columns" : "resize.size.rows");
		assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 0);
	}
}

static void a_size_without_a_terminal_is_refused(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, false);
	union km_any msg;

	caller_start(f, false);
	send_resize(f, 24, 80);
	caller_refused(f, RPC_FAILED_PRECONDITION, "NO_TERMINAL", NULL);
	/* Before the keeper has started it: the spec says so. */
	caller_open(f);
	caller_send_start(f, false);
	send_resize(f, 24, 80);
	caller_refused(f, RPC_FAILED_PRECONDITION, "NO_TERMINAL", NULL);
	/* Attached, only the keeper knows. */
	caller_open(f);
	send_attach(f, false);
	send_resize(f, 24, 80);
	assert_false(f->done);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	f->att = job.att = msg.attach.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	caller_refused(f, RPC_FAILED_PRECONDITION, "NO_TERMINAL", NULL);
}

static void an_idle_stream_has_a_heartbeat(void **state)
{
	struct caller *f = *state;
	Google__Protobuf__Duration second = GOOGLE__PROTOBUF__DURATION__INIT;
	struct km_job job = caller_job(f, true);

	second.nanos = 999999999;
	caller_send_start_with(f, "p1", false, NULL, &second);
	caller_refused(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "heartbeat_interval");
	caller_open(f);
	second.seconds = 1;
	second.nanos = 0;
	caller_send_start_with(f, "p1", false, NULL, &second);
	caller_answer_start(f, &job);
	assert_true(h2_pair_run(&f->rig.pair, &f->beat));
}

static void a_cancelled_call_detaches_and_delivers_nothing(void **state)
{
	struct caller *f = *state;
	union km_any msg;

	caller_start(f, false);
	rpc_cancel(f->call);
	caller_settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	assert_int_equal(msg.detach.delivered, 0);
}

static void a_call_cancelled_before_the_answer_detaches_after_it(void **state)
{
	struct caller *f = *state;
	struct km_job job = caller_job(f, true);

	caller_send_start(f, false);
	rpc_cancel(f->call);
	caller_settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
	caller_answer_start(f, &job);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void a_lost_connection_detaches(void **state)
{
	struct caller *f = *state;

	caller_start(f, false);
	h2_close(f->rig.pair.client.conn, H2_NO_ERROR);
	caller_settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void without_its_keeper_every_call_is_unavailable(void **state)
{
	struct caller *f = *state;

	caller_start(f, false);
	fake_keeper_die(f->keeper);
	caller_refused(f, RPC_UNAVAILABLE, "KEEPER_GONE", NULL);
	assert_true(f->rig.keeper_lost);
	caller_open(f);
	caller_send_start(f, false);
	caller_refused(f, RPC_UNAVAILABLE, "KEEPER_GONE", NULL);
}

static void an_exit_that_is_not_read_is_not_delivered(void **state)
{
	static uint8_t data[4 * MIB];
	struct caller *f = *state;
	struct ring *out;
	union km_any msg;

	f->silent = f->hold = true;
	caller_start(f, false);
	out = caller_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	caller_end(f, 0);
	rpc_cancel(f->call);
	caller_settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.delivered, 0);
	ring_unref(out);
}

/* It may be gone by then, and nobody would know: it is to find the process when it comes back. */
static void a_client_that_ended_its_half_before_the_exit_has_not_got_it(void **state)
{
	struct caller *f = *state;
	union km_any msg;

	caller_start(f, false);
	rpc_half_close(f->call);
	caller_settle(f);
	caller_end(f, 0);
	caller_saw(f, "started(p1,1,0) out:0+0. err:0+0. exited OK");
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	assert_int_equal(msg.detach.delivered, 0);
}

/* Another worker has taken over. */
static void move_all(struct caller *f)
{
	f->rig.worker.draining = f->rig.worker.moving = true;
	keeper_client_moving(f->rig.worker.keeper);
	run_move_all(&f->rig.worker);
	caller_settle(f);
}

static void who_can_come_back_is_sent_away_and_has_not_left(void **state)
{
	struct caller *f = *state;
	union km_any msg;

	f->key = 7;
	caller_start(f, false);
	move_all(f);
	caller_refused(f, RPC_UNAVAILABLE, "SHUTTING_DOWN", NULL);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.moved, 1);
	assert_int_equal(msg.detach.delivered, 0);
	/* And who comes from now on. */
	caller_open(f);
	caller_send_start(f, false);
	caller_refused(f, RPC_UNAVAILABLE, "SHUTTING_DOWN", NULL);
}

static void who_cannot_come_back_goes_on_where_it_is(void **state)
{
	struct caller *f = *state;
	union km_any msg;

	caller_start(f, false);
	move_all(f);
	caller_end(f, 4);
	caller_saw(f, "started(p1,1,0) out:0+0. err:0+0. exited OK");
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.delivered, KM_DELIVERED_LIKELY);
}

static void a_worker_that_leaves_ends_its_calls(void **state)
{
	struct caller *f = *state;

	caller_start(f, false);
	keeper_client_leave(f->rig.worker.keeper);
	caller_refused(f, RPC_UNAVAILABLE, "KEEPER_GONE", NULL);
	assert_true(f->rig.keeper_lost);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, caller_set_up, caller_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(a_start_reaches_the_keeper_whole),
	    RUN_TEST(the_first_request_must_start_or_attach),
	    RUN_TEST(a_second_start_is_refused_and_detaches),
	    RUN_TEST(a_failed_start_says_its_stage),
	    RUN_TEST(attaching_asks_for_the_record_first),
	    RUN_TEST(attaching_to_nothing_is_not_found),
	    RUN_TEST(signals_go_to_the_keeper_one_by_one),
	    RUN_TEST(of_many_sizes_the_last_counts),
	    RUN_TEST(absurd_sizes_are_refused),
	    RUN_TEST(a_size_without_a_terminal_is_refused),
	    RUN_TEST(an_idle_stream_has_a_heartbeat),
	    RUN_TEST(a_cancelled_call_detaches_and_delivers_nothing),
	    RUN_TEST(a_call_cancelled_before_the_answer_detaches_after_it),
	    RUN_TEST(a_lost_connection_detaches),
	    RUN_TEST(without_its_keeper_every_call_is_unavailable),
	    RUN_TEST(an_exit_that_is_not_read_is_not_delivered),
	    RUN_TEST(a_client_that_ended_its_half_before_the_exit_has_not_got_it),
	    RUN_TEST(who_can_come_back_is_sent_away_and_has_not_left),
	    RUN_TEST(who_cannot_come_back_goes_on_where_it_is),
	    RUN_TEST(a_worker_that_leaves_ends_its_calls),
	};

	return cmocka_run_group_tests_name("worker_run", tests, NULL, NULL);
}
