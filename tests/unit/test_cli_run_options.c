/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/run_options.h"

#define WORDS_MAX 32

static const struct cli_verb verb = {.name = "run", .summary = "s", .help = "h\n"};

/* The words of a line, parted by single spaces, as the arguments of run. 0, or the status. */
static int parse(struct run_options *o, struct cli *cli, char *line)
{
	char *argv[WORDS_MAX + 1], *save = NULL;
	int argc = 0, status, quiet, old;

	for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	quiet = open("/dev/null", O_WRONLY);
	old = dup(2);
	dup2(quiet, 2);
	status = run_options_parse(o, cli, &verb, argc, argv, &status) < 0 ? status : 0;
	dup2(old, 2);
	close(old);
	close(quiet);
	return status;
}

static void refused(const char *text)
{
	struct run_options o;
	struct cli cli = {0};
	char *line = strdup(text);

	if (parse(&o, &cli, line) != CLI_TELEX)
		fail_msg("was not refused: %s", text);
	run_options_free(&o);
	free(line);
}

static void every_option_reaches_the_command(void **state)
{
	char line[] =
	    "run -n -e A=1 -e B= -C /srv -u me:us --timeout 1m30s --signal INT --grace 500ms "
	    "--on-disconnect hangup:5m --limit nofile=64:128 --limit core=unlimited --id x.1 "
	    "-- make -j4";
	struct run_options o;
	struct cli cli = {0};

	(void)state;
	assert_int_equal(parse(&o, &cli, line), 0);
	assert_int_equal(o.stdin_mode, RUN_STDIN_NEVER);
	assert_string_equal(o.command.env[0], "A=1");
	assert_string_equal(o.command.env[1], "B=");
	assert_null(o.command.env[2]);
	assert_string_equal(o.command.directory, "/srv");
	assert_string_equal(o.command.user, "me:us");
	assert_int_equal(o.command.run_timeout_ms, 90000);
	assert_int_equal(o.command.stop_signal, SIGINT);
	assert_int_equal(o.command.stop_grace_ms, 500);
	assert_int_equal(o.command.on_disconnect, TELEX_DISCONNECT_HANGUP);
	assert_int_equal(o.command.disconnect_wait_ms, 300000);
	assert_int_equal(o.command.n_limits, 2);
	assert_string_equal(o.command.limits[0].name, "nofile");
	assert_string_equal(o.command.limits[1].name, "core");
	assert_string_equal(o.command.process_id, "x.1");
	assert_string_equal(o.command.argv[0], "make");
	assert_string_equal(o.command.argv[1], "-j4");
	assert_null(o.command.argv[2]);
	run_options_free(&o);
}

static void without_options_the_defaults_are_the_agents(void **state)
{
	char line[] = "run ls -l";
	struct run_options o;
	struct cli cli = {0};

	(void)state;
	assert_int_equal(parse(&o, &cli, line), 0);
	assert_int_equal(o.stdin_mode, RUN_STDIN_AUTO);
	assert_int_equal(o.command.run_timeout_ms, 0);
	assert_int_equal(o.command.stop_signal, 0);
	assert_int_equal(o.command.stop_grace_ms, 0);
	assert_int_equal(o.command.disconnect_wait_ms, 0);
	assert_int_equal(o.command.on_disconnect, TELEX_DISCONNECT_DEFAULT);
	assert_null(o.command.env);
	assert_null(o.command.process_id);
	assert_string_equal(o.command.argv[1], "-l");
	run_options_free(&o);
}

static void variable_without_a_value_comes_from_here(void **state)
{
	char line[] = "run -e TELEX_TEST_VARIABLE true";
	struct run_options o;
	struct cli cli = {0};

	(void)state;
	setenv("TELEX_TEST_VARIABLE", "a=b c", 1);
	assert_int_equal(parse(&o, &cli, line), 0);
	assert_string_equal(o.command.env[0], "TELEX_TEST_VARIABLE=a=b c");
	run_options_free(&o);
	unsetenv("TELEX_TEST_VARIABLE");
	refused("run -e TELEX_TEST_VARIABLE true");
}

static void mistakes_are_refused_before_a_connection(void **state)
{
	static const char *const lines[] = {"run", "run --", "run -n", "run -t true", "run -d true",
	    "run -e =x true", "run -C relative true", "run --timeout soon true",
	    "run --timeout 0 true", "run --timeout -1 true",
	    "run --timeout 99999999999999999999 true", "run --signal NONSENSE true",
	    "run --signal 0 true", "run --grace x true", "run --on-disconnect stay true",
	    "run --on-disconnect hangup: true", "run --on-disconnect hangup:x true",
	    "run --limit nofile true", "run --limit nofile=1 --limit nofile=2 true",
	    "run --limit memory=1G true", "run --id .x true", "run --id a/b true",
	    "run --detatch true"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		refused(lines[i]);
}

static void limits_have_suffixes_and_an_optional_hard_value(void **state)
{
	struct telex_limit l;

	(void)state;
	assert_int_equal(run_options_limit("nofile=1024", &l, NULL), 0);
	assert_int_equal(l.soft, 1024);
	assert_int_equal(l.hard, 1024);
	assert_int_equal(run_options_limit("as=1K:2G", &l, NULL), 0);
	assert_int_equal(l.soft, 1024);
	assert_int_equal(l.hard, UINT64_C(2) << 30);
	assert_int_equal(run_options_limit("fsize=3M:unlimited", &l, NULL), 0);
	assert_int_equal(l.soft, 3 << 20);
	assert_true(l.hard == UINT64_MAX);
	assert_int_equal(run_options_limit("core=0", &l, NULL), 0);
	assert_int_equal(l.soft, 0);
}

static void wrong_limits_say_what_is_wrong(void **state)
{
	static const char *const wrong[] = {"", "=", "nofile=", "nofile=:", "nofile=1:", "nofile=x",
	    "nofile=-1", "nofile=1KB", "nofile=1k", "nofile=K", "nofile= 1", "nofile=2:1",
	    "nofile=18446744073709551615", "nofile=18446744073709551616",
	    "nofile=18014398509481985K", "nofile=unlimited:1", "NOFILE=1", "what=1"};
	struct telex_limit l = {.name = "untouched"};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (run_options_limit(wrong[i], &l, &e) != TX_EINVAL)
			fail_msg("taken: '%s'", wrong[i]);
		assert_true(e.message[0]);
		assert_string_equal(l.name, "untouched");
	}
	assert_int_equal(run_options_limit("nofiel=1", &l, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, "did you mean 'nofile'?"));
}

static void limits_of_control_groups_are_not_in_this_version(void **state)
{
	static const char *const later[] = {"memory=1G", "cpu=2", "pids=100"};
	struct telex_limit l;
	struct err e;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(run_options_limit(later[i], &l, &e), TX_EUNSUPPORTED);
		assert_non_null(strstr(e.message, "control group support"));
	}
}

static void times_are_rounded_up_to_milliseconds(void **state)
{
	int64_t ms = 0;

	(void)state;
	assert_int_equal(run_options_duration("1us", &ms, NULL), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(run_options_duration("2", &ms, NULL), 0);
	assert_int_equal(ms, 2000);
	assert_int_equal(run_options_duration("0", &ms, NULL), 0);
	assert_int_equal(ms, 0);
}

static void disconnect_policies(void **state)
{
	enum telex_disconnect action;
	int64_t wait;

	(void)state;
	assert_int_equal(run_options_disconnect("keep", &action, &wait, NULL), 0);
	assert_int_equal(action, TELEX_DISCONNECT_KEEP);
	assert_int_equal(run_options_disconnect("kill", &action, &wait, NULL), 0);
	assert_int_equal(action, TELEX_DISCONNECT_KILL);
	assert_int_equal(run_options_disconnect("hangup", &action, &wait, NULL), 0);
	assert_int_equal(action, TELEX_DISCONNECT_HANGUP);
	assert_int_equal(wait, 0);
	assert_int_equal(run_options_disconnect("hangup:0", &action, &wait, NULL), 0);
	assert_true(wait < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_option_reaches_the_command),
	    cmocka_unit_test(without_options_the_defaults_are_the_agents),
	    cmocka_unit_test(variable_without_a_value_comes_from_here),
	    cmocka_unit_test(mistakes_are_refused_before_a_connection),
	    cmocka_unit_test(limits_have_suffixes_and_an_optional_hard_value),
	    cmocka_unit_test(wrong_limits_say_what_is_wrong),
	    cmocka_unit_test(limits_of_control_groups_are_not_in_this_version),
	    cmocka_unit_test(times_are_rounded_up_to_milliseconds),
	    cmocka_unit_test(disconnect_policies),
	};

	return cmocka_run_group_tests_name("cli_run_options", tests, NULL, NULL);
}
