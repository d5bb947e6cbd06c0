/* SPDX-License-Identifier: Apache-2.0 */
/* Where the last lines begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/tail.h"

/* In pieces of every length, from an offset that is not 0. */
static void expect(const char *text, size_t lines, uint64_t wanted)
{
	const size_t len = strlen(text);

	for (size_t piece = 1; piece <= len + 1; piece++) {
		struct tail t;

		tail_init(&t, lines);
		for (size_t i = 0; i < len; i += piece)
			tail_feed(&t, 100 + i, text + i, len - i < piece ? len - i : piece);
		assert_int_equal(tail_start(&t, 100), 100 + wanted);
		tail_clear(&t);
	}
}

static void test_lines(void **state)
{
	(void)state;
	expect("a\nbc\nd\n", 1, 5);
	expect("a\nbc\nd\n", 2, 2);
	expect("a\nbc\nd\n", 3, 0);
	expect("a\nbc\nd\n", 4, 0);
	expect("a\nbc\nd", 1, 5);
	expect("a\nbc\nd", 2, 2);
	expect("\n\n\n", 2, 1);
	expect("no end", 1, 0);
}

static void test_none(void **state)
{
	(void)state;
	expect("a\nbc\n", 0, 5);
	expect("", 3, 0);
	expect("", 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
