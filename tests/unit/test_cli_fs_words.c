/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/fs_words.h"
#include "common/duration.h"
#include "common/mem.h"

static void modes_are_those_of_ls(void **state)
{
	static const struct {
		enum telex_file_type type;
		uint32_t mode;
		const char *text;
	} cases[] = {
	    {TELEX_FILE_REGULAR, 0644, "-rw-r--r--"},
	    {TELEX_FILE_DIRECTORY, 01777, "drwxrwxrwt"},
	    {TELEX_FILE_DIRECTORY, 01770, "drwxrwx--T"},
	    {TELEX_FILE_REGULAR, 04755, "-rwsr-xr-x"},
	    {TELEX_FILE_REGULAR, 06644, "-rwSr-Sr--"},
	    {TELEX_FILE_SYMLINK, 0777, "lrwxrwxrwx"},
	    {TELEX_FILE_FIFO, 0, "p---------"},
	    {TELEX_FILE_SOCKET, 0111, "s--x--x--x"},
	    {TELEX_FILE_UNKNOWN, 0, "?---------"},
	};
	char out[12];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(
		    fs_words_mode(out, cases[i].type, cases[i].mode), cases[i].text);
}

static void sizes_are_rounded_up(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
	    {0, "0"},
	    {1023, "1023"},
	    {1024, "1.0K"},
	    {1025, "1.1K"},
	    {1536, "1.5K"},
	    {10240, "10K"},
	    {10241, "11K"},
	    {1047552, "1023K"},
	    {1047553, "1.0M"},
	    {1048576, "1.0M"},
	    {UINT64_C(1) << 40, "1.0T"},
	    {UINT64_MAX, "16E"},
	};
	char out[24];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(
		    fs_words_size(out, sizeof(out), cases[i].bytes, true), cases[i].text);
	assert_string_equal(fs_words_size(out, sizeof(out), 123456, false), "123456");
}

static void dates_have_hours_or_years(void **state)
{
	const int64_t at = INT64_C(1700000000) * NS_PER_S; /* 2023-11-14 22:13:20 */
	char out[32];

	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	assert_string_equal(
	    fs_words_date(out, sizeof(out), at, at + 86400 * NS_PER_S), "Nov 14 22:13");
	assert_string_equal(
	    fs_words_date(out, sizeof(out), at, at + 300 * 86400 * NS_PER_S), "Nov 14  2023");
	assert_string_equal(
	    fs_words_date(out, sizeof(out), at, at - 86400 * NS_PER_S), "Nov 14  2023");
	assert_string_equal(fs_words_date(out, sizeof(out), -1, at), "Dec 31  1969");
}

static void expect(char *got, const char *wanted)
{
	assert_string_equal(got, wanted);
	free(got);
}

static void names_drive_no_terminal(void **state)
{
	(void)state;
	expect(fs_words_name("a\x1b[1m\n", false), "a\x1b[1m\n");
	expect(fs_words_name("a\x1b[1m\n", true), "a\\x1b[1m\\n");
	expect(fs_words_sum("00ff", "a b"), "00ff  a b");
	expect(fs_words_sum("00ff", "a\nb\\"), "\\00ff  a\\nb\\\\");
	expect(fs_words_join("/srv", "a"), "/srv/a");
	expect(fs_words_join("/", "a"), "/a");
	expect(fs_words_join("/srv", ""), "/srv");
	expect(fs_words_join("", "a"), "a");
	expect(fs_words_base("/srv/a/"), "a");
	expect(fs_words_base("a"), "a");
	expect(fs_words_base("/"), "");
}

static void json_has_the_exact_bytes(void **state)
{
	const struct telex_file file = {.type = TELEX_FILE_SYMLINK,
	    .mode = 04755,
	    .size = 7,
	    .user = "root",
	    .group = "",
	    .modified_ns = 1500000001,
	    .link_target = "t"};
	json_t *o = fs_words_json(&file, "a\xff");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(o, "path_base64")), "Yf8=");
	assert_string_equal(json_string_value(json_object_get(o, "type")), "link");
	assert_string_equal(json_string_value(json_object_get(o, "mode")), "4755");
	assert_string_equal(json_string_value(json_object_get(o, "link_target")), "t");
	assert_null(json_object_get(o, "link_target_base64"));
	assert_null(json_object_get(o, "created"));
	assert_int_equal(json_integer_value(json_object_get(o, "modified_ns")), 1500000001);
	json_decref(o);
}

static void what_is_typed_is_checked(void **state)
{
	static const char *const no_modes[] = {"", "8", "u+x", "10000", "7777777777", "-1"};
	static const char *const no_owners[] = {"", ":", "a:b:c", "::"};
	const char *owner, *group;
	bool login;
	uint64_t bytes = 1;
	unsigned mode;
	struct err e;
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(no_modes) / sizeof(no_modes[0]); i++)
		assert_int_equal(fs_words_octal(no_modes[i], &mode, &e), TX_EINVAL);
	assert_int_equal(fs_words_octal("0750", &mode, &e), 0);
	assert_int_equal(mode, 0750);
	assert_int_equal(fs_words_bytes("0", &bytes, &e), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(fs_words_bytes("64K", &bytes, &e), 0);
	assert_int_equal(bytes, 65536);
	assert_int_equal(fs_words_bytes("", &bytes, &e), TX_EINVAL);
	for (size_t i = 0; i < sizeof(no_owners) / sizeof(no_owners[0]); i++) {
		text = xstrdup(no_owners[i]);
		assert_int_equal(fs_words_owners(text, &owner, &group, &login, &e), TX_EINVAL);
		free(text);
	}
	text = xstrdup("alice:users");
	assert_int_equal(fs_words_owners(text, &owner, &group, &login, &e), 0);
	assert_string_equal(owner, "alice");
	assert_string_equal(group, "users");
	assert_false(login);
	free(text);
	text = xstrdup("alice:");
	assert_int_equal(fs_words_owners(text, &owner, &group, &login, &e), 0);
	assert_string_equal(owner, "alice");
	assert_null(group);
	assert_true(login);
	free(text);
	text = xstrdup(":users");
	assert_int_equal(fs_words_owners(text, &owner, &group, &login, &e), 0);
	assert_null(owner);
	assert_string_equal(group, "users");
	assert_false(login);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(modes_are_those_of_ls),
	    cmocka_unit_test(sizes_are_rounded_up),
	    cmocka_unit_test(dates_have_hours_or_years),
	    cmocka_unit_test(names_drive_no_terminal),
	    cmocka_unit_test(json_has_the_exact_bytes),
	    cmocka_unit_test(what_is_typed_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
