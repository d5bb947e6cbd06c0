/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"

static void patterns_match_what_they_say(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool fits;
	} rows[] = {
	    {"/usr/bin/*", "/usr/bin/ls", true},
	    {"/usr/bin/*", "/usr/bin/", true},
	    {"/usr/bin/*", "/usr/bin/a/b", false},
	    {"/usr/bin/*", "/usr/bin", false},
	    {"/usr/**", "/usr/bin/a/b", true},
	    {"/usr/**/x", "/usr/a/b/x", true},
	    {"/usr/**/x", "/usr/x", false},
	    {"**", "", true},
	    {"**", "anything/at/all", true},
	    {"*", "", true},
	    {"*", "a/b", false},
	    {"?", "a", true},
	    {"?", "/", false},
	    {"?", "", false},
	    {"", "", true},
	    {"", "a", false},
	    {"a\\*b", "a*b", true},
	    {"a\\*b", "axb", false},
	    {"a\\\\", "a\\", true},
	    {"a\\", "a\\", false},
	    {"[a]", "[a]", true},
	    {"[a]", "a", false},
	    {"spiffe://x/user/*", "spiffe://x/user/ci-1", true},
	    {"spiffe://x/user/*", "spiffe://x/user/ci/1", false},
	    {"spiffe://*/user/*", "spiffe://a/b/user/c", false},
	    {"*ab*ab", "abxab", true},
	    {"*b/c*d", "b/cb/cxd", false},
	    {"**b/c*d", "b/cb/cxd", true},
	    {"***", "a/b", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (glob_match(rows[i].pattern, rows[i].text) != rows[i].fits)
			fail_msg("'%s' and '%s'", rows[i].pattern, rows[i].text);
}

/* The same by trying everything. */
static bool slowly(const char *p, const char *t)
{
	if (p[0] == '\0')
		return t[0] == '\0';
	if (p[0] == '*') {
		bool across = p[1] == '*';
		const char *rest = p + (across ? 2 : 1);

		for (;; t++) {
			if (slowly(rest, t))
				return true;
			if (*t == '\0' || (*t == '/' && !across))
				return false;
		}
	}
	if (t[0] == '\0')
		return false;
	if (p[0] == '?')
		return t[0] != '/' && slowly(p + 1, t + 1);
	return p[0] == t[0] && slowly(p + 1, t + 1);
}

static void fill(char *out, size_t max, const char *from)
{
	size_t len = (size_t)rand() % max;

	for (size_t i = 0; i < len; i++)
		out[i] = from[(size_t)rand() % strlen(from)];
	out[len] = '\0';
}

static void random_patterns_match_as_trying_everything_says(void **state)
{
	char pattern[12], text[12];
	unsigned fits = 0;

	(void)state;
	srand(20);
	for (int i = 0; i < 300000; i++) {
		fill(pattern, sizeof(pattern), "**?ab/");
		fill(text, sizeof(text), "aab/");
		fits += glob_match(pattern, text);
		if (glob_match(pattern, text) != slowly(pattern, text))
			fail_msg("'%s' and '%s'", pattern, text);
	}
	assert_true(fits > 1000);
}

/* It would not come back in years otherwise. */
static void many_stars_take_no_exponential_time(void **state)
{
	static char pattern[2001], text[4001];

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "*a", 2);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 2] = 'b';
	assert_false(glob_match(pattern, text));
	for (size_t i = 0; i + 4 < sizeof(pattern); i += 4)
		memcpy(pattern + i, "**a*", 4);
	strcpy(pattern + 1990, "c");
	assert_false(glob_match(pattern, text));
}

/* As long as the kernel takes an argument to be; a literal and a star behind two. */
static void a_long_text_takes_no_time_that_anybody_notices(void **state)
{
	static char text[131000];

	(void)state;
	memset(text, '=', sizeof(text) - 1);
	assert_false(glob_match("**=*x", text));
	assert_true(glob_match("**=*", text));
	assert_true(glob_match("*", text));
	assert_true(glob_match("**=", text));
}

static void a_pattern_is_not_empty_and_ends_with_no_lone_backslash(void **state)
{
	(void)state;
	assert_true(glob_valid("a"));
	assert_true(glob_valid("a\\\\"));
	assert_false(glob_valid(""));
	assert_false(glob_valid("a\\"));
	assert_false(glob_valid("\\\\\\"));
}

static void only_one_spelling_of_a_path_is_plain(void **state)
{
	static const char *const plain[] = {
	    "/", "/a", "/usr/bin/sh", "/..a/b..", "/...", "/a b/\n", "/.hidden"};
	static const char *const others[] = {"", "a", "./a", "//", "//a", "/a//b", "/a/", "/.",
	    "/..", "/a/.", "/a/..", "/./a", "/../a", "/usr/bin/../bin/sh", "/a/./b", "/a/../"};

	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!glob_path_plain(plain[i]))
			fail_msg("'%s'", plain[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (glob_path_plain(others[i]))
			fail_msg("'%s'", others[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(patterns_match_what_they_say),
	    cmocka_unit_test(random_patterns_match_as_trying_everything_says),
	    cmocka_unit_test(many_stars_take_no_exponential_time),
	    cmocka_unit_test(a_long_text_takes_no_time_that_anybody_notices),
	    cmocka_unit_test(a_pattern_is_not_empty_and_ends_with_no_lone_backslash),
	    cmocka_unit_test(only_one_spelling_of_a_path_is_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
