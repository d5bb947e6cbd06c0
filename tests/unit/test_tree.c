/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that are used again reach nobody; and what /proc tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/reap.h"
#include "agent/keeper/tree.h"
#include "agent/keeper/tree_walk.h"
#include "common/duration.h"

/* ---- a child that waits ---- */

/* Also where the parent is dead already: nobody is left, and holds the test's output open. */
static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
}

static pid_t start_child(void (*run)(void))
{
	const pid_t parent = getpid();
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	die_with(parent);
	if (run != NULL)
		run();
	for (;;)
		pause();
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool lives(pid_t pid)
{
	struct tree_stat st;

	return tree_stat_read(pid, &st) && st.state != 'Z';
}

/* ---- a table with one job ---- */

struct scene {
	struct event_base *base;
	struct jobs *jobs;
	struct job *j;
};

static void on_output(struct job *j, enum km_stream s, void *arg)
{
	(void)j;
	(void)s;
	(void)arg;
}

static void on_other(struct job *j, void *arg)
{
	(void)j;
	(void)arg;
}

static const struct job_ops ops = {
    .output = on_output, .input = on_other, .ended = on_other, .timer = on_other, .gone = on_other};

static void scene_open(struct scene *s, pid_t pid)
{
	char *argv[] = {(char[]){"true"}, NULL};
	char *env[] = {NULL};
	const struct job_spec spec = {.argc = 1,
	    .argv = argv,
	    .env = env,
	    .output_policy = JOB_OUTPUT_BLOCK,
	    .keep_ns = JOB_KEEP_DEFAULT_NS,
	    .stop_signal = SIGTERM,
	    .disconnect = JOB_DISCONNECT_KEEP};
	struct job_spec *opened;
	struct err e;
	int memfd;

	s->base = event_base_new();
	assert_int_equal(jobs_new(&s->jobs, s->base, 10, &e), 0);
	jobs_set_ops(s->jobs, &ops, s);
	assert_int_equal(job_spec_seal(&spec, &memfd, &e), 0);
	assert_int_equal(job_spec_open(&opened, memfd, &e), 0);
	close(memfd);
	s->j = job_new(s->jobs, "the-job", "owner", opened);
	assert_non_null(s->j);
	s->j->pid = pid;
	s->j->born_ns = tree_now_ns();
	if (tree_pidfd_open(pid, &s->j->pidfd) != 0)
		s->j->pidfd = -1;
	job_insert(s->j);
}

static void scene_close(struct scene *s)
{
	jobs_free(s->jobs);
	event_base_free(s->base);
	tree_forget();
}

/* ---- numbers that are used again ---- */

/* The next process gets this number; whether the system lets us say so. */
static bool set_next_pid(pid_t pid)
{
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && dprintf(fd, "%d", (int)pid - 1) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Another one with the number of one that is gone. 0: it could not be had. */
static pid_t reuse(pid_t pid)
{
	for (int i = 0; i < 100; i++) {
		pid_t other;

		if (!set_next_pid(pid))
			return 0;
		other = start_child(NULL);
		if (other == pid)
			return other;
		end_child(other);
	}
	return 0;
}

static void check_reuse(void)
{
	const struct ending_signal by_request = {
	    .signo = SIGKILL, .target = KM_TARGET_TREE, .kill_after_ns = 0, .by = "somebody"};
	struct ending_signal to_process = by_request;
	struct scene s;
	int sys_errno;
	pid_t pid = start_child(NULL);

	scene_open(&s, pid);
	end_child(pid);
	assert_int_equal(reuse(pid), pid);
	/* It is what nobody has told the table yet: the pidfd knows (valgrind has none). */
	if (s.j->pidfd >= 0)
		assert_int_equal(tree_pidfd_signal(s.j->pidfd, SIGKILL), ESRCH);
	assert_true(lives(pid));
	/* Reaped: no number is used any more. */
	s.j->exit.kind = KM_END_CODE;
	LIST_REMOVE(s.j, by_pid);
	s.j->reaped = true;
	to_process.target = KM_TARGET_PROCESS;
	assert_int_equal(ending_signal(s.j, &by_request, &sys_errno), TX_ESTATE);
	assert_int_equal(ending_signal(s.j, &to_process, &sys_errno), TX_ESTATE);
	to_process.target = KM_TARGET_GROUP;
	assert_int_equal(ending_signal(s.j, &to_process, &sys_errno), TX_ESTATE);
	ending_kill(s.j, KM_REASON_SHUTDOWN);
	ending_begin(s.j, KM_REASON_SHUTDOWN, SIGKILL, 0);
	tree_kill(s.j);
	assert_int_equal(tree_signal(s.j, SIGKILL, &sys_errno), TX_ESTATE);
	assert_true(lives(pid));
	assert_null(tree_owner(s.jobs, pid));
	end_child(pid);
	scene_close(&s);
}

/* In a PID namespace of its own, where numbers can be chosen. */
static int inner(void *arg)
{
	(void)arg;
	if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) != 0)
		return 77;
	if (!set_next_pid(1000))
		return 77;
	check_reuse();
	return 0;
}

static void a_number_that_is_used_again_reaches_nobody(void **state)
{
	static char stack[1 << 18] __attribute__((aligned(16)));
	pid_t pid;
	int status;

	(void)state;
	pid = clone(inner, stack + sizeof(stack), CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL);
	if (pid < 0)
		skip();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- looking ---- */

static void grandchild_outside(void)
{
	const pid_t parent = getpid();

	if (fork() == 0) {
		die_with(parent);
		setsid();
		for (;;)
			pause();
	}
}

static void descendants_are_found_from_parent_to_child(void **state)
{
	struct tree_pids ps = {0};
	pid_t pid = start_child(grandchild_outside);
	int64_t deadline = clock_monotonic_ns() + 20 * NS_PER_S;

	(void)state;
	do {
		ps.n = 0;
		tree_pids_add(&ps, pid);
		tree_add_descendants(&ps, 0);
		assert_true(clock_monotonic_ns() < deadline);
	} while (ps.n < 2);
	assert_int_equal(ps.n, 2);
	tree_pids_sort(&ps);
	assert_true(tree_pids_has(&ps, pid));
	assert_false(tree_pids_has(&ps, getpid()));
	end_child(pid);
	tree_pids_free(&ps);
}

static void a_name_with_parentheses_hides_nothing(void **state)
{
	struct tree_stat st;
	char before[16];

	(void)state;
	assert_int_equal(prctl(PR_GET_NAME, before), 0);
	assert_int_equal(prctl(PR_SET_NAME, ") Z 1 (1 2 3"), 0);
	assert_true(tree_stat_read(getpid(), &st));
	prctl(PR_SET_NAME, before);
	assert_int_equal(st.state, 'R');
	assert_int_equal(st.parent, getppid());
	assert_true(st.rss > 0);
	assert_false(tree_stat_read(-1, &st));
}

static void exec_marked(void)
{
	char *argv[] = {(char[]){"sleep"}, (char[]){"1000"}, NULL};
	char *env[] = {(char[]){"A=TELEX_PROCESS_ID=no"}, (char[]){"XTELEX_PROCESS_ID=no"},
	    (char[]){"TELEX_PROCESS_ID=the-job"}, NULL};

	execve("/bin/sleep", argv, env);
	_exit(127);
}

/* One that exec'd in a session of its own. */
static pid_t start_marked(void)
{
	int64_t deadline = clock_monotonic_ns() + 20 * NS_PER_S;
	const pid_t parent = getpid();
	pid_t pid = fork();
	char id[65];

	if (pid == 0) {
		die_with(parent);
		setsid();
		exec_marked();
	}
	while (!tree_mark_read(pid, id, sizeof(id)))
		assert_true(clock_monotonic_ns() < deadline);
	assert_string_equal(id, "the-job");
	return pid;
}

static void the_mark_counts_for_those_born_later(void **state)
{
	struct scene s;
	pid_t leader = start_child(NULL), marked;
	char tiny[4];

	(void)state;
	scene_open(&s, leader);
	marked = start_marked();
	assert_ptr_equal(tree_owner(s.jobs, marked), s.j);
	assert_null(tree_owner(s.jobs, getpid()));
	assert_null(tree_owner(s.jobs, leader));
	assert_false(tree_mark_read(marked, tiny, sizeof(tiny)));
	/* The same id again, later: what was there before is not its own. */
	s.j->born_ns = tree_now_ns() + NS_PER_S;
	assert_null(tree_owner(s.jobs, marked));
	end_child(marked);
	end_child(leader);
	scene_close(&s);
}

static void usage_of_a_process_is_read(void **state)
{
	struct scene s;
	uint64_t cpu, memory;
	pid_t pid = start_child(NULL);

	(void)state;
	scene_open(&s, pid);
	assert_int_equal(tree_usage(s.j, &cpu, &memory), JOB_USAGE_PROCESS);
	assert_true(memory > 0);
	end_child(pid);
	assert_int_equal(tree_usage(s.j, &cpu, &memory), JOB_USAGE_NONE);
	assert_int_equal(memory, 0);
	scene_close(&s);
}

/* ---- a signal to many ---- */

static int told[2]; /* a pipe: a byte from each that gets the signal */

static void on_usr1(int signo)
{
	(void)signo;
	if (write(told[1], "s", 1) != 1)
		_exit(1);
}

/* A leader with so many children, all of which would say that they got SIGUSR1. */
static pid_t start_many(int n)
{
	char ready;
	pid_t pid, parent;

	assert_int_equal(pipe(told), 0);
	parent = getpid();
	pid = fork();
	if (pid != 0) {
		assert_int_equal(read(told[0], &ready, 1), 1);
		return pid;
	}
	die_with(parent);
	signal(SIGUSR1, on_usr1);
	parent = getpid();
	for (int i = 0; i < n; i++)
		if (fork() == 0) {
			die_with(parent);
			for (;;)
				pause();
		}
	ready = write(told[1], "r", 1) == 1;
	for (;;)
		pause();
}

static void expect_told(int n)
{
	char bytes[64];

	while (n > 0) {
		ssize_t got =
		    read(told[0], bytes, (size_t)n < sizeof(bytes) ? (size_t)n : sizeof(bytes));

		assert_true(got > 0);
		n -= (int)got;
	}
}

static void end_many(struct scene *s, pid_t pid)
{
	scene_close(s);
	end_child(pid);
	close(told[0]);
	close(told[1]);
}

static void a_tree_is_looked_at_as_often_whatever_its_size(void **state)
{
	static const int sizes[] = {3, 100, 300};
	uint64_t looks[3];

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct scene s;
		pid_t pid = start_many(sizes[i]);
		int sys_errno;

		scene_open(&s, pid);
		tree_strike_set_slice(100 * NS_PER_S);
		looks[i] = tree_strike_looks();
		assert_int_equal(tree_signal(s.j, SIGUSR1, &sys_errno), 0);
		looks[i] = tree_strike_looks() - looks[i];
		assert_false(tree_strike_pending(s.j));
		expect_told(sizes[i] + 1);
		end_many(&s, pid);
	}
	assert_int_equal(looks[0], looks[1]);
	assert_int_equal(looks[0], looks[2]);
}

static void what_takes_long_goes_on_in_later_turns(void **state)
{
	enum { N = 50 };
	struct scene s;
	pid_t pid = start_many(N);
	int sys_errno, turns = 0;

	(void)state;
	scene_open(&s, pid);
	tree_strike_set_slice(0);
	assert_int_equal(tree_signal(s.j, SIGUSR1, &sys_errno), 0);
	assert_true(tree_strike_pending(s.j));
	/* The same again is no second one in the queue. */
	assert_int_equal(tree_signal(s.j, SIGUSR1, &sys_errno), 0);
	while (tree_strike_pending(s.j)) {
		event_base_loop(s.base, EVLOOP_ONCE);
		turns++;
	}
	assert_true(turns > 10);
	expect_told(N + 1);
	/* All at once, where it cannot be put off. */
	assert_int_equal(tree_signal(s.j, SIGCONT, &sys_errno), 0);
	assert_true(tree_strike_pending(s.j));
	tree_strike_finish(s.j);
	assert_false(tree_strike_pending(s.j));
	/* One that goes takes with it what was put off. */
	assert_int_equal(tree_signal(s.j, SIGCONT, &sys_errno), 0);
	assert_true(tree_strike_pending(s.j));
	end_many(&s, pid);
	tree_strike_set_slice(20 * NS_PER_MS);
}

/* By it its orphans are known. */
static void a_leader_stays_while_its_tree_is_being_signalled(void **state)
{
	static const struct reap_ops none = {.other = NULL};
	struct scene s;
	siginfo_t si;
	struct reap *r;
	struct err e;
	pid_t pid = start_many(50);
	int sys_errno;

	(void)state;
	scene_open(&s, pid);
	assert_int_equal(reap_new(&r, s.base, s.jobs, &none, NULL, &e), 0);
	tree_strike_set_slice(0);
	assert_int_equal(tree_signal(s.j, SIGCONT, &sys_errno), 0);
	assert_true(tree_strike_pending(s.j));
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	reap_run(r);
	assert_false(s.j->reaped);
	assert_true(tree_strike_pending(s.j));
	reap_free(r);
	tree_strike_set_slice(20 * NS_PER_MS);
	end_many(&s, pid);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static int on_gone(pid_t pid, int status, void *arg)
{
	(void)pid;
	(void)status;
	++*(int *)arg;
	return 1;
}

static void a_kept_leader_makes_no_other_end_cost_more(void **state)
{
	enum { N = 10 };
	static const struct reap_ops counted = {.other = on_gone};
	pid_t pid = start_child(NULL), other = start_child(NULL);
	uint64_t looked;
	struct scene s;
	siginfo_t si;
	struct reap *r;
	struct err e;
	int gone = 0;

	(void)state;
	assert_int_equal(setpgid(pid, pid), 0);
	assert_int_equal(setpgid(other, pid), 0);
	scene_open(&s, pid);
	assert_int_equal(reap_new(&r, s.base, s.jobs, &counted, &gone, &e), 0);
	reap_set_later(r, 3600 * NS_PER_S);
	s.j->kill_at = INT64_MAX;
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	reap_run(r);
	assert_false(s.j->reaped);
	looked = reap_looked(r);
	assert_true(looked >= 2);
	for (int i = 0; i < N; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(0);
		assert_int_equal(waitid(P_PID, (id_t)child, &si, WEXITED | WNOWAIT), 0);
		event_base_loop(s.base, EVLOOP_ONCE);
	}
	assert_int_equal(reap_looked(r), looked);
	/* The one look at all finds them, and what other tests left. */
	reap_run(r);
	assert_true(gone >= N);
	assert_false(s.j->reaped);
	reap_free(r);
	end_child(other);
	end_child(pid);
	scene_close(&s);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* Kernels before 5.3, and valgrind, which knows no such call. */
static bool has_pidfds(void)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_number_that_is_used_again_reaches_nobody),
	    cmocka_unit_test(descendants_are_found_from_parent_to_child),
	    cmocka_unit_test(a_name_with_parentheses_hides_nothing),
	    cmocka_unit_test(the_mark_counts_for_those_born_later),
	    cmocka_unit_test(a_tree_is_looked_at_as_often_whatever_its_size),
	    cmocka_unit_test(what_takes_long_goes_on_in_later_turns),
	    cmocka_unit_test(a_leader_stays_while_its_tree_is_being_signalled),
	    cmocka_unit_test(a_kept_leader_makes_no_other_end_cost_more),
	    cmocka_unit_test(usage_of_a_process_is_read),
	};

	if (!has_pidfds()) {
		puts("1..0 # SKIP there are no pidfds here");
		return 0;
	}
	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
