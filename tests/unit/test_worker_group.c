/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService's questions about groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "telex/v1/process.pb-c.h"
#include "tests/support/asker.h"

static void ask_group(struct asker *f, const char *method,
    const ProtobufCMessageDescriptor *response, const ProtobufCMessage *request)
{
	asker_ask(f, "telex.v1.ProcessService", method, response, strcmp(method, "WaitGroup") == 0,
	    request);
}

/* Takes the question; answers it when reply is given. */
static union km_any question(struct asker *f, enum km_group_op op, struct km_group_reply *reply)
{
	union km_any msg;

	assert_true(fake_keeper_take(f->keeper, KM_GROUP, &msg, NULL));
	assert_int_equal(msg.group.op, op);
	assert_string_equal(msg.group.name, "build");
	assert_string_equal(msg.group.by, RIG_USER);
	if (reply != NULL) {
		fake_keeper_send(f->keeper, KM_GROUP_REPLY, msg.hdr.seq, reply, -1);
		asker_answered(f, RPC_OK, "");
	}
	return msg;
}

static void assert_group(const Telex__V1__ProcessGroup *g)
{
	assert_string_equal(g->name, "build");
	assert_int_equal(g->maximum, 4);
	assert_int_equal(g->queued, 3);
	assert_int_equal(g->running, 2);
	assert_int_equal(g->ended, 1);
}

static void a_group_is_told(void **state)
{
	struct km_group_reply reply = {.maximum = 4, .queued = 3, .running = 2, .ended = 1};
	Telex__V1__GetGroupRequest q = TELEX__V1__GET_GROUP_REQUEST__INIT;
	struct asker *f = *state;
	union km_any msg;

	q.name = (char *)"build";
	ask_group(f, "GetGroup", &telex__v1__get_group_response__descriptor, &q.base);
	(void)question(f, KM_GROUP_GET, &reply);
	assert_group(((const Telex__V1__GetGroupResponse *)f->last)->group);
	ask_group(f, "GetGroup", &telex__v1__get_group_response__descriptor, &q.base);
	msg = question(f, KM_GROUP_GET, NULL);
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_GROUP);
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_GROUP");
}

static void a_group_is_signalled(void **state)
{
	struct km_group_reply reply = {.did = {5, 6}};
	Telex__V1__SignalGroupRequest q = TELEX__V1__SIGNAL_GROUP_REQUEST__INIT;
	Google__Protobuf__Duration later = GOOGLE__PROTOBUF__DURATION__INIT;
	struct asker *f = *state;
	union km_any msg;

	q.name = (char *)"build";
	ask_group(f, "SignalGroup", &telex__v1__signal_group_response__descriptor, &q.base);
	msg = question(f, KM_GROUP_SIGNAL, &reply);
	assert_int_equal(msg.group.signo, 0);
	assert_int_equal(msg.group.target, KM_TARGET_GROUP);
	assert_true(msg.group.kill_after_ns < 0);
	assert_int_equal(((const Telex__V1__SignalGroupResponse *)f->last)->signalled, 5);
	assert_int_equal(((const Telex__V1__SignalGroupResponse *)f->last)->dequeued, 6);
	q.signal = SIGINT;
	q.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_TREE;
	later.seconds = 2;
	q.kill_after = &later;
	ask_group(f, "SignalGroup", &telex__v1__signal_group_response__descriptor, &q.base);
	msg = question(f, KM_GROUP_SIGNAL, &reply);
	assert_int_equal(msg.group.signo, SIGINT);
	assert_int_equal(msg.group.target, KM_TARGET_TREE);
	assert_int_equal(msg.group.kill_after_ns, INT64_C(2000000000));
	q.signal = 65;
	ask_group(f, "SignalGroup", &telex__v1__signal_group_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void a_maximum_is_set_and_the_ended_are_removed(void **state)
{
	struct km_group_reply reply = {
	    .maximum = 4, .queued = 3, .running = 2, .ended = 1, .did = {9, 0}};
	Telex__V1__UpdateGroupRequest up = TELEX__V1__UPDATE_GROUP_REQUEST__INIT;
	Telex__V1__RemoveGroupRequest rm = TELEX__V1__REMOVE_GROUP_REQUEST__INIT;
	struct asker *f = *state;
	union km_any msg;

	up.name = rm.name = (char *)"build";
	up.maximum = 4;
	ask_group(f, "UpdateGroup", &telex__v1__update_group_response__descriptor, &up.base);
	msg = question(f, KM_GROUP_UPDATE, &reply);
	assert_int_equal(msg.group.maximum, 4);
	assert_group(((const Telex__V1__UpdateGroupResponse *)f->last)->group);
	ask_group(f, "RemoveGroup", &telex__v1__remove_group_response__descriptor, &rm.base);
	(void)question(f, KM_GROUP_REMOVE, &reply);
	assert_int_equal(((const Telex__V1__RemoveGroupResponse *)f->last)->removed, 9);
}

static void odd_names_never_reach_the_keeper(void **state)
{
	static const char *const names[] = {"", ".x", "a b", "-f", "a/b"};
	Telex__V1__GetGroupRequest get = TELEX__V1__GET_GROUP_REQUEST__INIT;
	Telex__V1__WaitGroupRequest wait = TELEX__V1__WAIT_GROUP_REQUEST__INIT;
	struct asker *f = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		get.name = wait.name = (char *)names[i];
		ask_group(f, "GetGroup", &telex__v1__get_group_response__descriptor, &get.base);
		asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
		assert_string_equal(rpc_status_get(&f->status, "field"), "name");
		ask_group(f, "WaitGroup", &telex__v1__wait_group_response__descriptor, &wait.base);
		asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	}
	assert_int_equal(fake_keeper_count(f->keeper, KM_GROUP), 0);
	assert_int_equal(fake_keeper_count(f->keeper, KM_LIST), 0);
}

/* ---- WaitGroup ---- */

static const char *const argv[] = {"true"};

static struct job_record a_record(const char *id, enum km_state state)
{
	struct job_record r = {.state = (uint8_t)state,
	    .pid = 42,
	    .start_ns = 1,
	    .id = id,
	    .owner = RIG_USER,
	    .user = "",
	    .group = "build",
	    .argc = 1,
	    .argv = argv};

	if (state == KM_STATE_ENDED)
		r.exit = (struct km_exit){.kind = KM_END_CODE, .value = 7};
	return r;
}

static void ask_wait(struct asker *f, const struct job_record *records, size_t n)
{
	Telex__V1__WaitGroupRequest q = TELEX__V1__WAIT_GROUP_REQUEST__INIT;
	union km_any msg;

	q.name = (char *)"build";
	ask_group(f, "WaitGroup", &telex__v1__wait_group_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_string_equal(msg.list.group, "build");
	assert_int_equal(msg.list.one, 0);
	assert_int_equal(msg.list.states, UINT32_MAX);
	fake_keeper_table(f->keeper, msg.hdr.seq, records, n);
	worker_rig_settle(&f->rig);
}

/* Takes the next attachment that is asked for, and grants it. */
static uint32_t grant(struct asker *f, const char *id)
{
	struct km_job job = {.state = KM_STATE_RUNNING, .owner = RIG_USER};
	union km_any msg;

	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_string_equal(msg.attach.id, id);
	assert_int_equal(msg.attach.flags, KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT);
	job.att = msg.attach.att;
	memcpy(job.id, msg.attach.id, sizeof(job.id));
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	worker_rig_settle(&f->rig);
	return job.att;
}

static void end(struct asker *f, uint32_t att)
{
	struct km_ended m = {.att = att};

	m.exit.kind = KM_END_CODE;
	m.exit.value = 3;
	fake_keeper_send(f->keeper, KM_ENDED, 0, &m, -1);
	worker_rig_settle(&f->rig);
}

/* Answers the lookup of one that has ended; NULL: it is forgotten. */
static void show(struct asker *f, const char *id, const struct job_record *record)
{
	size_t before = f->responses;
	union km_any msg;

	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.one, 1);
	assert_string_equal(msg.list.id, id);
	if (record != NULL)
		fake_keeper_table(f->keeper, msg.hdr.seq, record, 1);
	else
		fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	worker_rig_settle(&f->rig);
	assert_int_equal(f->responses, before + 1);
}

static const Telex__V1__Process *ended(struct asker *f)
{
	const Telex__V1__WaitGroupResponse *r = (const void *)f->last;

	assert_int_equal(r->response_case, TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_ENDED);
	assert_non_null(r->ended->exit);
	return r->ended;
}

static void each_ending_is_told_as_it_comes(void **state)
{
	struct job_record listed[] = {a_record("a", KM_STATE_ENDED),
	    a_record("b", KM_STATE_RUNNING), a_record("c", KM_STATE_QUEUED)};
	struct job_record b = a_record("b", KM_STATE_ENDED), c = a_record("c", KM_STATE_ENDED);
	struct asker *f = *state;
	uint32_t att_b, att_c;

	ask_wait(f, listed, 3);
	show(f, "a", &listed[0]);
	assert_string_equal(ended(f)->process_id, "a");
	assert_int_equal(ended(f)->exit->code, 7);
	assert_false(f->done);
	att_b = grant(f, "b");
	att_c = grant(f, "c");
	end(f, att_c);
	show(f, "c", &c);
	assert_string_equal(ended(f)->process_id, "c");
	assert_false(f->done);
	end(f, att_b);
	show(f, "b", &b);
	asker_answered(f, RPC_OK, "");
	assert_string_equal(ended(f)->process_id, "b");
	assert_int_equal(f->responses, 3);
	worker_rig_settle(&f->rig);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 2);
}

static void what_was_forgotten_is_told_all_the_same(void **state)
{
	struct job_record listed[] = {a_record("a", KM_STATE_ENDED),
	    a_record("b", KM_STATE_RUNNING), a_record("c", KM_STATE_RUNNING)};
	struct job_record again = a_record("c", KM_STATE_RUNNING);
	struct asker *f = *state;
	union km_any msg;
	uint32_t att;

	ask_wait(f, listed, 3);
	show(f, "a", NULL);
	assert_string_equal(ended(f)->process_id, "a");
	assert_string_equal(ended(f)->group, "build");
	assert_int_equal(ended(f)->exit->status_case, TELEX__V1__EXIT__STATUS_UNKNOWN);
	/* Gone before it was attached to. */
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	worker_rig_settle(&f->rig);
	show(f, "b", NULL);
	assert_int_equal(ended(f)->exit->status_case, TELEX__V1__EXIT__STATUS_UNKNOWN);
	/* Its exit was seen; another has its id by now. */
	att = grant(f, "c");
	end(f, att);
	show(f, "c", &again);
	assert_int_equal(ended(f)->exit->status_case, TELEX__V1__EXIT__STATUS_CODE);
	assert_int_equal(ended(f)->exit->code, 3);
	asker_answered(f, RPC_OK, "");
}

static void many_members_are_asked_for_a_few_at_a_time(void **state)
{
	enum { N = 100 };
	struct job_record listed[N];
	char ids[N][8];
	struct asker *f = *state;

	for (int i = 0; i < N; i++) {
		snprintf(ids[i], sizeof(ids[i]), "p%d", i);
		listed[i] = a_record(ids[i], KM_STATE_RUNNING);
	}
	ask_wait(f, listed, N);
	assert_int_equal(fake_keeper_count(f->keeper, KM_ATTACH), 16);
	for (int i = 0; i < N; i++)
		end(f, grant(f, ids[i]));
	/* One record at a time. */
	assert_int_equal(fake_keeper_count(f->keeper, KM_LIST), 1);
	for (int i = 0; i < N; i++) {
		struct job_record r = a_record(ids[i], KM_STATE_ENDED);

		show(f, ids[i], &r);
	}
	asker_answered(f, RPC_OK, "");
	assert_int_equal(f->responses, N);
}

static void a_group_without_members_has_nothing_to_wait_for(void **state)
{
	Telex__V1__WaitGroupRequest q = TELEX__V1__WAIT_GROUP_REQUEST__INIT;
	struct asker *f = *state;
	union km_any msg;

	ask_wait(f, NULL, 0);
	assert_true(f->done);
	assert_int_equal(f->status.code, RPC_OK);
	q.name = (char *)"build";
	ask_group(f, "WaitGroup", &telex__v1__wait_group_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_GROUP);
	asker_answered(f, RPC_NOT_FOUND, "NO_SUCH_GROUP");
}

static void who_leaves_lets_go_of_all(void **state)
{
	struct job_record listed[] = {
	    a_record("a", KM_STATE_RUNNING), a_record("b", KM_STATE_RUNNING)};
	struct asker *f = *state;

	ask_wait(f, listed, 2);
	(void)grant(f, "a");
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	(void)grant(f, "b");
	worker_rig_settle(&f->rig);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 2);
	ask_wait(f, listed, 2);
	(void)grant(f, "a");
	fake_keeper_die(f->keeper);
	asker_answered(f, RPC_UNAVAILABLE, "KEEPER_GONE");
}

static void an_idle_wait_has_its_heartbeats(void **state)
{
	Telex__V1__WaitGroupRequest q = TELEX__V1__WAIT_GROUP_REQUEST__INIT;
	Google__Protobuf__Duration beat = GOOGLE__PROTOBUF__DURATION__INIT;
	struct job_record listed = a_record("a", KM_STATE_RUNNING);
	struct asker *f = *state;
	union km_any msg;

	beat.seconds = 1;
	q.name = (char *)"build";
	q.heartbeat_interval = &beat;
	ask_group(f, "WaitGroup", &telex__v1__wait_group_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, &listed, 1);
	worker_rig_settle(&f->rig);
	(void)grant(f, "a");
	while (f->responses == 0)
		event_base_loop(f->rig.pair.base, EVLOOP_ONCE);
	assert_int_equal(((const Telex__V1__WaitGroupResponse *)f->last)->response_case,
	    TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_HEARTBEAT);
	beat.seconds = 0;
	beat.nanos = 1;
	ask_group(f, "WaitGroup", &telex__v1__wait_group_response__descriptor, &q.base);
	asker_answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&f->status, "field"), "heartbeat_interval");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, asker_set_up, asker_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_group_is_told),
	    TEST(a_group_is_signalled),
	    TEST(a_maximum_is_set_and_the_ended_are_removed),
	    TEST(odd_names_never_reach_the_keeper),
	    TEST(each_ending_is_told_as_it_comes),
	    TEST(what_was_forgotten_is_told_all_the_same),
	    TEST(many_members_are_asked_for_a_few_at_a_time),
	    TEST(a_group_without_members_has_nothing_to_wait_for),
	    TEST(who_leaves_lets_go_of_all),
	    TEST(an_idle_wait_has_its_heartbeats),
	};

	return cmocka_run_group_tests_name("worker_group", tests, NULL, NULL);
}
