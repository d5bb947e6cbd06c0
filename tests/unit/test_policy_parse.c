/* SPDX-License-Identifier: Apache-2.0 */
/* A policy file is whole and right, or it is not taken at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/policy.h"
#include "tests/support/alloc_fail.h"

#define WHO "spiffe://lab.example/user/alice"

struct problems {
	unsigned n;
	char text[16384];
};

static void note(const char *text, void *arg)
{
	struct problems *ps = arg;
	size_t used = strlen(ps->text);

	ps->n++;
	snprintf(ps->text + used, sizeof(ps->text) - used, "%s\n", text);
}

static int parse(struct policy **p, const char *text, size_t len, struct problems *ps)
{
	memset(ps, 0, sizeof(*ps));
	*p = NULL;
	return policy_parse(p, text, len, "policy.conf", note, ps);
}

static void the_example_is_right(void **state)
{
	char *text = policy_example(WHO);
	struct problems ps;
	struct policy *p;

	(void)state;
	assert_non_null(text);
	assert_int_equal(parse(&p, text, strlen(text), &ps), 0);
	assert_string_equal(ps.text, "");
	assert_int_equal(policy_role_count(p), 4);
	assert_int_equal(policy_grant_count(p), 1);
	policy_free(p);
	free(text);
}

/* A name with wildcards in it is granted to itself alone. */
static void the_examples_identity_is_taken_literally(void **state)
{
	char *text = policy_example("spiffe://lab.example/user/*?\\\"x");
	struct policy_request r = {.method = "telex.v1.SystemService/GetInfo"};
	struct policy_decision d;
	struct problems ps;
	struct policy *p;

	(void)state;
	assert_int_equal(parse(&p, text, strlen(text), &ps), 0);
	r.identity = "spiffe://lab.example/user/*?\\\"x";
	policy_decide(p, &r, &d);
	assert_true(d.allowed);
	r.identity = "spiffe://lab.example/user/abcd\"x";
	policy_decide(p, &r, &d);
	assert_false(d.allowed);
	policy_free(p);
	free(text);
}

static void every_mistake_is_told_with_its_line_and_the_right_word(void **state)
{
	static const char text[] =
	    "rolle a { }\n"                                                  /* 1 */
	    "role deploy {\n"                                                /* 2 */
	    "\tmetods = {\"telex.v1.ProcessService/Run\"}\n"                 /* 3 */
	    "\tmethods = {\"telex.v1.ProcesService/Run\"}\n"                 /* 4 */
	    "\tcomand \"/bin/x\" { arguments = {\"a\"} }\n"                  /* 5 */
	    "\tcommand \"bin/x\" {}\n"                                       /* 6 */
	    "\tcommand \"/usr/../bin/x\" { argument = {} }\n"                /* 7 */
	    "\tusers = {\"a/b\", \":c\"}\n"                                  /* 8 */
	    "\tmax_memory = 12 parsecs\n"                                    /* 9 */
	    "\tsignals = {TERM, TREM}\n"                                     /* 10 */
	    "\tmax_pids = -1\n"                                              /* 11 */
	    "\tmax_run_timeout = soon\n"                                     /* 12 */
	    "\tterminal = yes\n"                                             /* 13 */
	    "\trlimits = {\"nofile=0\", \"nofiles\"}\n"                      /* 14 */
	    "\tterminal = true\n"                                            /* 15 */
	    "\tdirectories = {\"/srv/\"}\n"                                  /* 16 */
	    "\tmin_nice = -21\n"                                             /* 17 */
	    "\tenvironment = {\"A=B\"}\n"                                    /* 18 */
	    "\tread = /etc/x\n"                                              /* 19 */
	    "}\n"                                                            /* 20 */
	    "role deploy {}\n"                                               /* 21 */
	    "grant g { identities = {\"https://x/**\"} roles = {deplay} }\n" /* 22 */
	    "grant h { roles = {deploy} }\n";                                /* 23 */
	static const char *const want[] = {
	    "policy.conf:1: unknown key 'rolle'; did you mean 'role'?\n",
	    "policy.conf:3: unknown key in a role 'metods'; did you mean 'methods'?\n",
	    "policy.conf:4: methods: 'telex.v1.ProcesService/Run' matches no method of this "
	    "version; "
	    "did you mean 'telex.v1.ProcessService/Run'?\n",
	    "policy.conf:5: unknown key in a role 'comand'; did you mean 'command'?\n",
	    "policy.conf:6: command: 'bin/x' is not an absolute path",
	    "policy.conf:7: command: '/usr/../bin/x' matches nothing",
	    "policy.conf:7: unknown key in a command 'argument'; did you mean 'arguments'?\n",
	    "policy.conf:8: users: 'a/b' matches nobody",
	    "policy.conf:8: users: ':c' is not USER or USER:GROUP\n",
	    "policy.conf:9: max_memory: '12' is too small\n",
	    "policy.conf:10: signals: 'TREM' is no signal; did you mean 'TERM'?\n",
	    "policy.conf:11: max_pids: '-1' is not a number\n",
	    "policy.conf:12: max_run_timeout: 'soon' is not a duration (such as 10s or 1h30m)\n",
	    "policy.conf:13: terminal: 'yes' is neither true nor false\n",
	    "policy.conf:14: rlimits: 'nofile=0' has no number above 0 behind its =\n",
	    "policy.conf:14: rlimits: 'nofiles' is no resource limit, as NAME or NAME=MAXIMUM\n",
	    "policy.conf:15: terminal is given twice\n",
	    "policy.conf:16: directories: '/srv/' matches nothing",
	    "policy.conf:17: min_nice: '-21' must be -20 to 19\n",
	    "policy.conf:18: environment: 'A=B' is not a variable's name",
	    "policy.conf:19: '/' outside of quotes",
	    "policy.conf:21: role deploy is there already, in line 2\n",
	    "policy.conf:22: identities: 'https://x/**' matches nobody",
	    "policy.conf:22: grant g: there is no role 'deplay'; did you mean 'deploy'?\n",
	    "policy.conf:23: grant h names no identities\n",
	};
	struct problems ps;
	struct policy *p;

	(void)state;
	assert_int_equal(parse(&p, text, strlen(text), &ps), TX_EINVAL);
	assert_null(p);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (strstr(ps.text, want[i]) == NULL)
			fail_msg("missing: %sin:\n%s", want[i], ps.text);
}

static void what_grants_nothing_is_no_policy(void **state)
{
	static const char *const texts[] = {"", " \n\t", "# only a comment", "role a {}",
	    "role a { methods = {\"**\"} ", "grant", "grant g", "grant g {", "role", "role {", "}",
	    "{", "= = =", "\"", "'", "role a { command }", "role a { command \"/x\" }",
	    "role a { methods }", "role a { methods = }", "role a { methods = { } ", "\\",
	    "${HOME}", "role a {}\ngrant g { identities = {\"spiffe://x/user/a\"} roles = {} }",
	    "role a {}\ngrant g { identities = {} roles = {a} }",
	    "role a {}\ngrant g { identities = {\"*\"} roles = {a} }",
	    "role a { forced_command = {\"sh\"} }\n"
	    "grant g { identities = {\"spiffe://x/user/a\"} roles = {a} }",
	    "role a { forced_command = {\"/bin/sh\"} command \"/bin/ls\" {} }\n"
	    "grant g { identities = {\"spiffe://x/user/a\"} roles = {a} }"};
	struct problems ps;
	struct policy *p;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(parse(&p, texts[i], strlen(texts[i]), &ps), TX_EINVAL);
		assert_null(p);
		assert_true(ps.n > 0);
	}
}

static void a_policy_cut_off_anywhere_is_refused(void **state)
{
	char *text = policy_example(WHO);
	size_t whole = (size_t)(strstr(text, "\n#grant watchers") - text);
	struct problems ps;
	struct policy *p;

	(void)state;
	for (size_t len = 0; len + 1 < whole; len++) {
		assert_int_equal(parse(&p, text, len, &ps), TX_EINVAL);
		assert_true(ps.n > 0);
	}
	free(text);
}

/* Whatever is changed in it: it does not crash, and it is taken only without a problem. */
static void a_policy_with_bytes_changed_is_refused_or_without_a_problem(void **state)
{
	char *good = policy_example(WHO), *text = strdup(good);
	size_t len = strlen(good);
	unsigned refused = 0;
	struct problems ps;
	struct policy *p;

	(void)state;
	srand(7);
	for (int i = 0; i < 20000; i++) {
		int rc;

		memcpy(text, good, len);
		for (int n = rand() % 4; n >= 0; n--)
			text[(size_t)rand() % len] =
			    rand() % 3 == 0 ? (char)(rand() & 0xff) : "{}=,\"'#\\\n*/"[rand() % 11];
		rc = parse(&p, text, len, &ps);
		assert_int_equal(rc == 0, ps.n == 0);
		assert_int_equal(rc == 0, p != NULL);
		refused += rc != 0;
		policy_free(p);
	}
	assert_true(refused > 1000);
	free(text);
	free(good);
}

static void too_many_problems_are_cut_short(void **state)
{
	static char text[20001];
	struct problems ps;
	struct policy *p;

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "x\n", 2);
	assert_int_equal(parse(&p, text, sizeof(text) - 1, &ps), TX_EINVAL);
	assert_int_equal(ps.n, 100);
	assert_non_null(strstr(ps.text, "policy.conf: there are more problems\n"));
}

static void a_policy_beyond_its_size_is_refused(void **state)
{
	char *text = calloc(1, POLICY_MAX_BYTES + 1);
	struct problems ps;
	struct policy *p;

	(void)state;
	memset(text, '\n', POLICY_MAX_BYTES + 1);
	assert_int_equal(parse(&p, text, POLICY_MAX_BYTES + 1, &ps), TX_EINVAL);
	assert_string_equal(ps.text, "policy.conf: it is larger than 1 MiB\n");
	free(text);
}

/* Numbers, names and texts as one may write them. */
static void values_are_read_as_written(void **state)
{
	static const char text[] = "role 'a' { methods = \"**\"\n"
	                           " max_cpu = 1.5 max_pids = 4294967295 max_memory = 1T,\n"
	                           "}";
	struct problems ps;
	struct policy *p;

	(void)state;
	assert_int_equal(parse(&p, text, strlen(text), &ps), TX_EINVAL);
	/* The comma between keys is none. */
	assert_non_null(strstr(ps.text, "policy.conf:2: a key is expected here\n"));
	assert_null(strstr(ps.text, "max_"));
}

static void no_memory_grants_nothing(void **state)
{
	char *text = policy_example(WHO);
	size_t len = strlen(text);
	struct problems ps;
	struct policy *p;
	long n;

	(void)state;
	alloc_fail_at(0, false);
	assert_int_equal(parse(&p, text, len, &ps), 0);
	n = alloc_fail_count();
	alloc_fail_stop();
	policy_free(p);
	if (n <= 50)
		fail_msg("only %ld allocations", n);
	for (long i = 1; i <= n; i++) {
		for (int keep = 0; keep < 2; keep++) {
			int rc;

			alloc_fail_at(i, keep != 0);
			rc = parse(&p, text, len, &ps);
			alloc_fail_stop();
			assert_int_equal(rc, TX_ENOMEM);
			assert_null(p);
		}
	}
	free(text);
}

static void what_cannot_be_read_is_refused(void **state)
{
	struct problems ps = {0};
	struct policy *p = NULL;
	int pipes[2], fd;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(policy_read(&p, pipes[0], "policy.conf", note, &ps), TX_EINVAL);
	assert_string_equal(ps.text, "policy.conf: it is not a regular file\n");
	close(pipes[0]);
	close(pipes[1]);
	memset(&ps, 0, sizeof(ps));
	fd = open("/", O_RDONLY | O_DIRECTORY);
	assert_int_equal(policy_read(&p, fd, "policy.conf", note, &ps), TX_EINVAL);
	close(fd);
	assert_int_equal(policy_read(&p, -1, "policy.conf", note, &ps), TX_EINVAL);
	assert_int_equal(ps.n, 2);
	memset(&ps, 0, sizeof(ps));
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(policy_read(&p, fd, "policy.conf", note, &ps), TX_EINVAL);
	close(fd);
	assert_null(p);
}

static void a_file_is_read_whole_wherever_its_offset_is(void **state)
{
	char path[] = "/tmp/telex-policy-XXXXXX", *text = policy_example(WHO);
	int fd = mkstemp(path);
	struct problems ps = {0};
	struct policy *p = NULL;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(policy_read(&p, fd, path, note, &ps), 0);
	assert_int_equal(policy_role_count(p), 4);
	policy_free(p);
	close(fd);
	unlink(path);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_example_is_right),
	    cmocka_unit_test(the_examples_identity_is_taken_literally),
	    cmocka_unit_test(every_mistake_is_told_with_its_line_and_the_right_word),
	    cmocka_unit_test(what_grants_nothing_is_no_policy),
	    cmocka_unit_test(a_policy_cut_off_anywhere_is_refused),
	    cmocka_unit_test(a_policy_with_bytes_changed_is_refused_or_without_a_problem),
	    cmocka_unit_test(too_many_problems_are_cut_short),
	    cmocka_unit_test(a_policy_beyond_its_size_is_refused),
	    cmocka_unit_test(values_are_read_as_written),
	    cmocka_unit_test(no_memory_grants_nothing),
	    cmocka_unit_test(what_cannot_be_read_is_refused),
	    cmocka_unit_test(a_file_is_read_whole_wherever_its_offset_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
