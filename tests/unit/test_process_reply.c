/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's refusals and endings, as the API says them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/worker/process_reply.h"
#include "common/err.h"
#include "common/job_spec.h"

static struct rpc_status refused(const struct km_refused *why)
{
	struct rpc_status s;

	process_reply_refused(&s, why);
	return s;
}

static void each_refusal_has_its_code_and_reason(void **state)
{
	static const struct {
		enum km_why why;
		int code;
		const char *reason;
	} rows[] = {
	    {KM_WHY_EXISTS, RPC_ALREADY_EXISTS, "PROCESS_EXISTS"},
	    {KM_WHY_NO_SUCH, RPC_NOT_FOUND, "NO_SUCH_PROCESS"},
	    {KM_WHY_ENDED, RPC_FAILED_PRECONDITION, "PROCESS_ENDED"},
	    {KM_WHY_STDIN_HELD, RPC_FAILED_PRECONDITION, "STDIN_HELD"},
	    {KM_WHY_LIMIT, RPC_RESOURCE_EXHAUSTED, "LIMIT"},
	    {KM_WHY_SHUTTING_DOWN, RPC_UNAVAILABLE, "SHUTTING_DOWN"},
	    {KM_WHY_AUDIT, RPC_UNAVAILABLE, "AUDIT_UNAVAILABLE"},
	    {KM_WHY_DROPPED, RPC_OUT_OF_RANGE, "OFFSET_DROPPED"},
	    {KM_WHY_AHEAD, RPC_OUT_OF_RANGE, "OFFSET_AHEAD"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct km_refused why = {.why = rows[i].why};
		struct rpc_status s = refused(&why);

		assert_int_equal(s.code, rows[i].code);
		assert_string_equal(s.reason, rows[i].reason);
		assert_string_equal(s.domain, "telex");
		assert_true(s.message[0] != '\0');
	}
}

static void the_keepers_words_are_kept_and_made_printable(void **state)
{
	struct km_refused why = {.why = KM_WHY_ENDED, .text = "exited with 3\x1b[2J\xff"};
	struct rpc_status s = refused(&why);

	(void)state;
	assert_string_equal(s.message, "exited with 3\\x1b[2J\\xff");
	assert_string_equal(rpc_status_get(&s, "ending"), "exited with 3\\x1b[2J\\xff");
}

static void a_failed_start_names_stage_and_errno(void **state)
{
	static const struct {
		int number, code;
		const char *name;
	} rows[] = {
	    {ENOENT, RPC_NOT_FOUND, "ENOENT"},
	    {EACCES, RPC_PERMISSION_DENIED, "EACCES"},
	    {EPERM, RPC_PERMISSION_DENIED, "EPERM"},
	    {ENOMEM, RPC_RESOURCE_EXHAUSTED, "ENOMEM"},
	    {EINVAL, RPC_INVALID_ARGUMENT, "EINVAL"},
	    {ENOEXEC, RPC_FAILED_PRECONDITION, "ENOEXEC"},
	    {EIO, RPC_FAILED_PRECONDITION, "EIO"},
	    {9999, RPC_FAILED_PRECONDITION, "errno 9999"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct km_refused why = {
		    .why = KM_WHY_START,
		    .stage = KM_STAGE_EXEC,
		    .sys_errno = rows[i].number,
		    .text = "cannot run x",
		};
		struct rpc_status s = refused(&why);
		char number[16];

		snprintf(number, sizeof(number), "%d", rows[i].number);
		assert_int_equal(s.code, rows[i].code);
		assert_string_equal(s.reason, "START_FAILED");
		assert_string_equal(s.message, "cannot run x");
		assert_string_equal(rpc_status_get(&s, "stage"), "exec");
		assert_string_equal(rpc_status_get(&s, "errno"), number);
		assert_string_equal(rpc_status_get(&s, "errno_name"), rows[i].name);
	}
}

static void a_dropped_offset_says_what_is_held(void **state)
{
	struct km_refused why = {
	    .why = KM_WHY_DROPPED, .stream = KM_STDERR, .oldest = 7, .newest = UINT64_MAX};
	struct rpc_status s = refused(&why);

	(void)state;
	assert_string_equal(rpc_status_get(&s, "oldest"), "7");
	assert_string_equal(rpc_status_get(&s, "newest"), "18446744073709551615");
	assert_string_equal(rpc_status_get(&s, "stream"), "stderr");
}

static void system_and_unknown_refusals_are_errors(void **state)
{
	struct km_refused why = {.why = KM_WHY_SYSTEM, .sys_errno = EMFILE, .text = "memfd"};
	struct rpc_status s = refused(&why);

	(void)state;
	assert_int_equal(s.code, RPC_RESOURCE_EXHAUSTED);
	why.why = 77;
	why.sys_errno = 0;
	s = refused(&why);
	assert_int_equal(s.code, RPC_INTERNAL);
}

static void a_link_that_fails_says_whether_to_try_again(void **state)
{
	struct rpc_status s;

	(void)state;
	process_reply_link(&s, TX_ELIMIT);
	assert_int_equal(s.code, RPC_RESOURCE_EXHAUSTED);
	process_reply_link(&s, TX_ECLOSED);
	assert_int_equal(s.code, RPC_UNAVAILABLE);
	assert_string_equal(s.reason, "KEEPER_GONE");
	process_reply_link(&s, TX_ENOMEM);
	assert_int_equal(s.code, RPC_INTERNAL);
}

static void a_code_is_a_code(void **state)
{
	struct km_exit how = {
	    .kind = KM_END_CODE,
	    .value = 255,
	    .reason = KM_REASON_EXITED,
	    .start_ns = INT64_C(1700000000123456789),
	    .end_ns = INT64_C(1700000001000000000),
	    .stdout_length = 12,
	    .stderr_length = 13,
	    .utime_us = 1500000,
	    .stime_us = 7,
	    .maxrss_kib = 3000,
	    .nvcsw = 4,
	};
	struct process_exit x;

	(void)state;
	process_reply_exit(&x, &how);
	assert_int_equal(x.exit.status_case, TELEX__V1__EXIT__STATUS_CODE);
	assert_int_equal(x.exit.code, 255);
	assert_int_equal(x.exit.reason, TELEX__V1__END_REASON__END_REASON_EXITED);
	assert_string_equal(x.exit.ended_by, "");
	assert_int_equal(x.exit.start_time->seconds, 1700000000);
	assert_int_equal(x.exit.start_time->nanos, 123456789);
	assert_int_equal(x.exit.end_time->nanos, 0);
	assert_int_equal(x.exit.n_streams_open, 0);
	assert_int_equal(x.exit.stdout_length, 12);
	assert_int_equal(x.exit.stderr_length, 13);
	assert_int_equal(x.exit.usage->user_time->seconds, 1);
	assert_int_equal(x.exit.usage->user_time->nanos, 500000000);
	assert_int_equal(x.exit.usage->system_time->nanos, 7000);
	assert_int_equal(x.exit.usage->max_resident_kib, 3000);
	assert_int_equal(x.exit.usage->voluntary_switches, 4);
}

static void a_signal_is_told_apart_and_says_whose(void **state)
{
	struct km_exit how = {
	    .kind = KM_END_SIGNAL,
	    .value = SIGKILL,
	    .core = 1,
	    .reason = KM_REASON_SIGNALLED,
	    .streams_open = KM_BIT(KM_STDERR),
	    .by = "spiffe://d/user/alice",
	};
	struct process_exit x;

	(void)state;
	process_reply_exit(&x, &how);
	assert_int_equal(x.exit.status_case, TELEX__V1__EXIT__STATUS_SIGNAL);
	assert_int_equal(x.exit.signal->number, SIGKILL);
	assert_string_equal(x.exit.signal->name, "SIGKILL");
	assert_true(x.exit.signal->core_dumped);
	assert_string_equal(x.exit.ended_by, "spiffe://d/user/alice");
	assert_int_equal(x.exit.n_streams_open, 1);
	assert_int_equal(x.exit.streams_open[0], TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR);
}

static void what_is_not_known_is_never_a_code(void **state)
{
	struct km_exit how = {.kind = KM_END_UNKNOWN, .text = "the agent was restarted"};
	struct process_exit x;

	(void)state;
	process_reply_exit(&x, &how);
	assert_int_equal(x.exit.status_case, TELEX__V1__EXIT__STATUS_UNKNOWN);
	assert_string_equal(x.exit.unknown->why, "the agent was restarted");
	how.kind = 99;
	process_reply_exit(&x, &how);
	assert_int_equal(x.exit.status_case, TELEX__V1__EXIT__STATUS_UNKNOWN);
	assert_true(x.exit.unknown->why[0] != '\0');
}

static void what_never_ran_says_where_it_failed(void **state)
{
	struct km_exit how = {.kind = KM_END_NOT_STARTED,
	    .value = 2,
	    .stage = KM_STAGE_EXEC,
	    .text = "x: no such file"};
	struct process_exit x;

	(void)state;
	process_reply_exit(&x, &how);
	assert_int_equal(x.exit.status_case, TELEX__V1__EXIT__STATUS_NOT_STARTED);
	assert_string_equal(x.exit.not_started->why, "x: no such file");
	assert_string_equal(x.exit.not_started->stage, "exec");
	assert_int_equal(x.exit.not_started->error_number, 2);
	how = (struct km_exit){.kind = KM_END_NOT_STARTED, .by = "a", .text = "by a"};
	process_reply_exit(&x, &how);
	assert_string_equal(x.exit.not_started->stage, "");
	assert_int_equal(x.exit.not_started->error_number, 0);
	assert_string_equal(x.exit.ended_by, "a");
}

static void each_reason_has_its_name(void **state)
{
	static const int reasons[][2] = {
	    {0, TELEX__V1__END_REASON__END_REASON_UNSPECIFIED},
	    {KM_REASON_EXITED, TELEX__V1__END_REASON__END_REASON_EXITED},
	    {KM_REASON_SIGNALLED, TELEX__V1__END_REASON__END_REASON_SIGNALLED},
	    {KM_REASON_RUN_TIMEOUT, TELEX__V1__END_REASON__END_REASON_RUN_TIMEOUT},
	    {KM_REASON_DISCONNECT, TELEX__V1__END_REASON__END_REASON_DISCONNECT},
	    {KM_REASON_SHUTDOWN, TELEX__V1__END_REASON__END_REASON_SHUTDOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		struct km_exit how = {.kind = KM_END_CODE, .reason = (uint8_t)reasons[i][0]};
		struct process_exit x;

		process_reply_exit(&x, &how);
		assert_int_equal((int)x.exit.reason, reasons[i][1]);
	}
}

static void a_record_becomes_a_process(void **state)
{
	static const char *const argv[] = {"sh", ""};
	struct job_record r = {
	    .state = KM_STATE_RUNNING,
	    .pid = 42,
	    .attached = 3,
	    .start_ns = 1,
	    .id = "p1",
	    .owner = "spiffe://d/user/alice",
	    .user = "",
	    .group = "build",
	    .argc = 2,
	    .argv = argv,
	};
	struct process_message m;

	(void)state;
	process_reply_process(&m, &r);
	assert_string_equal(m.process.process_id, "p1");
	assert_string_equal(m.process.group, "build");
	assert_int_equal(m.process.state, TELEX__V1__PROCESS_STATE__PROCESS_STATE_RUNNING);
	assert_int_equal(m.process.pid, 42);
	assert_int_equal(m.process.attached, 3);
	assert_int_equal(m.process.n_argv, 2);
	assert_int_equal(m.process.argv[0].len, 2);
	assert_int_equal(m.process.argv[1].len, 0);
	assert_null(m.process.exit);
	process_reply_process_clear(&m);
	r.state = KM_STATE_ENDED;
	r.exit.kind = KM_END_CODE;
	r.argc = 0;
	process_reply_process(&m, &r);
	assert_non_null(m.process.exit);
	process_reply_process_clear(&m);
}

static void a_record_says_what_is_held_and_used(void **state)
{
	struct job_record r = {.state = KM_STATE_RUNNING,
	    .start_ns = 1,
	    .terminal = 1,
	    .disconnect = JOB_DISCONNECT_HANGUP,
	    .disconnect_wait_ns = INT64_C(1500000000),
	    .argv_cut = 1,
	    .oldest = {0, 3, 5},
	    .newest = {0, 4, UINT64_C(1) << 40},
	    .usage = JOB_USAGE_TREE,
	    .cpu_us = 2500000,
	    .memory = 4096,
	    .expire_ns = INT64_C(1700000000000000000),
	    .id = "p1",
	    .owner = "o",
	    .user = "",
	    .group = ""};
	struct process_message m;

	(void)state;
	process_reply_process(&m, &r);
	assert_true(m.process.terminal && m.process.argv_truncated);
	assert_int_equal(m.process.on_disconnect->action,
	    TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_HANGUP);
	assert_int_equal(m.process.on_disconnect->wait->seconds, 1);
	assert_int_equal(m.process.on_disconnect->wait->nanos, 500000000);
	assert_int_equal(m.process.stdout_range->oldest, 3);
	assert_int_equal(m.process.stdout_range->newest, 4);
	assert_int_equal(m.process.stderr_range->oldest, 5);
	assert_true(m.process.stderr_range->newest == UINT64_C(1) << 40);
	assert_int_equal(m.process.usage->cpu_time->seconds, 2);
	assert_int_equal(m.process.usage->cpu_time->nanos, 500000000);
	assert_int_equal(m.process.usage->memory_bytes, 4096);
	assert_true(m.process.usage->tree);
	assert_int_equal(m.process.expire_time->seconds, 1700000000);
	process_reply_process_clear(&m);
	/* A queued one has not started, and nothing was asked of what it uses. */
	r = (struct job_record){
	    .state = KM_STATE_QUEUED, .id = "p1", .owner = "o", .user = "", .group = "g"};
	process_reply_process(&m, &r);
	assert_int_equal(m.process.state, TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED);
	assert_null(m.process.start_time);
	assert_null(m.process.usage);
	assert_null(m.process.on_disconnect);
	assert_null(m.process.expire_time);
	process_reply_process_clear(&m);
}

static void times_before_the_epoch_have_positive_nanos(void **state)
{
	Google__Protobuf__Timestamp t;

	(void)state;
	process_reply_time(&t, -1);
	assert_int_equal(t.seconds, -1);
	assert_int_equal(t.nanos, 999999999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_refusal_has_its_code_and_reason),
	    cmocka_unit_test(the_keepers_words_are_kept_and_made_printable),
	    cmocka_unit_test(a_failed_start_names_stage_and_errno),
	    cmocka_unit_test(a_dropped_offset_says_what_is_held),
	    cmocka_unit_test(system_and_unknown_refusals_are_errors),
	    cmocka_unit_test(a_link_that_fails_says_whether_to_try_again),
	    cmocka_unit_test(a_code_is_a_code),
	    cmocka_unit_test(a_signal_is_told_apart_and_says_whose),
	    cmocka_unit_test(what_is_not_known_is_never_a_code),
	    cmocka_unit_test(what_never_ran_says_where_it_failed),
	    cmocka_unit_test(each_reason_has_its_name),
	    cmocka_unit_test(a_record_becomes_a_process),
	    cmocka_unit_test(a_record_says_what_is_held_and_used),
	    cmocka_unit_test(times_before_the_epoch_have_positive_nanos),
	};

	return cmocka_run_group_tests_name("process_reply", tests, NULL, NULL);
}
