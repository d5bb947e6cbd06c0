/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/context.h"
#include "cli/paths.h"
#include "cli/target.h"

static char folder[] = "cli-context-test-XXXXXX";

static void clean(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (system(command) != 0)
		fail();
}

static int set_up(void **state)
{
	char *cwd = getcwd(NULL, 0), path[4096];

	(void)state;
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/%s/config", cwd, folder);
	setenv("TELEX_CONFIG_HOME", path, 1);
	free(cwd);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	clean();
	return 0;
}

static struct context sample(const char *name)
{
	return (struct context){.name = (char *)name,
	    .host = (char *)"build7:8359",
	    .certificate = (char *)"/c/me.pem",
	    .key = (char *)"/c/me \"quoted\".key",
	    .ca = (char *)"/c/ca.pem"};
}

static void put(const char *name, const char *text)
{
	char *path, contexts[512], file[600];

	assert_int_equal(paths_config(&path, NULL), 0);
	snprintf(contexts, sizeof(contexts), "%s/contexts", path);
	free(path);
	assert_int_equal(paths_make_folder(contexts, NULL), 0);
	snprintf(file, sizeof(file), "%s/%s.json", contexts, name);
	assert_int_equal(paths_write(file, text, strlen(text), NULL), 0);
}

static void a_folder_that_cannot_be_made_says_why(void **state)
{
	bool was_root = geteuid() == 0;
	char path[64];
	struct err e;

	(void)state;
	snprintf(path, sizeof(path), "./%s/a/b", folder);
	assert_int_equal(chmod(folder, 0555), 0);
	if (was_root && seteuid(65534) < 0) /* nothing is forbidden to root */
		skip();
	assert_true(paths_make_folder(path, &e) < 0);
	assert_true(!was_root || seteuid(0) == 0);
	assert_int_equal(chmod(folder, 0700), 0);
	assert_non_null(strstr(e.message, "Permission denied"));
}

static void what_is_saved_is_loaded(void **state)
{
	struct context c = sample("one"), back;
	struct err e;

	(void)state;
	c.server_name = (char *)"agent.example";
	assert_int_equal(context_save(&c, false, &e), 0);
	assert_int_equal(context_load("one", &back, &e), 0);
	assert_string_equal(back.name, "one");
	assert_string_equal(back.host, c.host);
	assert_string_equal(back.certificate, c.certificate);
	assert_string_equal(back.key, c.key);
	assert_string_equal(back.ca, c.ca);
	assert_string_equal(back.server_name, "agent.example");
	context_clear(&back);
}

static void files_are_for_the_owner_alone(void **state)
{
	struct context c = sample("one");
	char path[4096];
	struct stat st;

	(void)state;
	assert_int_equal(context_save(&c, false, NULL), 0);
	snprintf(path, sizeof(path), "%s/config/contexts/one.json", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/config/contexts", folder);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void one_of_the_same_name_stays_unless_replaced(void **state)
{
	struct context c = sample("one"), back;
	struct err e;

	(void)state;
	assert_int_equal(context_save(&c, false, &e), 0);
	c.host = (char *)"other";
	assert_int_equal(context_save(&c, false, &e), TX_EEXIST);
	assert_int_equal(context_load("one", &back, &e), 0);
	assert_string_equal(back.host, "build7:8359");
	context_clear(&back);
	assert_int_equal(context_save(&c, true, &e), 0);
	assert_int_equal(context_load("one", &back, &e), 0);
	assert_string_equal(back.host, "other");
	context_clear(&back);
}

static void current_follows_use_and_rm(void **state)
{
	struct context a = sample("a"), b = sample("b");
	char *name = NULL;
	struct err e;

	(void)state;
	assert_int_equal(context_current(&name, &e), TX_ENOENT);
	assert_int_equal(context_save(&a, false, &e), 0);
	assert_int_equal(context_save(&b, false, &e), 0);
	assert_int_equal(context_current(&name, &e), TX_ENOENT);
	assert_int_equal(context_use("b", &e), 0);
	assert_int_equal(context_current(&name, &e), 0);
	assert_string_equal(name, "b");
	free(name);
	assert_int_equal(context_use("c", &e), TX_ENOENT);
	assert_int_equal(context_remove("a", &e), 0);
	assert_int_equal(context_current(&name, &e), 0);
	free(name);
	assert_int_equal(context_remove("b", &e), 0);
	assert_int_equal(context_current(&name, &e), TX_ENOENT);
	assert_int_equal(context_remove("b", &e), TX_ENOENT);
}

static void names_are_sorted_and_other_files_passed_over(void **state)
{
	struct context b = sample("b"), a = sample("a");
	char **names;
	size_t n;

	(void)state;
	assert_int_equal(context_names(&names, &n, NULL), 0);
	assert_int_equal(n, 0);
	context_names_free(names);
	assert_int_equal(context_save(&b, false, NULL), 0);
	assert_int_equal(context_save(&a, false, NULL), 0);
	put(".hidden", "{}");
	assert_int_equal(context_names(&names, &n, NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "a");
	assert_string_equal(names[1], "b");
	assert_null(names[2]);
	context_names_free(names);
}

static void unknown_name_is_told_the_nearest(void **state)
{
	struct context c = sample("staging"), out;
	struct err e;

	(void)state;
	assert_int_equal(context_load("stagign", &out, &e), TX_ENOENT);
	assert_non_null(strstr(e.message, "telex dev"));
	assert_int_equal(context_save(&c, false, NULL), 0);
	assert_int_equal(context_load("stagign", &out, &e), TX_ENOENT);
	assert_non_null(strstr(e.message, "did you mean 'staging'?"));
}

static void names_cannot_leave_the_folder(void **state)
{
	static const char *const wrong[] = {"", ".", "..", "../x", "a/b", "-x", "a b", "\xc3\xa9",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	struct context out;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct context c = sample(wrong[i]);

		assert_false(context_name_valid(wrong[i]));
		assert_int_equal(context_save(&c, true, &e), TX_EINVAL);
		assert_int_equal(context_load(wrong[i], &out, &e), TX_EINVAL);
		assert_int_equal(context_use(wrong[i], &e), TX_EINVAL);
		assert_int_equal(context_remove(wrong[i], &e), TX_EINVAL);
	}
}

static void broken_files_are_refused_with_their_name(void **state)
{
	static const char *const broken[] = {"", "{", "[]", "3", "{\"host\":\"h\"}",
	    "{\"host\":3,\"certificate\":\"c\",\"key\":\"k\",\"ca\":\"a\"}",
	    "{\"host\":\"\",\"certificate\":\"c\",\"key\":\"k\",\"ca\":\"a\"}",
	    "{\"host\":\"h:0\",\"certificate\":\"c\",\"key\":\"k\",\"ca\":\"a\"}",
	    "{\"host\":\"h\",\"certificate\":\"c\",\"key\":\"k\",\"ca\":\"a\",\"server_name\":1}",
	    "{\"host\":\"h\",\"host\":\"i\",\"certificate\":\"c\",\"key\":\"k\",\"ca\":\"a\"}"};
	struct context out = {.name = (char *)"untouched"};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		put("broken", broken[i]);
		if (context_load("broken", &out, &e) != TX_EINVAL)
			fail_msg("loaded: %s", broken[i]);
		assert_non_null(strstr(e.message, "broken.json"));
		assert_string_equal(out.name, "untouched");
	}
}

static void configuration_folder_follows_the_environment(void **state)
{
	char *path;

	(void)state;
	unsetenv("TELEX_CONFIG_HOME");
	setenv("XDG_CONFIG_HOME", "/x", 1);
	assert_int_equal(paths_config(&path, NULL), 0);
	assert_string_equal(path, "/x/telex");
	free(path);
	setenv("XDG_CONFIG_HOME", "relative", 1);
	setenv("HOME", "/h", 1);
	assert_int_equal(paths_config(&path, NULL), 0);
	assert_string_equal(path, "/h/.config/telex");
	free(path);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("XDG_STATE_HOME");
	assert_int_equal(paths_state(&path, NULL), 0);
	assert_string_equal(path, "/h/.local/state/telex");
	free(path);
}

static void one_host_is_taken_in_its_forms(void **state)
{
	static const char *const right[][2] = {{"h", "h"},
	    {"build7.example:8359", "build7.example:8359"}, {"10.0.0.1", "10.0.0.1"},
	    {"10.0.0.1:65535", "10.0.0.1:65535"}, {"::1", "[::1]"}, {"[::1]", "[::1]"},
	    {"[fe80::1]:1", "[fe80::1]:1"}, {"a_b-c", "a_b-c"}};
	char out[TARGET_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		assert_int_equal(target_parse(right[i][0], out, NULL), 0);
		assert_string_equal(out, right[i][1]);
	}
}

static void what_is_no_host_is_refused_and_lists_are_named(void **state)
{
	static const char *const wrong[] = {"", ":1", "h:", "h:0", "h:65536", "h:x", "h:1:2",
	    "[::1", "[x]:1", "[::1]1", "[::1]:", "-h", "h/x", "http://h", "me@h", "h\n"};
	static const char *const lists[] = {"a,b", "web[01-20]", "@group", "a b"};
	char out[TARGET_MAX];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (target_parse(wrong[i], out, &e) != TX_EINVAL)
			fail_msg("taken: %s", wrong[i]);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		assert_int_equal(target_parse(lists[i], out, &e), TX_EUNSUPPORTED);
		assert_non_null(strstr(e.message, "one"));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_folder_that_cannot_be_made_says_why),
	    T(what_is_saved_is_loaded),
	    T(files_are_for_the_owner_alone),
	    T(one_of_the_same_name_stays_unless_replaced),
	    T(current_follows_use_and_rm),
	    T(names_are_sorted_and_other_files_passed_over),
	    T(unknown_name_is_told_the_nearest),
	    T(names_cannot_leave_the_folder),
	    T(broken_files_are_refused_with_their_name),
	    T(configuration_folder_follows_the_environment),
	    cmocka_unit_test(one_host_is_taken_in_its_forms),
	    cmocka_unit_test(what_is_no_host_is_refused_and_lists_are_named),
	};

	return cmocka_run_group_tests_name("cli_context", tests, NULL, NULL);
}
