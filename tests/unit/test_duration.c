/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/duration.h"
#include "common/err.h"

#define MINUTE (60 * NS_PER_S)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static void assert_parses(const char *text, int64_t want)
{
	int64_t ns = -1;

	assert_int_equal(duration_parse(text, &ns), 0);
	if (ns != want)
		fail_msg("\"%s\" is %lld, not %lld", text, (long long)ns, (long long)want);
}

static void assert_refused(const char *text, int code)
{
	int64_t ns = -7;

	if (duration_parse(text, &ns) != code)
		fail_msg("\"%s\" is not refused with %d", text, code);
	assert_true(ns == -7);
}

static void assert_formats(int64_t ns, const char *want)
{
	char out[48];
	int64_t back;

	assert_ptr_equal(duration_format(out, sizeof(out), ns), out);
	assert_string_equal(out, want);
	if (ns < 0)
		return;
	assert_int_equal(duration_parse(out, &back), 0);
	assert_true(back == ns);
}

static void units_are_understood(void **state)
{
	(void)state;
	assert_parses("0", 0);
	assert_parses("90", 90 * NS_PER_S);
	assert_parses("1.5", 1500 * NS_PER_MS);
	assert_parses("1.5s", 1500 * NS_PER_MS);
	assert_parses("250ms", 250 * NS_PER_MS);
	assert_parses("10us", 10 * NS_PER_US);
	assert_parses("7ns", 7);
	assert_parses("5m", 5 * MINUTE);
	assert_parses("2h", 2 * HOUR);
	assert_parses("3d", 3 * DAY);
	assert_parses("1h30m", HOUR + 30 * MINUTE);
	assert_parses("1d2h3m4s5ms6us7ns",
	    DAY + 2 * HOUR + 3 * MINUTE + 4 * NS_PER_S + 5 * NS_PER_MS + 6 * NS_PER_US + 7);
	assert_parses("0.5h0.5m", 30 * MINUTE + 30 * NS_PER_S);
	assert_parses("007s", 7 * NS_PER_S);
}

static void what_is_finer_than_a_nanosecond_is_rounded_up(void **state)
{
	(void)state;
	assert_parses("0.1ns", 1);
	assert_parses("0.0000000001s", 1);
	assert_parses("0.00000000000000000000000000001s", 1);
	assert_parses("0.33333333333333333333333333s", 333333334);
	assert_parses("0.99999999999999999999999999d", DAY);
	assert_parses("1.00000000000000000000000000s", NS_PER_S);
}

static void what_is_no_duration_is_refused(void **state)
{
	static const char *const bad[] = {"", " ", "s", "-1s", "+1s", "1 s", " 1s", "1s ", "1.",
	    "1.s", ".5s", "1..5s", "1.5.5s", "1h30", "1m1h", "1s1s", "1ms1s", "1x", "1sec", "1S",
	    "1h,30m", "0x10", "1e3", "inf", "nan", "1s\n", "1\xc2\xb5s", "1hh", "5mss"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refused(bad[i], TX_EINVAL);
	assert_refused("99999999999999999999x", TX_EINVAL);
}

static void what_does_not_fit_is_too_big(void **state)
{
	(void)state;
	assert_parses("9223372036.854775807", INT64_MAX);
	assert_parses("9223372036854775807ns", INT64_MAX);
	assert_parses("106751d", 106751 * DAY);
	assert_refused("9223372036.854775808", TX_ETOOBIG);
	assert_refused("9223372036854775808ns", TX_ETOOBIG);
	assert_refused("106752d", TX_ETOOBIG);
	assert_refused("106751.99999999999999999999999d", TX_ETOOBIG);
	assert_refused("106751d999999h", TX_ETOOBIG);
	assert_refused("99999999999999999999999999999999999999s", TX_ETOOBIG);
	assert_refused("99999999999999999999999999999999999999h1s", TX_ETOOBIG);
}

static void format_is_exact_and_can_be_parsed(void **state)
{
	(void)state;
	assert_formats(0, "0s");
	assert_formats(7, "7ns");
	assert_formats(10 * NS_PER_US, "10us");
	assert_formats(1500 * NS_PER_US, "1.5ms");
	assert_formats(250 * NS_PER_MS, "250ms");
	assert_formats(1500 * NS_PER_MS, "1.5s");
	assert_formats(90 * NS_PER_S, "1m30s");
	assert_formats(HOUR + 30 * MINUTE, "1h30m");
	assert_formats(DAY, "1d");
	assert_formats(MINUTE + 250 * NS_PER_MS, "1m0.25s");
	assert_formats(NS_PER_S + 1, "1.000000001s");
	assert_formats(999999999, "999.999999ms");
	assert_formats(INT64_MAX, "106751d23h47m16.854775807s");
	assert_formats(-90 * NS_PER_S, "-1m30s");
	assert_formats(-5, "-5ns");
	assert_formats(INT64_MIN, "-106751d23h47m16.854775808s");
}

static void format_is_cut_to_its_room(void **state)
{
	char out[4];

	(void)state;
	assert_string_equal(duration_format(out, sizeof(out), HOUR + 30 * MINUTE), "1h3");
}

static void timeval_is_never_early_and_never_negative(void **state)
{
	(void)state;
	assert_int_equal(duration_timeval(-1).tv_sec, 0);
	assert_int_equal(duration_timeval(INT64_MIN).tv_usec, 0);
	assert_int_equal(duration_timeval(0).tv_usec, 0);
	assert_int_equal(duration_timeval(1).tv_usec, 1);
	assert_int_equal(duration_timeval(1000).tv_usec, 1);
	assert_int_equal(duration_timeval(1001).tv_usec, 2);
	assert_int_equal(duration_timeval(NS_PER_S - 1).tv_sec, 1);
	assert_int_equal(duration_timeval(NS_PER_S - 1).tv_usec, 0);
	assert_true(duration_timeval(INT64_MAX).tv_sec == 9223372036);
	assert_int_equal(duration_timeval(INT64_MAX).tv_usec, 854776);
}

static void clocks_go_forward(void **state)
{
	int64_t mono = clock_monotonic_ns();

	(void)state;
	assert_true(mono > 0);
	assert_true(clock_monotonic_ns() >= mono);
	assert_true(clock_realtime_ns() > 1577836800 * NS_PER_S); /* 2020 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(units_are_understood),
	    cmocka_unit_test(what_is_finer_than_a_nanosecond_is_rounded_up),
	    cmocka_unit_test(what_is_no_duration_is_refused),
	    cmocka_unit_test(what_does_not_fit_is_too_big),
	    cmocka_unit_test(format_is_exact_and_can_be_parsed),
	    cmocka_unit_test(format_is_cut_to_its_room),
	    cmocka_unit_test(timeval_is_never_early_and_never_negative),
	    cmocka_unit_test(clocks_go_forward),
	};

	return cmocka_run_group_tests_name("duration", tests, NULL, NULL);
}
