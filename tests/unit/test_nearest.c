/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/nearest.h"

static const char *const verbs[] = {
    "run", "ps", "kill", NULL, "info", "health", "context", "version"};
#define N_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static const char *nearest(const char *word)
{
	return nearest_word(word, verbs, N_VERBS);
}

static void one_slip_is_found(void **state)
{
	(void)state;
	assert_string_equal(nearest("rum"), "run");
	assert_string_equal(nearest("rn"), "run");
	assert_string_equal(nearest("runn"), "run");
	assert_string_equal(nearest("urn"), "run"); /* a swap is one slip */
	assert_string_equal(nearest("ls"), "ps");
	assert_string_equal(nearest("kill"), "kill");
}

static void long_words_may_have_more_slips(void **state)
{
	(void)state;
	assert_string_equal(nearest("helht"), "health");
	assert_string_equal(nearest("contxet"), "context");
	assert_string_equal(nearest("verison"), "version");
}

static void what_is_far_is_nothing(void **state)
{
	(void)state;
	assert_null(nearest("deploy"));
	assert_null(nearest("x"));
	assert_null(nearest(""));
	assert_null(nearest("rabbit"));
	assert_null(nearest_word("run", verbs, 0));
	assert_null(nearest_word("run", NULL, 0));
}

static void the_first_of_equals_wins(void **state)
{
	static const char *const words[] = {"cat", "bat", "hat"};

	(void)state;
	assert_string_equal(nearest_word("rat", words, 3), "cat");
}

static void very_long_words_are_passed_over(void **state)
{
	char big[100];
	const char *const words[] = {big, "run"};

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[99] = '\0';
	assert_null(nearest(big));
	assert_string_equal(nearest_word("runs", words, 2), "run");
	big[64] = '\0';
	assert_ptr_equal(nearest_word(big, words, 2), big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_slip_is_found),
	    cmocka_unit_test(long_words_may_have_more_slips),
	    cmocka_unit_test(what_is_far_is_nothing),
	    cmocka_unit_test(the_first_of_equals_wins),
	    cmocka_unit_test(very_long_words_are_passed_over),
	};

	return cmocka_run_group_tests_name("nearest", tests, NULL, NULL);
}
