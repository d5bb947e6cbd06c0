/* SPDX-License-Identifier: Apache-2.0 */
/* Each measure is tried by a child that locks itself in and then does what it may not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/quota.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/worker/sandbox.h"
#include "common/confine.h"
#include "common/confine_internal.h"

#define DIED_OTHERWISE 99

/* Runs act() in a child; its wait status, and what it wrote to stderr. */
static int in_child(int (*act)(void), char *said, size_t size)
{
	int pair[2], status;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pair[1], STDERR_FILENO);
		close(pair[0]);
		close(pair[1]);
		_exit(act());
	}
	close(pair[1]);
	while (n < size - 1 && (got = read(pair[0], said + n, size - 1 - n)) > 0)
		n += (size_t)got;
	said[n] = '\0';
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int enter(const char *const *calls)
{
	struct confine_report r = {0};
	struct err e;

	if (confine_give_up(&r, &e) != 0)
		return -1;
	return confine_calls(&r, "test", calls, &e);
}

static const char *const few[] = {"write", "exit_group", "mmap", "rt_sigreturn", "getpid", NULL};

static int open_a_file(void)
{
	if (enter(few) != 0)
		return DIED_OTHERWISE;
	return open("/dev/null", O_RDONLY) >= 0 ? 1 : 2;
}

static int make_memory_executable(void)
{
	if (enter(few) != 0)
		return DIED_OTHERWISE;
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	       MAP_FAILED;
}

/* Its own handler would let it go on. */
static int take_the_signal(void)
{
	if (enter(few) != 0)
		return DIED_OTHERWISE;
	signal(SIGSYS, SIG_IGN);
	return 3;
}

static int do_what_it_may(void)
{
	if (enter(few) != 0)
		return DIED_OTHERWISE;
	return getpid() > 0 && write(STDERR_FILENO, "fine", 4) == 4 ? 0 : 1;
}

/* There a process's system calls are not its own alone. */
static bool under_valgrind(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL;
}

static void assert_killed(int (*act)(void), const char *name)
{
	char said[256], want[256];
	int status;

	if (CONFINE_SANITIZED || under_valgrind())
		skip();
	status = in_child(act, said, sizeof(said));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	snprintf(want, sizeof(want), "test: killed for the system call %s\n", name);
	assert_string_equal(said, want);
}

static void another_system_call_kills_and_is_named(void **state)
{
	(void)state;
	assert_killed(open_a_file, "openat");
	assert_killed(take_the_signal, "rt_sigaction");
}

#ifdef SYS_quotactl_fd
static const char *const asking[] = {"quotactl_fd", "write", "exit_group", "rt_sigreturn", NULL};

static int ask_about_quotas(void)
{
	struct dqblk quota;

	if (enter(asking) != 0)
		return DIED_OTHERWISE;
	(void)syscall(SYS_quotactl_fd, -1, QCMD((unsigned)Q_GETQUOTA, USRQUOTA), 0, &quota);
	(void)syscall(SYS_quotactl_fd, -1, QCMD((unsigned)Q_GETQUOTA, GRPQUOTA), 0, &quota);
	return 0;
}

static int set_a_quota(void)
{
	struct dqblk quota = {0};

	if (enter(asking) != 0)
		return DIED_OTHERWISE;
	(void)syscall(SYS_quotactl_fd, -1, QCMD((unsigned)Q_SETQUOTA, USRQUOTA), 0, &quota);
	return 0;
}
#endif

static void quotas_are_asked_about_and_not_set(void **state)
{
	(void)state;
#ifdef SYS_quotactl_fd
	char said[256];
	int status;

	if (CONFINE_SANITIZED || under_valgrind())
		skip();
	status = in_child(ask_about_quotas, said, sizeof(said));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	status = in_child(set_a_quota, said, sizeof(said));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
#else
	skip();
#endif
}

static const char *const appending[] = {"write", "ftruncate", "fcntl", "ioctl", "tgkill", "gettid",
    "getpid", "exit_group", "mmap", "rt_sigreturn", NULL};
static int log_fd, ring_fd;

/* Appends to log_fd, and may do with ring_fd what it likes. */
static int enter_appending(void)
{
	struct confine_report r = {0};
	struct err e;

	log_fd = memfd_create("log", 0);
	ring_fd = memfd_create("ring", 0);
	if (log_fd < 0 || ring_fd < 0 || confine_give_up(&r, &e) != 0)
		return -1;
	return confine_calls_but(&r, "test", appending, log_fd, &e);
}

static int cut_the_log(void)
{
	return enter_appending() != 0 ? DIED_OTHERWISE : ftruncate(log_fd, 0);
}

/* The kernel looks at the lower half of a descriptor alone. */
static int cut_the_log_by_a_long_number(void)
{
	if (enter_appending() != 0)
		return DIED_OTHERWISE;
	return (int)syscall(SYS_ftruncate, INT64_C(0x7700000000) | log_fd, (off_t)0);
}

static int append_no_more(void)
{
	return enter_appending() != 0 ? DIED_OTHERWISE : fcntl(log_fd, F_SETFL, 0);
}

static int double_the_log(void)
{
	return enter_appending() != 0 ? DIED_OTHERWISE : fcntl(log_fd, F_DUPFD, 100);
}

static int zero_the_log(void)
{
	return enter_appending() != 0 ? DIED_OTHERWISE : ioctl(log_fd, FIONBIO, &(int){1});
}

static int signal_another(void)
{
	pid_t parent = getppid();

	if (enter_appending() != 0)
		return DIED_OTHERWISE;
	return (int)syscall(SYS_tgkill, parent, parent, 0);
}

static int use_the_others(void)
{
	if (enter_appending() != 0)
		return DIED_OTHERWISE;
	return write(log_fd, "fine", 4) == 4 && ftruncate(ring_fd, 10) == 0 &&
	               fcntl(ring_fd, F_GETFL) >= 0 &&
	               syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) == 0
	           ? 0
	           : 1;
}

static void what_is_appended_to_is_not_changed(void **state)
{
	(void)state;
	assert_killed(cut_the_log, "ftruncate");
	assert_killed(cut_the_log_by_a_long_number, "ftruncate");
	assert_killed(append_no_more, "fcntl");
	assert_killed(double_the_log, "fcntl");
	assert_killed(zero_the_log, "ioctl");
}

static void others_are_not_signalled(void **state)
{
	(void)state;
	assert_killed(signal_another, "tgkill");
}

static void what_is_not_appended_to_is_free(void **state)
{
	char said[256];
	int status;

	(void)state;
	if (under_valgrind())
		skip();
	status = in_child(use_the_others, said, sizeof(said));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void memory_is_never_executable(void **state)
{
	(void)state;
	assert_killed(make_memory_executable, "mmap");
}

static void what_is_on_the_list_goes_on(void **state)
{
	char said[256];
	int status;

	(void)state;
	if (under_valgrind())
		skip();
	status = in_child(do_what_it_may, said, sizeof(said));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_string_equal(said, "fine");
}

static void the_workers_list_is_short(void **state)
{
	size_t n = 0;

	(void)state;
	while (sandbox_calls[n] != NULL)
		n++;
	/* What was agreed on. */
	assert_in_range(n, 20, 40);
	for (size_t i = 0; i < n; i++) {
		static const char *const never[] = {"open", "openat", "execve", "execveat", "fork",
		    "clone", "clone3", "vfork", "socket", "connect", "bind", "listen", "ptrace",
		    "rt_sigaction", "prctl", "unlink", "rename", "kill", "setuid", "chmod"};

		for (size_t k = 0; k < sizeof(never) / sizeof(never[0]); k++)
			assert_string_not_equal(sandbox_calls[i], never[k]);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(sandbox_calls[i], sandbox_calls[k]);
	}
}

static int reach_for_paths(void)
{
	struct confine_report r = {0};
	struct err e;
	int inside = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct confine_folder folder = {.fd = inside};
	int fd;

	if (inside < 0 || confine_paths(&r, &folder, 1, &e) != 0)
		return DIED_OTHERWISE;
	if (!r.list[0].in_force)
		return r.list[0].note[0] != '\0' ? 77 : DIED_OTHERWISE;
	if (open("/etc/passwd", O_RDONLY) >= 0 || open("/", O_RDONLY | O_DIRECTORY) >= 0)
		return 1;
	if (access("/etc/passwd", F_OK) != 0)
		return 2;
	fd = openat(inside, ".", O_TMPFILE | O_RDWR, 0600);
	return fd >= 0 ? 0 : 3;
}

static void paths_are_out_of_reach_but_for_the_folders(void **state)
{
	char said[256];
	int status = in_child(reach_for_paths, said, sizeof(said));

	(void)state;
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("this kernel has no Landlock, or the build a sanitizer\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int give_up(void)
{
	struct confine_report r = {0};
	struct rlimit core;
	struct err e;

	if (confine_give_up(&r, &e) != 0 || getrlimit(RLIMIT_CORE, &core) != 0)
		return DIED_OTHERWISE;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || core.rlim_max != 0)
		return 1;
	if (!CONFINE_SANITIZED && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 2;
	return r.n == 3 ? 0 : 3;
}

static int drop_all(void)
{
	struct confine_report r = {0};
	struct err e;

	if (confine_capabilities(&r, true, &e) != 0)
		return 1;
	return confine_capabilities(&r, false, &e) == 0 ? 0 : 2;
}

static int keep_capabilities(void)
{
	struct confine_report r = {0};
	struct err e;

	return confine_capabilities(&r, false, &e) == TX_EPERM && r.n == 0 ? 0 : 1;
}

static void what_is_given_up_is_gone(void **state)
{
	char said[256];

	(void)state;
	assert_int_equal(in_child(give_up, said, sizeof(said)), 0);
	assert_int_equal(in_child(drop_all, said, sizeof(said)), 0);
	if (geteuid() == 0)
		assert_int_equal(in_child(keep_capabilities, said, sizeof(said)), 0);
}

static int be_another(void)
{
	struct confine_report r = {0};
	struct err e;

	return confine_ids(&r, getuid() + 1, getgid(), &e) == TX_EPERM && r.n == 0 ? 0 : 1;
}

static void another_user_is_no_match(void **state)
{
	char said[256];

	(void)state;
	assert_int_equal(in_child(be_another, said, sizeof(said)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(another_system_call_kills_and_is_named),
	    cmocka_unit_test(quotas_are_asked_about_and_not_set),
	    cmocka_unit_test(memory_is_never_executable),
	    cmocka_unit_test(what_is_appended_to_is_not_changed),
	    cmocka_unit_test(others_are_not_signalled),
	    cmocka_unit_test(what_is_not_appended_to_is_free),
	    cmocka_unit_test(what_is_on_the_list_goes_on),
	    cmocka_unit_test(the_workers_list_is_short),
	    cmocka_unit_test(paths_are_out_of_reach_but_for_the_folders),
	    cmocka_unit_test(what_is_given_up_is_gone),
	    cmocka_unit_test(another_user_is_no_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
