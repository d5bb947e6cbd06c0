/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService but for Run: questions about one process, and List. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "telex/v1/process.pb-c.h"
#include "tests/support/asker.h"

static const char *const sleep_argv[] = {"sleep", "9"};

static struct job_record a_record(const char *id)
{
	struct job_record r = {.state = KM_STATE_RUNNING,
	    .pid = 42,
	    .id = id,
	    .owner = RIG_USER,
	    .user = "",
	    .group = "",
	    .argc = 2,
	    .argv = sleep_argv};

	return r;
}

static void ask_process(struct asker *f, const char *method,
    const ProtobufCMessageDescriptor *response, const ProtobufCMessage *request)
{
	asker_ask(
	    f, "telex.v1.ProcessService", method, response, strcmp(method, "List") == 0, request);
}

static void ask_start(struct asker *f, const char *id)
{
	Telex__V1__StartRequest q = TELEX__V1__START_REQUEST__INIT;
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData argv[] = {{5, (uint8_t *)"sleep"}, {1, (uint8_t *)"9"}};

	spec.argv = argv;
	spec.n_argv = 2;
	q.process_id = (char *)id;
	q.spec = &spec;
	ask_process(f, "Start", &telex__v1__start_response__descriptor, &q.base);
}

static void start_answers_with_the_process(void **state)
{
	struct asker *f = *state;
	struct km_job job = {.pid = 42, .created = 1, .state = KM_STATE_RUNNING, .id = "p1"};
	const Telex__V1__StartResponse *r;
	union km_any msg;

	ask_start(f, "p1");
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	assert_int_equal(msg.start.att, 0);
	assert_string_equal(msg.start.owner, RIG_USER);
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	asker_answered(f, RPC_OK, "");
	r = (const Telex__V1__StartResponse *)f->last;
	assert_true(r->created);
	assert_int_equal(r->process->pid, 42);
	assert_int_equal(r->process->n_argv, 2);
}

static void starting_again_finds_the_same(void **state)
{
	struct asker *f = *state;
	struct km_job job = {.pid = 42, .state = KM_STATE_RUNNING, .id = "p1"};
	struct job_record record = a_record("p1");
	const Telex__V1__StartResponse *r;
	union km_any msg;

	ask_start(f, "p1");
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	worker_rig_settle(&f->rig);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	asker_answered(f, RPC_OK, "");
	r = (const Telex__V1__StartResponse *)f->last;
	assert_false(r->created);
	assert_string_equal(r->process->process_id, "p1");
}

static void a_start_that_is_refused_says_why(void **state)
{
	struct asker *f = *state;
	union km_any msg;

	ask_start(f, "p1");
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_EXISTS);
	asker_answered(f, RPC_ALREADY_EXISTS, "PROCESS_EXISTS");
	ask_start(f, "..");
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void a_signal_is_sent_for_who_asked(void **state)
{
	struct asker *f = *state;
	Telex__V1__SignalRequest q = TELEX__V1__SIGNAL_REQUEST__INIT;
	struct km_refused ended = {.why = KM_WHY_ENDED, .text = "exited with 0"};
	struct km_done done = {0};
	union km_any msg;

	q.process_id = (char *)"p1";
	q.signal = SIGHUP;
	q.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_string_equal(msg.signal.id, "p1");
	assert_string_equal(msg.signal.by, RIG_USER);
	assert_int_equal(msg.signal.signo, SIGHUP);
	assert_int_equal(msg.signal.target, KM_TARGET_PROCESS);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	fake_keeper_send(f->keeper, KM_REFUSED, msg.hdr.seq, &ended, -1);
	asker_answered(f, RPC_FAILED_PRECONDITION, "PROCESS_ENDED");
	assert_string_equal(rpc_status_get(&f->status, "ending"), "exited with 0");
	q.signal = 65;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_int_equal(fake_keeper_count(f->keeper, KM_SIGNAL), 0);
}

static void a_signal_has_a_value_and_what_follows(void **state)
{
	struct asker *f = *state;
	Telex__V1__SignalRequest q = TELEX__V1__SIGNAL_REQUEST__INIT;
	Telex__V1__SignalValue value = TELEX__V1__SIGNAL_VALUE__INIT;
	Google__Protobuf__Duration later = GOOGLE__PROTOBUF__DURATION__INIT;
	struct km_done done = {0};
	union km_any msg;

	/* 0: its own stop signal; nothing follows unless it is asked for. */
	q.process_id = (char *)"p1";
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.signo, 0);
	assert_int_equal(msg.signal.target, KM_TARGET_GROUP);
	assert_int_equal(msg.signal.has_value, 0);
	assert_true(msg.signal.kill_after_ns < 0);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	q.signal = 34;
	q.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	value.value = -7;
	q.value = &value;
	q.kill_after = &later;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.has_value, 1);
	assert_int_equal(msg.signal.value, -7);
	assert_int_equal(msg.signal.kill_after_ns, 0);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	later.seconds = 3601;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "kill_after");
	later.seconds = 3600;
	q.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_TREE;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "value");
	q.value = NULL;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.target, KM_TARGET_TREE);
	assert_true(msg.signal.kill_after_ns == INT64_C(3600000000000));
}

static void remove_forgets_what_has_ended(void **state)
{
	struct asker *f = *state;
	Telex__V1__RemoveRequest q = TELEX__V1__REMOVE_REQUEST__INIT;
	struct km_done done = {0};
	union km_any msg;

	q.process_id = (char *)"p1";
	ask_process(f, "Remove", &telex__v1__remove_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_REMOVE, &msg, NULL));
	assert_string_equal(msg.remove.id, "p1");
	assert_string_equal(msg.remove.by, RIG_USER);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	ask_process(f, "Remove", &telex__v1__remove_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_REMOVE, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_RUNNING);
	asker_answered(f, RPC_FAILED_PRECONDITION, "PROCESS_RUNNING");
	ask_process(f, "Remove", &telex__v1__remove_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_REMOVE, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_PROCESS");
	q.process_id = (char *)"a b";
	ask_process(f, "Remove", &telex__v1__remove_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void update_changes_what_is_given(void **state)
{
	struct asker *f = *state;
	Telex__V1__UpdateRequest q = TELEX__V1__UPDATE_REQUEST__INIT;
	Telex__V1__ResourceLimit limit = TELEX__V1__RESOURCE_LIMIT__INIT, *limits[] = {&limit};
	Telex__V1__NiceValue nice = TELEX__V1__NICE_VALUE__INIT;
	Telex__V1__ControlLimits control = TELEX__V1__CONTROL_LIMITS__INIT;
	struct km_done done = {0};
	union km_any msg;

	q.process_id = (char *)"p1";
	limit.name = (char *)"nofile";
	limit.soft = 100;
	limit.hard = UINT64_MAX;
	q.limits = limits;
	q.n_limits = 1;
	ask_process(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_UPDATE, &msg, NULL));
	assert_string_equal(msg.update.id, "p1");
	assert_string_equal(msg.update.by, RIG_USER);
	assert_int_equal(msg.update.n_rlimits, 1);
	assert_int_equal(msg.update.rlimits[0].resource, RLIMIT_NOFILE);
	assert_int_equal(msg.update.rlimits[0].soft, 100);
	assert_true(msg.update.rlimits[0].hard == UINT64_MAX);
	assert_int_equal(msg.update.set_nice, 0);
	assert_int_equal(msg.update.memory, 0);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	nice.nice = -20;
	q.nice = &nice;
	control.memory_bytes = 1 << 20;
	control.cpu_millis = 10;
	control.pids = 3;
	q.control_limits = &control;
	ask_process(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_UPDATE, &msg, NULL));
	assert_int_equal(msg.update.set_nice, 1);
	assert_int_equal(msg.update.nice, -20);
	assert_int_equal(msg.update.memory, 1 << 20);
	assert_int_equal(msg.update.cpu_millis, 10);
	assert_int_equal(msg.update.pids, 3);
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_CGROUP);
	asker_answered(f, RPC_FAILED_PRECONDITION, "NO_CONTROL_GROUP");
}

static void a_bad_update_is_named(void **state)
{
	struct asker *f = *state;
	Telex__V1__UpdateRequest q = TELEX__V1__UPDATE_REQUEST__INIT;
	Telex__V1__ResourceLimit limit = TELEX__V1__RESOURCE_LIMIT__INIT;
	Telex__V1__ResourceLimit *limits[JOB_RLIMITS_MAX + 1];
	Telex__V1__NiceValue nice = TELEX__V1__NICE_VALUE__INIT;
	Telex__V1__ControlLimits control = TELEX__V1__CONTROL_LIMITS__INIT;

	for (int i = 0; i <= JOB_RLIMITS_MAX; i++)
		limits[i] = &limit;
	q.process_id = (char *)"p1";
	limit.name = (char *)"nothing";
	q.limits = limits;
	q.n_limits = 1;
	ask_process(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "limits[0].name");
	q.n_limits = JOB_RLIMITS_MAX + 1;
	ask_process(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "limits");
	q.n_limits = 0;
	nice.nice = 20;
	q.nice = &nice;
	ask_process(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "nice.nice");
	q.nice = NULL;
	control.memory_bytes = 1;
	q.control_limits = &control;
	ask_process(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "control_limits.memory_bytes");
	assert_int_equal(fake_keeper_count(f->keeper, KM_UPDATE), 0);
}

/* ---- Wait ---- */

static uint32_t ask_wait(struct asker *f, bool forget)
{
	Telex__V1__WaitRequest q = TELEX__V1__WAIT_REQUEST__INIT;
	struct km_job job = {.state = KM_STATE_RUNNING, .pid = 42, .id = "p1", .owner = RIG_USER};
	union km_any msg;

	q.process_id = (char *)"p1";
	q.forget = forget;
	ask_process(f, "Wait", &telex__v1__wait_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_string_equal(msg.attach.id, "p1");
	assert_string_equal(msg.attach.owner, RIG_USER);
	assert_int_equal(msg.attach.flags, KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT);
	assert_int_equal(msg.attach.want_stdin, 0);
	job.att = msg.attach.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	worker_rig_settle(&f->rig);
	assert_false(f->done);
	return job.att;
}

static void end(struct asker *f, uint32_t att, int code)
{
	struct km_ended m = {.att = att};

	m.exit.kind = KM_END_CODE;
	m.exit.value = code;
	fake_keeper_send(f->keeper, KM_ENDED, 0, &m, -1);
}

static void wait_answers_with_the_exit(void **state)
{
	struct asker *f = *state;
	union km_any msg;

	end(f, ask_wait(f, false), 9);
	asker_answered(f, RPC_OK, "");
	assert_int_equal(((const Telex__V1__WaitResponse *)f->last)->exit->code, 9);
	worker_rig_settle(&f->rig);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.delivered, KM_DELIVERED_NOT);
	assert_int_equal(fake_keeper_count(f->keeper, KM_REMOVE), 0);
}

static void wait_forgets_only_what_it_has_answered(void **state)
{
	struct asker *f = *state;
	struct km_done done = {0};
	union km_any msg;

	(void)ask_wait(f, true);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
	assert_int_equal(fake_keeper_count(f->keeper, KM_REMOVE), 0);
	end(f, ask_wait(f, true), 0);
	asker_answered(f, RPC_OK, "");
	worker_rig_settle(&f->rig);
	assert_true(fake_keeper_take(f->keeper, KM_REMOVE, &msg, NULL));
	assert_string_equal(msg.remove.id, "p1");
	assert_string_equal(msg.remove.by, RIG_USER);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
}

static void waiting_for_nothing_is_not_found(void **state)
{
	struct asker *f = *state;
	Telex__V1__WaitRequest q = TELEX__V1__WAIT_REQUEST__INIT;
	union km_any msg;

	q.process_id = (char *)"p1";
	q.forget = true;
	ask_process(f, "Wait", &telex__v1__wait_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_PROCESS");
	worker_rig_settle(&f->rig);
	assert_int_equal(fake_keeper_count(f->keeper, KM_REMOVE), 0);
	(void)ask_wait(f, false);
	fake_keeper_die(f->keeper);
	asker_answered(f, RPC_UNAVAILABLE, "KEEPER_GONE");
}

/* ---- Get and List ---- */

static void get_gives_the_one(void **state)
{
	struct asker *f = *state;
	Telex__V1__GetRequest q = TELEX__V1__GET_REQUEST__INIT;
	struct job_record record = a_record("p1");
	union km_any msg;

	q.process_id = (char *)"p1";
	ask_process(f, "Get", &telex__v1__get_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.one, 1);
	assert_int_equal(msg.list.usage, 1);
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	asker_answered(f, RPC_OK, "");
	assert_string_equal(((const Telex__V1__GetResponse *)f->last)->process->process_id, "p1");
	ask_process(f, "Get", &telex__v1__get_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_PROCESS");
}

static void assert_summary(struct asker *f, uint64_t dropped, uint32_t held)
{
	const Telex__V1__ListResponse *r = (const void *)f->last;

	assert_int_equal(r->item_case, TELEX__V1__LIST_RESPONSE__ITEM_SUMMARY);
	assert_int_equal(r->summary->dropped, dropped);
	assert_int_equal(r->summary->held_maximum, held);
}

static void a_list_may_be_empty(void **state)
{
	struct asker *f = *state;
	Telex__V1__ListRequest q = TELEX__V1__LIST_REQUEST__INIT;
	union km_any msg;

	q.include_ended = true;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.states, UINT32_MAX);
	assert_int_equal(msg.list.one, 0);
	f->rig.worker.config.max_ended = 1000;
	fake_keeper_table(f->keeper, msg.hdr.seq, NULL, 0);
	asker_answered(f, RPC_OK, "");
	assert_int_equal(f->responses, 1);
	assert_summary(f, 0, 1000);
}

static void the_filters_go_to_the_keeper(void **state)
{
	struct asker *f = *state;
	Telex__V1__ListRequest q = TELEX__V1__LIST_REQUEST__INIT;
	Telex__V1__ProcessState states[] = {TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED,
	    TELEX__V1__PROCESS_STATE__PROCESS_STATE_ENDED};
	union km_any msg;

	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.states, 0);
	assert_int_equal(msg.list.usage, 0);
	assert_string_equal(msg.list.group, "");
	assert_string_equal(msg.list.owner, RIG_USER);
	rpc_cancel(f->call);
	q.group = (char *)"build";
	q.states = states;
	q.n_states = 2;
	q.usage = true;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(
	    msg.list.states, KM_STATE_BIT(KM_STATE_QUEUED) | KM_STATE_BIT(KM_STATE_ENDED));
	assert_int_equal(msg.list.usage, 1);
	assert_string_equal(msg.list.group, "build");
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_GROUP);
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_GROUP");
	states[1] = 9;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "states[1]");
	q.group = (char *)"a b";
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "group");
}

/* Each record is so large that a few fill what a call may hold. */
static void a_long_list_waits_for_its_reader(void **state)
{
	enum { N = 60 };
	static char big[100000];
	const char *argv[] = {"echo", big};
	struct asker *f = *state;
	Telex__V1__ListRequest q = TELEX__V1__LIST_REQUEST__INIT;
	struct job_record records[N];
	char ids[N][8];
	union km_any msg;

	memset(big, 'a', sizeof(big) - 1);
	for (int i = 0; i < N; i++) {
		snprintf(ids[i], sizeof(ids[i]), "p%d", i);
		records[i] = a_record(ids[i]);
		records[i].argv = argv;
	}
	f->hold = true;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, records, N);
	worker_rig_settle(&f->rig);
	assert_in_range(f->responses, 5, 15);
	assert_true(f->rig.worker.tables > N * sizeof(big));
	for (int i = 0; i < N && !f->done; i++) {
		size_t owed = f->owed;

		f->owed = 0;
		rpc_credit(f->call, owed);
		worker_rig_settle(&f->rig);
	}
	asker_answered(f, RPC_OK, "");
	assert_int_equal(f->responses, N + 1);
	assert_summary(f, 0, 0);
}

static void lists_that_nobody_reads_are_bounded(void **state)
{
	struct asker *f = *state;
	Telex__V1__ListRequest q = TELEX__V1__LIST_REQUEST__INIT;
	struct job_record record = a_record("p1");
	union km_any msg;

	/* As if others held nearly all that may be held. */
	f->rig.worker.tables = ((uint64_t)256 << 20) - 16;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	asker_answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
	f->rig.worker.tables = 0;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	asker_answered(f, RPC_OK, "");
	assert_int_equal(f->rig.worker.tables, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, asker_set_up, asker_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(start_answers_with_the_process),
	    TEST(starting_again_finds_the_same),
	    TEST(a_start_that_is_refused_says_why),
	    TEST(a_signal_is_sent_for_who_asked),
	    TEST(a_signal_has_a_value_and_what_follows),
	    TEST(remove_forgets_what_has_ended),
	    TEST(update_changes_what_is_given),
	    TEST(a_bad_update_is_named),
	    TEST(wait_answers_with_the_exit),
	    TEST(wait_forgets_only_what_it_has_answered),
	    TEST(waiting_for_nothing_is_not_found),
	    TEST(get_gives_the_one),
	    TEST(a_list_may_be_empty),
	    TEST(the_filters_go_to_the_keeper),
	    TEST(a_long_list_waits_for_its_reader),
	    TEST(lists_that_nobody_reads_are_bounded),
	};

	return cmocka_run_group_tests_name("worker_process", tests, NULL, NULL);
}
