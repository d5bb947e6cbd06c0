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

#include "agent/keeper/config.h"
#include "common/duration.h"
#include "common/ring.h"

struct problems {
	unsigned n;
	char text[4096];
};

static void note(const char *text, void *arg)
{
	struct problems *ps = arg;
	size_t used = strlen(ps->text);

	ps->n++;
	snprintf(ps->text + used, sizeof(ps->text) - used, "%s\n", text);
}

/* Loads `text` as a file; its name is put into file[]. */
static int load(const char *text, struct config **c, struct problems *ps, char file[64])
{
	const char *tmp = getenv("TMPDIR");
	int fd, rc;

	memset(ps, 0, sizeof(*ps));
	snprintf(file, 64, "%s/telexd-conf-XXXXXX", tmp != NULL ? tmp : "/tmp");
	fd = mkstemp(file);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	rc = config_load(c, file, note, ps);
	unlink(file);
	return rc;
}

static void all_keys_are_read(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(
	    load("# a comment\n"
	         "listen = {\"127.0.0.1:0\", \"[::1]:8359\"}\n"
	         "workers = 3\ncertificate = /a/cert\nkey = \"/a/key\"\nca = /a/ca\n"
	         "state_directory = /a/state\nworker_user = nobody\n"
	         "max_processes = 12\nmax_connections = 13\noutput_buffer = 64KiB\n"
	         "max_output_buffer = 2MiB\nmax_spool = 3GiB\n"
	         "shutdown_grace = 1m30s\nheartbeat_interval = 500ms\nhang_timeout = 7\n"
	         "log_level = debug\nlog_format = json\n",
	        &c, &ps, file),
	    0);
	assert_int_equal(ps.n, 0);
	assert_string_equal(c->file, file);
	assert_int_equal(c->n_listen, 2);
	assert_false(c->listen_default);
	assert_string_equal(c->listen[1], "[::1]:8359");
	assert_int_equal(c->workers, 3);
	assert_string_equal(c->certificate, "/a/cert");
	assert_string_equal(c->key, "/a/key");
	assert_string_equal(c->ca, "/a/ca");
	assert_string_equal(c->state_directory, "/a/state");
	assert_string_equal(c->worker_user, "nobody");
	assert_int_equal(c->max_processes, 12);
	assert_int_equal(c->max_connections, 13);
	assert_int_equal(c->output_buffer, 65536);
	assert_int_equal(c->max_output_buffer, 2 << 20);
	assert_true(c->max_spool == (uint64_t)3 << 30);
	assert_true(c->shutdown_grace_ns == 90 * NS_PER_S);
	assert_true(c->heartbeat_ns == 500 * NS_PER_MS);
	assert_true(c->hang_timeout_ns == 7 * NS_PER_S);
	assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
	assert_true(c->log_json);
	config_unref(c);
}

/* The files' owner is who runs this. */
static void what_others_could_change_or_read_is_refused(void **state)
{
	static const char *const names[] = {"certificate", "key", "ca", "policy"};
	struct config c = {.certificate = NULL};
	char *const *paths[] = {&c.certificate, &c.key, &c.ca, &c.policy};
	char dir[] = "/tmp/telex-exposed-XXXXXX", file[4][64], conf[64];
	struct problems ps = {.n = 0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i <= 4; i++) {
		char *path = i < 4 ? file[i] : conf;
		FILE *f;

		snprintf(path, 64, "%s/%s", dir, i < 4 ? names[i] : "conf");
		f = fopen(path, "we");
		assert_non_null(f);
		fclose(f);
		assert_int_equal(chmod(path, 0600), 0);
		if (i < 4)
			*(char **)(uintptr_t)paths[i] = path;
	}
	c.file = conf;
	assert_int_equal(config_check_files(&c, note, &ps), 0);
	assert_int_equal(chmod(c.certificate, 0666), 0);
	assert_int_equal(chmod(c.policy, 0644), 0);
	assert_int_equal(chmod(conf, 0644), 0);
	assert_int_equal(config_check_files(&c, note, &ps), 0);
	assert_int_equal(chmod(c.key, 0640), 0);
	assert_int_equal(config_check_files(&c, note, &ps), TX_EINVAL);
	assert_non_null(
	    strstr(ps.text, "others may read or write it (mode 0640); type: chmod 600 /tmp/"));
	assert_int_equal(chmod(c.key, 0600), 0);
	assert_int_equal(chmod(c.policy, 0664), 0);
	assert_int_equal(config_check_files(&c, note, &ps), TX_EINVAL);
	assert_non_null(strstr(ps.text, "others may write it (mode 0664); type: chmod go-w /tmp/"));
	assert_int_equal(chmod(c.policy, 0600), 0);
	assert_int_equal(chmod(conf, 0602), 0);
	assert_int_equal(config_check_files(&c, note, &ps), TX_EINVAL);
	for (size_t i = 0; i < 4; i++)
		unlink(file[i]);
	unlink(conf);
	rmdir(dir);
}

static void closed_to_what_is_too_old_has_an_age(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("revocations_stale = fail-closed\n", &c, &ps, file), 0);
	assert_int_equal(c->revocations_max_age_ns, 24 * 3600 * NS_PER_S);
	config_unref(c);
	assert_int_equal(
	    load("revocations_stale = fail-closed\nrevocations_max_age = 2h\n", &c, &ps, file), 0);
	assert_int_equal(c->revocations_max_age_ns, 2 * 3600 * NS_PER_S);
	config_unref(c);
}

static void an_empty_file_gives_the_defaults(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("", &c, &ps, file), 0);
	assert_int_equal(c->n_listen, 2);
	assert_true(c->listen_default);
	assert_true(c->workers >= 1);
	assert_int_equal(c->max_processes, 10000);
	assert_int_equal(c->output_buffer, RING_SIZE_DEFAULT);
	assert_int_equal(c->max_output_buffer, 64 << 20);
	assert_true(c->max_spool == (uint64_t)1 << 30);
	assert_true(c->shutdown_grace_ns == 10 * NS_PER_S);
	assert_null(c->worker_user);
	assert_int_equal(c->log_level, LOG_LEVEL_INFO);
	config_unref(c);
}

static void every_problem_is_told_with_its_line_and_the_right_word(void **state)
{
	static const char *const want[] = {
	    ":1: unknown key 'lisen'; did you mean 'listen'?\n",
	    ":2: workers: 'many' is not a number\n",
	    ":3: log_level: 'inof' is no log level; did you mean 'info'?\n",
	    ":4: log_format: 'xml' is no log format; it is text or json\n",
	    ":5: output_buffer: '12 parsecs' is not a size (such as 64KiB or 1MiB)\n",
	    ":6: shutdown_grace: 'soon' is not a duration (such as 10s or 500ms)\n",
	    ":7: ca: 'ca.pem' is not an absolute path\n",
	    ":8: listen: 'localhost' is not HOST:PORT (such as 0.0.0.0:8359 or [::]:8359)\n",
	    ":9: unknown key 'zzzzzzzz'\n",
	    ":10: max_processes: '0' is too small\n",
	    ":11: workers: '1000' is too large\n",
	};
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("lisen = {\"a\", \"b\"}\nworkers = many\nlog_level = inof\n"
	                      "log_format = xml\noutput_buffer = \"12 parsecs\"\n"
	                      "shutdown_grace = soon\nca = ca.pem\nlisten = localhost\n"
	                      "zzzzzzzz = 3\nmax_processes = 0\nworkers = 1000\n",
	                     &c, &ps, file),
	    TX_EINVAL);
	assert_null(c);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		char line[256];

		snprintf(line, sizeof(line), "%s%s", file, want[i]);
		if (strstr(ps.text, line) == NULL)
			fail_msg("not told: %s in: %s", line, ps.text);
	}
	assert_int_equal(ps.n, sizeof(want) / sizeof(want[0]));
}

static void sections_are_read(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("ceiling {\n  users = {\"deploy\", \"1000-1999\"}\n  groups = "
	                      "{\"docker\"}\n  root = false\n"
	                      "  programs = {\"/usr/bin/*\"}\n  files = false\n"
	                      "  environment = {\"LANG\", \"LC_*\"}\n"
	                      "  folders = {\"/srv\", \"/\"}\n}\nworkers = 3\n"
	                      "max_watch_memory = 5MiB\n"
	                      "max_file_helpers = 7\nwatch_linger = 3m\nwatch_fanotify = false\n"
	                      "authority {\n  directory = /a/ca\n  listen = {\"127.0.0.1:8360\"}\n"
	                      "  passphrase_file = /a/word\n}\nmax_processes = 12\n",
	                     &c, &ps, file),
	    0);
	assert_int_equal(ps.n, 0);
	assert_int_equal(c->ceiling.n_users, 2);
	assert_string_equal(c->ceiling.users[1], "1000-1999");
	assert_int_equal(c->ceiling.n_groups, 1);
	assert_string_equal(c->ceiling.groups[0], "docker");
	assert_int_equal(c->ceiling.n_programs, 1);
	assert_string_equal(c->ceiling.programs[0], "/usr/bin/*");
	assert_int_equal(c->ceiling.n_environment, 2);
	assert_string_equal(c->ceiling.environment[1], "LC_*");
	assert_false(c->ceiling.root);
	assert_false(c->ceiling.files);
	assert_int_equal(c->ceiling.n_folders, 2);
	assert_string_equal(c->ceiling.folders[1], "/");
	assert_int_equal(c->max_file_helpers, 7);
	assert_true(c->watch_linger_ns == 180 * NS_PER_S);
	assert_true(c->max_watch_memory == 5 << 20);
	assert_false(c->watch_fanotify);
	assert_true(c->ceiling.any_process);
	assert_true(c->authority.given);
	assert_string_equal(c->authority.directory, "/a/ca");
	assert_int_equal(c->authority.n_listen, 1);
	assert_string_equal(c->authority.listen[0], "127.0.0.1:8360");
	assert_string_equal(c->authority.passphrase_file, "/a/word");
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->max_processes, 12);
	config_unref(c);
}

static void problems_of_sections_are_told_with_their_lines(void **state)
{
	static const char *const want[] = {
	    ":2: ceiling: unknown key 'user'; did you mean 'users'?\n",
	    ":3: ceiling.programs: 'ls' is not the absolute path of a program (* and ** stand for "
	    "any)\n",
	    ":4: ceiling.users: '9-1' is no user name, uid or range of uids (such as 1000-1999)\n",
	    ":5: ceiling.root: 'maybe' is neither true nor false\n",
	    ":5: ceiling.folders: '/srv/' is not the absolute path of a folder (without .., // and "
	    "a "
	    "/ at its end)\n",
	    ":6: ceiling.environment: 'A=1' is no name of a variable (* stands for any, as in "
	    "LC_*)\n",
	    ":8: workers: 'many' is not a number\n",
	    ":10: authority.listen: 'here' is not HOST:PORT (such as 0.0.0.0:8359 or [::]:8359)\n",
	    ":11: authority: unknown key 'lisen'; did you mean 'listen'?\n",
	    ":13: unknown key 'ceilin'; did you mean 'ceiling'?\n",
	};
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("ceiling {\nuser = {\"a\"}\nprograms = {\"ls\"}\n"
	                      "users = {\"9-1\"}\nroot = maybe folders = {\"/srv/\"}\n"
	                      "environment = {\"A=1\"}\n}\nworkers = "
	                      "many\nauthority {\n"
	                      "listen = {\"here\"}\nlisen = {\"x\"}\n}\nceilin = {\"a\"}\n",
	                     &c, &ps, file),
	    TX_EINVAL);
	assert_null(c);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (strstr(ps.text, want[i]) == NULL)
			fail_msg("not told: %s in: %s", want[i], ps.text);
	assert_int_equal(ps.n, sizeof(want) / sizeof(want[0]));
}

/* It would bound nothing, and looks as if it bounded everything. */
static void an_empty_list_is_refused(void **state)
{
	static const char *const keys[] = {"users", "groups", "programs", "environment", "folders"};
	struct config *c = NULL;
	struct problems ps;
	char file[64], text[64], want[64];

	(void)state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(text, sizeof(text), "ceiling {\n%s = {}\n}\n", keys[i]);
		snprintf(want, sizeof(want), ": ceiling.%s: is an empty list", keys[i]);
		assert_int_equal(load(text, &c, &ps, file), TX_EINVAL);
		assert_non_null(strstr(ps.text, want));
		assert_int_equal(ps.n, 1);
	}
}

static void an_authority_needs_its_folder_and_an_address(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("authority {\n}\n", &c, &ps, file), TX_EINVAL);
	assert_non_null(strstr(ps.text, "authority: directory"));
	assert_int_equal(load("authority {\ndirectory = /a\n}\n", &c, &ps, file), TX_EINVAL);
	assert_non_null(strstr(ps.text, "authority: listen"));
	assert_null(c);
}

static void broken_syntax_is_told_with_its_line(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("workers = 1\nkey\n", &c, &ps, file), TX_EINVAL);
	assert_true(ps.n >= 1);
	assert_non_null(strstr(ps.text, file));
	assert_int_equal(load("listen = {\"127.0.0.1:1\"\n", &c, &ps, file), TX_EINVAL);
	assert_true(ps.n >= 1);
}

static void a_file_that_is_not_there_is_named(void **state)
{
	struct config *c = NULL;
	struct problems ps = {0, ""};

	(void)state;
	assert_true(config_load(&c, "/no/such/telexd.conf", note, &ps) < 0);
	assert_null(c);
	assert_int_equal(ps.n, 1);
	assert_non_null(strstr(ps.text, "/no/such/telexd.conf: No such file"));
}

static void missing_certificates_and_users_are_named(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("certificate = /no/cert\nkey = /no/key\nca = /dev/null\n"
	                      "policy = /no/policy.conf\n"
	                      "worker_user = no-such-user-here\n",
	                     &c, &ps, file),
	    0);
	assert_int_equal(config_check_files(c, note, &ps), TX_EINVAL);
	assert_int_equal(ps.n, 4);
	assert_non_null(
	    strstr(ps.text, "policy: /no/policy.conf: No such file or directory; `telex "
	                    "policy init` writes one\n"));
	assert_non_null(strstr(ps.text, "certificate: /no/cert: No such file"));
	assert_non_null(strstr(ps.text, "no such user: no-such-user-here"));
	config_unref(c);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int rc;
		uint64_t bytes;
	} cases[] = {
	    {"0", 0, 0},
	    {"4096", 0, 4096},
	    {"64KiB", 0, 65536},
	    {"1MiB", 0, 1 << 20},
	    {"2G", 0, UINT64_C(2) << 30},
	    {"", TX_EINVAL, 0},
	    {"-1", TX_EINVAL, 0},
	    {"1 MiB", TX_EINVAL, 0},
	    {"1kb", TX_EINVAL, 0},
	    {"99999999999999999999", TX_ETOOBIG, 0},
	    {"99999999999999GiB", TX_ETOOBIG, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;

		assert_int_equal(config_parse_size(cases[i].text, &bytes), cases[i].rc);
		assert_true(bytes == cases[i].bytes);
	}
}

static void addresses(void **state)
{
	static const struct {
		const char *text, *host, *port; /* host NULL: refused */
	} cases[] = {
	    {"127.0.0.1:0", "127.0.0.1", "0"},
	    {"[::]:8359", "::", "8359"},
	    {"agent.example:65535", "agent.example", "65535"},
	    {"127.0.0.1", NULL, NULL},
	    {"127.0.0.1:", NULL, NULL},
	    {":8359", NULL, NULL},
	    {"::1:8359", NULL, NULL},
	    {"[]:8359", NULL, NULL},
	    {"[::1:8359", NULL, NULL},
	    {"a:65536", NULL, NULL},
	    {"a:1x", NULL, NULL},
	    {"", NULL, NULL},
	};
	char buf[KM_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *host, *port;
		int rc = config_split_address(cases[i].text, buf, &host, &port);

		assert_int_equal(rc, cases[i].host != NULL ? 0 : TX_EINVAL);
		if (rc != 0)
			continue;
		assert_string_equal(host, cases[i].host);
		assert_string_equal(port, cases[i].port);
	}
}

/* What everybody gets is never too much to be asked for. */
static void the_default_buffer_is_within_the_maximum(void **state)
{
	struct config *c = NULL;
	struct problems ps;
	char file[64];

	(void)state;
	assert_int_equal(load("output_buffer = 256MiB\nmax_spool = 0\n", &c, &ps, file), 0);
	assert_int_equal(c->max_output_buffer, 256 << 20);
	assert_int_equal(c->max_spool, 0);
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_keys_are_read),
	    cmocka_unit_test(what_others_could_change_or_read_is_refused),
	    cmocka_unit_test(closed_to_what_is_too_old_has_an_age),
	    cmocka_unit_test(an_empty_file_gives_the_defaults),
	    cmocka_unit_test(every_problem_is_told_with_its_line_and_the_right_word),
	    cmocka_unit_test(sections_are_read),
	    cmocka_unit_test(problems_of_sections_are_told_with_their_lines),
	    cmocka_unit_test(an_empty_list_is_refused),
	    cmocka_unit_test(an_authority_needs_its_folder_and_an_address),
	    cmocka_unit_test(broken_syntax_is_told_with_its_line),
	    cmocka_unit_test(a_file_that_is_not_there_is_named),
	    cmocka_unit_test(missing_certificates_and_users_are_named),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(the_default_buffer_is_within_the_maximum),
	};

	return cmocka_run_group_tests_name("keeper_config", tests, NULL, NULL);
}
