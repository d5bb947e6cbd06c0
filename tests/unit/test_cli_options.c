/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"

#define COUNT(argv) ((int)(sizeof(argv) / sizeof((argv)[0])) - 1)

static const struct options_spec specs[] = {
    {'a', 'a', "all", false},
    {'s', 's', "signal", true},
    {300, '\0', "timeout", true},
    {0},
};

static const struct cli_verb verb = {.name = "verb", .summary = "s", .help = "the help\n"};

/* What is said on stderr meanwhile. */
static char said[1024];
static int old_stderr, said_pipe[2];

static void catch_words(void)
{
	assert_int_equal(pipe(said_pipe), 0);
	old_stderr = dup(2);
	dup2(said_pipe[1], 2);
	close(said_pipe[1]);
}

static void words_end(void)
{
	ssize_t n;

	dup2(old_stderr, 2);
	close(old_stderr);
	n = read(said_pipe[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(said_pipe[0]);
}

/* Parses until the first mistake, which it must meet; what is said is in `said`. */
static int mistake(char **argv, int argc, bool stop)
{
	struct cli cli = {0};
	struct options o;
	const char *value;
	int id;

	catch_words();
	options_start(&o, &cli, &verb, specs, argc, argv);
	o.stop_at_operand = stop;
	while ((id = options_next(&o, &value)) > 0)
		;
	words_end();
	assert_int_equal(id, -1);
	return options_end(&o);
}

static void letters_bundles_and_long_names_with_their_values(void **state)
{
	char *argv[] = {(char *)"verb", (char *)"-as", (char *)"HUP", (char *)"-sTERM",
	    (char *)"--signal=", (char *)"--timeout", (char *)"-5", (char *)"--all", NULL};
	struct cli cli = {0};
	struct options o;
	const char *value;

	(void)state;
	options_start(&o, &cli, &verb, specs, COUNT(argv), argv);
	assert_int_equal(options_next(&o, &value), 'a');
	assert_null(value);
	assert_int_equal(options_next(&o, &value), 's');
	assert_string_equal(value, "HUP");
	assert_int_equal(options_next(&o, &value), 's');
	assert_string_equal(value, "TERM");
	assert_int_equal(options_next(&o, &value), 's');
	assert_string_equal(value, "");
	assert_int_equal(options_next(&o, &value), 300);
	assert_string_equal(value, "-5");
	assert_int_equal(options_next(&o, &value), 'a');
	assert_int_equal(options_next(&o, &value), 0);
	assert_int_equal(o.n_operands, 0);
	assert_null(o.operands[0]);
	assert_int_equal(options_end(&o), CLI_OK);
}

static void options_may_follow_operands(void **state)
{
	char *argv[] = {(char *)"verb", (char *)"one", (char *)"-a", (char *)"-", (char *)"--",
	    (char *)"-s", (char *)"--", NULL};
	struct cli cli = {0};
	struct options o;
	const char *value;

	(void)state;
	options_start(&o, &cli, &verb, specs, COUNT(argv), argv);
	assert_int_equal(options_next(&o, &value), 'a');
	assert_int_equal(options_next(&o, &value), 0);
	assert_int_equal(o.n_operands, 4);
	assert_string_equal(o.operands[0], "one");
	assert_string_equal(o.operands[1], "-");
	assert_string_equal(o.operands[2], "-s");
	assert_string_equal(o.operands[3], "--");
	options_end(&o);
}

static void options_end_at_the_command_where_that_is_asked_for(void **state)
{
	char *argv[] = {
	    (char *)"run", (char *)"-a", (char *)"ls", (char *)"-l", (char *)"--", NULL};
	struct cli cli = {0};
	struct options o;
	const char *value;

	(void)state;
	options_start(&o, &cli, &verb, specs, COUNT(argv), argv);
	o.stop_at_operand = true;
	assert_int_equal(options_next(&o, &value), 'a');
	assert_int_equal(options_next(&o, &value), 0);
	assert_int_equal(o.n_operands, 3);
	assert_string_equal(o.operands[0], "ls");
	assert_string_equal(o.operands[1], "-l");
	assert_string_equal(o.operands[2], "--");
	options_end(&o);
}

static void global_options_are_understood_after_the_verb(void **state)
{
	char *argv[] = {(char *)"verb", (char *)"--json", (char *)"-whost:1", (char *)"-a",
	    (char *)"--context=c", (char *)"-vv", NULL};
	struct cli cli = {0};
	struct options o;
	const char *value;

	(void)state;
	options_start(&o, &cli, &verb, specs, COUNT(argv), argv);
	assert_int_equal(options_next(&o, &value), 'a');
	assert_int_equal(options_next(&o, &value), 0);
	assert_true(cli.json);
	assert_string_equal(cli.on, "host:1");
	assert_string_equal(cli.context, "c");
	assert_int_equal(cli.verbosity, 2);
	options_end(&o);
}

static void mistyped_long_option_is_told_the_nearest(void **state)
{
	char *own[] = {(char *)"verb", (char *)"--singal=9", NULL};
	char *global[] = {(char *)"verb", (char *)"--jsno", NULL};
	char *far[] = {(char *)"verb", (char *)"--quux-and-more", NULL};

	(void)state;
	assert_int_equal(mistake(own, COUNT(own), false), CLI_TELEX);
	assert_string_equal(said, "telex: verb: unknown option '--singal'; did you mean "
	                          "'--signal'? (see `telex verb --help`)\n");
	assert_int_equal(mistake(global, COUNT(global), false), CLI_TELEX);
	assert_non_null(strstr(said, "did you mean '--json'?"));
	assert_int_equal(mistake(far, COUNT(far), false), CLI_TELEX);
	assert_null(strstr(said, "did you mean"));
}

static void wrong_values_and_letters_are_named(void **state)
{
	char *missing[] = {(char *)"verb", (char *)"--timeout", NULL};
	char *missing_letter[] = {(char *)"verb", (char *)"-s", NULL};
	char *extra[] = {(char *)"verb", (char *)"--all=yes", NULL};
	char *letter[] = {(char *)"verb", (char *)"-az", NULL};
	char *control[] = {(char *)"verb", (char *)"--\033[31m", NULL};

	(void)state;
	mistake(missing, COUNT(missing), false);
	assert_non_null(strstr(said, "option '--timeout' needs a value"));
	mistake(missing_letter, COUNT(missing_letter), false);
	assert_non_null(strstr(said, "option '-s' needs a value"));
	mistake(extra, COUNT(extra), false);
	assert_non_null(strstr(said, "option '--all' takes no value"));
	mistake(letter, COUNT(letter), false);
	assert_non_null(strstr(said, "unknown option '-z'"));
	mistake(control, COUNT(control), false);
	assert_null(strchr(said, '\033'));
}

static bool take_minus_x(const char *arg, void *taken)
{
	if (strcmp(arg, "-x") != 0)
		return false;
	++*(unsigned *)taken;
	return true;
}

static void what_a_verb_takes_is_no_option(void **state)
{
	char *argv[] = {(char *)"verb", (char *)"-x", (char *)"-a", (char *)"one", (char *)"-x",
	    (char *)"-s", (char *)"-x", (char *)"--", (char *)"-x", NULL};
	struct cli cli = {0};
	struct options o;
	const char *value;
	unsigned taken = 0;

	(void)state;
	options_start(&o, &cli, &verb, specs, COUNT(argv), argv);
	o.take = take_minus_x;
	o.take_arg = &taken;
	assert_int_equal(options_next(&o, &value), 'a');
	assert_int_equal(taken, 1);
	/* Not what is an option's value, and not behind "--". */
	assert_int_equal(options_next(&o, &value), 's');
	assert_string_equal(value, "-x");
	assert_int_equal(options_next(&o, &value), 0);
	assert_int_equal(taken, 2);
	assert_int_equal(o.n_operands, 2);
	assert_string_equal(o.operands[0], "one");
	assert_string_equal(o.operands[1], "-x");
	assert_int_equal(options_end(&o), CLI_OK);
}

static void arguments_are_refused_where_none_are_taken(void **state)
{
	char *none[] = {(char *)"verb", NULL};
	char *some[] = {(char *)"verb", (char *)"what", NULL};
	struct cli cli = {0};
	bool go;

	(void)state;
	assert_int_equal(options_none(&cli, &verb, COUNT(none), none, &go), CLI_OK);
	assert_true(go);
	catch_words();
	assert_int_equal(options_none(&cli, &verb, COUNT(some), some, &go), CLI_TELEX);
	words_end();
	assert_false(go);
	assert_non_null(strstr(said, "takes no arguments, but was given 'what'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(letters_bundles_and_long_names_with_their_values),
	    cmocka_unit_test(options_may_follow_operands),
	    cmocka_unit_test(options_end_at_the_command_where_that_is_asked_for),
	    cmocka_unit_test(global_options_are_understood_after_the_verb),
	    cmocka_unit_test(mistyped_long_option_is_told_the_nearest),
	    cmocka_unit_test(wrong_values_and_letters_are_named),
	    cmocka_unit_test(what_a_verb_takes_is_no_option),
	    cmocka_unit_test(arguments_are_refused_where_none_are_taken),
	};

	return cmocka_run_group_tests_name("cli_options", tests, NULL, NULL);
}
