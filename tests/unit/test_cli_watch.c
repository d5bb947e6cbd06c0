/* SPDX-License-Identifier: Apache-2.0 */
/* What a run of --exec is given, and what a pass of --sync moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/watch_command.h"
#include "cli/watch_filters.h"
#include "cli/watch_names.h"
#include "common/tree.h"

static const char *const roots[] = {"src", NULL};

/* ---- names ---- */

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

static void a_name_is_held_once(void **state)
{
	struct watch_names *w = watch_names_new();
	char **names;
	size_t n;

	(void)state;
	assert_false(watch_names_has(w, "a"));
	assert_true(watch_names_add(w, "b"));
	assert_true(watch_names_add(w, "a"));
	assert_false(watch_names_add(w, "b"));
	assert_true(watch_names_has(w, "a"));
	assert_int_equal(watch_names_count(w), 2);
	assert_int_equal(watch_names_bytes(w), 4);
	names = watch_names_take(w, SIZE_MAX, &n);
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "b");
	assert_string_equal(names[1], "a");
	assert_null(names[2]);
	free_names(names, n);
	assert_int_equal(watch_names_count(w) + watch_names_bytes(w), 0);
	assert_true(watch_names_add(w, "b"));
	watch_names_free(w);
	watch_names_free(NULL);
}

static void many_names_go_in_pieces(void **state)
{
	struct watch_names *w = watch_names_new();
	size_t n, all = 0;
	char name[32];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "name-%04d", i);
		assert_true(watch_names_add(w, name));
	}
	while (watch_names_count(w) > 0) {
		char **names = watch_names_take(w, 10005, &n);

		assert_int_equal(n, 1000); /* of 10 bytes each */
		snprintf(name, sizeof(name), "name-%04zu", all);
		assert_string_equal(names[0], name);
		all += n;
		snprintf(name, sizeof(name), "name-%04zu", all);
		assert_int_equal(watch_names_has(w, name), all < 3000);
		assert_int_equal(watch_names_bytes(w), (3000 - all) * 10);
		free_names(names, n);
	}
	/* One that is too long goes alone. */
	watch_names_add(w, "long");
	watch_names_add(w, "x");
	free_names(watch_names_take(w, 1, &n), 1);
	assert_int_equal(n, 1);
	assert_true(watch_names_has(w, "x"));
	free_names(watch_names_take(w, 1, &n), 1);
	free_names(watch_names_take(w, 1, &n), 0);
	assert_int_equal(n, 0);
	watch_names_free(w);
}

/* ---- --exec ---- */

static void expect_text(const char *text, const char *wanted, bool arguments)
{
	struct watch_command c;

	watch_command_init(&c, text, false, roots);
	assert_string_equal(c.text, wanted);
	assert_int_equal(c.arguments, arguments);
	watch_command_clear(&c);
}

static void braces_are_where_the_names_go(void **state)
{
	(void)state;
	expect_text("make", "make", false);
	expect_text("ls {}", "ls \"$@\"", true);
	expect_text("{}", "\"$@\"", true);
	expect_text("a {};b {}|c", "a \"$@\";b \"$@\"|c", true);
	expect_text("(x {})", "(x \"$@\")", true);
	/* What is no word of its own is the shell's. */
	expect_text("a \"{}\" '{}' {}x x{} ${} {} ", "a \"{}\" '{}' {}x x{} ${} \"$@\" ", true);
	expect_text("find -exec rm '{}' +", "find -exec rm '{}' +", false);
	expect_text("", "", false);
}

static void add(struct watch_command *c, const char *path)
{
	const struct telex_change change = {.path = path};

	watch_command_add(c, &change);
}

static void names_go_to_standard_input(void **state)
{
	struct watch_command_run run;
	struct watch_command c;

	(void)state;
	watch_command_init(&c, "make", false, roots);
	add(&c, "a");
	add(&c, "b c");
	add(&c, "a");
	watch_command_take(&c, &run, 1, "c7", true);
	assert_string_equal(run.argv[0], "sh");
	assert_string_equal(run.argv[1], "-c");
	assert_string_equal(run.argv[2], "make");
	assert_string_equal(run.argv[3], "telex-watch");
	assert_null(run.argv[4]);
	assert_int_equal(run.n, 2);
	assert_int_equal(run.input_len, 14);
	assert_memory_equal(run.input, "src/a\nsrc/b c\n", 14);
	assert_string_equal(run.env[0], "TELEX_CLOCK=c7");
	assert_string_equal(run.env[1], "TELEX_OVERFLOW=1");
	assert_null(run.env[2]);
	assert_false(run.more);
	watch_command_run_clear(&run);
	c.null = true;
	add(&c, "x\ny");
	watch_command_take(&c, &run, 1, "", false);
	assert_int_equal(run.input_len, 8);
	assert_memory_equal(run.input, "src/x\ny", 8);
	assert_string_equal(run.env[1], "TELEX_OVERFLOW=0");
	watch_command_run_clear(&run);
	watch_command_clear(&c);
}

static void names_that_are_too_many_go_in_several_runs(void **state)
{
	struct watch_command_run run;
	struct watch_command c;

	(void)state;
	watch_command_init(&c, "ls {}", false, roots);
	add(&c, "a");
	add(&c, "$(rm)");
	add(&c, "c");
	watch_command_take(&c, &run, 16, "c1", false);
	assert_null(run.input);
	assert_int_equal(run.n, 2);
	assert_true(run.more);
	assert_string_equal(run.argv[4], "src/a");
	assert_string_equal(run.argv[5], "src/$(rm)");
	assert_null(run.argv[6]);
	watch_command_run_clear(&run);
	watch_command_take(&c, &run, 16, "c1", false);
	assert_int_equal(run.n, 1);
	assert_false(run.more);
	watch_command_run_clear(&run);
	watch_command_clear(&c);
}

/* ---- --sync ---- */

/* What a transfer with these filters would do. */
struct pass {
	struct watch_filters f;
	Telex__V1__TreeFilter filters[64], *list[64];
	Telex__V1__TreeOptions options;
};

static void make(
    struct pass *p, const struct telex_watch_options *o, char *const *patterns, size_t n)
{
	watch_filters_make(&p->f, o, patterns, n);
	telex__v1__tree_options__init(&p->options);
	assert_true(p->f.n <= 64);
	for (size_t i = 0; i < p->f.n; i++) {
		telex__v1__tree_filter__init(&p->filters[i]);
		p->filters[i].pattern = (char *)(uintptr_t)p->f.list[i].pattern;
		p->filters[i].exclude = p->f.list[i].exclude;
		p->list[i] = &p->filters[i];
	}
	p->options.n_filters = p->f.n;
	p->options.filters = p->list;
}

static void expect(const struct pass *p, const char *path, bool folder, bool taken)
{
	if (tree_excluded(&p->options, path, folder) == taken)
		fail_msg("%s is %s", path, taken ? "left out" : "taken");
}

static void change(
    struct watch_names *w, const char *path, unsigned kinds, bool exists, enum telex_file_type type)
{
	const struct telex_change c = {
	    .path = path, .kinds = kinds, .exists = exists, .type = type};

	watch_filters_add(w, &c);
}

static void a_pass_takes_what_was_told(void **state)
{
	const struct telex_watch_options o = {0};
	struct watch_names *w = watch_names_new();
	struct pass p;
	char **taken;
	size_t n;

	(void)state;
	change(w, "a/b/file", TELEX_CHANGE_MODIFIED, true, TELEX_FILE_REGULAR);
	change(w, "a/made", TELEX_CHANGE_CREATED, true, TELEX_FILE_DIRECTORY);
	change(w, "a/made/x", TELEX_CHANGE_CREATED, true, TELEX_FILE_REGULAR); /* in it */
	change(w, "gone", TELEX_CHANGE_DELETED, false, TELEX_FILE_UNKNOWN);
	change(w, "touched", TELEX_CHANGE_ATTRIBUTES, true, TELEX_FILE_DIRECTORY);
	change(w, "s*[1]?\\", TELEX_CHANGE_CREATED, true, TELEX_FILE_REGULAR);
	change(w, "", TELEX_CHANGE_ATTRIBUTES, true, TELEX_FILE_DIRECTORY);
	assert_int_equal(watch_names_count(w), 7);
	taken = watch_names_take(w, SIZE_MAX, &n);
	make(&p, &o, taken, n);
	expect(&p, "a", true, true);
	expect(&p, "a/b", true, true);
	expect(&p, "a/b/file", false, true);
	expect(&p, "a/b/other", false, false);
	expect(&p, "a/other", true, false);
	expect(&p, "b/file", false, false);
	expect(&p, "x/a/b/file", false, false);
	expect(&p, "a/made", true, true);
	expect(&p, "a/made/x/y", false, true);
	expect(&p, "gone", true, true);
	expect(&p, "gone/below", false, true);
	expect(&p, "touched", true, true);
	expect(&p, "touched/below", false, false);
	expect(&p, "s*[1]?\\", false, true);
	expect(&p, "sxx1x\\", false, false);
	watch_filters_clear(&p.f);
	free_names(taken, n);
	watch_names_free(w);
}

static void what_is_not_watched_is_not_moved(void **state)
{
	static const char *const exclude[] = {".git/", "*.o", NULL};
	const struct telex_watch_options o = {.exclude = exclude, .depth = 2};
	struct watch_names *w = watch_names_new();
	struct pass all, some;
	char **taken;
	size_t n;

	(void)state;
	make(&all, &o, NULL, 0);
	change(w, "a", TELEX_CHANGE_CREATED, true, TELEX_FILE_DIRECTORY);
	taken = watch_names_take(w, SIZE_MAX, &n);
	make(&some, &o, taken, n);
	for (int i = 0; i < 2; i++) {
		const struct pass *p = i == 0 ? &all : &some;

		expect(p, "a/x.c", false, true);
		expect(p, "a/x.o", false, false);
		expect(p, "a/.git", true, false);
		expect(p, "a/d", true, true);
		expect(p, "a/d/deep", false, false);
	}
	expect(&all, "z", false, true);
	expect(&some, "z", false, false);
	watch_filters_clear(&all.f);
	watch_filters_clear(&some.f);
	free_names(taken, n);
	watch_names_free(w);
}

static void includes_are_all_there_is(void **state)
{
	static const char *const include[] = {"*.c", NULL};
	const struct telex_watch_options o = {.include = include};
	struct pass p;

	(void)state;
	make(&p, &o, NULL, 0);
	expect(&p, "a/b", true, true);
	expect(&p, "a/b/x.c", false, true);
	expect(&p, "a/b/x.h", false, false);
	watch_filters_clear(&p.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_name_is_held_once),
	    cmocka_unit_test(many_names_go_in_pieces),
	    cmocka_unit_test(braces_are_where_the_names_go),
	    cmocka_unit_test(names_go_to_standard_input),
	    cmocka_unit_test(names_that_are_too_many_go_in_several_runs),
	    cmocka_unit_test(a_pass_takes_what_was_told),
	    cmocka_unit_test(what_is_not_watched_is_not_moved),
	    cmocka_unit_test(includes_are_all_there_is),
	};

	return cmocka_run_group_tests_name("cli_watch", tests, NULL, NULL);
}
