/* SPDX-License-Identifier: Apache-2.0 */
/* Each bad field of a ProcessSpec is refused by its name; each default is what process.proto says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/worker/process_spec.h"
#include "common/duration.h"
#include "common/err.h"
#include "common/keeper_msg.h"

static ProtobufCBinaryData bytes(const char *text)
{
	ProtobufCBinaryData b = {strlen(text), (uint8_t *)text};

	return b;
}

/* A spec with one of everything, which tests then spoil. */
struct fixture {
	Telex__V1__ProcessSpec spec;
	ProtobufCBinaryData argv[2];
	Telex__V1__EnvironmentVariable variables[2], *environment[2];
	Telex__V1__ResourceLimit limit_values[17], *limits[17];
	Telex__V1__DisconnectPolicy policy;
	Google__Protobuf__Duration timeout, grace, wait;
};

static void good(struct fixture *f)
{
	telex__v1__process_spec__init(&f->spec);
	f->argv[0] = bytes("sh");
	f->argv[1] = bytes("-c");
	f->spec.argv = f->argv;
	f->spec.n_argv = 2;
	for (int i = 0; i < 2; i++) {
		telex__v1__environment_variable__init(&f->variables[i]);
		f->variables[i].name = bytes("NAME");
		f->variables[i].value = bytes("a=b");
		f->environment[i] = &f->variables[i];
	}
	f->spec.environment = f->environment;
	f->spec.n_environment = 2;
	for (int i = 0; i < 17; i++) {
		telex__v1__resource_limit__init(&f->limit_values[i]);
		f->limit_values[i].name = (char *)(i == 0 ? "nofile" : "core");
		f->limit_values[i].soft = 10;
		f->limit_values[i].hard = UINT64_MAX;
		f->limits[i] = &f->limit_values[i];
	}
	f->spec.limits = f->limits;
	f->spec.n_limits = 2;
	telex__v1__disconnect_policy__init(&f->policy);
	google__protobuf__duration__init(&f->timeout);
	google__protobuf__duration__init(&f->grace);
	google__protobuf__duration__init(&f->wait);
}

static void refused_by(struct fixture *f, const char *field)
{
	struct rpc_status refuse = {0};
	struct job_spec *out = NULL;

	assert_int_equal(process_spec_parse(&out, &f->spec, true, &refuse), TX_EINVAL);
	assert_null(out);
	assert_int_equal(refuse.code, RPC_INVALID_ARGUMENT);
	assert_string_equal(refuse.reason, "BAD_REQUEST");
	assert_string_equal(rpc_status_get(&refuse, "field"), field);
	assert_non_null(strstr(refuse.message, field));
}

static struct job_spec *accepted(struct fixture *f, bool attached)
{
	struct rpc_status refuse = {0};
	struct job_spec *out = NULL;

	assert_int_equal(process_spec_parse(&out, &f->spec, attached, &refuse), 0);
	return out;
}

static void takes_every_field(void **state)
{
	struct fixture f;
	struct job_spec *s;

	(void)state;
	good(&f);
	f.spec.working_directory = bytes("/tmp");
	f.spec.user = (char *)"nobody:users";
	f.spec.stdin = TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE;
	f.timeout.seconds = 3;
	f.timeout.nanos = 500000000;
	f.spec.run_timeout = &f.timeout;
	f.spec.stop_signal = SIGINT;
	f.spec.stop_grace = &f.grace;
	f.policy.action = TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KILL;
	f.spec.on_disconnect = &f.policy;
	s = accepted(&f, true);
	assert_int_equal(s->argc, 2);
	assert_string_equal(s->argv[1], "-c");
	assert_null(s->argv[2]);
	assert_int_equal(s->envc, 2);
	assert_string_equal(s->env[0], "NAME=a=b");
	assert_null(s->env[2]);
	assert_string_equal(s->cwd, "/tmp");
	assert_string_equal(s->user, "nobody:users");
	assert_true(s->stdin_pipe);
	assert_int_equal(s->run_timeout_ns, 3500 * NS_PER_MS);
	assert_int_equal(s->stop_signal, SIGINT);
	assert_int_equal(s->stop_grace_ns, 0);
	assert_int_equal(s->disconnect, JOB_DISCONNECT_KILL);
	assert_int_equal(s->n_rlimits, 2);
	assert_int_equal(s->rlimits[0].resource, RLIMIT_NOFILE);
	assert_int_equal(s->rlimits[0].soft, 10);
	assert_true(s->rlimits[0].hard == UINT64_MAX);
	process_spec_free(s);
}

static void defaults_are_the_documented_ones(void **state)
{
	struct fixture f;
	struct job_spec *s;

	(void)state;
	good(&f);
	f.spec.n_environment = 0;
	f.spec.n_limits = 0;
	s = accepted(&f, true);
	assert_null(s->cwd);
	assert_null(s->user);
	assert_false(s->stdin_pipe);
	assert_int_equal(s->run_timeout_ns, 0);
	assert_int_equal(s->stop_signal, SIGTERM);
	assert_int_equal(s->stop_grace_ns, 10 * NS_PER_S);
	assert_int_equal(s->disconnect, JOB_DISCONNECT_HANGUP);
	assert_int_equal(s->disconnect_wait_ns, 60 * NS_PER_S);
	assert_null(s->env[0]);
	assert_false(s->terminal || s->clean_env || s->no_new_privs);
	assert_int_equal(s->umask, 022);
	assert_int_equal(s->nice, 0);
	assert_true(s->blocked == 0 && s->ignored == 0);
	assert_true(s->memory == 0 && s->cpu_millis == 0 && s->pids == 0);
	assert_true(s->output_buffer == 0 && s->spool == 0);
	assert_int_equal(s->output_policy, JOB_OUTPUT_BLOCK);
	assert_null(s->group);
	assert_int_equal(s->keep_ns, 3600 * NS_PER_S);
	process_spec_free(s);
	s = accepted(&f, false);
	assert_int_equal(s->disconnect, JOB_DISCONNECT_KEEP);
	process_spec_free(s);
	/* A wait of nothing is not a wait that was not given. */
	f.policy.wait = &f.wait;
	f.spec.on_disconnect = &f.policy;
	s = accepted(&f, true);
	assert_int_equal(s->disconnect_wait_ns, 0);
	process_spec_free(s);
}

static void a_missing_spec_is_named(void **state)
{
	struct rpc_status refuse;
	struct job_spec *out = NULL;

	(void)state;
	assert_int_equal(process_spec_parse(&out, NULL, true, &refuse), TX_EINVAL);
	assert_string_equal(rpc_status_get(&refuse, "field"), "spec");
}

static void bad_argv_is_named(void **state)
{
	struct fixture f;

	(void)state;
	good(&f);
	f.spec.n_argv = 0;
	refused_by(&f, "spec.argv");
	good(&f);
	f.argv[0].len = 0;
	refused_by(&f, "spec.argv");
	good(&f);
	f.argv[1] = (ProtobufCBinaryData){3, (uint8_t *)"a\0b"};
	refused_by(&f, "spec.argv[1]");
}

static void an_empty_argument_is_an_argument(void **state)
{
	struct fixture f;
	struct job_spec *s;

	(void)state;
	good(&f);
	f.argv[1] = (ProtobufCBinaryData){0, NULL};
	s = accepted(&f, true);
	assert_string_equal(s->argv[1], "");
	process_spec_free(s);
}

static void bad_environment_is_named(void **state)
{
	struct fixture f;

	(void)state;
	good(&f);
	f.variables[1].name.len = 0;
	refused_by(&f, "spec.environment[1]");
	good(&f);
	f.variables[0].name = bytes("A=B");
	refused_by(&f, "spec.environment[0]");
	good(&f);
	f.variables[0].name = (ProtobufCBinaryData){2, (uint8_t *)"A\0"};
	refused_by(&f, "spec.environment[0]");
	good(&f);
	f.variables[0].value = (ProtobufCBinaryData){1, (uint8_t *)""};
	refused_by(&f, "spec.environment[0]");
}

static void bad_directory_is_named(void **state)
{
	struct fixture f;

	(void)state;
	good(&f);
	f.spec.working_directory = bytes("tmp");
	refused_by(&f, "spec.working_directory");
	f.spec.working_directory = (ProtobufCBinaryData){5, (uint8_t *)"/tmp\0"};
	refused_by(&f, "spec.working_directory");
}

static void odd_user_names_are_refused(void **state)
{
	static const char *const odd[] = {
	    ":", ":users", "nobody:", "a:b:c", "a b", "a/b", "a\n", "\x7f", "\xc3\xa9"};
	char big[300];
	struct fixture f;

	(void)state;
	good(&f);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		f.spec.user = (char *)odd[i];
		refused_by(&f, "spec.user");
	}
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	f.spec.user = big;
	refused_by(&f, "spec.user");
}

static void unknown_enum_values_are_refused(void **state)
{
	struct fixture f;

	(void)state;
	good(&f);
	f.spec.stdin = (Telex__V1__StdinMode)3;
	refused_by(&f, "spec.stdin");
	good(&f);
	f.policy.action = (Telex__V1__DisconnectAction)-1;
	f.spec.on_disconnect = &f.policy;
	refused_by(&f, "spec.on_disconnect.action");
}

static void bad_durations_are_named(void **state)
{
	struct fixture f;

	(void)state;
	good(&f);
	f.timeout.seconds = -1;
	f.spec.run_timeout = &f.timeout;
	refused_by(&f, "spec.run_timeout");
	f.timeout.seconds = 0;
	f.timeout.nanos = 1000000000;
	refused_by(&f, "spec.run_timeout");
	f.timeout.nanos = -1;
	refused_by(&f, "spec.run_timeout");
	f.timeout.seconds = INT64_MAX;
	f.timeout.nanos = 0;
	refused_by(&f, "spec.run_timeout");
	good(&f);
	f.grace.seconds = 3600;
	f.grace.nanos = 1;
	f.spec.stop_grace = &f.grace;
	refused_by(&f, "spec.stop_grace");
	good(&f);
	f.wait.seconds = 30 * 86400 + 1;
	f.policy.wait = &f.wait;
	f.spec.on_disconnect = &f.policy;
	refused_by(&f, "spec.on_disconnect.wait");
}

static void bad_signals_are_named(void **state)
{
	struct rpc_status refuse;
	struct fixture f;

	(void)state;
	good(&f);
	f.spec.stop_signal = 65;
	refused_by(&f, "spec.stop_signal");
	assert_int_equal(process_signal_check(0, 0, &refuse), TX_EINVAL);
	assert_string_equal(rpc_status_get(&refuse, "field"), "signal");
	assert_int_equal(process_signal_check(65, 0, &refuse), TX_EINVAL);
	assert_int_equal(process_signal_check(64, 4, &refuse), TX_EINVAL);
	assert_string_equal(rpc_status_get(&refuse, "field"), "target");
	assert_int_equal(process_signal_check(64, 2, &refuse), 0);
	assert_int_equal(process_signal_check(64, 3, &refuse), 0);
}

static void a_signal_goes_to_the_group_unless_told(void **state)
{
	(void)state;
	assert_int_equal(process_signal_target(0), KM_TARGET_GROUP);
	assert_int_equal(process_signal_target(1), KM_TARGET_PROCESS);
	assert_int_equal(process_signal_target(2), KM_TARGET_GROUP);
	assert_int_equal(process_signal_target(3), KM_TARGET_TREE);
}

static void bad_limits_are_named(void **state)
{
	struct fixture f;

	(void)state;
	good(&f);
	f.limit_values[1].name = (char *)"nothing";
	refused_by(&f, "spec.limits[1].name");
	good(&f);
	f.limit_values[1].name = (char *)"nofile";
	refused_by(&f, "spec.limits[1].name");
	good(&f);
	f.limit_values[0].hard = 9;
	refused_by(&f, "spec.limits[0].soft");
	good(&f);
	f.spec.n_limits = 17;
	refused_by(&f, "spec.limits");
}

/* Messages of a spec's second half, to be hung into one. */
struct settings {
	Telex__V1__TerminalSize terminal;
	Telex__V1__Umask umask;
	Telex__V1__ControlLimits control;
	Telex__V1__OutputRetention output;
	Google__Protobuf__Duration keep;
	uint32_t blocked[2], ignored[2];
};

/* All of it, good; tests then spoil one. */
static void good_settings(struct fixture *f, struct settings *s)
{
	good(f);
	telex__v1__terminal_size__init(&s->terminal);
	s->terminal.rows = 1;
	s->terminal.columns = JOB_TERMINAL_MAX;
	f->spec.terminal = &s->terminal;
	f->spec.clean_environment = f->spec.no_new_privileges = true;
	telex__v1__umask__init(&s->umask);
	s->umask.mask = 0777;
	f->spec.umask = &s->umask;
	f->spec.nice = -20;
	s->blocked[0] = 1;
	s->blocked[1] = 64;
	f->spec.blocked_signals = s->blocked;
	f->spec.n_blocked_signals = 2;
	s->ignored[0] = s->ignored[1] = SIGPIPE;
	f->spec.ignored_signals = s->ignored;
	f->spec.n_ignored_signals = 2;
	telex__v1__control_limits__init(&s->control);
	s->control.memory_bytes = JOB_MEMORY_MIN;
	s->control.cpu_millis = JOB_CPU_MILLIS_MIN;
	s->control.pids = 1;
	f->spec.control_limits = &s->control;
	telex__v1__output_retention__init(&s->output);
	s->output.buffer_bytes = 1 << 30;
	s->output.policy = TELEX__V1__OUTPUT_POLICY__OUTPUT_POLICY_DROP_OLDEST;
	s->output.spool_bytes = UINT64_MAX;
	f->spec.output = &s->output;
	f->spec.group = (char *)"a-group";
	f->spec.group_maximum = 3;
	google__protobuf__duration__init(&s->keep);
	s->keep.seconds = 1;
	f->spec.keep = &s->keep;
}

static void takes_every_setting(void **state)
{
	struct settings set;
	struct fixture f;
	struct job_spec *s;

	(void)state;
	good_settings(&f, &set);
	s = accepted(&f, true);
	assert_true(s->terminal && s->stdin_pipe && s->clean_env && s->no_new_privs);
	assert_int_equal(s->rows, 1);
	assert_int_equal(s->columns, JOB_TERMINAL_MAX);
	assert_int_equal(s->umask, 0777);
	assert_int_equal(s->nice, -20);
	assert_true(s->blocked == (UINT64_C(1) | UINT64_C(1) << 63));
	assert_true(s->ignored == UINT64_C(1) << (SIGPIPE - 1));
	assert_true(s->memory == JOB_MEMORY_MIN && s->pids == 1);
	assert_int_equal(s->cpu_millis, JOB_CPU_MILLIS_MIN);
	assert_true(s->output_buffer == 1 << 30 && s->spool == UINT64_MAX);
	assert_int_equal(s->output_policy, JOB_OUTPUT_DROP_OLDEST);
	assert_string_equal(s->group, "a-group");
	assert_int_equal(s->group_max, 3);
	assert_int_equal(s->keep_ns, NS_PER_S);
	process_spec_free(s);
	/* A mask of nothing is not a mask that was not given. */
	set.umask.mask = 0;
	s = accepted(&f, true);
	assert_int_equal(s->umask, 0);
	process_spec_free(s);
}

/* What the worker lets through, the keeper takes. */
static void good_settings_pass_the_keepers_check(void **state)
{
	struct settings set;
	struct fixture f;
	struct job_spec *s, *opened = NULL;
	uint8_t *data;
	size_t len;
	struct err e;

	(void)state;
	good_settings(&f, &set);
	s = accepted(&f, true);
	assert_int_equal(job_spec_pack(s, &data, &len, &e), 0);
	assert_int_equal(job_spec_parse(&opened, data, len, &e), 0);
	assert_int_equal(opened->nice, -20);
	job_spec_free(opened);
	free(data);
	process_spec_free(s);
}

static void bad_terminals_are_named(void **state)
{
	struct settings set;
	struct fixture f;

	(void)state;
	good_settings(&f, &set);
	set.terminal.rows = 0;
	refused_by(&f, "spec.terminal.rows");
	set.terminal.rows = JOB_TERMINAL_MAX + 1;
	refused_by(&f, "spec.terminal.rows");
	set.terminal.rows = 24;
	set.terminal.columns = 0;
	refused_by(&f, "spec.terminal.columns");
	set.terminal.columns = UINT32_MAX;
	refused_by(&f, "spec.terminal.columns");
}

static void bad_settings_are_named(void **state)
{
	struct settings set;
	struct fixture f;

	(void)state;
	good_settings(&f, &set);
	set.umask.mask = 01000;
	refused_by(&f, "spec.umask.mask");
	good_settings(&f, &set);
	f.spec.nice = 20;
	refused_by(&f, "spec.nice");
	f.spec.nice = -21;
	refused_by(&f, "spec.nice");
	good_settings(&f, &set);
	set.blocked[1] = 65;
	refused_by(&f, "spec.blocked_signals[1]");
	set.blocked[1] = SIGKILL;
	refused_by(&f, "spec.blocked_signals[1]");
	good_settings(&f, &set);
	set.ignored[0] = 0;
	refused_by(&f, "spec.ignored_signals[0]");
	set.ignored[0] = SIGSTOP;
	refused_by(&f, "spec.ignored_signals[0]");
	good_settings(&f, &set);
	set.keep.seconds = 0;
	refused_by(&f, "spec.keep");
	set.keep.seconds = 30 * 86400 + 1;
	refused_by(&f, "spec.keep");
}

static void bad_control_limits_and_groups_are_named(void **state)
{
	struct settings set;
	struct fixture f;

	(void)state;
	good_settings(&f, &set);
	set.control.memory_bytes = JOB_MEMORY_MIN - 1;
	refused_by(&f, "spec.control_limits.memory_bytes");
	good_settings(&f, &set);
	set.control.cpu_millis = JOB_CPU_MILLIS_MIN - 1;
	refused_by(&f, "spec.control_limits.cpu_millis");
	good_settings(&f, &set);
	set.output.policy = (Telex__V1__OutputPolicy)3;
	refused_by(&f, "spec.output.policy");
	good_settings(&f, &set);
	f.spec.group = (char *)"../up";
	refused_by(&f, "spec.group");
	f.spec.group = (char *)"-a";
	refused_by(&f, "spec.group");
	f.spec.group = (char *)"";
	refused_by(&f, "spec.group_maximum");
}

static void a_buffer_that_none_can_have_is_over_a_limit(void **state)
{
	struct rpc_status refuse = {0};
	struct job_spec *out = NULL;
	struct settings set;
	struct fixture f;

	(void)state;
	good_settings(&f, &set);
	set.output.buffer_bytes = (1 << 30) + 1;
	assert_int_equal(process_spec_parse(&out, &f.spec, true, &refuse), TX_EINVAL);
	assert_int_equal(refuse.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(refuse.reason, "LIMIT");
	assert_string_equal(rpc_status_get(&refuse, "maximum"), "1073741824");
}

static void odd_process_ids_are_refused(void **state)
{
	struct rpc_status refuse;

	(void)state;
	assert_int_equal(process_id_check("a.B-9_", &refuse), 0);
	assert_int_equal(process_id_check("", &refuse), TX_EINVAL);
	assert_string_equal(rpc_status_get(&refuse, "field"), "process_id");
	assert_int_equal(process_id_check("-a", &refuse), TX_EINVAL);
	assert_int_equal(process_id_check("a/b", &refuse), TX_EINVAL);
}

static void a_spec_that_is_too_large_is_said_to_be(void **state)
{
	static char big[JOB_SPEC_MAX + 1];
	struct rpc_status refuse;
	struct job_spec *s;
	struct fixture f;
	int fd = -1;

	(void)state;
	good(&f);
	memset(big, 'a', sizeof(big));
	f.argv[1] = (ProtobufCBinaryData){sizeof(big), (uint8_t *)big};
	s = accepted(&f, true);
	assert_true(process_spec_seal(s, &fd, &refuse) < 0);
	assert_int_equal(refuse.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(refuse.reason, "TOO_LARGE");
	process_spec_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_every_field),
	    cmocka_unit_test(defaults_are_the_documented_ones),
	    cmocka_unit_test(a_missing_spec_is_named),
	    cmocka_unit_test(bad_argv_is_named),
	    cmocka_unit_test(an_empty_argument_is_an_argument),
	    cmocka_unit_test(bad_environment_is_named),
	    cmocka_unit_test(bad_directory_is_named),
	    cmocka_unit_test(odd_user_names_are_refused),
	    cmocka_unit_test(unknown_enum_values_are_refused),
	    cmocka_unit_test(bad_durations_are_named),
	    cmocka_unit_test(bad_signals_are_named),
	    cmocka_unit_test(a_signal_goes_to_the_group_unless_told),
	    cmocka_unit_test(bad_limits_are_named),
	    cmocka_unit_test(takes_every_setting),
	    cmocka_unit_test(good_settings_pass_the_keepers_check),
	    cmocka_unit_test(bad_terminals_are_named),
	    cmocka_unit_test(bad_settings_are_named),
	    cmocka_unit_test(bad_control_limits_and_groups_are_named),
	    cmocka_unit_test(a_buffer_that_none_can_have_is_over_a_limit),
	    cmocka_unit_test(odd_process_ids_are_refused),
	    cmocka_unit_test(a_spec_that_is_too_large_is_said_to_be),
	};

	return cmocka_run_group_tests_name("process_spec", tests, NULL, NULL);
}
