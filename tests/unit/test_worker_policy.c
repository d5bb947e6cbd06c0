/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy makes of requests before the keeper hears of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/job_spec.h"
#include "telex/v1/process.pb-c.h"
#include "tests/support/asker.h"

#define GRANT "\ngrant g { identities = {\"" RIG_USER "\"} roles = {r} }"

static void set_policy(struct asker *f, const char *role)
{
	char text[1024];

	snprintf(
	    text, sizeof(text), "role r { methods = {\"**\"} users = {\"*\"} %s }" GRANT, role);
	worker_rig_policy(&f->rig, text);
}

static void ask(struct asker *f, const char *method, const ProtobufCMessageDescriptor *response,
    const ProtobufCMessage *request)
{
	asker_ask(f, "telex.v1.ProcessService", method, response, false, request);
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

/* Starts `argv` with one variable (NULL: none). */
static void ask_start(
    struct asker *f, const char *const *argv, const char *variable, const char *value)
{
	Telex__V1__StartRequest q = TELEX__V1__START_REQUEST__INIT;
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	Telex__V1__EnvironmentVariable v = TELEX__V1__ENVIRONMENT_VARIABLE__INIT, *list[] = {&v};
	ProtobufCBinaryData words[8];

	while (argv[spec.n_argv] != NULL) {
		words[spec.n_argv] = bytes(argv[spec.n_argv]);
		spec.n_argv++;
	}
	spec.argv = words;
	if (variable != NULL) {
		v.name = bytes(variable);
		v.value = bytes(value);
		spec.environment = list;
		spec.n_environment = 1;
	}
	q.process_id = (char *)(uintptr_t) "p1";
	q.spec = &spec;
	ask(f, "Start", &telex__v1__start_response__descriptor, &q.base);
}

/* What the keeper is asked to start; job_spec_free. */
static struct job_spec *started(struct asker *f, struct km_start *m)
{
	struct job_spec *spec = NULL;
	union km_any msg;
	struct err e;
	int fd;

	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, &fd));
	assert_int_equal(job_spec_open(&spec, fd, &e), 0);
	close(fd);
	*m = msg.start;
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_EXISTS);
	asker_answered(f, RPC_ALREADY_EXISTS, "PROCESS_EXISTS");
	return spec;
}

static void denied(struct asker *f, enum km_type type)
{
	asker_answered(f, RPC_PERMISSION_DENIED, "NOT_ALLOWED");
	assert_string_equal(rpc_status_get(&f->status, "identity"), RIG_USER);
	assert_non_null(rpc_status_get(&f->status, "rule"));
	assert_int_equal(fake_keeper_count(f->keeper, type), 0);
}

static void a_forced_command_is_run_and_told_what_was_asked_for(void **state)
{
	static const char *const asked[] = {"git-upload-pack", "it's; rm -rf /", "", NULL};
	struct asker *f = *state;
	struct job_spec *spec;
	struct km_start m;

	set_policy(f,
	    "forced_command = {\"/usr/bin/gate\", \"--x\"} max_memory = 64MiB max_pids = 9 "
	    "max_run_timeout = 1m max_running = 3");
	ask_start(f, asked, "LANG", "C");
	spec = started(f, &m);
	assert_int_equal(spec->argc, 2);
	assert_string_equal(spec->argv[0], "/usr/bin/gate");
	assert_string_equal(spec->argv[1], "--x");
	assert_int_equal(spec->envc, 2);
	assert_string_equal(spec->env[0], "LANG=C");
	assert_string_equal(
	    spec->env[1], "TELEX_ORIGINAL_COMMAND=git-upload-pack 'it'\\''s; rm -rf /' ''");
	assert_true(spec->memory == 64 << 20 && spec->pids == 9);
	assert_true(spec->run_timeout_ns == 60 * NS_PER_S);
	assert_int_equal(m.max_running, 3);
	job_spec_free(spec);
	/* Which is nobody else's to say. */
	ask_start(f, asked, "TELEX_ORIGINAL_COMMAND", "true");
	denied(f, KM_START);
}

/* What a start without a size of its own is given. */
static uint64_t buffer_of(struct asker *f, const char *role)
{
	static const char *const asked[] = {"/bin/ls", NULL};
	struct job_spec *spec;
	struct km_start m;
	uint64_t size;

	set_policy(f, role);
	ask_start(f, asked, NULL, NULL);
	spec = started(f, &m);
	size = spec->output_buffer;
	job_spec_free(spec);
	return size;
}

static void a_roles_maximum_bounds_the_agents_own_output_buffer(void **state)
{
	struct asker *f = *state;

	f->rig.worker.config.output_buffer = 1 << 20;
	assert_int_equal(buffer_of(f, "command \"**\" {} max_output_buffer = 64KiB"), 64 << 10);
	/* 0: what the agent gives, which is no more than that. */
	assert_int_equal(buffer_of(f, "command \"**\" {} max_output_buffer = 2MiB"), 0);
	assert_int_equal(buffer_of(f, "command \"**\" {}"), 0);
}

static void a_command_too_long_to_be_told_is_refused(void **state)
{
	static char word[100001];
	const char *const asked[] = {word, NULL};
	struct asker *f = *state;

	memset(word, 'a', sizeof(word) - 1);
	set_policy(f, "forced_command = {\"/usr/bin/gate\"}");
	ask_start(f, asked, NULL, NULL);
	denied(f, KM_START);
}

static void what_is_not_allowed_does_not_reach_the_keeper(void **state)
{
	static const char *const good[] = {"/bin/ls", "-l", NULL}, *const bad[] = {"/bin/sh", NULL},
	                         *const by_name[] = {"ls", NULL};
	struct asker *f = *state;
	struct job_spec *spec;
	struct km_start m;

	set_policy(f, "command \"/bin/ls\" {}");
	ask_start(f, good, NULL, NULL);
	spec = started(f, &m);
	assert_string_equal(spec->argv[1], "-l");
	assert_true(spec->memory == 0 && m.max_running == 0);
	job_spec_free(spec);
	ask_start(f, bad, NULL, NULL);
	denied(f, KM_START);
	ask_start(f, by_name, NULL, NULL);
	denied(f, KM_START);
	ask_start(f, good, "LD_PRELOAD", "/x.so");
	denied(f, KM_START);
}

static void ask_signal(struct asker *f, uint32_t signo)
{
	Telex__V1__SignalRequest q = TELEX__V1__SIGNAL_REQUEST__INIT;

	q.process_id = (char *)(uintptr_t) "p1";
	q.signal = signo;
	ask(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
}

/* Sends it; whether it is for anybody's process. */
static bool signal_reaches_others(struct asker *f, uint32_t signo)
{
	struct km_done done = {0};
	union km_any msg;

	ask_signal(f, signo);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	return msg.signal.any != 0;
}

static void others_processes_are_reached_only_where_a_role_says_so(void **state)
{
	struct asker *f = *state;

	set_policy(f, "signals = {TERM}");
	assert_false(signal_reaches_others(f, SIGTERM));
	ask_signal(f, SIGKILL);
	denied(f, KM_SIGNAL);
	set_policy(f, "signals = {TERM} any_process = true");
	assert_true(signal_reaches_others(f, SIGTERM));
	/* One role has the signal, another one the reach. */
	worker_rig_policy(&f->rig,
	    "role a { methods = {\"**\"} signals = {TERM} any_process = true }\n"
	    "role b { methods = {\"**\"} signals = {HUP} }\n"
	    "grant g { identities = {\"" RIG_USER "\"} roles = {a, b} }");
	assert_true(signal_reaches_others(f, SIGTERM));
	assert_false(signal_reaches_others(f, SIGHUP));
}

static void limits_are_not_raised_beyond_the_role(void **state)
{
	Telex__V1__UpdateRequest q = TELEX__V1__UPDATE_REQUEST__INIT;
	Telex__V1__ControlLimits limits = TELEX__V1__CONTROL_LIMITS__INIT;
	struct asker *f = *state;
	struct km_done done = {0};
	union km_any msg;

	set_policy(f, "max_memory = 64MiB");
	q.process_id = (char *)(uintptr_t) "p1";
	q.control_limits = &limits;
	limits.memory_bytes = 64 << 20;
	ask(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_UPDATE, &msg, NULL));
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	asker_answered(f, RPC_OK, "");
	limits.memory_bytes++;
	ask(f, "Update", &telex__v1__update_response__descriptor, &q.base);
	denied(f, KM_UPDATE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, asker_set_up, asker_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_forced_command_is_run_and_told_what_was_asked_for),
	    TEST(a_roles_maximum_bounds_the_agents_own_output_buffer),
	    TEST(a_command_too_long_to_be_told_is_refused),
	    TEST(what_is_not_allowed_does_not_reach_the_keeper),
	    TEST(others_processes_are_reached_only_where_a_role_says_so),
	    TEST(limits_are_not_raised_beyond_the_role),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
