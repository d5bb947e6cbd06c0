/* SPDX-License-Identifier: Apache-2.0 */
/* The options of the fields that an agent refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/field_words.h"

static void expect(const char *message, const char *option, const char *wanted_rest)
{
	const char *rest = NULL, *got = field_words(message, &rest);

	assert_non_null(got);
	assert_string_equal(got, option);
	assert_string_equal(rest, wanted_rest);
}

static void test_fields(void **state)
{
	(void)state;
	expect("spec.output.buffer_bytes: no more", "--output-buffer", ": no more");
	expect("spec.limits[3].soft: is above", "--limit", ": is above");
	expect("limits[0].name: no such limit", "--limit", ": no such limit");
	expect("spec.group_maximum: is for a group", "--group-max", ": is for a group");
	expect("spec.group: must be", "--group", ": must be");
	expect("nice.nice: must be", "--nice", ": must be");
}

static void test_others(void **state)
{
	const char *rest;

	(void)state;
	assert_null(field_words("", &rest));
	assert_null(field_words("spec.", &rest));
	assert_null(field_words("spec: is missing", &rest));
	assert_null(field_words("spec.unheard_of: must be", &rest));
	assert_null(field_words("groups: must be", &rest));
	assert_null(field_words("keep the lid on: it is hot", &rest));
	assert_null(field_words("user", &rest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
