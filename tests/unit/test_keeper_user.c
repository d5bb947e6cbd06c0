/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/user.h"

static void no_name_means_the_agents_own_user(void **state)
{
	struct user *u;
	struct err e;

	(void)state;
	assert_int_equal(user_lookup(&u, NULL, &e), 0);
	assert_false(u->change);
	assert_int_equal(u->uid, geteuid());
	assert_true(u->name[0] != '\0');
	assert_true(u->home[0] == '/');
	user_free(u);
}

static void odd_names_are_refused_and_are_never_root(void **state)
{
	static const char *const names[] = {"", ":", ":root", "no-such-user-here", "root\n",
	    " root", "root:", "root:no-such-group-here", "-1", "../root", "-froot", "root:-1", "00",
	    "+0", "0x0", "0 ", "4294967295:0", "4294967296:0", "18446744073709551616:0",
	    "0:4294967295"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct user *u = NULL;
		struct err e = {0};

		assert_int_equal(user_lookup(&u, names[i], &e), TX_ENOENT);
		assert_null(u);
		assert_true(e.message[0] != '\0');
	}
}

static void another_user_needs_root(void **state)
{
	struct passwd *pw = getpwuid(geteuid() == 0 ? 65534 : 0);
	struct user *u = NULL;
	struct err e = {0};
	char *name;
	int rc;

	(void)state;
	if (pw == NULL)
		skip();
	name = strdup(pw->pw_name);
	assert_non_null(name);
	rc = user_lookup(&u, name, &e);
	free(name);
	if (geteuid() == 0) {
		assert_int_equal(rc, 0);
		assert_true(u->change);
		assert_int_equal(u->uid, 65534);
		assert_true(u->n_groups >= 1);
		user_free(u);
	} else {
		assert_int_equal(rc, TX_EPERM);
		assert_non_null(strstr(e.message, "root"));
	}
}

static void a_group_may_be_named(void **state)
{
	struct passwd *pw = getpwuid(geteuid());
	struct group *gr = getgrgid(getegid());
	char spec[200];
	struct user *u = NULL;
	struct err e = {0};

	(void)state;
	if (pw == NULL || gr == NULL)
		skip();
	snprintf(spec, sizeof(spec), "%.90s:%.90s", pw->pw_name, gr->gr_name);
	assert_int_equal(user_lookup(&u, spec, &e), 0);
	assert_int_equal(u->gid, getegid());
	user_free(u);
}

/* As docker and chown have it: a number is a user, too. */
static void a_user_may_be_a_number(void **state)
{
	char spec[64];
	struct user *u = NULL;
	struct err e = {0};

	(void)state;
	snprintf(spec, sizeof(spec), "%u", (unsigned)geteuid());
	if (getpwuid(geteuid()) == NULL)
		skip();
	assert_int_equal(user_lookup(&u, spec, &e), 0);
	assert_int_equal(u->uid, geteuid());
	assert_string_equal(u->name, getpwuid(geteuid())->pw_name);
	user_free(u);
	snprintf(spec, sizeof(spec), "%u:%u", (unsigned)geteuid(), (unsigned)getegid());
	assert_int_equal(user_lookup(&u, spec, &e), 0);
	assert_int_equal(u->gid, getegid());
	user_free(u);
}

/* Elsewhere such a one gets group 0. */
static void a_number_without_an_entry_needs_a_group(void **state)
{
	struct user *u = NULL;
	struct err e = {0};

	(void)state;
	assert_null(getpwuid(3999999999));
	assert_int_equal(user_lookup(&u, "3999999999", &e), TX_ENOENT);
	assert_non_null(strstr(e.message, "3999999999:GROUP"));
	if (geteuid() != 0)
		skip();
	assert_int_equal(user_lookup(&u, "3999999999:3999999998", &e), 0);
	assert_true(u->change);
	assert_int_equal(u->uid, 3999999999);
	assert_int_equal(u->gid, 3999999998);
	assert_int_equal(u->n_groups, 1);
	assert_int_equal(u->groups[0], 3999999998);
	assert_string_equal(u->home, "/");
	user_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_name_means_the_agents_own_user),
	    cmocka_unit_test(odd_names_are_refused_and_are_never_root),
	    cmocka_unit_test(another_user_needs_root),
	    cmocka_unit_test(a_group_may_be_named),
	    cmocka_unit_test(a_user_may_be_a_number),
	    cmocka_unit_test(a_number_without_an_entry_needs_a_group),
	};

	return cmocka_run_group_tests_name("keeper_user", tests, NULL, NULL);
}
