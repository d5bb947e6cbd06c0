/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/err.h"
#include "common/log.h"

/* A pair of datagram sockets: one write is one message, so that the tests see the writes. */
static int pair[2];

static int open_pair(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair);
}

static int close_pair(void **state)
{
	(void)state;
	log_open("telex", LOG_LEVEL_INFO, false, STDERR_FILENO);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

/* The next write, NUL-terminated; "" when there was none. */
static const char *written(void)
{
	static char buf[2 * LOG_LINE_MAX];
	ssize_t n = recv(pair[0], buf, sizeof(buf) - 1, MSG_DONTWAIT);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void a_text_line_has_time_level_component_and_pid(void **state)
{
	char rest[128];
	int y, mo, d, h, mi, s, ms;

	(void)state;
	log_open("worker", LOG_LEVEL_INFO, false, pair[1]);
	log_info("listening on %s:%d", "127.0.0.1", 8359);
	assert_int_equal(sscanf(written(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %127[^\n]", &y, &mo, &d,
	                     &h, &mi, &s, &ms, rest),
	    8);
	assert_true(
	    y >= 2020 && mo >= 1 && mo <= 12 && d >= 1 && d <= 31 && h < 24 && mi < 60 && s < 61);
	char want[128];
	snprintf(want, sizeof(want), "info worker[%d]: listening on 127.0.0.1:8359", (int)getpid());
	assert_string_equal(rest, want);
	assert_string_equal(written(), "");
}

static void a_json_line_is_one_object(void **state)
{
	char want[128];
	const char *line;

	(void)state;
	log_open("keeper", LOG_LEVEL_INFO, true, pair[1]);
	log_warn("say \"%s\"", "a\\b\nc\x01\xff");
	line = written();
	assert_memory_equal(line, "{\"time\":\"2", 10);
	snprintf(want, sizeof(want),
	    "Z\",\"level\":\"warn\",\"component\":\"keeper\",\"pid\":%d,\"message\":"
	    "\"say \\\"a\\\\b\\nc\\u0001\xef\xbf\xbd\\\"\"}\n",
	    (int)getpid());
	assert_non_null(strstr(line, want));
}

static void foreign_words_forge_no_line(void **state)
{
	const char *line;

	(void)state;
	log_open("worker", LOG_LEVEL_INFO, false, pair[1]);
	log_info("user %s", "x\n2026-01-01T00:00:00.000Z error telexd[1]: forged\x1b[2K");
	line = written();
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_null(strchr(line, 0x1b));
	assert_non_null(strstr(line, "x\\n2026"));
}

static void long_lines_are_cut_and_stay_whole_lines(void **state)
{
	char big[3 * LOG_LINE_MAX];
	const char *line;

	(void)state;
	memset(big, '\x1b', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (int json = 0; json < 2; json++) {
		log_open("worker", LOG_LEVEL_INFO, json, pair[1]);
		log_info("%s", big);
		line = written();
		assert_in_range(strlen(line), LOG_LINE_MAX - 16, LOG_LINE_MAX);
		assert_string_equal(
		    line + strlen(line) - (json ? 9 : 5), json ? "\\u001b\"}\n" : "\\x1b\n");
		assert_string_equal(written(), "");
	}
}

static void a_level_lets_through_what_is_as_grave(void **state)
{
	(void)state;
	log_open("t", LOG_LEVEL_WARN, false, pair[1]);
	assert_true(log_enabled(LOG_LEVEL_ERROR));
	assert_true(log_enabled(LOG_LEVEL_WARN));
	assert_false(log_enabled(LOG_LEVEL_INFO));
	log_debug("no");
	log_info("no");
	assert_string_equal(written(), "");
	log_warn("yes");
	assert_non_null(strstr(written(), " warn t["));
	log_error("yes");
	assert_non_null(strstr(written(), " error t["));
}

static void level_names_are_parsed(void **state)
{
	enum log_level level = LOG_LEVEL_WARN;

	(void)state;
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("Info", &level), TX_EINVAL);
	assert_int_equal(log_level_parse("", &level), TX_EINVAL);
	assert_int_equal(level, LOG_LEVEL_ERROR);
}

static void errno_is_kept_and_failure_is_silent(void **state)
{
	(void)state;
	log_open("t", LOG_LEVEL_INFO, false, -1);
	errno = ENOSPC;
	log_info("lost");
	assert_int_equal(errno, ENOSPC);
	log_open("t", LOG_LEVEL_INFO, false, pair[1]);
	errno = ENOENT;
	log_info("%m");
	assert_non_null(strstr(written(), "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_text_line_has_time_level_component_and_pid),
	    cmocka_unit_test(a_json_line_is_one_object),
	    cmocka_unit_test(foreign_words_forge_no_line),
	    cmocka_unit_test(long_lines_are_cut_and_stay_whole_lines),
	    cmocka_unit_test(a_level_lets_through_what_is_as_grave),
	    cmocka_unit_test(level_names_are_parsed),
	    cmocka_unit_test(errno_is_kept_and_failure_is_silent),
	};

	return cmocka_run_group_tests_name("log", tests, open_pair, close_pair);
}
