/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/files/mode_change.h"
#include "common/err.h"

/* What chmod(1) of GNU coreutils makes of them, with the umask 022. */
static void changes_are_as_chmods(void **state)
{
	static const struct {
		const char *change;
		unsigned mode;
		bool folder;
		unsigned want;
	} rows[] = {
	    {"u+x", 0644, false, 0744},
	    {"go-w", 0666, false, 0644},
	    {"+w", 0444, false, 0644},
	    {"-w", 0666, false, 0466},
	    {"+x", 0644, false, 0755},
	    {"a+w", 0444, false, 0666},
	    {"=", 0777, false, 0},
	    {"=rw", 0, false, 0644},
	    {"a=", 06777, false, 0},
	    {"a=", 06777, true, 06000},
	    {"u=rwx,g=rx,o=", 0, false, 0750},
	    {"ug+rw,o-rwx", 0107, false, 0760},
	    {"g=u", 0740, false, 0770},
	    {"o=g", 0750, false, 0755},
	    {"u=g", 0750, false, 0550},
	    {"u+rwx-x", 0000, false, 0600},
	    {"a=r,u+w", 0777, false, 0644},
	    {"a+X", 0644, false, 0644},
	    {"a+X", 0744, false, 0755},
	    {"a+X", 0644, true, 0755},
	    {"a=rX", 0777, false, 0555},
	    {"u+s", 0755, false, 04755},
	    {"g+s", 0755, true, 02755},
	    {"+s", 0755, false, 06755},
	    {"a-s", 06755, false, 0755},
	    {"+t", 0777, true, 01777},
	    {"u+t", 0777, true, 0777},
	    {"o-t", 01777, true, 0777},
	    {"g=rx", 02775, true, 02755},
	    {"g=s", 0775, false, 02705},
	    {"0644", 0777, false, 0644},
	    {"644", 04777, true, 0644},
	    {"7777", 0, false, 07777},
	    {"0", 0777, false, 0},
	    {"u=rwx", 0100000 | 0044, false, 0744},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned mode = 99999;

		assert_int_equal(
		    mode_change_apply(rows[i].change, rows[i].mode, rows[i].folder, &mode), 0);
		if (mode != rows[i].want)
			fail_msg("%s on %o: %o instead of %o", rows[i].change, rows[i].mode, mode,
			    rows[i].want);
		assert_true(mode_change_valid(rows[i].change));
	}
}

static void what_is_no_change_is_refused(void **state)
{
	static const char *const rows[] = {"", "u", "x", "u+q", "+x,", ",+x", "u+x,,g+x", "u+x g+x",
	    "b+x", "10000", "77777", "8", "0x1", "0644 ", "-", "u+ug", "u+x\n", "644,u+x",
	    "00000644"};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned mode = 7;

		/* An operator alone changes nothing, and is one. */
		if (strcmp(rows[i], "-") == 0) {
			assert_int_equal(mode_change_apply(rows[i], 0755, false, &mode), 0);
			assert_int_equal(mode, 0755);
			continue;
		}
		if (mode_change_apply(rows[i], 0755, false, &mode) != TX_EINVAL)
			fail_msg("'%s' was taken", rows[i]);
		assert_false(mode_change_valid(rows[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(changes_are_as_chmods),
	    cmocka_unit_test(what_is_no_change_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
