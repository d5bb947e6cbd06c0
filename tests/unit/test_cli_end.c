/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/end.h"

struct row {
	struct telex_exit exit;
	int status;
	const char *text;
};

static const struct row rows[] = {
    {{.end = TELEX_END_CODE, .value = 0, .reason = TELEX_REASON_EXITED}, 0, "exit 0"},
    {{.end = TELEX_END_CODE, .value = 255, .reason = TELEX_REASON_EXITED}, 255, "exit 255"},
    {{.end = TELEX_END_CODE, .value = 7, .reason = TELEX_REASON_SIGNALLED}, 7, "exit 7"},
    {{.end = TELEX_END_SIGNAL,
         .value = 9,
         .signal_name = "SIGKILL",
         .reason = TELEX_REASON_OUT_OF_MEMORY},
        137, "SIGKILL"},
    {{.end = TELEX_END_SIGNAL, .value = 40, .reason = TELEX_REASON_EXITED}, 168, "signal 40"},
    {{.end = TELEX_END_SIGNAL,
         .value = 15,
         .signal_name = "SIGTERM",
         .reason = TELEX_REASON_RUN_TIMEOUT},
        CLI_TIMEOUT, "SIGTERM"},
    {{.end = TELEX_END_CODE, .value = 0, .reason = TELEX_REASON_RUN_TIMEOUT}, CLI_TIMEOUT,
        "exit 0"},
    {{.end = TELEX_END_UNKNOWN, .unknown_why = "nobody saw it"}, CLI_TELEX, "unknown"},
    {{.end = TELEX_END_NOT_STARTED, .unknown_why = "removed from the queue"}, CLI_TELEX,
        "not started"},
    {{.end = TELEX_END_NOT_STARTED, .stage = "exec", .start_errno = ENOENT}, CLI_NOT_FOUND,
        "not started"},
    {{.end = TELEX_END_NOT_STARTED, .stage = "exec", .start_errno = EACCES}, CLI_NOT_EXEC,
        "not started"},
    {{.end = TELEX_END_NOT_STARTED, .stage = "chdir", .start_errno = ENOENT}, CLI_TELEX,
        "not started"},
};

static void an_ending_is_a_status_and_a_word(void **state)
{
	char text[END_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(end_status(&rows[i].exit), rows[i].status);
		assert_string_equal(end_text(text, sizeof(text), &rows[i].exit), rows[i].text);
	}
}

static void every_reason_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(end_reason(TELEX_REASON_EXITED), "exited");
	assert_string_equal(end_reason(TELEX_REASON_SIGNALLED), "signalled");
	assert_string_equal(end_reason(TELEX_REASON_RUN_TIMEOUT), "run_timeout");
	assert_string_equal(end_reason(TELEX_REASON_DISCONNECT), "disconnect");
	assert_string_equal(end_reason(TELEX_REASON_SHUTDOWN), "shutdown");
	assert_string_equal(end_reason(TELEX_REASON_OUT_OF_MEMORY), "out_of_memory");
	assert_string_equal(end_reason((enum telex_reason)99), "unspecified");
}

/* A code is never made up for what has none. */
static void json_tells_the_endings_apart(void **state)
{
	static const char *const members[] = {
	    [TELEX_END_CODE] = "code",
	    [TELEX_END_SIGNAL] = "signal",
	    [TELEX_END_UNKNOWN] = "unknown",
	    [TELEX_END_NOT_STARTED] = "not_started",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *o = end_json(&rows[i].exit);

		for (int end = TELEX_END_CODE; end <= TELEX_END_NOT_STARTED; end++)
			assert_int_equal(
			    json_object_get(o, members[end]) != NULL, end == (int)rows[i].exit.end);
		json_decref(o);
	}
}

static void a_failed_start_has_the_shells_status(void **state)
{
	struct telex_error error = {.kind = TELEX_ERROR_STATUS, .sys_errno = ENOENT};

	(void)state;
	assert_int_equal(end_error_status(&error), CLI_TELEX);
	strcpy(error.stage, "exec");
	assert_int_equal(end_error_status(&error), CLI_NOT_FOUND);
	error.sys_errno = EACCES;
	assert_int_equal(end_error_status(&error), CLI_NOT_EXEC);
	strcpy(error.stage, "chdir");
	assert_int_equal(end_error_status(&error), CLI_TELEX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_ending_is_a_status_and_a_word),
	    cmocka_unit_test(every_reason_has_a_name),
	    cmocka_unit_test(json_tells_the_endings_apart),
	    cmocka_unit_test(a_failed_start_has_the_shells_status),
	};

	return cmocka_run_group_tests_name("cli_end", tests, NULL, NULL);
}
