/* SPDX-License-Identifier: Apache-2.0 */
/* What a program begins with: umask, nice value, signals, privileges; and what is too much of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/spawn_internal.h"
#include "common/keeper_msg.h"

struct scene {
	struct spawn_plan plan;
	char *argv[4];
	char *env[4];
	int out[2], null;
	struct spawn_failure why;
	char text[4096];
};

static void scene_open(struct scene *s, char *script)
{
	memset(s, 0, sizeof(*s));
	s->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(s->null >= 0);
	assert_int_equal(pipe2(s->out, O_CLOEXEC), 0);
	s->argv[0] = (char *)(uintptr_t) "/bin/sh";
	s->argv[1] = (char *)(uintptr_t) "-c";
	s->argv[2] = script;
	s->env[0] = (char *)(uintptr_t) "PATH=/usr/bin:/bin";
	s->plan = (struct spawn_plan){
	    .argv = s->argv,
	    .envp = s->env,
	    .fds = {s->null, s->out[1], STDERR_FILENO},
	    .n_fds = 3,
	    .cwd = "/",
	    .umask = 022,
	};
}

static void scene_close(struct scene *s)
{
	close(s->null);
	close(s->out[0]);
	if (s->out[1] >= 0)
		close(s->out[1]);
}

/* What it printed. */
static const char *scene_run(struct scene *s)
{
	struct spawn_result got;
	size_t len = 0;
	ssize_t n;
	int status;

	if (spawn_run(&s->plan, &got, &s->why) != 0)
		fail_msg("not started: stage %s, %s", km_stage_name(s->why.stage), s->why.text);
	close(s->out[1]);
	s->out[1] = -1;
	while ((n = read(s->out[0], s->text + len, sizeof(s->text) - 1 - len)) > 0)
		len += (size_t)n;
	assert_int_equal(waitpid(got.pid, &status, 0), got.pid);
	if (got.pidfd >= 0)
		close(got.pidfd);
	return s->text;
}

static void fails_at(struct scene *s, int stage, int sys_errno)
{
	struct spawn_result got;

	assert_int_equal(spawn_run(&s->plan, &got, &s->why), TX_ESYS);
	if (s->why.stage != stage || s->why.sys_errno != sys_errno)
		fail_msg("stage %s, %s", km_stage_name(s->why.stage), s->why.text);
}

static void the_umask_is_set(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"umask"});
	s.plan.umask = 0137;
	assert_string_equal(scene_run(&s), "0137\n");
	scene_close(&s);
}

static void the_nice_value_is_set(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"nice"});
	s.plan.nice = 7;
	s.plan.plain_priority = true;
	assert_string_equal(scene_run(&s), "7\n");
	scene_close(&s);
}

/* In a process without privilege: 0, or what was wrong. */
static int try_nice(struct scene *s)
{
	const struct rlimit none = {0, 0};
	struct spawn_result got;

	if (setrlimit(RLIMIT_NICE, &none) != 0 ||
	    (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0))
		return 1;
	if (spawn_run(&s->plan, &got, &s->why) != TX_ESYS)
		return 2;
	if (s->why.stage != KM_STAGE_LIMITS || s->why.sys_errno != EACCES)
		return 3;
	return strstr(s->why.text, "nice value -5: the agent lacks the privilege") != NULL ? 0 : 4;
}

static void a_nice_value_without_privilege_is_a_failure_of_limits(void **state)
{
	struct scene s;
	int status;
	pid_t pid;

	(void)state;
	scene_open(&s, (char[]){"true"});
	s.plan.nice = -5;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(try_nice(&s));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	scene_close(&s);
}

static void signals_are_blocked_and_ignored_as_asked(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"exec grep -E 'Sig(Blk|Ign)' /proc/self/status"});
	/* 34 and 64 are SIGRTMIN and SIGRTMAX. */
	s.plan.blocked = UINT64_C(1) << (SIGUSR1 - 1) | UINT64_C(1) << 63;
	s.plan.ignored = UINT64_C(1) << (SIGPIPE - 1) | UINT64_C(1) << 33;
	assert_string_equal(
	    scene_run(&s), "SigBlk:\t8000000000000200\nSigIgn:\t0000000200001000\n");
	scene_close(&s);
}

static void new_privileges_are_forbidden_where_asked(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"grep NoNewPrivs /proc/self/status"});
	assert_string_equal(scene_run(&s), "NoNewPrivs:\t0\n");
	scene_close(&s);
	scene_open(&s, (char[]){"grep NoNewPrivs /proc/self/status"});
	s.plan.no_new_privs = true;
	assert_string_equal(scene_run(&s), "NoNewPrivs:\t1\n");
	scene_close(&s);
}

static void without_a_path_the_default_is_searched(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"echo $0"});
	s.env[0] = NULL;
	s.argv[0] = (char *)(uintptr_t) "sh";
	fails_at(&s, KM_STAGE_EXEC, ENOENT);
	assert_string_equal(s.why.text, "sh: command not found");
	s.plan.default_path = "/nowhere:/bin";
	assert_string_equal(scene_run(&s), "sh\n");
	scene_close(&s);
	/* One that is there is the only one. */
	scene_open(&s, (char[]){"true"});
	s.argv[0] = (char *)(uintptr_t) "sh";
	s.env[0] = (char *)(uintptr_t) "PATH=/nowhere";
	s.plan.default_path = "/bin";
	fails_at(&s, KM_STAGE_EXEC, ENOENT);
	scene_close(&s);
}

/* No shell and no option parser stands between a client and the program. */
static void arguments_that_begin_with_a_dash_arrive_as_they_are(void **state)
{
	char *argv[] = {(char *)(uintptr_t) "printf", (char *)(uintptr_t) "%s|",
	    (char *)(uintptr_t) "-froot", (char *)(uintptr_t) "--", (char *)(uintptr_t) "-c",
	    (char *)(uintptr_t) "$(id);`id`", (char *)(uintptr_t) "", NULL};
	struct scene s;

	(void)state;
	scene_open(&s, NULL);
	s.plan.argv = argv;
	assert_string_equal(scene_run(&s), "-froot|--|-c|$(id);`id`||");
	scene_close(&s);
	scene_open(&s, NULL);
	s.argv[0] = (char *)(uintptr_t) "-sh";
	fails_at(&s, KM_STAGE_EXEC, ENOENT);
	scene_close(&s);
}

/* What the loader reads from the environment acts in the program alone, not in whoever starts it.
 */
static void the_environment_acts_in_the_program_alone(void **state)
{
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"echo $LD_LIBRARY_PATH"});
	s.env[1] = (char *)(uintptr_t) "LD_LIBRARY_PATH=/nowhere";
	s.env[2] = (char *)(uintptr_t) "LD_BIND_NOW=1";
	assert_string_equal(scene_run(&s), "/nowhere\n");
	assert_null(getenv("LD_BIND_NOW"));
	scene_close(&s);
}

static char *long_string(const char *begin, size_t len)
{
	char *text = malloc(len + 1);

	assert_non_null(text);
	memset(text, 'x', len);
	memcpy(text, begin, strlen(begin));
	text[len] = '\0';
	return text;
}

/* Said of the plan alone: a real one is not for valgrind, which does not survive that exec. */
static void too_big(struct scene *s)
{
	const struct spawn_report r = {KM_STAGE_EXEC, E2BIG, 0};

	s->why.stage = r.stage;
	s->why.sys_errno = r.sys_errno;
	spawn_describe(&s->plan, &r, &s->why);
}

static void one_string_that_is_too_long_is_named(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *text = long_string("NAME=", page * 32);
	char expected[160];
	struct scene s;

	(void)state;
	scene_open(&s, (char[]){"true"});
	s.argv[2] = text;
	too_big(&s);
	snprintf(expected, sizeof(expected),
	    "argument 2 has %zu bytes; the kernel takes %zu at most in one", page * 32,
	    page * 32 - 1);
	assert_string_equal(s.why.text, expected);
	s.argv[2] = (char *)(uintptr_t) "true";
	s.env[1] = text;
	too_big(&s);
	assert_non_null(strstr(s.why.text, "the environment's variable NAME has"));
	text[page * 32 - 1] = '\0';
	assert_string_equal(scene_run(&s), "");
	scene_close(&s);
	free(text);
}

static void too_many_strings_are_told_apart(void **state)
{
	struct spawn_rlimit stack = {RLIMIT_STACK, {1 << 20, RLIM_INFINITY}, false};
	size_t n = 300;
	char **list = calloc(n + 4, sizeof(*list));
	char *text = long_string("A=", 1000);
	struct scene s;

	(void)state;
	assert_non_null(list);
	scene_open(&s, (char[]){"true"});
	s.plan.rlimits = &stack;
	s.plan.n_rlimits = 1;
	for (size_t i = 0; i < n; i++)
		list[i] = text;
	s.plan.envp = list;
	too_big(&s);
	assert_non_null(strstr(s.why.text, "the environment is too long"));
	assert_non_null(strstr(s.why.text, "takes 262144 in all"));
	s.plan.envp = s.env;
	s.plan.argv = list;
	list[0] = (char *)(uintptr_t) "/bin/true";
	too_big(&s);
	assert_non_null(strstr(s.why.text, "the arguments are too long"));
	scene_close(&s);
	free(list);
	free(text);
}

static void all_limits_can_be_set(void **state)
{
	struct spawn_rlimit limits[RLIM_NLIMITS];
	struct scene s;

	(void)state;
	for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
		limits[i] = (struct spawn_rlimit){.resource = i};
		assert_int_equal(getrlimit((__rlimit_resource_t)i, &limits[i].value), 0);
	}
	limits[RLIMIT_CORE].value.rlim_cur = 0;
	limits[RLIMIT_MEMLOCK].value.rlim_cur = 8 << 10;
	limits[RLIMIT_CPU].value.rlim_cur = 99;
	scene_open(&s, (char[]){"ulimit -c; ulimit -l; ulimit -t"});
	s.plan.rlimits = limits;
	s.plan.n_rlimits = RLIM_NLIMITS;
	assert_string_equal(scene_run(&s), "0\n8\n99\n");
	scene_close(&s);
}

/* A policy's maximum: it lowers, and never fails for being above what there is. */
static void a_maximum_lowers_and_raises_nothing(void **state)
{
	struct spawn_rlimit limits[] = {{.resource = RLIMIT_NOFILE, .at_most = true},
	    {.resource = RLIMIT_FSIZE, .at_most = true}};
	struct rlimit old;
	struct scene s;

	(void)state;
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		print_message("valgrind keeps this limit to itself\n");
		skip();
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(old.rlim_cur > 64);
	limits[0].value = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	limits[1].value = (struct rlimit){1 << 20, 1 << 20};
	scene_open(&s, (char[]){"ulimit -n; ulimit -Hf"});
	s.plan.rlimits = limits;
	s.plan.n_rlimits = 2;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, old.rlim_max}), 0);
	/* In blocks of 512 bytes. */
	assert_string_equal(scene_run(&s), "64\n2048\n");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	scene_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_umask_is_set),
	    cmocka_unit_test(the_nice_value_is_set),
	    cmocka_unit_test(a_nice_value_without_privilege_is_a_failure_of_limits),
	    cmocka_unit_test(signals_are_blocked_and_ignored_as_asked),
	    cmocka_unit_test(new_privileges_are_forbidden_where_asked),
	    cmocka_unit_test(without_a_path_the_default_is_searched),
	    cmocka_unit_test(arguments_that_begin_with_a_dash_arrive_as_they_are),
	    cmocka_unit_test(the_environment_acts_in_the_program_alone),
	    cmocka_unit_test(one_string_that_is_too_long_is_named),
	    cmocka_unit_test(too_many_strings_are_told_apart),
	    cmocka_unit_test(all_limits_can_be_set),
	    cmocka_unit_test(a_maximum_lowers_and_raises_nothing),
	};

	/* valgrind (TELEX_TEST_SLOW) knows no child that shares the table of descriptors. */
	if (getenv("TELEX_TEST_SLOW") == NULL)
		spawn_init();
	return cmocka_run_group_tests_name("keeper_spawn_settings", tests, NULL, NULL);
}
