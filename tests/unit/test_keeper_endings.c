/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ended is told as it was: codes, signals, by whom, for want of memory; and limits
 * that are set at the start or later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/duration.h"
#include "tests/support/cgroup_modes.h"
#include "tests/support/keeper_rig.h"

static struct cgroup_mode modes[CGROUP_MODES_MAX];
static int n_modes;

/* ---- what the test is when a keeper starts it ---- */

static int eat_memory(void)
{
	size_t size = (size_t)4 << 20;

	for (int i = 0; i < 64; i++) {
		char *p = malloc(size);

		if (p == NULL)
			return 1;
		for (size_t at = 0; at < size; at += 512)
			((volatile char *)p)[at] = 1;
	}
	return 0;
}

/* Says that it waits, then what value a signal came with. */
static int show_value(void)
{
	siginfo_t si;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (write(STDOUT_FILENO, "ready\n", 6) < 0 || sigwaitinfo(&set, &si) < 0)
		return 1;
	dprintf(STDOUT_FILENO, "%d %d\n", si.si_code == SI_QUEUE, si.si_value.sival_int);
	return 0;
}

static char self[512];

/* ---- scenes ---- */

struct scene {
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	char script[1024];
};

static void scene_open(struct scene *s, const char *config)
{
	char text[512];

	snprintf(text, sizeof(text), "workers = 1\n%s", config);
	rig_start(&s->r, text);
	rig_accept(&s->r, &s->p);
}

static void scene_spec(struct scene *s, const char *script)
{
	static const struct job_rlimit no_core = {.resource = RLIMIT_CORE};

	snprintf(s->script, sizeof(s->script), "%s", script);
	peer_spec(&s->spec, s->argv, s->script);
	s->spec.rlimits = (struct job_rlimit *)(uintptr_t)&no_core;
	s->spec.n_rlimits = 1;
}

/* Starts it as "it". */
static void scene_run(struct scene *s)
{
	peer_run(&s->p, &s->pj, 1, "it", &s->spec);
}

static void scene_forget(struct scene *s)
{
	peer_detach(&s->p, &s->pj, true);
	peer_job_free(&s->pj);
}

static void scene_close(struct scene *s)
{
	peer_close(&s->p);
	rig_stop(&s->r);
}

/* Runs it to its end, under an id of its own. */
static void scene_whole(struct scene *s, const char *script)
{
	static unsigned n;
	char id[32];

	snprintf(id, sizeof(id), "whole-%u", n++);
	scene_spec(s, script);
	peer_run(&s->p, &s->pj, 1, id, &s->spec);
	peer_finish(&s->p, &s->pj);
}

/* Reads until it has said so many bytes. */
static void await_output(struct scene *s, size_t n)
{
	while (s->pj.out[KM_STDOUT].len < n)
		peer_step(&s->p, &s->pj, true);
}

static void ask(struct scene *s, uint16_t type, void *msg, union km_any *answer)
{
	int fd;

	peer_send(&s->p, type, 12, msg, -1);
	peer_answer(&s->p, 12, answer, &fd);
}

static struct km_signal signal_to(int signo, enum km_target target)
{
	return (struct km_signal){.signo = (uint32_t)signo,
	    .target = target,
	    .kill_after_ns = -1,
	    .id = "it",
	    .by = PEER_OWNER};
}

static void expect_exit(const struct scene *s, int kind, int value, int reason)
{
	assert_int_equal(s->pj.exit.kind, kind);
	assert_int_equal(s->pj.exit.value, value);
	assert_int_equal(s->pj.exit.reason, reason);
}

/* ---- what it was ---- */

static void every_code_is_told(void **state)
{
	static const int codes[] = {0, 1, 2, 126, 127, 128, 137, 255};
	char script[32];
	struct scene s;

	(void)state;
	scene_open(&s, "");
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		snprintf(script, sizeof(script), "exit %d", codes[i]);
		scene_whole(&s, script);
		expect_exit(&s, KM_END_CODE, codes[i], KM_REASON_EXITED);
		assert_string_equal(s.pj.exit.by, "");
		scene_forget(&s);
	}
	scene_close(&s);
}

static bool kills(int signo)
{
	static const int harmless[] = {
	    SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (harmless[i] == signo)
			return false;
	return true;
}

static void every_signal_that_kills_is_told(void **state)
{
	char script[32];
	struct scene s;

	(void)state;
	scene_open(&s, "");
	for (int signo = 1; signo <= 64; signo++) {
		if (!kills(signo))
			continue;
		snprintf(script, sizeof(script), "kill -%d $$; sleep 60", signo);
		scene_whole(&s, script);
		expect_exit(&s, KM_END_SIGNAL, signo, KM_REASON_EXITED);
		assert_int_equal(s.pj.exit.core, 0);
		scene_forget(&s);
	}
	scene_close(&s);
}

/* ---- signals by request ---- */

static void a_value_comes_with_its_signal(void **state)
{
	struct scene s;
	struct km_signal m;
	union km_any answer;
	char script[600];

	(void)state;
	scene_open(&s, "");
	snprintf(script, sizeof(script), "exec %s --show-value", self);
	scene_spec(&s, script);
	scene_run(&s);
	await_output(&s, 6);
	m = signal_to(SIGRTMIN + 3, KM_TARGET_PROCESS);
	m.has_value = 1;
	m.value = -77;
	ask(&s, KM_SIGNAL, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_DONE);
	peer_finish(&s.p, &s.pj);
	expect_exit(&s, KM_END_CODE, 0, KM_REASON_EXITED);
	assert_int_equal(s.pj.out[KM_STDOUT].len, 12);
	assert_memory_equal(s.pj.out[KM_STDOUT].data, "ready\n1 -77\n", 12);
	scene_forget(&s);
	/* A group cannot be given one. */
	m.target = KM_TARGET_GROUP;
	peer_send(&s.p, KM_SIGNAL, 12, &m, -1);
	peer_expect_death(&s.p);
	rig_accept(&s.r, &s.p);
	scene_close(&s);
}

static void signal_0_is_the_stop_signal(void **state)
{
	struct scene s;
	struct km_signal m;
	union km_any answer;

	(void)state;
	scene_open(&s, "");
	scene_spec(&s, "exec sleep 1000");
	s.spec.stop_signal = SIGRTMIN + 1;
	scene_run(&s);
	m = signal_to(0, KM_TARGET_GROUP);
	ask(&s, KM_SIGNAL, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_DONE);
	peer_finish(&s.p, &s.pj);
	expect_exit(&s, KM_END_SIGNAL, SIGRTMIN + 1, KM_REASON_SIGNALLED);
	assert_string_equal(s.pj.exit.by, PEER_OWNER);
	/* Once more: it says how it ended. */
	ask(&s, KM_SIGNAL, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_REFUSED);
	assert_int_equal(answer.refused.why, KM_WHY_ENDED);
	assert_string_equal(answer.refused.text, "died of SIGRTMIN+1");
	scene_forget(&s);
	scene_close(&s);
}

#define STUBBORN "trap '' TERM; echo; while :; do sleep 0.05; done"

static void sigkill_follows_after_its_time(void **state)
{
	struct scene s;
	struct km_signal m;
	union km_any answer;

	(void)state;
	scene_open(&s, "");
	scene_spec(&s, STUBBORN);
	scene_run(&s);
	await_output(&s, 1);
	/* An hour; then, and only shorter, at once. */
	m = signal_to(SIGTERM, KM_TARGET_GROUP);
	m.kill_after_ns = JOB_STOP_GRACE_MAX_NS;
	ask(&s, KM_SIGNAL, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_DONE);
	/* The keeper finds both in one turn: the first one's time is not over between them. */
	rig_pause(&s.r);
	m.kill_after_ns = 50 * NS_PER_MS;
	peer_send(&s.p, KM_SIGNAL, 13, &m, -1);
	m.kill_after_ns = JOB_STOP_GRACE_MAX_NS;
	peer_send(&s.p, KM_SIGNAL, 14, &m, -1);
	rig_go_on(&s.r);
	for (uint64_t seq = 13; seq <= 14; seq++) {
		peer_answer(&s.p, seq, &answer, &(int){-1});
		assert_int_equal(answer.hdr.type, KM_DONE);
	}
	peer_finish(&s.p, &s.pj);
	expect_exit(&s, KM_END_SIGNAL, SIGKILL, KM_REASON_SIGNALLED);
	assert_string_equal(s.pj.exit.by, PEER_OWNER);
	scene_forget(&s);
	scene_close(&s);
}

static void a_late_sigkill_does_not_put_off_the_run_timeout(void **state)
{
	struct scene s;
	struct km_signal m;
	union km_any answer;

	(void)state;
	/* With longer and longer times, until this was asked before it was over. */
	for (int64_t timeout = NS_PER_S;; timeout *= 2) {
		assert_true(timeout < RIG_DEADLINE_MS * NS_PER_MS);
		scene_open(&s, "");
		scene_spec(&s, STUBBORN);
		s.spec.run_timeout_ns = timeout;
		s.spec.stop_grace_ns = 50 * NS_PER_MS;
		scene_run(&s);
		while (s.pj.out[KM_STDOUT].len < 1 && !s.pj.ended)
			peer_step(&s.p, &s.pj, true);
		m = signal_to(SIGTERM, KM_TARGET_GROUP);
		m.kill_after_ns = JOB_STOP_GRACE_MAX_NS;
		ask(&s, KM_SIGNAL, &m, &answer);
		peer_finish(&s.p, &s.pj);
		if (s.pj.exit.reason != KM_REASON_RUN_TIMEOUT)
			break;
		scene_forget(&s);
		scene_close(&s);
	}
	/* What asked first is the reason. */
	expect_exit(&s, KM_END_SIGNAL, SIGKILL, KM_REASON_SIGNALLED);
	scene_forget(&s);
	scene_close(&s);
}

static void one_that_ends_in_its_time_has_its_own_code(void **state)
{
	struct scene s;
	struct km_signal m;
	union km_any answer;

	(void)state;
	scene_open(&s, "");
	scene_spec(&s, "trap 'exit 4' TERM; echo; while :; do sleep 0.05; done");
	scene_run(&s);
	await_output(&s, 1);
	m = signal_to(0, KM_TARGET_GROUP);
	m.kill_after_ns = JOB_STOP_GRACE_MAX_NS;
	ask(&s, KM_SIGNAL, &m, &answer);
	peer_finish(&s.p, &s.pj);
	expect_exit(&s, KM_END_CODE, 4, KM_REASON_SIGNALLED);
	assert_string_equal(s.pj.exit.by, PEER_OWNER);
	scene_forget(&s);
	scene_close(&s);
}

/* ---- limits ---- */

/* The refusal of a limit, when there is one: the host has no such control group. */
static bool is_refused(const union km_any *m, const char *word)
{
	if (m->hdr.type != KM_REFUSED)
		return false;
	assert_int_equal(m->refused.why, KM_WHY_START);
	assert_int_equal(m->refused.stage, KM_STAGE_CGROUP);
	assert_non_null(strstr(m->refused.text, word));
	return true;
}

/* Whether it was started with its limits. */
static bool start_limited(struct scene *s)
{
	union km_any m;

	peer_start(&s->p, 0, "it", &s->spec, &m);
	if (is_refused(&m, "cannot be set"))
		return false;
	assert_int_equal(m.hdr.type, KM_JOB);
	peer_attach(&s->p, &s->pj, 1, "it", 0, 0, false);
	return true;
}

static void want_of_memory_is_told(void **state)
{
	char script[700];
	struct scene s;
	bool any = false;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		print_message("# %s\n", modes[i].name);
		scene_open(&s, modes[i].config);
		snprintf(script, sizeof(script), "exec %s --eat", self);
		scene_spec(&s, script);
		s.spec.memory = (uint64_t)32 << 20;
		if (start_limited(&s)) {
			any = true;
			peer_finish(&s.p, &s.pj);
			expect_exit(&s, KM_END_SIGNAL, SIGKILL, KM_REASON_OUT_OF_MEMORY);
			scene_forget(&s);
			/* One of its group; what the leader made of it stays its code. */
			snprintf(script, sizeof(script), "%s --eat; exit 3", self);
			scene_spec(&s, script);
			s.spec.memory = (uint64_t)32 << 20;
			peer_run(&s.p, &s.pj, 1, "it2", &s.spec);
			peer_finish(&s.p, &s.pj);
			expect_exit(&s, KM_END_CODE, 3, KM_REASON_OUT_OF_MEMORY);
			scene_forget(&s);
			/* SIGKILL from elsewhere is not that. */
			scene_spec(&s, "kill -9 $$");
			s.spec.memory = (uint64_t)32 << 20;
			peer_run(&s.p, &s.pj, 1, "it3", &s.spec);
			peer_finish(&s.p, &s.pj);
			expect_exit(&s, KM_END_SIGNAL, SIGKILL, KM_REASON_EXITED);
			scene_forget(&s);
		}
		scene_close(&s);
	}
	if (!any)
		skip();
}

static void a_number_of_processes_is_not_passed(void **state)
{
	struct scene s;
	bool any = false;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		print_message("# %s\n", modes[i].name);
		scene_open(&s, modes[i].config);
		scene_spec(&s, "for i in 1 2 3 4 5 6; do sleep 60 & done; exit 0");
		s.spec.pids = 3;
		s.spec.cpu_millis = 500;
		if (start_limited(&s)) {
			any = true;
			peer_finish(&s.p, &s.pj);
			assert_int_equal(s.pj.exit.kind, KM_END_CODE);
			assert_int_not_equal(s.pj.exit.value, 0);
			scene_forget(&s);
		}
		scene_close(&s);
	}
	if (!any)
		skip();
}

static void without_control_groups_limits_are_refused(void **state)
{
	struct scene s;
	union km_any m;

	(void)state;
	scene_open(&s, "cgroup = off");
	scene_spec(&s, "true");
	s.spec.memory = (uint64_t)32 << 20;
	peer_start(&s.p, 0, "it", &s.spec, &m);
	assert_true(is_refused(&m, "no control groups"));
	assert_int_equal(m.refused.sys_errno, EOPNOTSUPP);
	scene_close(&s);
}

/* ---- updates ---- */

static struct km_update update_of(void)
{
	return (struct km_update){.id = "it", .by = PEER_OWNER};
}

static void open_sleeper(struct scene *s, const char *config)
{
	scene_open(s, config);
	scene_spec(s, "exec sleep 1000");
	scene_run(s);
}

static void close_sleeper(struct scene *s)
{
	struct km_signal m = signal_to(SIGKILL, KM_TARGET_TREE);
	union km_any answer;

	ask(s, KM_SIGNAL, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_DONE);
	peer_finish(&s->p, &s->pj);
	scene_forget(s);
	scene_close(s);
}

static void limits_of_a_running_process_are_changed(void **state)
{
	struct km_update m = update_of();
	struct rlimit now;
	union km_any answer;
	struct scene s;

	(void)state;
	open_sleeper(&s, "cgroup = off");
	m.n_rlimits = 1;
	m.rlimits[0] = (struct job_rlimit){.resource = RLIMIT_NOFILE, .soft = 33, .hard = 44};
	m.set_nice = 1;
	m.nice = 7;
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_DONE);
	assert_int_equal(prlimit((pid_t)s.pj.job.pid, RLIMIT_NOFILE, NULL, &now), 0);
	assert_int_equal(now.rlim_cur, 33);
	assert_int_equal(now.rlim_max, 44);
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)s.pj.job.pid), 7);
	close_sleeper(&s);
}

static void a_failure_sets_back_what_was_changed(void **state)
{
	struct km_update m = update_of();
	struct rlimit before, now;
	union km_any answer;
	struct scene s;

	(void)state;
	open_sleeper(&s, "cgroup = off");
	assert_int_equal(prlimit((pid_t)s.pj.job.pid, RLIMIT_NOFILE, NULL, &before), 0);
	m.n_rlimits = 1;
	m.rlimits[0] = (struct job_rlimit){.resource = RLIMIT_NOFILE, .soft = 33, .hard = 44};
	m.set_nice = 1;
	m.nice = 7;
	m.memory = (uint64_t)32 << 20;
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_REFUSED);
	assert_int_equal(answer.refused.why, KM_WHY_NO_CGROUP);
	assert_int_equal(prlimit((pid_t)s.pj.job.pid, RLIMIT_NOFILE, NULL, &now), 0);
	assert_int_equal(now.rlim_cur, before.rlim_cur);
	assert_int_equal(now.rlim_max, before.rlim_max);
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)s.pj.job.pid), 0);
	/* More open files than any process may have: the limit is named, and no other is changed.
	 */
	m = update_of();
	m.n_rlimits = 2;
	m.rlimits[0] = (struct job_rlimit){.resource = RLIMIT_CPU, .soft = 1000, .hard = 1000};
	m.rlimits[1] =
	    (struct job_rlimit){.resource = RLIMIT_NOFILE, .soft = 1, .hard = UINT64_MAX - 1};
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_REFUSED);
	assert_int_equal(answer.refused.why, KM_WHY_SYSTEM);
	assert_int_equal(answer.refused.sys_errno, EPERM);
	assert_non_null(strstr(answer.refused.text, "limit nofile"));
	assert_int_equal(prlimit((pid_t)s.pj.job.pid, RLIMIT_CPU, NULL, &now), 0);
	assert_int_equal(now.rlim_cur, RLIM_INFINITY);
	close_sleeper(&s);
}

static void an_update_that_makes_no_sense_is_refused(void **state)
{
	struct km_update m = update_of();
	union km_any answer;
	struct scene s;

	(void)state;
	open_sleeper(&s, "cgroup = off");
	m.n_rlimits = 1;
	m.rlimits[0] = (struct job_rlimit){.resource = 4711};
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.refused.why, KM_WHY_BAD_FIELD);
	m.rlimits[0] = (struct job_rlimit){.resource = RLIMIT_NOFILE, .soft = 2, .hard = 1};
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.refused.why, KM_WHY_BAD_FIELD);
	assert_string_equal(answer.refused.text, "limits: nofile: soft is above hard");
	m = update_of();
	m.set_nice = 1;
	m.nice = 20;
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.refused.why, KM_WHY_BAD_FIELD);
	m = update_of();
	snprintf(m.id, sizeof(m.id), "another");
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.refused.why, KM_WHY_NO_SUCH);
	m = update_of();
	snprintf(m.by, sizeof(m.by), "spiffe://test/user/two");
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.refused.why, KM_WHY_NO_SUCH);
	close_sleeper(&s);
}

static void an_ended_process_is_not_updated(void **state)
{
	struct km_update m = update_of();
	union km_any answer;
	struct scene s;

	(void)state;
	scene_open(&s, "cgroup = off");
	scene_spec(&s, "exit 5");
	scene_run(&s);
	peer_finish(&s.p, &s.pj);
	m.set_nice = 1;
	ask(&s, KM_UPDATE, &m, &answer);
	assert_int_equal(answer.hdr.type, KM_REFUSED);
	assert_int_equal(answer.refused.why, KM_WHY_ENDED);
	assert_string_equal(answer.refused.text, "exited with 5");
	scene_forget(&s);
	scene_close(&s);
}

static void a_running_process_gets_a_limit_of_memory(void **state)
{
	struct km_update m = update_of();
	char script[700];
	union km_any answer;
	struct scene s;
	bool any = false;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		print_message("# %s\n", modes[i].name);
		scene_open(&s, modes[i].config);
		/* Its children are limited with it. */
		snprintf(
		    script, sizeof(script), "(sh -c 'echo; read x; exec %s --eat'); exit 9", self);
		scene_spec(&s, script);
		s.spec.stdin_pipe = true;
		scene_run(&s);
		await_output(&s, 1);
		m.memory = (uint64_t)64 << 20;
		ask(&s, KM_UPDATE, &m, &answer);
		if (answer.hdr.type == KM_DONE) {
			any = true;
			/* Less, and more again. */
			m.memory = (uint64_t)16 << 20;
			ask(&s, KM_UPDATE, &m, &answer);
			assert_int_equal(answer.hdr.type, KM_DONE);
			m.memory = (uint64_t)32 << 20;
			ask(&s, KM_UPDATE, &m, &answer);
			assert_int_equal(answer.hdr.type, KM_DONE);
			peer_input(&s.p, &s.pj, "\n", 1, true);
			peer_finish(&s.p, &s.pj);
			expect_exit(&s, KM_END_CODE, 9, KM_REASON_OUT_OF_MEMORY);
			scene_forget(&s);
			scene_close(&s);
		} else {
			assert_int_equal(answer.refused.why, KM_WHY_NO_CGROUP);
			peer_input(&s.p, &s.pj, "\n", 1, true);
			peer_finish(&s.p, &s.pj);
			scene_forget(&s);
			scene_close(&s);
		}
	}
	if (!any)
		skip();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_code_is_told),
	    cmocka_unit_test(every_signal_that_kills_is_told),
	    cmocka_unit_test(a_value_comes_with_its_signal),
	    cmocka_unit_test(signal_0_is_the_stop_signal),
	    cmocka_unit_test(sigkill_follows_after_its_time),
	    cmocka_unit_test(a_late_sigkill_does_not_put_off_the_run_timeout),
	    cmocka_unit_test(one_that_ends_in_its_time_has_its_own_code),
	    cmocka_unit_test(want_of_memory_is_told),
	    cmocka_unit_test(a_number_of_processes_is_not_passed),
	    cmocka_unit_test(without_control_groups_limits_are_refused),
	    cmocka_unit_test(limits_of_a_running_process_are_changed),
	    cmocka_unit_test(a_failure_sets_back_what_was_changed),
	    cmocka_unit_test(an_update_that_makes_no_sense_is_refused),
	    cmocka_unit_test(an_ended_process_is_not_updated),
	    cmocka_unit_test(a_running_process_gets_a_limit_of_memory),
	};
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 1 && strcmp(argv[1], "--eat") == 0)
		return eat_memory();
	if (argc > 1 && strcmp(argv[1], "--show-value") == 0)
		return show_value();
	if (n < 0)
		return 99;
	self[n] = '\0';
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	n_modes = cgroup_modes(modes);
	return cmocka_run_group_tests_name("keeper_endings", tests, NULL, NULL);
}
