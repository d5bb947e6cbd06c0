/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "common/err.h"
#include "common/signame.h"

static void names_are_parsed(void **state)
{
	(void)state;
	assert_int_equal(signame_parse("TERM"), SIGTERM);
	assert_int_equal(signame_parse("SIGTERM"), SIGTERM);
	assert_int_equal(signame_parse("term"), SIGTERM);
	assert_int_equal(signame_parse("SigUsr1"), SIGUSR1);
	assert_int_equal(signame_parse("KILL"), SIGKILL);
	assert_int_equal(signame_parse("IOT"), SIGABRT);
	assert_int_equal(signame_parse("SYS"), SIGSYS);
}

static void numbers_are_parsed(void **state)
{
	(void)state;
	assert_int_equal(signame_parse("1"), 1);
	assert_int_equal(signame_parse("15"), 15);
	assert_int_equal(signame_parse("09"), 9);
	assert_int_equal(signame_parse("64"), 64);
}

static void real_time_signals_are_counted_from_both_ends(void **state)
{
	(void)state;
	assert_int_equal(signame_parse("RTMIN"), SIGRTMIN);
	assert_int_equal(signame_parse("SIGRTMIN+3"), SIGRTMIN + 3);
	assert_int_equal(signame_parse("rtmax"), SIGRTMAX);
	assert_int_equal(signame_parse("RTMAX-1"), SIGRTMAX - 1);
	assert_int_equal(signame_parse("RTMIN+0"), SIGRTMIN);
	assert_int_equal(signame_parse("RTMIN+99"), TX_EINVAL);
	assert_int_equal(signame_parse("RTMAX-60"), TX_EINVAL);
	assert_int_equal(signame_parse("RTMIN-1"), TX_EINVAL);
	assert_int_equal(signame_parse("RTMAX+1"), TX_EINVAL);
	assert_int_equal(signame_parse("RTMIN+"), TX_EINVAL);
	assert_int_equal(signame_parse("RTMIN3"), TX_EINVAL);
	assert_int_equal(signame_parse("RTMIN+-1"), TX_EINVAL);
}

static void what_is_no_signal_is_refused(void **state)
{
	static const char *const bad[] = {"", "0", "65", "99", "100", "-9", "+9", "9 ", " 9", "9x",
	    "TERMX", "SIG", "SIGSIGTERM", "SIG15", "TER", "signal 9", "99999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(signame_parse(bad[i]), TX_EINVAL);
}

static void format_gives_what_parse_takes(void **state)
{
	char out[24];
	int named = 0;

	(void)state;
	for (int signo = 1; signo <= 64; signo++) {
		assert_ptr_equal(signame_format(out, sizeof(out), signo), out);
		if (strncmp(out, "SIG", 3) != 0)
			continue;
		named++;
		assert_int_equal(signame_parse(out), signo);
	}
	assert_true(named >= 60);
	assert_string_equal(signame_format(out, sizeof(out), SIGTERM), "SIGTERM");
	assert_string_equal(signame_format(out, sizeof(out), SIGABRT), "SIGABRT");
	assert_string_equal(signame_format(out, sizeof(out), SIGRTMIN), "SIGRTMIN");
	assert_string_equal(signame_format(out, sizeof(out), SIGRTMIN + 3), "SIGRTMIN+3");
	assert_string_equal(signame_format(out, sizeof(out), SIGRTMAX), "SIGRTMAX");
	assert_string_equal(signame_format(out, sizeof(out), 99), "signal 99");
	assert_string_equal(signame_format(out, sizeof(out), 0), "signal 0");
	assert_string_equal(
	    signame_format(out, sizeof(out), -2147483647 - 1), "signal -2147483648");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_are_parsed),
	    cmocka_unit_test(numbers_are_parsed),
	    cmocka_unit_test(real_time_signals_are_counted_from_both_ends),
	    cmocka_unit_test(what_is_no_signal_is_refused),
	    cmocka_unit_test(format_gives_what_parse_takes),
	};

	return cmocka_run_group_tests_name("signame", tests, NULL, NULL);
}
