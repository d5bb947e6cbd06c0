/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/err.h"

static void set_fills_code_and_message(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, TX_EINVAL, "port %d", 99999), TX_EINVAL);
	assert_int_equal(e.code, TX_EINVAL);
	assert_int_equal(e.sys_errno, 0);
	assert_string_equal(e.message, "port 99999");
	assert_int_equal(err_set(NULL, TX_EPERM, "x"), TX_EPERM);
}

static void sys_appends_the_errno_text(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_sys(&e, ENOENT, "open %s", "/x"), TX_ESYS);
	assert_int_equal(e.sys_errno, ENOENT);
	assert_string_equal(e.message, "open /x: No such file or directory");
}

static void wrap_puts_context_in_front(void **state)
{
	struct err e;

	(void)state;
	err_sys(&e, EADDRINUSE, "listener %s", "0.0.0.0:8359");
	assert_int_equal(err_wrap(&e, "cannot start agent"), TX_ESYS);
	assert_string_equal(
	    e.message, "cannot start agent: listener 0.0.0.0:8359: Address already in use");
	assert_int_equal(err_wrap(NULL, "nothing"), TX_OK);
}

static void long_texts_are_cut_and_keep_the_cause(void **state)
{
	struct err e;
	char big[2000];

	(void)state;
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_set(&e, TX_EINVAL, "the cause");
	err_wrap(&e, "%s", big);
	assert_true(strlen(e.message) < sizeof(e.message));
	assert_non_null(strstr(e.message, ": the cause"));
}

static void every_code_has_a_name(void **state)
{
	(void)state;
	for (int code = 0; code >= TX_ETLS; code--)
		assert_string_not_equal(err_name(code), "unknown error");
	assert_string_equal(err_name(1), "unknown error");
	assert_string_equal(err_name(-1000), "unknown error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(set_fills_code_and_message),
	    cmocka_unit_test(sys_appends_the_errno_text),
	    cmocka_unit_test(wrap_puts_context_in_front),
	    cmocka_unit_test(long_texts_are_cut_and_keep_the_cause),
	    cmocka_unit_test(every_code_has_a_name),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
