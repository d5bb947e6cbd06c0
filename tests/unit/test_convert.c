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

static void a_process_has_its_ranges_and_its_usage(void **state)
{
	Telex__V1__Process in = TELEX__V1__PROCESS__INIT;
	Telex__V1__OutputRange out_range = TELEX__V1__OUTPUT_RANGE__INIT;
	Telex__V1__LiveUsage usage = TELEX__V1__LIVE_USAGE__INIT;
	Google__Protobuf__Duration cpu = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Timestamp expire = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	char group[] = "g";
	struct convert_process out;

	(void)state;
	assert_int_equal(convert_process(&out, &in), 0);
	assert_false(out.process.has_usage);
	assert_string_equal(out.process.group, "");
	assert_int_equal(out.process.expire_ns, 0);
	convert_process_free(&out);
	out_range.oldest = 5;
	out_range.newest = UINT64_MAX;
	cpu.seconds = 2;
	usage.cpu_time = &cpu;
	usage.memory_bytes = 99;
	usage.tree = true;
	expire.seconds = 7;
	in.group = group;
	in.terminal = true;
	in.stdout_range = &out_range;
	in.stderr_range = &out_range;
	in.usage = &usage;
	in.expire_time = &expire;
	assert_int_equal(convert_process(&out, &in), 0);
	assert_string_equal(out.process.group, "g");
	assert_true(out.process.terminal);
	assert_int_equal(out.process.stdout_oldest, 5);
	assert_true(out.process.stderr_newest == UINT64_MAX);
	assert_true(out.process.has_usage && out.process.usage_tree);
	assert_int_equal(out.process.cpu_us, 2000000);
	assert_int_equal(out.process.memory_bytes, 99);
	assert_true(out.process.expire_ns == INT64_C(7000000000));
	convert_process_free(&out);
}

static void what_never_ran_says_why(void **state)
{
	Telex__V1__Exit in = TELEX__V1__EXIT__INIT;
	Telex__V1__NotStarted why = TELEX__V1__NOT_STARTED__INIT;
	char sentence[] = "it was ended in the queue", stage[] = "exec";
	struct telex_exit out;

	(void)state;
	in.status_case = TELEX__V1__EXIT__STATUS_NOT_STARTED;
	in.not_started = &why;
	why.why = sentence;
	convert_exit(&out, &in);
	assert_int_equal(out.end, TELEX_END_NOT_STARTED);
	assert_string_equal(out.unknown_why, sentence);
	assert_null(out.stage);
	why.stage = stage;
	why.error_number = ENOENT;
	convert_exit(&out, &in);
	assert_string_equal(out.stage, "exec");
	assert_int_equal(out.start_errno, ENOENT);
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
	const struct run_request common = {
	    .process_id = "id-1", .key = UINT64_MAX, .heartbeat_ms = heartbeat_ms};
	Telex__V1__RunRequest *m;
	uint8_t *data;
	size_t len;

	assert_int_equal(run_request_start(&data, &len, c, &common, NULL), 0);
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

static void the_rest_of_a_command_is_sent_too(void **state)
{
	const char *const argv[] = {"top", NULL};
	const struct telex_command c = {.argv = argv,
	    .rows = 24,
	    .columns = 80,
	    .clean_env = true,
	    .no_new_privs = true,
	    .set_umask = true,
	    .nice = -5,
	    .blocked_signals = 1 | UINT64_C(1) << 63,
	    .ignored_signals = 2,
	    .memory_bytes = 1 << 20,
	    .max_pids = 7,
	    .cpu_millis = 1500,
	    .output_buffer = 4096,
	    .spool_bytes = 1 << 30,
	    .output_policy = TELEX_OUTPUT_DROP_OLDEST,
	    .group = "g.1",
	    .group_max = 3,
	    .keep_ms = 1500};
	Telex__V1__RunRequest *m = packed(&c, 0);
	const Telex__V1__ProcessSpec *spec = m->start->spec;

	(void)state;
	assert_true(m->start->attachment_key == UINT64_MAX);
	assert_int_equal(spec->terminal->rows, 24);
	assert_int_equal(spec->terminal->columns, 80);
	assert_int_equal(spec->stdin, TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE);
	assert_true(spec->clean_environment && spec->no_new_privileges);
	assert_int_equal(spec->umask->mask, 0);
	assert_int_equal(spec->nice, -5);
	assert_int_equal(spec->n_blocked_signals, 2);
	assert_int_equal(spec->blocked_signals[0], 1);
	assert_int_equal(spec->blocked_signals[1], 64);
	assert_int_equal(spec->n_ignored_signals, 1);
	assert_int_equal(spec->ignored_signals[0], 2);
	assert_int_equal(spec->control_limits->memory_bytes, 1 << 20);
	assert_int_equal(spec->control_limits->pids, 7);
	assert_int_equal(spec->control_limits->cpu_millis, 1500);
	assert_int_equal(spec->output->buffer_bytes, 4096);
	assert_int_equal(spec->output->spool_bytes, 1 << 30);
	assert_int_equal(spec->output->policy, TELEX__V1__OUTPUT_POLICY__OUTPUT_POLICY_DROP_OLDEST);
	assert_string_equal(spec->group, "g.1");
	assert_int_equal(spec->group_maximum, 3);
	assert_int_equal(spec->keep->seconds, 1);
	assert_int_equal(spec->keep->nanos, 500000000);
	telex__v1__run_request__free_unpacked(m, NULL);
}

static void an_attachment_says_where_it_goes_on(void **state)
{
	struct run_request_attach a = {.common = {.process_id = "p", .key = 5}, .stdin_pipe = true};
	Telex__V1__RunRequest *m;
	uint8_t *data;
	size_t len;

	(void)state;
	for (int from = TELEX_FROM_OLDEST; from <= TELEX_FROM_OFFSET; from++) {
		a.from = (enum telex_from)from;
		a.lossy = from == TELEX_FROM_NEWEST;
		a.stdout_offset = UINT64_MAX;
		a.stderr_offset = 3;
		assert_int_equal(run_request_attach(&data, &len, &a, NULL), 0);
		m = telex__v1__run_request__unpack(NULL, len, data);
		free(data);
		assert_non_null(m);
		assert_int_equal(m->request_case, TELEX__V1__RUN_REQUEST__REQUEST_ATTACH);
		assert_true(m->attach->stdin && m->attach->attachment_key == 5);
		assert_int_equal(m->attach->lossy, a.lossy);
		assert_int_equal(m->attach->resume != NULL, from == TELEX_FROM_OFFSET);
		if (m->attach->resume != NULL) {
			assert_true(m->attach->resume->stdout_offset == UINT64_MAX);
			assert_int_equal(m->attach->resume->stderr_offset, 3);
		} else {
			assert_int_equal(m->attach->from, from + 1);
		}
		telex__v1__run_request__free_unpacked(m, NULL);
	}
}

static void a_bad_command_is_the_callers_fault(void **state)
{
	const char *const none[] = {NULL}, *const argv[] = {"x", NULL};
	const char *const no_value[] = {"NAME", NULL}, *const no_name[] = {"=x", NULL};
	const struct telex_limit unnamed = {.name = NULL};
	const struct telex_limit upside_down = {"nofile", 2, 1};
	const struct telex_command bad[] = {
	    {.argv = NULL},
	    {.argv = none},
	    {.argv = argv, .env = no_value},
	    {.argv = argv, .env = no_name},
	    {.argv = argv, .limits = &unnamed, .n_limits = 1},
	    {.argv = argv, .stop_signal = -1},
	    {.argv = argv, .run_timeout_ms = -1},
	    {.argv = argv, .limits = &upside_down, .n_limits = 1},
	    {.argv = argv, .stop_signal = 65},
	    {.argv = argv, .stop_grace_ms = 3600001},
	    {.argv = argv, .disconnect_wait_ms = INT64_C(30) * 86400000 + 1},
	    {.argv = argv, .on_disconnect = 4},
	    {.argv = argv, .rows = 24},
	    {.argv = argv, .rows = 24, .columns = 10001},
	    {.argv = argv, .set_umask = true, .umask = 01000},
	    {.argv = argv, .nice = -21},
	    {.argv = argv, .nice = 20},
	    {.argv = argv, .blocked_signals = UINT64_C(1) << 8},
	    {.argv = argv, .ignored_signals = UINT64_C(1) << 18},
	    {.argv = argv, .memory_bytes = 1000},
	    {.argv = argv, .cpu_millis = 9},
	    {.argv = argv, .output_policy = 3},
	    {.argv = argv, .group = "a/b"},
	    {.argv = argv, .group_max = 1},
	    {.argv = argv, .keep_ms = -1},
	    {.argv = argv, .keep_ms = 999},
	};
	const struct run_request common = {.process_id = "i"};
	struct telex_error error;
	uint8_t *data;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(run_request_start(&data, &len, &bad[i], &common, &error), -1);
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
	    cmocka_unit_test(a_process_has_its_ranges_and_its_usage),
	    cmocka_unit_test(what_never_ran_says_why),
	    cmocka_unit_test(info_without_its_parts_is_empty_not_null),
	    cmocka_unit_test(a_failed_start_keeps_stage_and_errno),
	    cmocka_unit_test(odd_metadata_is_harmless),
	    cmocka_unit_test(error_kinds_follow_the_code),
	    cmocka_unit_test(a_plain_command_sets_nothing_more),
	    cmocka_unit_test(everything_of_a_command_is_sent),
	    cmocka_unit_test(the_rest_of_a_command_is_sent_too),
	    cmocka_unit_test(an_attachment_says_where_it_goes_on),
	    cmocka_unit_test(a_bad_command_is_the_callers_fault),
	    cmocka_unit_test(ids_are_random_or_checked),
	};

	return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
