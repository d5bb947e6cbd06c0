/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/end.h"
#include "cli/output.h"
#include "cli/run_json.h"
#include "common/duration.h"
#include "tests/unit/cli_loop.h"

/* ---- tables and texts ---- */

static char printed[4096];

/* What `print` writes to stdout. */
static void catch_output(void (*print)(void))
{
	int p[2], old;
	ssize_t n;

	fflush(stdout);
	assert_int_equal(pipe(p), 0);
	old = dup(1);
	dup2(p[1], 1);
	close(p[1]);
	print();
	fflush(stdout);
	dup2(old, 1);
	close(old);
	n = read(p[0], printed, sizeof(printed) - 1);
	printed[n > 0 ? n : 0] = '\0';
	close(p[0]);
}

static void print_table(void)
{
	static const char *const headings[] = {"ID", "NAME", "WHAT"};
	struct output_table *t = output_table_new(headings, 3);

	output_table_row(t, (const char *const[]){"1", "\xc3\xa9t\xc3\xa9", "a"});
	output_table_row(t, (const char *const[]){"22", "longer", "\033[31m\n"});
	output_table_row(t, (const char *const[]){"", NULL, "z"});
	output_table_print(t);
}

static void tables_are_aligned_and_escaped(void **state)
{
	(void)state;
	catch_output(print_table);
	assert_string_equal(printed, "ID  NAME    WHAT\n"
	                             "1   \xc3\xa9t\xc3\xa9     a\n"
	                             "22  longer  \\x1b[31m\\n\n"
	                             "-   -       z\n");
}

static void print_controls(void)
{
	output_json(json_pack("{s:s}", "a", "\xc3\xa9\xc2\x9b"));
}

/* The same to a terminal of that many columns. */
static void catch_on_terminal(void (*print)(void), unsigned short columns)
{
	struct winsize size = {.ws_col = columns, .ws_row = 24};
	int master = posix_openpt(O_RDWR | O_NOCTTY), terminal, old;
	ssize_t n;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip();
	terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(terminal >= 0);
	assert_int_equal(ioctl(terminal, TIOCSWINSZ, &size), 0);
	fflush(stdout);
	old = dup(1);
	dup2(terminal, 1);
	print();
	fflush(stdout);
	dup2(old, 1);
	close(old);
	n = read(master, printed, sizeof(printed) - 1);
	printed[n > 0 ? n : 0] = '\0';
	close(terminal);
	close(master);
}

static void print_long_table(void)
{
	static const char *const headings[] = {"ID", "COMMAND"};
	struct output_table *t = output_table_new(headings, 2);

	output_table_row(t, (const char *const[]){"1", "123456789 123456789 12345\xc3\xa9"});
	output_table_row(t, (const char *const[]){"2", "123456789 123456789 12345\xc3\xa9X"});
	output_table_row(t, (const char *const[]){"3", "123456789 123456789 12\xc3\xa9 and more"});
	output_table_print(t);
}

static void a_table_is_no_wider_than_the_terminal(void **state)
{
	(void)state;
	catch_on_terminal(print_long_table, 30);
	assert_string_equal(printed, "ID  COMMAND\r\n"
	                             "1   123456789 123456789 12345\xc3\xa9\r\n"
	                             "2   123456789 123456789 123...\r\n"
	                             "3   123456789 123456789 12\xc3\xa9...\r\n");
	catch_output(print_long_table);
	assert_non_null(strstr(printed, " and more\n"));
}

static void json_for_a_terminal_is_ascii(void **state)
{
	(void)state;
	catch_output(print_controls);
	assert_string_equal(printed, "{\"a\":\"\xc3\xa9\xc2\x9b\"}\n");
	catch_on_terminal(print_controls, 80);
	assert_string_equal(printed, "{\"a\":\"\\u00E9\\u009B\"}\r\n");
}

static void base64_has_its_padding(void **state)
{
	static const char *const want[] = {
	    "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};

	(void)state;
	for (size_t i = 0; i <= 6; i++) {
		char *got = output_base64("foobar", i);

		assert_string_equal(got, want[i]);
		free(got);
	}
}

static void times_ages_and_sizes(void **state)
{
	char text[48];

	(void)state;
	assert_string_equal(output_time(text, sizeof(text), INT64_C(1767225600123456789)),
	    "2026-01-01T00:00:00.123Z");
	assert_string_equal(output_age(text, sizeof(text), 0, 59 * NS_PER_S), "59s");
	assert_string_equal(output_age(text, sizeof(text), 0, 3599 * NS_PER_S), "59m");
	assert_string_equal(output_age(text, sizeof(text), 0, 47 * 3600 * NS_PER_S), "47h");
	assert_string_equal(output_age(text, sizeof(text), 0, 48 * 3600 * NS_PER_S), "2d");
	assert_string_equal(output_age(text, sizeof(text), 10 * NS_PER_S, 0), "0s");
	assert_string_equal(output_bytes(text, sizeof(text), 1023), "1023 B");
	assert_string_equal(output_bytes(text, sizeof(text), UINT64_C(4) << 30), "4.0 GiB");
}

static void json_text_that_is_not_utf8_is_replaced(void **state)
{
	json_t *json = output_json_text("a\xff\"b");

	(void)state;
	assert_string_equal(json_string_value(json), "a\xef\xbf\xbd\"b");
	json_decref(json);
}

/* ---- ends ---- */

static void json_tells_code_from_signal_from_unknown(void **state)
{
	struct telex_exit exit = {
	    .end = TELEX_END_CODE, .value = 3, .reason = TELEX_REASON_EXITED, .stderr_open = true};
	json_t *json = run_json_exit("id", &exit);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(json, "event")), "exit");
	assert_int_equal(json_integer_value(json_object_get(json, "code")), 3);
	assert_null(json_object_get(json, "signal"));
	assert_string_equal(json_string_value(json_object_get(json, "reason")), "exited");
	assert_int_equal(json_array_size(json_object_get(json, "streams_open")), 1);
	json_decref(json);
	exit = (struct telex_exit){
	    .end = TELEX_END_SIGNAL, .value = 15, .signal_name = "SIGTERM", .core_dumped = true};
	json = run_json_exit("id", &exit);
	assert_null(json_object_get(json, "code"));
	assert_int_equal(json_integer_value(json_object_get(json, "signal")), 15);
	assert_string_equal(json_string_value(json_object_get(json, "signal_name")), "SIGTERM");
	assert_true(json_is_true(json_object_get(json, "core_dumped")));
	json_decref(json);
	exit = (struct telex_exit){.end = TELEX_END_UNKNOWN, .unknown_why = "the keeper restarted"};
	json = run_json_exit("id", &exit);
	assert_null(json_object_get(json, "code"));
	assert_null(json_object_get(json, "signal"));
	assert_string_equal(
	    json_string_value(json_object_get(json, "unknown")), "the keeper restarted");
	json_decref(json);
}

static void json_output_is_text_when_utf8_and_base64_when_not(void **state)
{
	json_t *json = run_json_output(TELEX_STDOUT, 5, "a\0b\n", 4, false);

	(void)state;
	assert_int_equal(json_string_length(json_object_get(json, "data")), 4);
	assert_int_equal(json_integer_value(json_object_get(json, "offset")), 5);
	assert_null(json_object_get(json, "data_base64"));
	json_decref(json);
	json = run_json_output(TELEX_STDERR, 0, "\xff", 1, false);
	assert_string_equal(json_string_value(json_object_get(json, "data_base64")), "/w==");
	assert_string_equal(json_string_value(json_object_get(json, "stream")), "stderr");
	assert_null(json_object_get(json, "data"));
	json_decref(json);
	json = run_json_output(TELEX_STDERR, 1, NULL, 0, true);
	assert_string_equal(json_string_value(json_object_get(json, "event")), "eof");
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(tables_are_aligned_and_escaped),
	    cmocka_unit_test(a_table_is_no_wider_than_the_terminal),
	    cmocka_unit_test(json_for_a_terminal_is_ascii),
	    cmocka_unit_test(base64_has_its_padding),
	    cmocka_unit_test(times_ages_and_sizes),
	    cmocka_unit_test(json_text_that_is_not_utf8_is_replaced),
	    cmocka_unit_test(json_tells_code_from_signal_from_unknown),
	    cmocka_unit_test(json_output_is_text_when_utf8_and_base64_when_not),
	};

	return cmocka_run_group_tests_name("cli_output", tests, NULL, NULL);
}
