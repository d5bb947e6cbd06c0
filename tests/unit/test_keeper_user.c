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

static const struct user somebody = {
    .uid = 1000,
    .gid = 1000,
    .name = (char *)(uintptr_t) "sam",
    .home = (char *)(uintptr_t) "/home/sam",
    .shell = (char *)(uintptr_t) "/bin/zsh",
};

static size_t count(char *const *env)
{
	size_t n = 0;

	while (env[n] != NULL)
		n++;
	return n;
}

static const char *value(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; *env != NULL; env++)
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	return NULL;
}

static void the_basic_environment_is_the_users(void **state)
{
	char **env = user_environment(&somebody, NULL, 0);

	(void)state;
	assert_non_null(env);
	assert_int_equal(count(env), 5);
	assert_string_equal(value(env, "HOME"), "/home/sam");
	assert_string_equal(value(env, "USER"), "sam");
	assert_string_equal(value(env, "LOGNAME"), "sam");
	assert_string_equal(value(env, "SHELL"), "/bin/zsh");
	assert_string_equal(value(env, "PATH"), "/usr/local/bin:/usr/bin:/bin");
	free(env);
}

static void a_later_variable_wins_and_order_is_kept(void **state)
{
	char *extra[] = {(char[]){"A=1"}, (char[]){"HOME=/x"}, (char[]){"AB=2"}, (char[]){"A=3"},
	    (char[]){"EMPTY="}, (char[]){"A=4"}};
	char **env = user_environment(&somebody, extra, 6);

	(void)state;
	assert_non_null(env);
	assert_int_equal(count(env), 4 + 4);
	assert_string_equal(value(env, "A"), "4");
	assert_string_equal(value(env, "AB"), "2");
	assert_string_equal(value(env, "HOME"), "/x");
	assert_string_equal(value(env, "EMPTY"), "");
	assert_string_equal(env[7], "A=4");
	assert_string_equal(env[5], "AB=2");
	free(env);
}

/* What a hostile client may send must not cost the square of it. */
static void a_hundred_thousand_variables_are_merged(void **state)
{
	static char texts[100000][16];
	static char *extra[100000];
	char **env;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		snprintf(texts[i], sizeof(texts[i]), "V%d=%d", i % 50000, i);
		extra[i] = texts[i];
	}
	env = user_environment(&somebody, extra, 100000);
	assert_non_null(env);
	assert_int_equal(count(env), 50000 + 5);
	assert_string_equal(value(env, "V7"), "50007");
	free(env);
}

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
	static const char *const names[] = {"", ":", ":root", "no-such-user-here", "0", "root\n",
	    " root", "root:", "root:no-such-group-here", "-1", "../root"};

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_basic_environment_is_the_users),
	    cmocka_unit_test(a_later_variable_wins_and_order_is_kept),
	    cmocka_unit_test(a_hundred_thousand_variables_are_merged),
	    cmocka_unit_test(no_name_means_the_agents_own_user),
	    cmocka_unit_test(odd_names_are_refused_and_are_never_root),
	    cmocka_unit_test(another_user_needs_root),
	    cmocka_unit_test(a_group_may_be_named),
	};

	return cmocka_run_group_tests_name("keeper_user", tests, NULL, NULL);
}
