/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a Run call: whether its client has the exit; and its beginning in a queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/run.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"
#include "tests/support/worker_rig.h"

struct fixture {
	struct worker_rig rig;
	struct rpc_call *call;
	uint32_t att;
	char log[1024]; /* what the client saw, in short words */
	struct rpc_status status;
};

static void note(struct fixture *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct fixture *f, const char *fmt, ...)
{
	size_t used = strlen(f->log);
	va_list ap;

	if (used > 0 && used + 1 < sizeof(f->log))
		f->log[used++] = ' ';
	va_start(ap, fmt);
	vsnprintf(f->log + used, sizeof(f->log) - used, fmt, ap);
	va_end(ap);
}

static void saw(struct fixture *f, const char *log)
{
	worker_rig_settle(&f->rig);
	assert_string_equal(f->log, log);
	f->log[0] = '\0';
}

static void on_response(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	const Telex__V1__RunResponse *r = (const void *)msg;
	struct fixture *f = data;

	(void)c;
	switch (r->response_case) {
	case TELEX__V1__RUN_RESPONSE__RESPONSE_STARTED:
		note(f, "started(%d,%u,%s)", (int)r->started->process->state,
		    r->started->process->pid,
		    r->started->process->start_time != NULL ? "at" : "never");
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_RUNNING:
		note(f, "running(%u,%d)", r->running->pid, (int)r->running->start_time->seconds);
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_EXITED:
		note(f, "exited");
		break;
	default:
		break; /* outputs that end */
	}
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct fixture *f = data;

	(void)c;
	note(f, "%s", rpc_code_name(status->code));
	f->status = *status;
	f->call = NULL;
}

static int set_up(void **state)
{
	static const struct rpc_client_ops ops = {.message = on_response, .done = on_done};
	const struct rpc_client_options o = {
	    .authority = "test",
	    .service = "telex.v1.ProcessService",
	    .method = "Run",
	    .response = &telex__v1__run_response__descriptor,
	    .server_stream = true,
	};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	assert_int_equal(
	    rpc_open(&f->call, f->rig.pair.client.conn, f->rig.pair.base, &o, &ops, f), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	worker_rig_free(&f->rig);
	free(f);
	return 0;
}

static void send_request(struct fixture *f, const Telex__V1__RunRequest *q)
{
	assert_int_equal(rpc_send(f->call, &q->base), 0);
	worker_rig_settle(&f->rig);
}

/* A process, started or, with `pid` 0, queued. */
static void start(struct fixture *f, bool acknowledges, uint32_t pid)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunStart start = TELEX__V1__RUN_START__INIT;
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData argv = {4, (uint8_t *)"true"};
	struct km_job job = {.pid = pid,
	    .created = 1,
	    .state = pid != 0 ? KM_STATE_RUNNING : KM_STATE_QUEUED,
	    .start_ns = pid != 0 ? 1 : 0,
	    .id = "p1",
	    .owner = RIG_USER};
	union km_any msg;

	spec.argv = &argv;
	spec.n_argv = 1;
	spec.group = (char *)"build";
	start.process_id = (char *)"p1";
	start.spec = &spec;
	start.acknowledge_exit = acknowledges;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_START;
	q.start = &start;
	send_request(f, &q);
	assert_true(fake_keeper_take(f->rig.keeper, KM_START, &msg, NULL));
	f->att = job.att = msg.start.att;
	fake_keeper_send(f->rig.keeper, KM_JOB, msg.hdr.seq, &job, -1);
	worker_rig_settle(&f->rig);
	saw(f, pid != 0 ? "started(1,42,at)" : "started(4,0,never)");
}

static void end(struct fixture *f)
{
	struct km_ended m = {.att = f->att};

	m.exit.kind = KM_END_CODE;
	m.exit.reason = KM_REASON_EXITED;
	fake_keeper_send(f->rig.keeper, KM_ENDED, 0, &m, -1);
	worker_rig_settle(&f->rig);
}

static void acknowledge(struct fixture *f)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__ExitAck ack = TELEX__V1__EXIT_ACK__INIT;

	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_EXIT_ACK;
	q.exit_ack = &ack;
	send_request(f, &q);
}

static int delivered(struct fixture *f)
{
	union km_any msg;

	assert_true(fake_keeper_take(f->rig.keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	return msg.detach.delivered;
}

/* ---- the exit ---- */

static void the_call_stays_open_until_the_exit_is_acknowledged(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	end(f);
	saw(f, "exited");
	assert_int_equal(fake_keeper_count(f->rig.keeper, KM_DETACH), 0);
	acknowledge(f);
	saw(f, "OK");
	assert_int_equal(delivered(f), KM_DELIVERED_ACKNOWLEDGED);
}

static void a_half_that_ends_without_the_ack_is_none(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	end(f);
	saw(f, "exited");
	rpc_half_close(f->call);
	saw(f, "OK");
	assert_int_equal(delivered(f), KM_DELIVERED_NOT);
}

static void a_client_that_is_cut_off_has_not_acknowledged(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	end(f);
	saw(f, "exited");
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	assert_int_equal(delivered(f), KM_DELIVERED_NOT);
}

/* It cannot say any more what it has promised. */
static void one_that_ended_its_half_before_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	rpc_half_close(f->call);
	worker_rig_settle(&f->rig);
	end(f);
	saw(f, "exited OK");
	assert_int_equal(delivered(f), KM_DELIVERED_NOT);
}

static void without_the_promise_the_end_of_its_half_has_to_do(void **state)
{
	struct fixture *f = *state;

	start(f, false, 42);
	end(f);
	saw(f, "exited OK");
	assert_int_equal(delivered(f), KM_DELIVERED_LIKELY);
}

static void an_ack_of_what_was_not_sent_is_refused(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	acknowledge(f);
	saw(f, "INVALID_ARGUMENT");
	assert_string_equal(rpc_status_get(&f->status, "field"), "exit_ack");
	assert_int_equal(delivered(f), KM_DELIVERED_NOT);
}

static void what_else_comes_after_the_exit_is_ignored(void **state)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal s = TELEX__V1__RUN_SIGNAL__INIT;
	Telex__V1__StdinChunk chunk = TELEX__V1__STDIN_CHUNK__INIT;
	struct fixture *f = *state;

	start(f, true, 42);
	end(f);
	saw(f, "exited");
	s.signal = SIGTERM;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	q.signal = &s;
	send_request(f, &q);
	chunk.data.data = (uint8_t *)"late";
	chunk.data.len = 4;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_STDIN;
	q.stdin = &chunk;
	send_request(f, &q);
	assert_int_equal(fake_keeper_count(f->rig.keeper, KM_SIGNAL), 0);
	acknowledge(f);
	saw(f, "OK");
	assert_int_equal(delivered(f), KM_DELIVERED_ACKNOWLEDGED);
}

/* There is nothing that it could come back for. */
static void a_lost_keeper_after_the_exit_is_no_failure(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	end(f);
	saw(f, "exited");
	fake_keeper_die(f->rig.keeper);
	saw(f, "OK");
}

static void who_has_its_exit_is_not_sent_to_another_worker(void **state)
{
	struct fixture *f = *state;

	start(f, true, 42);
	end(f);
	saw(f, "exited");
	f->rig.worker.moving = true;
	keeper_client_moving(f->rig.worker.keeper);
	run_move_all(&f->rig.worker);
	saw(f, "");
	acknowledge(f);
	saw(f, "OK");
}

/* ---- the queue ---- */

static void running(struct fixture *f)
{
	struct km_running m = {.att = f->att, .pid = 42, .start_ns = INT64_C(9000000000)};

	fake_keeper_send(f->rig.keeper, KM_RUNNING, 0, &m, -1);
	worker_rig_settle(&f->rig);
}

static void a_queued_process_is_told_to_run(void **state)
{
	struct fixture *f = *state;

	start(f, false, 0);
	running(f);
	saw(f, "running(42,9)");
	end(f);
	saw(f, "exited OK");
}

static void one_that_never_runs_ends(void **state)
{
	struct fixture *f = *state;

	start(f, false, 0);
	end(f);
	saw(f, "exited OK");
}

/* Who attaches while it is started hears it once. */
static void running_is_not_said_twice(void **state)
{
	static const char *const argv[] = {"true"};
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;
	struct fixture *f = *state;
	struct km_job job = {.state = KM_STATE_QUEUED, .id = "p1", .owner = RIG_USER};
	struct job_record record = {.state = KM_STATE_RUNNING,
	    .pid = 42,
	    .start_ns = 1,
	    .id = "p1",
	    .owner = RIG_USER,
	    .user = "",
	    .group = "build",
	    .argc = 1,
	    .argv = argv};
	union km_any msg;

	attach.process_id = (char *)"p1";
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	q.attach = &attach;
	send_request(f, &q);
	assert_true(fake_keeper_take(f->rig.keeper, KM_ATTACH, &msg, NULL));
	f->att = job.att = msg.attach.att;
	fake_keeper_send(f->rig.keeper, KM_JOB, msg.hdr.seq, &job, -1);
	worker_rig_settle(&f->rig);
	running(f);
	assert_true(fake_keeper_take(f->rig.keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->rig.keeper, msg.hdr.seq, &record, 1);
	saw(f, "started(1,42,at)");
	end(f);
	saw(f, "exited OK");
}

/* ---- signals on the way ---- */

static void signals_with_values_keep_their_order(void **state)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal s = TELEX__V1__RUN_SIGNAL__INIT;
	Telex__V1__SignalValue value = TELEX__V1__SIGNAL_VALUE__INIT;
	struct fixture *f = *state;
	struct km_done done = {0};
	union km_any msg;

	start(f, false, 42);
	s.signal = SIGUSR1;
	s.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	s.value = &value;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	q.signal = &s;
	for (value.value = -1; value.value <= 1; value.value++)
		send_request(f, &q);
	for (int want = -1; want <= 1; want++) {
		assert_true(fake_keeper_take(f->rig.keeper, KM_SIGNAL, &msg, NULL));
		assert_int_equal(msg.signal.has_value, 1);
		assert_int_equal(msg.signal.value, want);
		assert_int_equal(msg.signal.target, KM_TARGET_PROCESS);
		fake_keeper_send(f->rig.keeper, KM_DONE, msg.hdr.seq, &done, -1);
		worker_rig_settle(&f->rig);
	}
	s.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_TREE;
	send_request(f, &q);
	saw(f, "INVALID_ARGUMENT");
	assert_string_equal(rpc_status_get(&f->status, "field"), "value");
}

static void a_signal_may_be_for_the_tree(void **state)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal s = TELEX__V1__RUN_SIGNAL__INIT;
	struct fixture *f = *state;
	union km_any msg;

	start(f, false, 42);
	s.signal = 64;
	s.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_TREE;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	q.signal = &s;
	send_request(f, &q);
	assert_true(fake_keeper_take(f->rig.keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.target, KM_TARGET_TREE);
	assert_int_equal(msg.signal.signo, 64);
	assert_int_equal(msg.signal.has_value, 0);
	assert_true(msg.signal.kill_after_ns < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_call_stays_open_until_the_exit_is_acknowledged),
	    TEST(a_half_that_ends_without_the_ack_is_none),
	    TEST(a_client_that_is_cut_off_has_not_acknowledged),
	    TEST(one_that_ended_its_half_before_is_not_waited_for),
	    TEST(without_the_promise_the_end_of_its_half_has_to_do),
	    TEST(an_ack_of_what_was_not_sent_is_refused),
	    TEST(what_else_comes_after_the_exit_is_ignored),
	    TEST(a_lost_keeper_after_the_exit_is_no_failure),
	    TEST(who_has_its_exit_is_not_sent_to_another_worker),
	    TEST(a_queued_process_is_told_to_run),
	    TEST(one_that_never_runs_ends),
	    TEST(running_is_not_said_twice),
	    TEST(signals_with_values_keep_their_order),
	    TEST(a_signal_may_be_for_the_tree),
	};

	return cmocka_run_group_tests_name("worker_exit", tests, NULL, NULL);
}
