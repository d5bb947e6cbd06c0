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

#include "cli/forward.h"
#include "cli/run_options.h"

#define WORDS_MAX 48

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

static void the_newer_options_reach_it_too(void **state)
{
	char line[] =
	    "run -t -d --clean-env --umask 027 --nice -5 --no-new-privs "
	    "--block-signal INT,TERM --ignore-signal HUP --ignore-signal PIPE "
	    "--output-buffer 64K --output-policy drop-oldest --spool 1G --keep 2h "
	    "--group tests --group-max 4 --limit memory=2G --limit cpu=0.5 --forward USR1 "
	    "true";
	struct run_options o;
	struct cli cli = {0};
	const struct telex_command *c = &o.command;

	(void)state;
	setenv("TERM", "screen-256color", 1);
	setenv("COLORTERM", "truecolor", 1);
	assert_int_equal(parse(&o, &cli, line), 0);
	assert_true(o.terminal && o.detach && c->clean_env && c->no_new_privs && c->set_umask);
	assert_int_equal(c->umask, 027);
	assert_int_equal(c->nice, -5);
	assert_true(c->blocked_signals == (FORWARD_BIT(SIGINT) | FORWARD_BIT(SIGTERM)));
	assert_true(c->ignored_signals == (FORWARD_BIT(SIGHUP) | FORWARD_BIT(SIGPIPE)));
	assert_int_equal(c->output_buffer, 65536);
	assert_int_equal(c->output_policy, TELEX_OUTPUT_DROP_OLDEST);
	assert_int_equal(c->spool_bytes, 1 << 30);
	assert_int_equal(c->keep_ms, 7200000);
	assert_string_equal(c->group, "tests");
	assert_int_equal(c->group_max, 4);
	assert_int_equal(c->memory_bytes, UINT64_C(2) << 30);
	assert_int_equal(c->cpu_millis, 500);
	assert_true(o.forward == FORWARD_BIT(SIGUSR1));
	assert_string_equal(c->env[0], "TERM=screen-256color");
	assert_string_equal(c->env[1], "COLORTERM=truecolor");
	run_options_free(&o);
}

static void a_terminals_kind_may_be_set(void **state)
{
	char line[] = "run -t -e TERM=dumb -e TERMINFO=x true";
	struct run_options o;
	struct cli cli = {0};

	(void)state;
	setenv("TERM", "screen", 1);
	unsetenv("COLORTERM");
	assert_int_equal(parse(&o, &cli, line), 0);
	assert_string_equal(o.command.env[0], "TERM=dumb");
	assert_string_equal(o.command.env[1], "TERMINFO=x");
	assert_null(o.command.env[2]);
	run_options_free(&o);
}

static void nothing_is_forwarded_if_so_wished(void **state)
{
	char line[] = "run --no-forward true";
	struct run_options o;
	struct cli cli = {0};

	(void)state;
	assert_int_equal(parse(&o, &cli, line), 0);
	assert_true(o.forward == 0);
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
	static const char *const lines[] = {"run", "run --", "run -n", "run -t", "run -d --",
	    "run -e =x true", "run -C relative true", "run --timeout soon true",
	    "run --timeout 0 true", "run --timeout -1 true",
	    "run --timeout 99999999999999999999 true", "run --signal NONSENSE true",
	    "run --signal 0 true", "run --grace x true", "run --on-disconnect stay true",
	    "run --on-disconnect hangup: true", "run --on-disconnect hangup:x true",
	    "run --limit nofile true", "run --limit nofile=1 --limit nofile=2 true",
	    "run --id .x true", "run --id a/b true", "run --detatch true", "run --umask 8 true",
	    "run --nice 20 true", "run --block-signal KILL true", "run --ignore-signal STOP true",
	    "run --output-buffer 0 true", "run --output-policy drop true", "run --spool -1 true",
	    "run --keep 0 true", "run --keep 31d true", "run --forward KILL true",
	    "run --forward SEGV true", "run --group -x true", "run --group a/b true",
	    "run --group-max 4 true", "run --group g --group-max 0 true",
	    "run --limit memory=0 true", "run --reconnect soon true"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		refused(lines[i]);
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
	    cmocka_unit_test(the_newer_options_reach_it_too),
	    cmocka_unit_test(a_terminals_kind_may_be_set),
	    cmocka_unit_test(nothing_is_forwarded_if_so_wished),
	    cmocka_unit_test(without_options_the_defaults_are_the_agents),
	    cmocka_unit_test(variable_without_a_value_comes_from_here),
	    cmocka_unit_test(mistakes_are_refused_before_a_connection),
	    cmocka_unit_test(disconnect_policies),
	};

	return cmocka_run_group_tests_name("cli_run_options", tests, NULL, NULL);
}
