/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/ceiling.h"
#include "tests/support/alloc_fail.h"

static struct ceiling made(const char *const *users, const char *const *programs)
{
	struct ceiling c;

	ceiling_init(&c);
	for (; users != NULL && users[c.n_users] != NULL; c.n_users++) {
		c.users = realloc(c.users, (c.n_users + 1) * sizeof(char *));
		assert_non_null(c.users);
		c.users[c.n_users] = strdup(users[c.n_users]);
	}
	for (; programs != NULL && programs[c.n_programs] != NULL; c.n_programs++) {
		c.programs = realloc(c.programs, (c.n_programs + 1) * sizeof(char *));
		assert_non_null(c.programs);
		c.programs[c.n_programs] = strdup(programs[c.n_programs]);
	}
	return c;
}

static void assert_refused(
    const struct ceiling *c, const char *user, const char *program, const char *names)
{
	struct err e = {0};

	assert_int_equal(ceiling_check(c, user, program, &e), TX_EPERM);
	if (strstr(e.message, names) == NULL)
		fail_msg("'%s' does not name '%s'", e.message, names);
}

static void assert_allowed(const struct ceiling *c, const char *user, const char *program)
{
	struct err e = {0};

	if (ceiling_check(c, user, program, &e) != 0)
		fail_msg("%s, %s: %s", user, program, e.message);
}

static void without_one_everything_is_allowed(void **state)
{
	struct ceiling c;
	struct err e;

	(void)state;
	ceiling_init(&c);
	assert_allowed(&c, "root", "true");
	assert_allowed(&c, "0", "/bin/../bin/sh");
	assert_int_equal(ceiling_check_uid(&c, "root", 0, &e), 0);
	ceiling_clear(&c);
}

static void root_is_root_by_any_text(void **state)
{
	static const char *const texts[] = {"root", "0", "root:users", "0:0", "root:", "0:"};
	struct ceiling c;
	struct err e;

	(void)state;
	ceiling_init(&c);
	c.root = false;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_refused(&c, texts[i], "/bin/true", "root");
	/* Another name of uid 0 is no text that could be known. */
	assert_allowed(&c, "toor", "/bin/true");
	assert_int_equal(ceiling_check_uid(&c, "toor", 0, &e), TX_EPERM);
	assert_int_equal(ceiling_check_uid(&c, "toor", 1, &e), 0);
	ceiling_clear(&c);
}

static void users_are_names_uids_and_ranges(void **state)
{
	struct ceiling c = made((const char *const[]){"deploy", "33", "1000-1999", NULL}, NULL);
	struct ceiling names = made((const char *const[]){"deploy", NULL}, NULL);
	struct err e;

	(void)state;
	assert_allowed(&c, "deploy", "x");
	assert_allowed(&c, "deploy:www-data", "x");
	assert_allowed(&c, "33", "x");
	assert_allowed(&c, "1000", "x");
	assert_allowed(&c, "1999:5", "x");
	assert_refused(&c, "2000", "x", "2000");
	assert_refused(&c, "999", "x", "999");
	assert_refused(&c, "", "x", "");
	assert_refused(&c, ":staff", "x", ":staff");
	/* A name may have a uid of a range: it is looked up. */
	assert_allowed(&c, "alice", "x");
	assert_int_equal(ceiling_check_uid(&c, "alice", 1500, &e), 0);
	assert_int_equal(ceiling_check_uid(&c, "alice", 2500, &e), TX_EPERM);
	assert_int_equal(ceiling_check_uid(&c, "deploy", 77, &e), 0);
	assert_refused(&names, "alice", "x", "alice");
	assert_refused(&names, "root", "x", "root");
	ceiling_clear(&c);
	ceiling_clear(&names);
}

static void a_group_is_the_users_own_or_named(void **state)
{
	struct ceiling c = made((const char *const[]){"deploy", NULL}, NULL);
	char *groups[] = {(char[]){"docker"}, (char[]){"1400-1500"}};
	struct ceiling with = {.root = true, .groups = groups, .n_groups = 2};
	struct ceiling rootless = {.root = false};
	struct ceiling open;
	struct err e;

	(void)state;
	ceiling_init(&open);
	assert_int_equal(ceiling_check_gid(&open, "disk", 6, false, &e), 0);
	assert_int_equal(ceiling_check_gid(&c, "staff", 50, true, &e), 0);
	assert_int_equal(ceiling_check_gid(&c, "root", 0, true, &e), 0);
	assert_int_equal(ceiling_check_gid(&c, "disk", 6, false, &e), TX_EPERM);
	assert_non_null(strstr(e.message, "disk"));
	assert_int_equal(ceiling_check_gid(&with, "docker", 999, false, &e), 0);
	assert_int_equal(ceiling_check_gid(&with, "1450", 1450, false, &e), 0);
	assert_int_equal(ceiling_check_gid(&with, "disk", 6, false, &e), TX_EPERM);
	assert_int_equal(ceiling_check_gid(&rootless, "staff", 50, true, &e), 0);
	assert_int_equal(ceiling_check_gid(&rootless, "disk", 6, false, &e), TX_EPERM);
	assert_int_equal(ceiling_check_gid(&rootless, "wheel", 0, true, &e), TX_EPERM);
	assert_refused(&rootless, "deploy:0", "x", "the group 0");
	assert_refused(&rootless, "deploy:root", "x", "the group root");
	assert_allowed(&rootless, "deploy:staff", "x");
	ceiling_clear(&c);
}

static void it_says_what_it_bounds(void **state)
{
	struct ceiling c = made((const char *const[]){"deploy", NULL}, NULL);
	struct ceiling open;
	char text[128], *names[1];

	(void)state;
	ceiling_init(&open);
	assert_true(ceiling_is_open(&open));
	ceiling_describe(&open, text, sizeof(text));
	assert_non_null(strstr(text, "telexd.conf has none"));
	assert_false(ceiling_is_open(&c));
	c.root = false;
	ceiling_describe(&c, text, sizeof(text));
	assert_string_equal(text, "no root, users");
	ceiling_describe(&c, text, 8);
	assert_string_equal(text, "no root");
	ceiling_clear(&c);
	names[0] = (char[]){"LANG"};
	c.environment = names;
	c.n_environment = 1;
	assert_false(ceiling_is_open(&c));
	ceiling_describe(&c, text, sizeof(text));
	assert_string_equal(text, "environment");
	c.environment = NULL;
	c.n_environment = 0;
	c.any_process = false;
	assert_false(ceiling_is_open(&c));
	ceiling_describe(&c, text, sizeof(text));
	assert_string_equal(text, "own processes");
	ceiling_clear(&c);
}

static void loaders_variables_are_refused_where_programs_are_named(void **state)
{
	static const char *const bad[] = {"LD_PRELOAD=/x", "LD_=", "BASH_FUNC_ls%%=() { x; }",
	    "PYTHONPATH=/x", "LD_AUDIT", "OPENSSL_CONF=x", "PATH=/x", "GIT_SSH_COMMAND=x",
	    "PAGER=x", "EDITOR=x", "LESSOPEN=|x", "HOME=/x", "TAR_OPTIONS=x",
	    "PYTHONPYCACHEPREFIX=/x", "DOTNET_STARTUP_HOOKS=/x", "CORECLR_PROFILER_PATH=/x",
	    "RIPGREP_CONFIG_PATH=/x", "ERL_AFLAGS=x", "ERL_ZFLAGS=x", "NMAPDIR=/x",
	    "MAGICK_CONFIGURE_PATH=/x", "SASL_PATH=/x", "LIBMYSQL_PLUGINS=x",
	    "LIBMYSQL_PLUGIN_DIR=/x", "ODBCINI=/x", "ODBCSYSINI=/x", "INPUTRC=/x", "MAILRC=/x"};
	static const char *const good[] = {"LDX=x", "PATHS=/x", "GIT=1", "TERM=x", "LANG=C",
	    "TELEX_ORIGINAL_COMMAND=LD_PRELOAD=1", "PERLLIBS=", "", "=LD_PRELOAD"};
	struct ceiling c = made(NULL, (const char *const[]){"/bin/sh", NULL});
	struct ceiling open;
	struct err e;

	(void)state;
	ceiling_init(&open);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *env[] = {(char[]){"A=1"}, (char *)(uintptr_t)bad[i]};

		assert_int_equal(ceiling_check_environment(&c, env, 2, &e), TX_EPERM);
		assert_int_equal(ceiling_check_environment(&open, env, 2, &e), 0);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char *env[] = {(char *)(uintptr_t)good[i]};

		assert_int_equal(ceiling_check_environment(&c, env, 1, &e), 0);
	}
	ceiling_clear(&c);
}

static void variables_are_those_that_it_names(void **state)
{
	static const char *const good[] = {"LANG=C", "LC_ALL=C", "APP_=", "APP_KEY=a=b",
	    "MALLOC_TOP=1", "TELEX_ORIGINAL_COMMAND=x"};
	static const char *const bad[] = {"LANGUAGE=de", "lang=C", "XLC_ALL=C", "=x", "", "TERM=x",
	    "MALLOC_OTHER=1", "TELEX_ORIGINAL_COMMAND2=x", "HOME=/"};
	char *names[] = {(char[]){"LANG"}, (char[]){"LC_*"}, (char[]){"APP_*"},
	    (char[]){"MALLOC_TOP"}, (char[]){"MALLOC_O*"}};
	char *programs[] = {(char[]){"/bin/*"}};
	struct ceiling c = {.environment = names, .n_environment = 5};
	struct err e;
	char *long_one = malloc(4096);

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char *env[] = {(char *)(uintptr_t)good[i]};

		if (ceiling_check_environment(&c, env, 1, &e) != 0)
			fail_msg("%s: %s", good[i], e.message);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *env[] = {(char[]){"LANG=C"}, (char *)(uintptr_t)bad[i]};

		assert_int_equal(ceiling_check_environment(&c, env, 2, &e), TX_EPERM);
		assert_non_null(strstr(e.message, "names other variables"));
	}
	memset(long_one, 'A', 4095);
	memcpy(long_one, "APP_", 4);
	long_one[4095] = '\0';
	assert_int_equal(ceiling_check_environment(&c, &long_one, 1, &e), TX_EPERM);
	/* What the programs rule out stays out, though it is named. */
	c.programs = programs;
	c.n_programs = 1;
	{
		char *env[] = {(char[]){"MALLOC_TOP=1"}};

		assert_int_equal(ceiling_check_environment(&c, env, 1, &e), TX_EPERM);
		assert_non_null(strstr(e.message, "they may run others"));
	}
	assert_true(ceiling_variable_valid("LC_*"));
	assert_false(ceiling_variable_valid("A=b"));
	assert_false(ceiling_variable_valid(""));
	assert_false(ceiling_variable_valid("A B"));
	free(long_one);
}

static void files_are_below_its_folders(void **state)
{
	static const char *const good[] = {"/srv", "/srv/x", "/srv/x/y", "/home/a"};
	static const char *const bad[] = {"/", "/srvx", "/etc/passwd", "/home2", "/sr"};
	char *folders[] = {(char[]){"/srv"}, (char[]){"/home"}}, *root[] = {(char[]){"/"}};
	struct ceiling c = {.files = true, .root = true, .folders = folders, .n_folders = 2};
	struct ceiling all = {.files = true, .folders = root, .n_folders = 1};
	struct ceiling open;
	struct err e;

	(void)state;
	ceiling_init(&open);
	assert_true(open.files);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(ceiling_check_path(&c, good[i], &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ceiling_check_path(&c, bad[i], &e), TX_EPERM);
		assert_non_null(strstr(e.message, bad[i]));
		assert_int_equal(ceiling_check_path(&all, bad[i], &e), 0);
		assert_int_equal(ceiling_check_path(&open, bad[i], &e), 0);
	}
	assert_true(ceiling_folder_valid("/srv"));
	assert_true(ceiling_folder_valid("/"));
	assert_false(ceiling_folder_valid("srv"));
	assert_false(ceiling_folder_valid("/srv/"));
	assert_false(ceiling_folder_valid("/srv/.."));
}

static void files_are_for_its_users(void **state)
{
	struct ceiling c = made((const char *const[]){"deploy", NULL}, NULL);
	struct err e;

	(void)state;
	assert_int_equal(ceiling_check_files(&c, "deploy", &e), 0);
	assert_int_equal(ceiling_check_files(&c, "root", &e), TX_EPERM);
	c.files = false;
	assert_int_equal(ceiling_check_files(&c, "deploy", &e), TX_EPERM);
	assert_non_null(strstr(e.message, "files"));
	ceiling_clear(&c);
}

static void odd_numbers_are_no_uids(void **state)
{
	static const char *const odd[] = {"+0", "00", "01000", "1000 ", " 1000", "-1", "4294967295",
	    "4294967296", "99999999999999999999", "1e3", "0x3e8"};
	struct ceiling c = made((const char *const[]){"0-4294967294", NULL}, NULL);
	struct ceiling few = made((const char *const[]){"1000", NULL}, NULL);
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		/* As a name it is looked up, and what it turns out to be counts. */
		assert_int_equal(ceiling_check_uid(&few, odd[i], 7, &e), TX_EPERM);
		assert_false(ceiling_user_valid(odd[i]) && odd[i][0] >= '0' && odd[i][0] <= '9');
	}
	assert_true(ceiling_user_valid("1000-1999"));
	assert_false(ceiling_user_valid("1999-1000"));
	assert_false(ceiling_user_valid(""));
	assert_false(ceiling_user_valid("a:b"));
	ceiling_clear(&c);
	ceiling_clear(&few);
}

static void programs_are_absolute_and_plain(void **state)
{
	static const char *const dodges[] = {"ls", "./ls", "/usr/bin/../../bin/sh", "//usr/bin/ls",
	    "/usr/bin//ls", "/usr/bin/./ls", "/usr/bin/", "", "usr/bin/ls", "/usr/bin/sub/ls",
	    "/usr/bin", "/usr/bin2/ls", "/opt/app/../../bin/sh"};
	struct ceiling c = made(NULL, (const char *const[]){"/usr/bin/*", "/opt/app/**", NULL});

	(void)state;
	assert_allowed(&c, "anyone", "/usr/bin/ls");
	assert_allowed(&c, "anyone", "/opt/app/deep/down/x");
	for (size_t i = 0; i < sizeof(dodges) / sizeof(dodges[0]); i++)
		assert_refused(&c, "anyone", dodges[i], dodges[i]);
	ceiling_clear(&c);
}

static void it_is_packed_and_unpacked(void **state)
{
	struct ceiling c = made((const char *const[]){"deploy", "1-2", NULL},
	    (const char *const[]){"/usr/bin/*", NULL});
	struct ceiling back;
	uint8_t *data = NULL;
	size_t len = 0;
	struct err e;

	(void)state;
	c.root = false;
	c.groups = calloc(1, sizeof(char *));
	c.groups[c.n_groups++] = strdup("docker");
	c.folders = calloc(1, sizeof(char *));
	c.folders[c.n_folders++] = strdup("/srv");
	c.environment = calloc(1, sizeof(char *));
	c.environment[c.n_environment++] = strdup("LC_*");
	assert_int_equal(ceiling_pack(&c, &data, &len, &e), 0);
	assert_int_equal(ceiling_unpack(&back, data, len, &e), 0);
	assert_int_equal(back.n_groups, 1);
	assert_string_equal(back.groups[0], "docker");
	assert_true(back.files);
	assert_int_equal(back.n_folders, 1);
	assert_string_equal(back.folders[0], "/srv");
	assert_int_equal(back.n_environment, 1);
	assert_string_equal(back.environment[0], "LC_*");
	assert_int_equal(back.n_users, 2);
	assert_string_equal(back.users[1], "1-2");
	assert_int_equal(back.n_programs, 1);
	assert_string_equal(back.programs[0], "/usr/bin/*");
	assert_false(back.root);
	assert_true(back.any_process);
	ceiling_clear(&back);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *part = malloc(cut > 0 ? cut : 1);

		assert_non_null(part);
		memcpy(part, data, cut);
		assert_int_equal(ceiling_unpack(&back, part, cut, &e), TX_EPROTO);
		free(part);
	}
	for (size_t i = 0; i < len * 8; i++) {
		data[i / 8] ^= (uint8_t)(1u << i % 8);
		if (ceiling_unpack(&back, data, len, &e) == 0)
			ceiling_clear(&back);
		data[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	free(data);
	ceiling_clear(&c);
}

static void without_memory_nothing_is_allowed(void **state)
{
	struct ceiling c =
	    made((const char *const[]){"deploy", NULL}, (const char *const[]){"/usr/bin/*", NULL});
	struct ceiling back;
	uint8_t *data = NULL;
	size_t len = 0;
	struct err e;
	int rc = TX_ENOMEM;

	(void)state;
	assert_int_equal(ceiling_pack(&c, &data, &len, &e), 0);
	for (long n = 1; rc != 0; n++) {
		alloc_fail_at(n, false);
		rc = ceiling_unpack(&back, data, len, &e);
		alloc_fail_stop();
		assert_true(rc == 0 || rc == TX_ENOMEM);
		assert_true(n < 100);
	}
	assert_refused(&back, "root", "/usr/bin/ls", "root");
	ceiling_clear(&back);
	free(data);
	ceiling_clear(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_one_everything_is_allowed),
	    cmocka_unit_test(root_is_root_by_any_text),
	    cmocka_unit_test(users_are_names_uids_and_ranges),
	    cmocka_unit_test(a_group_is_the_users_own_or_named),
	    cmocka_unit_test(it_says_what_it_bounds),
	    cmocka_unit_test(loaders_variables_are_refused_where_programs_are_named),
	    cmocka_unit_test(variables_are_those_that_it_names),
	    cmocka_unit_test(files_are_below_its_folders),
	    cmocka_unit_test(files_are_for_its_users),
	    cmocka_unit_test(odd_numbers_are_no_uids),
	    cmocka_unit_test(programs_are_absolute_and_plain),
	    cmocka_unit_test(it_is_packed_and_unpacked),
	    cmocka_unit_test(without_memory_nothing_is_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
