/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/environment.h"
#include "agent/keeper/user.h"

static const struct user somebody = {
    .uid = 1000,
    .gid = 1000,
    .name = (char *)(uintptr_t) "sam",
    .home = (char *)(uintptr_t) "/home/sam",
    .shell = (char *)(uintptr_t) "/bin/zsh",
};

static char **make(bool clean, char *const *extra, size_t n)
{
	const struct environment_plan plan = {&somebody, "p-1", clean, extra, n};

	return environment_new(&plan);
}

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
	char **env = make(false, NULL, 0);

	(void)state;
	assert_non_null(env);
	assert_int_equal(count(env), 6);
	assert_string_equal(value(env, "TELEX_PROCESS_ID"), "p-1");
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
	char **env = make(false, extra, 6);

	(void)state;
	assert_non_null(env);
	assert_int_equal(count(env), 5 + 4);
	assert_string_equal(value(env, "A"), "4");
	assert_string_equal(value(env, "AB"), "2");
	assert_string_equal(value(env, "HOME"), "/x");
	assert_string_equal(value(env, "EMPTY"), "");
	assert_string_equal(env[8], "A=4");
	assert_string_equal(env[6], "AB=2");
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
	env = make(false, extra, 100000);
	assert_non_null(env);
	assert_int_equal(count(env), 50000 + 6);
	assert_string_equal(value(env, "V7"), "50007");
	free(env);
}

static void a_clean_one_has_nothing_but_what_was_given(void **state)
{
	char *extra[] = {(char[]){"A=1"}};
	char **env = make(true, extra, 1);

	(void)state;
	assert_non_null(env);
	assert_int_equal(count(env), 2);
	assert_string_equal(value(env, "A"), "1");
	assert_string_equal(value(env, "TELEX_PROCESS_ID"), "p-1");
	free(env);
}

/* By it a process's descendants are found: it is not for a client to say. */
static void the_process_id_cannot_be_given(void **state)
{
	char *extra[] = {(char[]){"TELEX_PROCESS_ID=other"}, (char[]){"TELEX_PROCESS_IDS=mine"},
	    (char[]){"TELEX_PROCESS_ID="}};
	char **env = make(true, extra, 3);

	(void)state;
	assert_non_null(env);
	assert_int_equal(count(env), 2);
	assert_string_equal(value(env, "TELEX_PROCESS_ID"), "p-1");
	assert_string_equal(value(env, "TELEX_PROCESS_IDS"), "mine");
	free(env);
}

static void roots_path_has_the_sbins(void **state)
{
	struct user root = somebody;

	(void)state;
	root.uid = 0;
	assert_non_null(strstr(environment_path(&root), "/usr/sbin:"));
	assert_null(strstr(environment_path(&somebody), "sbin"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_basic_environment_is_the_users),
	    cmocka_unit_test(a_later_variable_wins_and_order_is_kept),
	    cmocka_unit_test(a_hundred_thousand_variables_are_merged),
	    cmocka_unit_test(a_clean_one_has_nothing_but_what_was_given),
	    cmocka_unit_test(the_process_id_cannot_be_given),
	    cmocka_unit_test(roots_path_has_the_sbins),
	};

	return cmocka_run_group_tests_name("keeper_environment", tests, NULL, NULL);
}
