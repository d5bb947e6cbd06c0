/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "cli/limits.h"
#include "cli/values.h"

/* One limit of the text. */
static int one(const char *text, struct telex_limit *limit, struct err *e)
{
	struct limits l = {0};
	int r = limits_add(&l, text, e);

	if (r == 0 && l.n_rlimits == 1)
		*limit = l.rlimits[0];
	limits_clear(&l);
	return r;
}

static void limits_have_suffixes_and_an_optional_hard_value(void **state)
{
	struct telex_limit l;

	(void)state;
	assert_int_equal(one("nofile=1024", &l, NULL), 0);
	assert_string_equal(l.name, "nofile");
	assert_int_equal(l.soft, 1024);
	assert_int_equal(l.hard, 1024);
	assert_int_equal(one("as=1K:2G", &l, NULL), 0);
	assert_int_equal(l.soft, 1024);
	assert_int_equal(l.hard, UINT64_C(2) << 30);
	assert_int_equal(one("fsize=3M:unlimited", &l, NULL), 0);
	assert_int_equal(l.soft, 3 << 20);
	assert_true(l.hard == UINT64_MAX);
	assert_int_equal(one("core=0", &l, NULL), 0);
	assert_int_equal(l.soft, 0);
	assert_int_equal(one("cputime=60", &l, NULL), 0);
	assert_string_equal(l.name, "cpu");
}

static void wrong_limits_say_what_is_wrong(void **state)
{
	static const char *const wrong[] = {"", "=", "nofile=", "nofile=:", "nofile=1:", "nofile=x",
	    "nofile=-1", "nofile=1KB", "nofile=1k", "nofile=K", "nofile= 1", "nofile=2:1",
	    "nofile=18446744073709551615", "nofile=18446744073709551616",
	    "nofile=18014398509481985K", "nofile=unlimited:1", "NOFILE=1", "what=1", "memory=0",
	    "memory=1K", "memory=unlimited", "memory=2G:3G", "memory=", "cpu=0", "cpu=0.001",
	    "cpu=.5", "cpu=1.", "cpu=1.5000", "cpu=-1", "cpu=1e3", "cpu=10000000", "pids=0",
	    "pids=1K", "pids=-5", "pids=99999999999999999999"};
	struct telex_limit l = {.name = "untouched"};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (one(wrong[i], &l, &e) != TX_EINVAL)
			fail_msg("taken: '%s'", wrong[i]);
		assert_true(e.message[0]);
		assert_string_equal(l.name, "untouched");
	}
	assert_int_equal(one("nofiel=1", &l, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, "did you mean 'nofile'?"));
}

static void limits_of_the_control_group_have_their_own_units(void **state)
{
	struct limits l = {0};

	(void)state;
	assert_int_equal(limits_add(&l, "memory=2G", NULL), 0);
	assert_int_equal(limits_add(&l, "cpu=1.5", NULL), 0);
	assert_int_equal(limits_add(&l, "pids=100", NULL), 0);
	assert_int_equal(l.memory_bytes, UINT64_C(2) << 30);
	assert_int_equal(l.cpu_millis, 1500);
	assert_int_equal(l.max_pids, 100);
	assert_int_equal(l.n_rlimits, 0);
	limits_clear(&l);
	assert_int_equal(limits_add(&l, "cpu=0.01", NULL), 0);
	assert_int_equal(l.cpu_millis, 10);
	limits_clear(&l);
	assert_int_equal(limits_add(&l, "cpu=12", NULL), 0);
	assert_int_equal(l.cpu_millis, 12000);
}

static void a_limit_is_given_once(void **state)
{
	static const char *const twice[] = {"memory=2G", "cpu=1", "pids=10", "nofile=1"};
	struct limits l = {0};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
		assert_int_equal(limits_add(&l, twice[i], &e), 0);
		assert_int_equal(limits_add(&l, twice[i], &e), TX_EINVAL);
		assert_non_null(strstr(e.message, "given twice"));
	}
	limits_clear(&l);
}

static void times_are_rounded_up_to_milliseconds(void **state)
{
	int64_t ms = 0;

	(void)state;
	assert_int_equal(values_duration("1us", &ms, NULL), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(values_duration("2", &ms, NULL), 0);
	assert_int_equal(ms, 2000);
	assert_int_equal(values_duration("0", &ms, NULL), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(values_duration("soon", &ms, NULL), TX_EINVAL);
	assert_int_equal(values_duration("99999999999999999999", &ms, NULL), TX_EINVAL);
}

static void sizes_are_more_than_nothing(void **state)
{
	static const char *const wrong[] = {
	    "", "0", "0K", "K", "-1", "1KB", "1k", " 1", "16777216T", "99999999999999999999"};
	uint64_t bytes = 7;

	(void)state;
	assert_int_equal(values_size("64K", &bytes, NULL), 0);
	assert_int_equal(bytes, 65536);
	assert_int_equal(values_size("1", &bytes, NULL), 0);
	assert_int_equal(bytes, 1);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (values_size(wrong[i], &bytes, NULL) != TX_EINVAL || bytes != 1)
			fail_msg("taken: '%s'", wrong[i]);
}

static void numbers_are_whole_and_in_range(void **state)
{
	static const char *const wrong[] = {"", "-", "1.5", "x", "+1", " 1", "20", "-21",
	    "99999999999999999999", "-99999999999999999999"};
	int64_t n = 0;

	(void)state;
	assert_int_equal(values_number("-20", -20, 19, &n, NULL), 0);
	assert_int_equal(n, -20);
	assert_int_equal(values_number("19", -20, 19, &n, NULL), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (values_number(wrong[i], -20, 19, &n, NULL) != TX_EINVAL || n != 19)
			fail_msg("taken: '%s'", wrong[i]);
}

static void masks_are_octal(void **state)
{
	static const char *const wrong[] = {"", "8", "1000", "00022", "-2", "0x2"};
	unsigned mask = 0;

	(void)state;
	assert_int_equal(values_umask("022", &mask, NULL), 0);
	assert_int_equal(mask, 022);
	assert_int_equal(values_umask("0777", &mask, NULL), 0);
	assert_int_equal(mask, 0777);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (values_umask(wrong[i], &mask, NULL) != TX_EINVAL || mask != 0777)
			fail_msg("taken: '%s'", wrong[i]);
}

static void lists_of_signals_are_masks(void **state)
{
	static const char *const wrong[] = {"", ",", "INT,", "INT,,TERM", "INT TERM", "0", "65"};
	uint64_t mask = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (values_signals(wrong[i], &mask, NULL) != TX_EINVAL || mask != 7)
			fail_msg("taken: '%s'", wrong[i]);
	assert_int_equal(values_signals("INT,SIGTERM,64", &mask, NULL), 0);
	assert_true(mask == (VALUES_SIGNAL_BIT(SIGINT) | VALUES_SIGNAL_BIT(SIGTERM) |
	                        VALUES_SIGNAL_BIT(64)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(limits_have_suffixes_and_an_optional_hard_value),
	    cmocka_unit_test(wrong_limits_say_what_is_wrong),
	    cmocka_unit_test(limits_of_the_control_group_have_their_own_units),
	    cmocka_unit_test(a_limit_is_given_once),
	    cmocka_unit_test(times_are_rounded_up_to_milliseconds),
	    cmocka_unit_test(sizes_are_more_than_nothing),
	    cmocka_unit_test(numbers_are_whole_and_in_range),
	    cmocka_unit_test(masks_are_octal),
	    cmocka_unit_test(lists_of_signals_are_masks),
	};

	return cmocka_run_group_tests_name("cli_values", tests, NULL, NULL);
}
