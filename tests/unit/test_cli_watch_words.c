/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/watch_words.h"

static const char *const roots[] = {"src", "/srv/www/", "/"};

static const struct telex_change made = {.root = 1,
    .path = "a b",
    .kinds = TELEX_CHANGE_CREATED | TELEX_CHANGE_CLOSED,
    .exists = true,
    .type = TELEX_FILE_REGULAR,
    .mode = 0644,
    .size = 5,
    .inode = 6,
    .modified_ns = 7,
    .count = 2,
    .time_ns = INT64_C(1769860800123456789),
    .order = 9};

static void kinds_have_names(void **state)
{
	char out[WATCH_WORDS_KINDS];
	unsigned kinds = 0;
	struct err e;

	(void)state;
	assert_string_equal(watch_words_kinds(out, TELEX_CHANGE_MODIFIED), "modified");
	assert_string_equal(watch_words_kinds(out, 0), "changed");
	assert_int_equal(
	    watch_words_parse_kinds(watch_words_kinds(out, TELEX_CHANGE_ALL), &kinds, &e), 0);
	assert_int_equal(kinds, TELEX_CHANGE_ALL);
	kinds = TELEX_CHANGE_CREATED;
	assert_int_equal(watch_words_parse_kinds("deleted,moved", &kinds, &e), 0);
	assert_int_equal(kinds, TELEX_CHANGE_CREATED | TELEX_CHANGE_DELETED | TELEX_CHANGE_MOVED);
}

static void what_is_no_kind_is_refused(void **state)
{
	static const char *const bad[] = {"", "create", "created,", ",created", "created,,moved"};
	unsigned kinds = 0;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(watch_words_parse_kinds(bad[i], &kinds, &e), TX_EINVAL);
	assert_int_equal(kinds, 0);
	assert_non_null(strstr(e.message, "root-back"));
}

static void expect_path(size_t root, const char *path, const char *wanted)
{
	const struct telex_change c = {.root = root, .path = path};
	char *got = watch_words_path(&c, roots);

	assert_string_equal(got, wanted);
	free(got);
}

static void paths_are_below_what_was_typed(void **state)
{
	(void)state;
	expect_path(0, "a/b", "src/a/b");
	expect_path(0, "", "src");
	expect_path(1, "a", "/srv/www/a");
	expect_path(1, "", "/srv/www");
	expect_path(2, "a", "/a");
	expect_path(2, "", "/");
}

static void expect_line(
    const struct telex_change *c, const struct watch_words_how *how, const char *wanted)
{
	size_t len;
	char *line = watch_words_line(c, how, &len);

	assert_string_equal(line, wanted);
	assert_int_equal(len, strlen(wanted) + (how->end == '\0'));
	free(line);
}

static void a_change_is_a_line(void **state)
{
	struct watch_words_how how = {.roots = roots, .end = '\n'};
	struct telex_change c = made;

	(void)state;
	expect_line(&c, &how, "2026-01-31T12:00:00.123Z created,closed /srv/www/a b\n");
	c.path = "a\nb\x1b[m";
	expect_line(&c, &how, "2026-01-31T12:00:00.123Z created,closed /srv/www/a\nb\x1b[m\n");
	how.escape = true;
	expect_line(&c, &how, "2026-01-31T12:00:00.123Z created,closed /srv/www/a\\nb\\x1b[m\n");
	how = (struct watch_words_how){.roots = roots, .end = '\0'};
	expect_line(&c, &how, "2026-01-31T12:00:00.123Z created,closed /srv/www/a\nb\x1b[m");
	how.paths_only = true;
	expect_line(&c, &how, "/srv/www/a\nb\x1b[m");
}

static void folders_and_moves_are_marked(void **state)
{
	const struct watch_words_how how = {.roots = roots, .end = '\n', .escape = true};
	struct telex_change c = made;

	(void)state;
	c.path = "d";
	c.type = TELEX_FILE_DIRECTORY;
	c.kinds = TELEX_CHANGE_CREATED | TELEX_CHANGE_MOVED;
	c.moved_from = "e\a";
	expect_line(&c, &how, "2026-01-31T12:00:00.123Z created,moved /srv/www/d/ <- src/e\\x07\n");
	c.moved_from = NULL;
	c.moved_to = "x";
	c.moved_root = 1;
	c.exists = false;
	c.kinds = TELEX_CHANGE_DELETED | TELEX_CHANGE_MOVED;
	expect_line(&c, &how, "2026-01-31T12:00:00.123Z deleted,moved /srv/www/d -> /srv/www/x\n");
}

static void expect_json(json_t *object, const char *wanted)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);

	assert_string_equal(text, wanted);
	free(text);
	json_decref(object);
}

static void everything_is_an_object(void **state)
{
	const struct telex_watch_armed armed = {
	    .clock = "c", .fresh_instance = true, .folders = 1, .entries = 2, .backend = "inotify"};
	const struct telex_rescan rescan = {.reason = TELEX_RESCAN_OVERFLOW, .waited_ms = 500};
	const struct telex_file_failure failure = {.reason = "FILE_DENIED", .message = "no"};
	struct telex_change gone = {.path = "g\xff", .kinds = TELEX_CHANGE_DELETED, .count = 1};

	(void)state;
	expect_json(watch_words_armed_json(&armed),
	    "{\"event\":\"armed\",\"clock\":\"c\",\"fresh_instance\":true,\"folders\":1,"
	    "\"entries\":2,\"backend\":\"inotify\"}");
	expect_json(watch_words_change_json(&made, roots),
	    "{\"event\":\"change\",\"kinds\":[\"created\",\"closed\"],\"path\":\"/srv/www/a b\","
	    "\"root\":\"/srv/www/\",\"exists\":true,\"type\":\"file\",\"mode\":\"0644\","
	    "\"size\":5,\"inode\":6,\"modified_ns\":7,\"count\":2,\"order\":9,"
	    "\"time\":\"2026-01-31T12:00:00.123Z\"}");
	gone.moved_to = "h";
	expect_json(watch_words_change_json(&gone, roots),
	    "{\"event\":\"change\",\"kinds\":[\"deleted\"],\"path\":\"src/g\xef\xbf\xbd\","
	    "\"path_base64\":\"c3JjL2f/\",\"root\":\"src\",\"exists\":false,"
	    "\"moved_to\":\"src/h\",\"count\":1,\"order\":0,"
	    "\"time\":\"1970-01-01T00:00:00.000Z\"}");
	expect_json(watch_words_clock_json("c2"), "{\"event\":\"clock\",\"clock\":\"c2\"}");
	expect_json(watch_words_rescan_json(&rescan),
	    "{\"event\":\"rescan\",\"reason\":\"overflow\",\"done\":false,\"waited_ms\":500}");
	expect_json(watch_words_warning_json("src/x", &failure, false),
	    "{\"event\":\"warning\",\"reason\":\"FILE_DENIED\",\"path\":\"src/x\","
	    "\"message\":\"no\"}");
	expect_json(watch_words_warning_json("src/x", &failure, true),
	    "{\"event\":\"warning-over\",\"reason\":\"FILE_DENIED\",\"path\":\"src/x\","
	    "\"message\":\"no\"}");
}

static void what_is_refused_has_a_way_out(void **state)
{
	static const char *const known[] = {
	    "NO_SUCH_FILE", "NOT_A_FOLDER", "REMOTE_FILESYSTEM", "BAD_CLOCK", "OTHER_CLOCK"};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_non_null(watch_words_way_out(known[i]));
	assert_non_null(strstr(watch_words_way_out("NO_SUCH_FILE"), "--wait"));
	assert_null(watch_words_way_out("NOT_ALLOWED"));
	assert_null(watch_words_way_out(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds_have_names),
	    cmocka_unit_test(what_is_no_kind_is_refused),
	    cmocka_unit_test(paths_are_below_what_was_typed),
	    cmocka_unit_test(a_change_is_a_line),
	    cmocka_unit_test(folders_and_moves_are_marked),
	    cmocka_unit_test(everything_is_an_object),
	    cmocka_unit_test(what_is_refused_has_a_way_out),
	};

	return cmocka_run_group_tests_name("cli_watch_words", tests, NULL, NULL);
}
