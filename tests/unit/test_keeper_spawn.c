/* SPDX-License-Identifier: Apache-2.0 */
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/cgroup_find.h"
#include "agent/keeper/spawn.h"
#include "common/keeper_msg.h"

static char *no_env[] = {(char *)(uintptr_t) "PATH=/usr/bin:/bin", NULL};

/* A plan for sh -c SCRIPT with stdout to a pipe, whose read end is in *out. */
static void plan_script(struct spawn_plan *p, char *argv[4], char *script, int *out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int pair[2];

	assert_true(null >= 0);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	argv[0] = (char *)(uintptr_t) "sh";
	argv[1] = (char *)(uintptr_t) "-c";
	argv[2] = script;
	argv[3] = NULL;
	*p = (struct spawn_plan){.argv = argv,
	    .envp = no_env,
	    .fds = {null, pair[1], STDERR_FILENO},
	    .n_fds = 3,
	    .umask = 022,
	    .cwd = "/"};
	*out = pair[0];
}

static void close_plan(struct spawn_plan *p)
{
	close(p->fds[0]);
	close(p->fds[1]);
}

/* Runs it to its end; returns the status, and what it printed. */
static int run(struct spawn_plan *p, int out, char *text, size_t size)
{
	struct spawn_result got;
	struct spawn_failure why;
	size_t len = 0;
	ssize_t n;
	int status;

	if (spawn_run(p, &got, &why) != 0)
		fail_msg("not started: stage %s, %s", km_stage_name(why.stage), why.text);
	close_plan(p);
	while ((n = read(out, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(out);
	assert_int_equal(waitpid(got.pid, &status, 0), got.pid);
	if (got.pidfd >= 0)
		close(got.pidfd);
	return status;
}

static int run_script(char *script, char *text, size_t size)
{
	struct spawn_plan p;
	char *argv[4];
	int out;

	plan_script(&p, argv, script, &out);
	return run(&p, out, text, size);
}

static void the_program_runs_and_its_status_comes(void **state)
{
	char text[64];
	int status = run_script((char[]){"echo hello; exit 9"}, text, sizeof(text));

	(void)state;
	assert_string_equal(text, "hello\n");
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 9);
}

static void the_child_has_the_declared_fds_and_no_other(void **state)
{
	char text[256];
	/* Without close-on-exec, as a library may leave one. */
	int leak = open("/dev/null", O_RDONLY);
	int high = fcntl(leak, F_DUPFD, 150);

	(void)state;
	assert_true(leak >= 0 && high >= 0);
	run_script((char[]){"i=0; while [ $i -lt 200 ]; do [ -e /proc/$$/fd/$i ] && echo -n $i.; "
	                    "i=$((i+1)); done"},
	    text, sizeof(text));
	close(leak);
	close(high);
	assert_string_equal(text, "0.1.2.");
}

static void fds_that_cross_each_other_arrive_in_order(void **state)
{
	struct spawn_plan p;
	struct spawn_result got;
	struct spawn_failure why;
	char *argv[4];
	int out, status, keep1 = fcntl(1, F_DUPFD_CLOEXEC, 20),
	                 keep0 = fcntl(0, F_DUPFD_CLOEXEC, 20);
	char text[64] = "";
	int rc;

	(void)state;
	plan_script(&p, argv, (char[]){"read x; echo got $x"}, &out);
	{
		int pair[2];

		assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
		assert_int_equal(write(pair[1], "this\n", 5), 5);
		close(pair[1]);
		/* stdin's source is fd 1 and stdout's is fd 0. */
		dup2(pair[0], 1);
		dup2(p.fds[1], 0);
		close(pair[0]);
	}
	close_plan(&p);
	p.fds[0] = 1;
	p.fds[1] = 0;
	rc = spawn_run(&p, &got, &why);
	dup2(keep0, 0);
	dup2(keep1, 1);
	close(keep0);
	close(keep1);
	assert_int_equal(rc, 0);
	assert_int_equal(read(out, text, sizeof(text) - 1), 9);
	assert_string_equal(text, "got this\n");
	close(out);
	assert_int_equal(waitpid(got.pid, &status, 0), got.pid);
	if (got.pidfd >= 0)
		close(got.pidfd);
}

static void signals_are_as_if_new(void **state)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, old_pipe, old_usr;
	sigset_t block, before;
	char text[1024];

	(void)state;
	sigaction(SIGPIPE, &ignore, &old_pipe);
	sigaction(SIGUSR1, &ignore, &old_usr);
	sigfillset(&block);
	sigprocmask(SIG_BLOCK, &block, &before);
	run_script((char[]){"grep -E 'Sig(Blk|Ign)' /proc/self/status"}, text, sizeof(text));
	sigprocmask(SIG_SETMASK, &before, NULL);
	sigaction(SIGPIPE, &old_pipe, NULL);
	sigaction(SIGUSR1, &old_usr, NULL);
	assert_string_equal(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void the_callers_own_signals_are_untouched(void **state)
{
	struct sigaction act;
	sigset_t mask;
	char text[16];

	(void)state;
	signal(SIGUSR2, SIG_IGN);
	run_script((char[]){"true"}, text, sizeof(text));
	sigaction(SIGUSR2, NULL, &act);
	assert_true(act.sa_handler == SIG_IGN);
	signal(SIGUSR2, SIG_DFL);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	assert_int_equal(sigismember(&mask, SIGUSR1), 0);
}

static void it_leads_a_session_of_its_own(void **state)
{
	char text[64];
	int pid = 0, pgid = 0, sid = 0;

	(void)state;
	run_script(
	    (char[]){
	        "read pid comm st ppid pgid sid rest </proc/$$/stat; echo $pid $pgid $sid; umask"},
	    text, sizeof(text));
	assert_int_equal(sscanf(text, "%d %d %d", &pid, &pgid, &sid), 3);
	assert_int_equal(pid, pgid);
	assert_int_equal(pid, sid);
	assert_non_null(strstr(text, "0022"));
}

static void limits_are_set(void **state)
{
	struct spawn_rlimit limits[] = {
	    {RLIMIT_CORE, {0, 0}, false}, {RLIMIT_CPU, {900, 1000}, false}};
	struct spawn_plan p;
	char *argv[4], text[64];
	int out;

	(void)state;
	plan_script(&p, argv, (char[]){"ulimit -t; ulimit -c"}, &out);
	p.rlimits = limits;
	p.n_rlimits = 2;
	run(&p, out, text, sizeof(text));
	assert_string_equal(text, "900\n0\n");
}

static void no_folder_means_home_or_root(void **state)
{
	struct spawn_plan p;
	char *argv[4], text[64];
	int out;

	(void)state;
	plan_script(&p, argv, (char[]){"pwd"}, &out);
	p.cwd = NULL;
	p.home = "/usr";
	run(&p, out, text, sizeof(text));
	assert_string_equal(text, "/usr\n");
	plan_script(&p, argv, (char[]){"pwd"}, &out);
	p.cwd = NULL;
	p.home = "/no/such/home";
	run(&p, out, text, sizeof(text));
	assert_string_equal(text, "/\n");
}

struct bad {
	const char *program, *cwd, *path;
	int stage, sys_errno;
};

static void a_failure_says_its_stage_and_errno(void **state)
{
	static const struct bad cases[] = {
	    {"no-such-command-here", "/", "PATH=/usr/bin:/bin", KM_STAGE_EXEC, ENOENT},
	    {"", "/", "PATH=/usr/bin:/bin", KM_STAGE_EXEC, ENOENT},
	    {"sh", "/", "NOPATH=1", KM_STAGE_EXEC, ENOENT},
	    {"/no/such/program", "/", "PATH=/bin", KM_STAGE_EXEC, ENOENT},
	    {"/etc/passwd", "/", "PATH=/bin", KM_STAGE_EXEC, EACCES},
	    {"passwd", "/", "PATH=/etc:/no", KM_STAGE_EXEC, EACCES},
	    {"/etc", "/", "PATH=/bin", KM_STAGE_EXEC, EACCES},
	    {"/bin/true", "/no/such/folder", "PATH=/bin", KM_STAGE_CHDIR, ENOENT},
	    {"/bin/true", "/etc/passwd", "PATH=/bin", KM_STAGE_CHDIR, ENOTDIR},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *env[] = {(char *)(uintptr_t)cases[i].path, NULL};
		struct spawn_result got = {0, -1};
		struct spawn_failure why;
		struct spawn_plan p;
		char *argv[4];
		int out;

		plan_script(&p, argv, NULL, &out);
		argv[0] = (char *)(uintptr_t)cases[i].program;
		argv[1] = NULL;
		p.cwd = cases[i].cwd;
		p.envp = env;
		assert_int_equal(spawn_run(&p, &got, &why), TX_ESYS);
		assert_int_equal(why.stage, cases[i].stage);
		assert_int_equal(why.sys_errno, cases[i].sys_errno);
		assert_true(why.text[0] != '\0');
		close_plan(&p);
		close(out);
		/* And it is reaped. */
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
	}
}

/* A text file that is executable but has no known format: no shell is made of it. */
static void a_file_without_a_format_is_not_given_to_a_shell(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct spawn_result got;
	struct spawn_failure why;
	struct spawn_plan p;
	char *argv[4], file[64];
	int fd, out;

	(void)state;
	snprintf(file, sizeof(file), "%s/telex-spawn-XXXXXX", tmp != NULL ? tmp : "/tmp");
	fd = mkstemp(file);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "echo shell\n", 11), 11);
	assert_int_equal(fchmod(fd, 0755), 0);
	close(fd);
	plan_script(&p, argv, NULL, &out);
	argv[0] = file;
	argv[1] = NULL;
	assert_int_equal(spawn_run(&p, &got, &why), TX_ESYS);
	assert_int_equal(why.stage, KM_STAGE_EXEC);
	assert_int_equal(why.sys_errno, ENOEXEC);
	unlink(file);
	close_plan(&p);
	close(out);
}

static void a_user_that_it_may_not_become_is_a_failure_of_that_stage(void **state)
{
	struct spawn_result got = {0, -1};
	struct spawn_failure why;
	struct spawn_plan p;
	gid_t groups[] = {65534};
	char *argv[4], text[64];
	int out;

	(void)state;
	plan_script(&p, argv, (char[]){"id -u; id -g; id -G"}, &out);
	p.change_user = true;
	p.uid = p.gid = 65534;
	p.groups = groups;
	p.n_groups = 1;
	if (geteuid() == 0) {
		run(&p, out, text, sizeof(text));
		assert_string_equal(text, "65534\n65534\n65534\n");
		/* The caller itself is what it was. */
		assert_int_equal(geteuid(), 0);
		return;
	}
	assert_int_equal(spawn_run(&p, &got, &why), TX_ESYS);
	assert_int_equal(why.stage, KM_STAGE_USER);
	assert_int_equal(why.sys_errno, EPERM);
	close_plan(&p);
	close(out);
}

static void a_limit_that_may_not_be_set_is_a_failure_of_that_stage(void **state)
{
	/* soft above hard */
	struct spawn_rlimit bad = {RLIMIT_NOFILE, {100, 50}, false};
	struct spawn_result got;
	struct spawn_failure why;
	struct spawn_plan p;
	char *argv[4];
	int out;

	(void)state;
	plan_script(&p, argv, (char[]){"true"}, &out);
	p.rlimits = &bad;
	p.n_rlimits = 1;
	assert_int_equal(spawn_run(&p, &got, &why), TX_ESYS);
	assert_int_equal(why.stage, KM_STAGE_LIMITS);
	assert_int_equal(why.sys_errno, EINVAL);
	close_plan(&p);
	close(out);
}

static void it_joins_its_control_groups_first(void **state)
{
	char path[] = "/tmp/telex-spawn-XXXXXX", argv_script[] = "true", text[16];
	struct spawn_failure why;
	struct spawn_result got;
	struct spawn_plan p;
	char *argv[4];
	int fd = mkstemp(path), out;

	(void)state;
	assert_true(fd >= 0);
	plan_script(&p, argv, argv_script, &out);
	p.cgroup_fds[p.n_cgroup_fds++] = fd;
	assert_int_equal(run(&p, out, text, sizeof(text)), 0);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 1);
	assert_int_equal(text[0], '0');
	/* It cannot: nothing runs. */
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	plan_script(&p, argv, argv_script, &out);
	p.cgroup_fds[p.n_cgroup_fds++] = fd;
	assert_int_equal(spawn_run(&p, &got, &why), TX_ESYS);
	assert_int_equal(why.stage, KM_STAGE_CGROUP);
	assert_int_equal(why.sys_errno, EBADF);
	assert_string_equal(why.text, "cannot join its control group: Bad file descriptor");
	close_plan(&p);
	close(out);
	close(fd);
	unlink(path);
}

/* A folder of our own in the v2 hierarchy; skips where there is none. */
static void make_cgroup2(char *path, size_t size)
{
	struct cgroup_texts t;
	char own[4000];
	int rc;

	assert_int_equal(cgroup_texts_read(&t), 0);
	rc = cgroup_find(&t, NULL, own, sizeof(own));
	cgroup_texts_free(&t);
	snprintf(path, size, "%s/test-spawn-%d", rc == 0 ? own : "/nowhere", (int)getpid());
	if (rc != 0 || mkdir(path, 0755) != 0)
		skip();
}

static void it_is_born_in_a_control_group(void **state)
{
	char script[] = "cat /proc/self/cgroup";
	char path[4096], text[4096];
	struct spawn_plan p;
	char *argv[4];
	int out;

	(void)state;
	make_cgroup2(path, sizeof(path));
	plan_script(&p, argv, script, &out);
	p.born_in_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p.born_in = spawn_can_be_born_in(p.born_in_fd);
	if (p.born_in) {
		assert_int_equal(run(&p, out, text, sizeof(text)), 0);
		assert_non_null(strstr(text, strrchr(path, '/')));
	}
	/* What is no group is said to be none. */
	assert_false(spawn_can_be_born_in(STDERR_FILENO));
	close(p.born_in_fd);
	assert_int_equal(rmdir(path), 0);
	if (!p.born_in)
		skip();
}

static int put(const char *folder, const char *file, const char *text)
{
	char path[4200];
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	rc = fd >= 0 && write(fd, text, strlen(text)) > 0 ? 0 : -1;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* In a group whose members were killed before: what can be said is said only when it is so. */
static int try_from_killed_group(const char *own, int fd)
{
	char script[] = "exit 7";
	struct spawn_plan p;
	char *argv[4];
	char text[16];
	int out, status;

	if (put(own, "cgroup.kill", "1") != 0 || put(own, "cgroup.procs", "0") != 0)
		return 77;
	if (!spawn_can_be_born_in(fd))
		return 0;
	plan_script(&p, argv, script, &out);
	p.born_in = true;
	p.born_in_fd = fd;
	status = run(&p, out, text, sizeof(text));
	return WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 1;
}

static void a_child_that_would_be_killed_at_birth_is_not_born(void **state)
{
	char path[4096], target[4110];
	int fd, status;
	pid_t pid;

	(void)state;
	make_cgroup2(path, sizeof(path));
	snprintf(target, sizeof(target), "%s-target", path);
	assert_int_equal(mkdir(target, 0755), 0);
	fd = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0)
		_exit(try_from_killed_group(path, fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	assert_int_equal(rmdir(target), 0);
	assert_int_equal(rmdir(path), 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_program_runs_and_its_status_comes),
	    cmocka_unit_test(the_child_has_the_declared_fds_and_no_other),
	    cmocka_unit_test(fds_that_cross_each_other_arrive_in_order),
	    cmocka_unit_test(signals_are_as_if_new),
	    cmocka_unit_test(the_callers_own_signals_are_untouched),
	    cmocka_unit_test(it_leads_a_session_of_its_own),
	    cmocka_unit_test(limits_are_set),
	    cmocka_unit_test(no_folder_means_home_or_root),
	    cmocka_unit_test(a_failure_says_its_stage_and_errno),
	    cmocka_unit_test(a_file_without_a_format_is_not_given_to_a_shell),
	    cmocka_unit_test(a_user_that_it_may_not_become_is_a_failure_of_that_stage),
	    cmocka_unit_test(a_limit_that_may_not_be_set_is_a_failure_of_that_stage),
	    cmocka_unit_test(it_joins_its_control_groups_first),
	    cmocka_unit_test(it_is_born_in_a_control_group),
	    cmocka_unit_test(a_child_that_would_be_killed_at_birth_is_not_born),
	};

	/* valgrind (TELEX_TEST_SLOW) knows no child that shares the table of descriptors. */
	if (getenv("TELEX_TEST_SLOW") == NULL)
		spawn_init();
	/* valgrind: it knows no clone3. */
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		puts("# left out under valgrind: it_is_born_in_a_control_group");
		cmocka_set_skip_filter("it_is_born_in_a_control_group");
	}
	return cmocka_run_group_tests_name("keeper_spawn", tests, NULL, NULL);
}
