/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to public structs, errors to struct telex_error, and the packed start of a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/convert.h"
#include "lib/error.h"
#include "lib/run_request.h"

static void a_code_is_a_code(void **state)
{
	Telex__V1__Exit in = TELEX__V1__EXIT__INIT;
	Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Google__Protobuf__Duration user = GOOGLE__PROTOBUF__DURATION__INIT;
	Telex__V1__ResourceUsage usage = TELEX__V1__RESOURCE_USAGE__INIT;
	Telex__V1__OutputStream open[] = {TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR, 77};
	struct telex_exit out;

	(void)state;
	start.seconds = 1700000000;
	start.nanos = 5;
	user.seconds = 2;
	user.nanos = 500000000;
	usage.user_time = &user;
	usage.max_resident_kib = 1234;
	in.status_case = TELEX__V1__EXIT__STATUS_CODE;
	in.code = 7;
	in.reason = TELEX__V1__END_REASON__END_REASON_RUN_TIMEOUT;
	in.start_time = &start;
	in.usage = &usage;
	in.n_streams_open = 2;
	in.streams_open = open;
	in.stderr_length = 99;
	convert_exit(&out, &in);
	assert_int_equal(out.end, TELEX_END_CODE);
	assert_int_equal(out.value, 7);
	assert_null(out.signal_name);
	assert_null(out.unknown_why);
	assert_int_equal(out.reason, TELEX_REASON_RUN_TIMEOUT);
	assert_true(out.start_ns == INT64_C(1700000000000000005));
	assert_int_equal(out.end_ns, 0);
	assert_int_equal(out.user_us, 2500000);
	assert_int_equal(out.max_resident_kib, 1234);
	assert_false(out.stdout_open);
	assert_true(out.stderr_open);
	assert_int_equal(out.stderr_length, 99);
}

static void a_signal_is_a_signal(void **state)
{
	Telex__V1__Exit in = TELEX__V1__EXIT__INIT;
	Telex__V1__SignalDeath death = TELEX__V1__SIGNAL_DEATH__INIT;
	char name[] = "SIGSEGV", by[] = "spiffe://d/user/u";
	struct telex_exit out;

	(void)state;
	death.number = 11;
	death.name = name;
	death.core_dumped = 1;
	in.status_case = TELEX__V1__EXIT__STATUS_SIGNAL;
	in.signal = &death;
	in.ended_by = by;
	convert_exit(&out, &in);
	assert_int_equal(out.end, TELEX_END_SIGNAL);
	assert_int_equal(out.value, 11);
	assert_string_equal(out.signal_name, "SIGSEGV");
	assert_true(out.core_dumped);
	assert_string_equal(out.ended_by, by);
}

static void what_is_not_said_is_unknown_never_zero(void **state)
{
	Telex__V1__Exit in = TELEX__V1__EXIT__INIT;
	Telex__V1__UnknownEnding unknown = TELEX__V1__UNKNOWN_ENDING__INIT;
	char why[] = "the agent was killed";
	struct telex_exit out;

	(void)state;
	convert_exit(&out, &in);
	assert_int_equal(out.end, TELEX_END_UNKNOWN);
	assert_string_not_equal(out.unknown_why, "");
	in.status_case = TELEX__V1__EXIT__STATUS_UNKNOWN;
	in.unknown = &unknown;
	unknown.why = why;
	convert_exit(&out, &in);
	assert_int_equal(out.end, TELEX_END_UNKNOWN);
	assert_string_equal(out.unknown_why, why);
}

static void times_out_of_range_saturate(void **state)
{
	Telex__V1__Exit in = TELEX__V1__EXIT__INIT;
	Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Google__Protobuf__Timestamp end = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	struct telex_exit out;

	(void)state;
	start.seconds = INT64_MIN;
	start.nanos = INT32_MIN;
	end.seconds = INT64_MAX / 1000000000;
	end.nanos = INT32_MAX;
	in.start_time = &start;
	in.end_time = &end;
	convert_exit(&out, &in);
	assert_true(out.start_ns == INT64_MIN);
	assert_true(out.end_ns == INT64_MAX);
}

static void argv_gets_its_ends(void **state)
{
	Telex__V1__Process in = TELEX__V1__PROCESS__INIT;
	Telex__V1__Exit exit = TELEX__V1__EXIT__INIT;
	uint8_t one[] = {'s', 'h'}, two[] = {0xff, 'x', ' '};
	ProtobufCBinaryData argv[] = {{2, one}, {3, two}, {0, NULL}};
	char id[] = "p1";
	struct convert_process out;

	(void)state;
	in.n_argv = 3;
	in.argv = argv;
	in.process_id = id;
	in.state = TELEX__V1__PROCESS_STATE__PROCESS_STATE_ENDING;
	in.pid = 42;
	assert_int_equal(convert_process(&out, &in), 0);
	assert_int_equal(out.process.argc, 3);
	assert_string_equal(out.process.argv[0], "sh");
	assert_string_equal(out.process.argv[1], "\xffx ");
	assert_string_equal(out.process.argv[2], "");
	assert_null(out.process.argv[3]);
	assert_string_equal(out.process.owner, "");
	assert_int_equal(out.process.state, TELEX_STATE_ENDING);
	assert_int_equal(out.process.pid, 42);
	assert_null(out.process.exit);
	convert_process_free(&out);
	in.n_argv = 0;
	in.exit = &exit;
	assert_int_equal(convert_process(&out, &in), 0);
	assert_int_equal(out.process.argc, 0);
	assert_null(out.process.argv[0]);
	assert_ptr_equal(out.process.exit, &out.exit);
	convert_process_free(&out);
}

static void info_without_its_parts_is_empty_not_null(void **state)
{
	Telex__V1__GetInfoResponse in = TELEX__V1__GET_INFO_RESPONSE__INIT;
	struct telex_info out;

	(void)state;
	convert_info(&out, &in);
	assert_string_equal(out.version, "");
	assert_string_equal(out.hostname, "");
	assert_string_equal(out.tls_group, "");
	assert_int_equal(out.max_streams, 0);
	assert_int_equal(out.n_capabilities, 0);
}

static void a_failed_start_keeps_stage_and_errno(void **state)
{
	struct rpc_status status;
	struct telex_error error;

	(void)state;
	rpc_status_set(&status, RPC_NOT_FOUND, "START_FAILED", "no such command: x");
	rpc_status_meta(&status, "stage", "exec");
	rpc_status_meta(&status, "errno", "2");
	assert_int_equal(error_from_status(&error, &status), -1);
	assert_int_equal(error.kind, TELEX_ERROR_STATUS);
	assert_int_equal(error.code, RPC_NOT_FOUND);
	assert_string_equal(error.reason, "START_FAILED");
	assert_string_equal(error.stage, "exec");
	assert_int_equal(error.sys_errno, ENOENT);
	assert_string_equal(error.message, "no such command: x");
}

static void odd_metadata_is_harmless(void **state)
{
	static const char *const odd[] = {"", "x", "2x", "-1", "99999999999999999999"};
	struct telex_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct rpc_status status;

		rpc_status_set(&status, RPC_INTERNAL, NULL, "%s", "");
		rpc_status_meta(&status, "stage", "%s", "exec");
		rpc_status_meta(&status, "errno", "%s", odd[i]);
		error_from_status(&error, &status);
		assert_int_equal(error.sys_errno, 0);
		assert_non_null(strstr(error.message, "INTERNAL"));
	}
}

static void error_kinds_follow_the_code(void **state)
{
	struct telex_error error;
	struct err e;

	(void)state;
	err_set(&e, TX_ECERT, "expired");
	error_from_err(&error, TELEX_ERROR_LOST, &e);
	assert_int_equal(error.kind, TELEX_ERROR_CERTIFICATE);
	err_sys(&e, ECONNRESET, "read");
	error_from_err(&error, TELEX_ERROR_LOST, &e);
	assert_int_equal(error.kind, TELEX_ERROR_LOST);
	assert_int_equal(error.sys_errno, ECONNRESET);
	err_set(&e, TX_ENOMEM, "%s", "");
	error_from_err(&error, TELEX_ERROR_LOST, &e);
	assert_int_equal(error.kind, TELEX_ERROR_NO_MEMORY);
	assert_string_equal(error.message, "out of memory");
	assert_int_equal(error_set(NULL, TELEX_ERROR_USAGE, "nobody asks"), -1);
}

/* The command's start message, unpacked again. */
static Telex__V1__RunRequest *packed(const struct telex_command *c, int64_t heartbeat_ms)
{
	Telex__V1__RunRequest *m;
	uint8_t *data;
	size_t len;

	assert_int_equal(run_request_start(&data, &len, c, "id-1", heartbeat_ms, NULL), 0);
	m = telex__v1__run_request__unpack(NULL, len, data);
	free(data);
	assert_non_null(m);
	assert_int_equal(m->request_case, TELEX__V1__RUN_REQUEST__REQUEST_START);
	return m;
}

static void a_plain_command_sets_nothing_more(void **state)
{
	const char *const argv[] = {"true", NULL};
	const struct telex_command c = {.argv = argv};
	Telex__V1__RunRequest *m = packed(&c, 0);
	const Telex__V1__ProcessSpec *spec = m->start->spec;

	(void)state;
	assert_string_equal(m->start->process_id, "id-1");
	assert_null(m->start->resume);
	assert_null(m->start->heartbeat_interval);
	assert_int_equal(spec->n_argv, 1);
	assert_int_equal(spec->n_environment, 0);
	assert_int_equal(spec->stdin, TELEX__V1__STDIN_MODE__STDIN_MODE_NULL);
	assert_null(spec->run_timeout);
	assert_null(spec->stop_grace);
	assert_null(spec->on_disconnect);
	assert_int_equal(spec->n_limits, 0);
	telex__v1__run_request__free_unpacked(m, NULL);
}

static void everything_of_a_command_is_sent(void **state)
{
	const char *const argv[] = {"sh", "-c", "\xff", NULL};
	const char *const env[] = {"A=1=2", "B=", NULL};
	const struct telex_limit limits[] = {{"nofile", 10, UINT64_MAX}};
	const struct telex_command c = {.argv = argv,
	    .env = env,
	    .directory = "/tmp",
	    .user = "u:g",
	    .stdin_pipe = true,
	    .run_timeout_ms = 1500,
	    .stop_signal = 2,
	    .stop_grace_ms = -1,
	    .on_disconnect = TELEX_DISCONNECT_KILL,
	    .disconnect_wait_ms = -1,
	    .limits = limits,
	    .n_limits = 1};
	Telex__V1__RunRequest *m = packed(&c, 15000);
	const Telex__V1__ProcessSpec *spec = m->start->spec;

	(void)state;
	assert_int_equal(m->start->heartbeat_interval->seconds, 15);
	assert_int_equal(spec->argv[2].len, 1);
	assert_int_equal(spec->argv[2].data[0], 0xff);
	assert_memory_equal(spec->environment[0]->name.data, "A", 1);
	assert_memory_equal(spec->environment[0]->value.data, "1=2", 3);
	assert_int_equal(spec->environment[1]->value.len, 0);
	assert_memory_equal(spec->working_directory.data, "/tmp", 4);
	assert_string_equal(spec->user, "u:g");
	assert_int_equal(spec->stdin, TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE);
	assert_int_equal(spec->run_timeout->seconds, 1);
	assert_int_equal(spec->run_timeout->nanos, 500000000);
	assert_int_equal(spec->stop_signal, 2);
	assert_int_equal(spec->stop_grace->seconds, 0);
	assert_int_equal(spec->stop_grace->nanos, 0);
	assert_int_equal(
	    spec->on_disconnect->action, TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KILL);
	assert_int_equal(spec->on_disconnect->wait->seconds, 0);
	assert_int_equal(spec->on_disconnect->wait->nanos, 0);
	assert_string_equal(spec->limits[0]->name, "nofile");
	assert_true(spec->limits[0]->hard == UINT64_MAX);
	telex__v1__run_request__free_unpacked(m, NULL);
}

static void a_bad_command_is_the_callers_fault(void **state)
{
	const char *const none[] = {NULL}, *const argv[] = {"x", NULL};
	const char *const no_value[] = {"NAME", NULL}, *const no_name[] = {"=x", NULL};
	const struct telex_limit unnamed = {.name = NULL};
	const struct telex_command bad[] = {
	    {.argv = NULL},
	    {.argv = none},
	    {.argv = argv, .env = no_value},
	    {.argv = argv, .env = no_name},
	    {.argv = argv, .limits = &unnamed, .n_limits = 1},
	    {.argv = argv, .stop_signal = -1},
	    {.argv = argv, .run_timeout_ms = -1},
	};
	struct telex_error error;
	uint8_t *data;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(run_request_start(&data, &len, &bad[i], "i", 0, &error), -1);
		assert_int_equal(error.kind, TELEX_ERROR_USAGE);
		assert_string_not_equal(error.message, "");
	}
}

static void ids_are_random_or_checked(void **state)
{
	static const char *const bad[] = {"", ".a", "-a", "a b", "a/b", "\xc3\xa9",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	char a[RUN_ID_SIZE], b[RUN_ID_SIZE];
	struct telex_error error;

	(void)state;
	assert_int_equal(run_request_id(a, NULL, NULL), 0);
	assert_int_equal(run_request_id(b, NULL, NULL), 0);
	assert_int_equal(strlen(a), 26);
	assert_string_not_equal(a, b);
	assert_int_equal(run_request_id(b, a, NULL), 0);
	assert_string_equal(a, b);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(run_request_id(b, bad[i], &error), -1);
		assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_code_is_a_code),
	    cmocka_unit_test(a_signal_is_a_signal),
	    cmocka_unit_test(what_is_not_said_is_unknown_never_zero),
	    cmocka_unit_test(times_out_of_range_saturate),
	    cmocka_unit_test(argv_gets_its_ends),
	    cmocka_unit_test(info_without_its_parts_is_empty_not_null),
	    cmocka_unit_test(a_failed_start_keeps_stage_and_errno),
	    cmocka_unit_test(odd_metadata_is_harmless),
	    cmocka_unit_test(error_kinds_follow_the_code),
	    cmocka_unit_test(a_plain_command_sets_nothing_more),
	    cmocka_unit_test(everything_of_a_command_is_sent),
	    cmocka_unit_test(a_bad_command_is_the_callers_fault),
	    cmocka_unit_test(ids_are_random_or_checked),
	};

	return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
