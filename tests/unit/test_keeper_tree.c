/* SPDX-License-Identifier: Apache-2.0 */
/* A whole keeper: what telex ends, ends with all its descendants; in every way there is to find
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/keeper/job.h"
#include "agent/keeper/tree_walk.h"
#include "common/duration.h"
#include "tests/support/cgroup_modes.h"
#include "tests/support/keeper_rig.h"

static struct cgroup_mode modes[CGROUP_MODES_MAX];
static int n_modes;

/*
 * Two that hide: one left the session, one more did so twice. They say their pids and ignore what
 * asks them to end.
 */
#define HIDERS                                                                                     \
	"(setsid sh -c 'echo $$; (setsid sh -c \"echo \\$\\$; exec sleep 1000\" &); "              \
	"exec sleep 1000' &) ; "
#define N_HIDERS 2

/* ---- scenes ---- */

struct scene {
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	char *env[3];
};

static void scene_open(struct scene *s, const struct cgroup_mode *mode)
{
	char config[512];

	print_message("# %s\n", mode->name);
	snprintf(config, sizeof(config), "workers = 1\nshutdown_grace = 100ms\n%s", mode->config);
	rig_start(&s->r, config);
	rig_accept(&s->r, &s->p);
}

static void scene_spec(struct scene *s, char *script)
{
	peer_spec(&s->spec, s->argv, script);
	s->env[0] = (char *)(uintptr_t) "PATH=/usr/bin:/bin";
	s->env[1] = (char *)(uintptr_t) "TELEX_PROCESS_ID=tree";
	s->spec.env = s->env;
	s->spec.envc = 2;
}

static void scene_run(struct scene *s)
{
	peer_run(&s->p, &s->pj, 1, "tree", &s->spec);
}

static void scene_close(struct scene *s)
{
	peer_detach(&s->p, &s->pj, true);
	peer_job_free(&s->pj);
	peer_close(&s->p);
	rig_stop(&s->r);
}

/* The pids that it printed, one a line. */
static size_t read_pids(const struct scene *s, int pids[], size_t max)
{
	const struct peer_output *out = &s->pj.out[KM_STDOUT];
	char text[4096];
	size_t n = 0;
	char *at;

	assert_true(out->len < sizeof(text));
	if (out->len > 0)
		memcpy(text, out->data, out->len);
	text[out->len] = '\0';
	for (char *w = strtok_r(text, "\n", &at); w != NULL && n < max;
	     w = strtok_r(NULL, "\n", &at))
		pids[n++] = atoi(w);
	return n;
}

/* Reads until it has told so many pids. */
static void await_pids(struct scene *s, int pids[], size_t n)
{
	while (read_pids(s, pids, n) < n)
		peer_step(&s->p, &s->pj, true);
}

static bool is_gone(void *arg)
{
	struct tree_stat st;

	return !tree_stat_read(*(const int *)arg, &st) || st.state == 'Z';
}

/* Not even a zombie: it counts as one of the tree. */
static bool is_reaped(void *arg)
{
	struct tree_stat st;

	return !tree_stat_read(*(const int *)arg, &st);
}

static void expect_gone(int pids[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		rig_until(is_gone, &pids[i], "a descendant's end");
}

static void ask_signal(struct scene *s, struct km_signal *sig, union km_any *m)
{
	int fd;

	peer_send(&s->p, KM_SIGNAL, 12, sig, -1);
	peer_answer(&s->p, 12, m, &fd);
}

static void send_signal(struct scene *s, int signo, enum km_target target, union km_any *m)
{
	struct km_signal sig = {.signo = (uint32_t)signo,
	    .target = target,
	    .kill_after_ns = -1,
	    .id = "tree",
	    .by = PEER_OWNER};

	ask_signal(s, &sig, m);
}

/* With longer and longer times, until so many had told their pids before it was over. */
static void run_into_timeout(
    struct scene *s, const struct cgroup_mode *mode, const char *script, size_t n)
{
	char text[512];
	int pids[8];

	for (int64_t timeout = NS_PER_S;; timeout *= 2) {
		assert_true(timeout < RIG_DEADLINE_MS * NS_PER_MS);
		scene_open(s, mode);
		snprintf(text, sizeof(text), "%s", script);
		scene_spec(s, text);
		s->spec.run_timeout_ns = timeout;
		s->spec.stop_grace_ns = 300 * NS_PER_MS;
		scene_run(s);
		peer_finish(&s->p, &s->pj);
		if (read_pids(s, pids, n) == n)
			return;
		scene_close(s);
	}
}

/* ---- tests ---- */

static void the_run_timeout_leaves_nothing_of_it(void **state)
{
	int pids[N_HIDERS + 1];
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		run_into_timeout(&s, &modes[i],
		    "trap '' TERM; " HIDERS "echo $$; while :; do sleep 1; done", N_HIDERS + 1);
		assert_int_equal(s.pj.exit.kind, KM_END_SIGNAL);
		assert_int_equal(s.pj.exit.value, SIGKILL);
		assert_int_equal(s.pj.exit.reason, KM_REASON_RUN_TIMEOUT);
		assert_string_equal(s.pj.exit.by, PEER_OWNER);
		assert_int_equal(read_pids(&s, pids, N_HIDERS + 1), N_HIDERS + 1);
		expect_gone(pids, N_HIDERS + 1);
		scene_close(&s);
	}
}

static void those_that_hide_are_ended_when_the_leader_went_at_once(void **state)
{
	int pids[N_HIDERS + 1];
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		/* The leader takes SIGTERM, they do not. */
		run_into_timeout(&s, &modes[i],
		    "trap '' TERM; " HIDERS "trap - TERM; echo $$; while :; do sleep 0.1; done",
		    N_HIDERS + 1);
		assert_int_equal(s.pj.exit.kind, KM_END_SIGNAL);
		assert_int_equal(s.pj.exit.value, SIGTERM);
		assert_int_equal(s.pj.exit.reason, KM_REASON_RUN_TIMEOUT);
		assert_int_equal(s.pj.exit.streams_open, 0);
		assert_int_equal(read_pids(&s, pids, N_HIDERS + 1), N_HIDERS + 1);
		expect_gone(pids, N_HIDERS + 1);
		scene_close(&s);
	}
}

static void descendants_of_what_ended_by_itself_live_on(void **state)
{
	int pids[N_HIDERS];
	struct scene s;
	union km_any m;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		/* Enough time for both to be there before the leader goes. */
		scene_spec(&s, (char[]){HIDERS "read line"});
		s.spec.stdin_pipe = true;
		scene_run(&s);
		await_pids(&s, pids, N_HIDERS);
		peer_input(&s.p, &s.pj, "go\n", 3, true);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(s.pj.exit.kind, KM_END_CODE);
		assert_int_equal(s.pj.exit.streams_open, KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR));
		for (int k = 0; k < N_HIDERS; k++)
			assert_false(is_gone(&pids[k]));
		/* To the process: it has ended. To its tree: that lives. */
		send_signal(&s, SIGKILL, KM_TARGET_PROCESS, &m);
		assert_int_equal(m.hdr.type, KM_REFUSED);
		assert_int_equal(m.refused.why, KM_WHY_ENDED);
		send_signal(&s, SIGKILL, KM_TARGET_TREE, &m);
		assert_int_equal(m.hdr.type, KM_DONE);
		for (int k = 0; k < N_HIDERS; k++)
			rig_until(is_reaped, &pids[k], "a descendant's end");
		send_signal(&s, SIGKILL, KM_TARGET_TREE, &m);
		assert_int_equal(m.hdr.type, KM_REFUSED);
		assert_int_equal(m.refused.why, KM_WHY_ENDED);
		scene_close(&s);
	}
}

static void a_signal_to_the_tree_reaches_those_that_hide(void **state)
{
	int pids[2];
	struct scene s;
	union km_any m;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		scene_spec(&s, (char[]){"(setsid sh -c 'trap \"exit 0\" USR1; echo $$; "
		                        "while :; do sleep 0.05; done' &); "
		                        "trap 'echo leader; exit 7' USR1; echo $$; "
		                        "while :; do sleep 0.05; done"});
		scene_run(&s);
		await_pids(&s, pids, 2);
		send_signal(&s, SIGUSR1, KM_TARGET_TREE, &m);
		assert_int_equal(m.hdr.type, KM_DONE);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(s.pj.exit.kind, KM_END_CODE);
		assert_int_equal(s.pj.exit.value, 7);
		expect_gone(pids, 2);
		scene_close(&s);
	}
}

static void one_that_hides_from_all_but_control_groups_is_ended(void **state)
{
	int pids[1];
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		if (!modes[i].certain)
			continue;
		scene_open(&s, &modes[i]);
		scene_spec(&s, (char[]){"(env -i /usr/bin/setsid /bin/sh -c "
		                        "'(/bin/sh -c \"echo \\$\\$; exec sleep 1000\" &)' &); "
		                        "while :; do sleep 1; done"});
		s.spec.disconnect = JOB_DISCONNECT_KILL;
		scene_run(&s);
		await_pids(&s, pids, 1);
		peer_detach(&s.p, &s.pj, false);
		expect_gone(pids, 1);
		peer_job_free(&s.pj);
		peer_close(&s.p);
		rig_stop(&s.r);
	}
}

static void the_shutdown_leaves_nothing_of_it(void **state)
{
	int pids[N_HIDERS + 1];
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		scene_spec(
		    &s, (char[]){"trap '' TERM; " HIDERS "echo $$; while :; do sleep 1; done"});
		scene_run(&s);
		await_pids(&s, pids, N_HIDERS + 1);
		kill(s.r.pid, SIGTERM);
		rig_wait(&s.r);
		expect_gone(pids, N_HIDERS + 1);
		peer_job_free(&s.pj);
		peer_close(&s.p);
		rig_stop(&s.r);
	}
}

/* How long it took. */
static int64_t end_many(struct scene *s, const struct cgroup_mode *mode)
{
	int64_t begun;
	union km_any m;
	int pids[1];

	scene_open(s, mode);
	/* More than are taken at once, and they go on making more. */
	scene_spec(s, (char[]){"i=0; while [ $i -lt 150 ]; do (setsid sleep 1000 &); i=$((i + 1)); "
	                       "done; (setsid sh -c 'while :; do sleep 0.01; done' &); echo $$; "
	                       "while :; do sleep 0.01; done"});
	scene_run(s);
	await_pids(s, pids, 1);
	begun = clock_monotonic_ns();
	send_signal(s, SIGKILL, KM_TARGET_TREE, &m);
	assert_int_equal(m.hdr.type, KM_DONE);
	peer_finish(&s->p, &s->pj);
	return clock_monotonic_ns() - begun;
}

static void many_descendants_are_all_ended(void **state)
{
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		/* The outputs end: nobody holds them. They are not waited for any longer than the
		 * grace, which may be over first where processes take so long to end. */
		for (int tries = 0;
		     end_many(&s, &modes[i]) >= JOB_CLOSE_GRACE_NS && s.pj.exit.streams_open != 0;
		     tries++) {
			assert_true(tries < 8);
			scene_close(&s);
		}
		assert_int_equal(s.pj.exit.streams_open, 0);
		assert_int_equal(s.pj.exit.reason, KM_REASON_SIGNALLED);
		assert_string_equal(s.pj.exit.by, PEER_OWNER);
		scene_close(&s);
	}
}

/* The leader dies before the signal has reached all the others, who ignore it. */
static void sigkill_follows_when_the_leader_went_first(void **state)
{
	struct km_signal sig = {.signo = SIGTERM,
	    .target = KM_TARGET_TREE,
	    .kill_after_ns = 500 * NS_PER_MS,
	    .id = "tree",
	    .by = PEER_OWNER};
	int pids[300];
	struct scene s;
	union km_any m;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		scene_spec(
		    &s, (char[]){"trap '' TERM; i=0; while [ $i -lt 300 ]; do "
		                 "(setsid sh -c 'echo $$; exec sleep 1000' &); i=$((i + 1)); done; "
		                 "trap - TERM; while :; do sleep 1000; done"});
		scene_run(&s);
		await_pids(&s, pids, 300);
		ask_signal(&s, &sig, &m);
		assert_int_equal(m.hdr.type, KM_DONE);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(s.pj.exit.kind, KM_END_SIGNAL);
		assert_int_equal(s.pj.exit.reason, KM_REASON_SIGNALLED);
		assert_string_equal(s.pj.exit.by, PEER_OWNER);
		assert_int_equal(s.pj.exit.streams_open, 0);
		expect_gone(pids, 300);
		scene_close(&s);
	}
}

/* ---- without descriptors ---- */

/* Nothing more can be opened: from the lowest number that is free on, none is allowed. */
static void set_no_descriptor_free(pid_t pid, struct rlimit *before)
{
	struct rlimit now;
	char path[64];

	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, before), 0);
	now = *before;
	for (now.rlim_cur = 0;; now.rlim_cur++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)now.rlim_cur);
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
			break;
	}
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &now, NULL), 0);
}

static void all_are_killed_when_the_agent_is_out_of_descriptors(void **state)
{
	struct rlimit before;
	int pids[100];
	struct scene s;
	union km_any m;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		scene_spec(&s, (char[]){"i=0; while [ $i -lt 100 ]; do (setsid sh -c 'echo $$; "
		                        "exec sleep 1000' &); i=$((i + 1)); done; "
		                        "while :; do sleep 1000; done"});
		scene_run(&s);
		await_pids(&s, pids, 100);
		set_no_descriptor_free(s.r.pid, &before);
		send_signal(&s, SIGKILL, KM_TARGET_TREE, &m);
		assert_int_equal(m.hdr.type, KM_DONE);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(s.pj.exit.streams_open, 0);
		expect_gone(pids, 100);
		assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, &before, NULL), 0);
		scene_close(&s);
	}
}

static bool cannot_kill(void *arg)
{
	return rig_logged(arg, "cannot be killed: Too many open files");
}

/* The leader's pid becomes the last. */
static void find_hiders(const struct scene *s, int pids[N_HIDERS + 1])
{
	for (size_t i = 0; i < N_HIDERS; i++)
		if (pids[i] == (int)s->pj.job.pid) {
			pids[i] = pids[N_HIDERS];
			pids[N_HIDERS] = (int)s->pj.job.pid;
		}
	assert_int_equal(pids[N_HIDERS], s->pj.job.pid);
}

/* Not even what it keeps for that is left: it says so, tries again, and tells no exit before. */
static void killing_is_tried_again(void **state)
{
	struct km_signal sig = {.signo = SIGTERM,
	    .target = KM_TARGET_PROCESS,
	    .kill_after_ns = 100 * NS_PER_MS,
	    .id = "tree",
	    .by = PEER_OWNER};
	struct rlimit before, none;
	int pids[N_HIDERS + 1];
	struct scene s;
	union km_any m;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		scene_spec(&s, (char[]){"trap '' TERM; " HIDERS
		                        "trap - TERM; echo $$; while :; do sleep 0.1; done"});
		scene_run(&s);
		await_pids(&s, pids, N_HIDERS + 1);
		find_hiders(&s, pids);
		assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, NULL, &before), 0);
		none = before;
		none.rlim_cur = 3;
		assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, &none, NULL), 0);
		ask_signal(&s, &sig, &m);
		assert_int_equal(m.hdr.type, KM_DONE);
		rig_until(cannot_kill, &s.r, "a kill that fails");
		assert_false(s.pj.ended);
		for (int k = 0; k < N_HIDERS; k++)
			assert_false(is_gone(&pids[k]));
		assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, &before, NULL), 0);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(s.pj.exit.streams_open, 0);
		assert_int_equal(s.pj.exit.reason, KM_REASON_SIGNALLED);
		expect_gone(pids, N_HIDERS);
		scene_close(&s);
	}
}

/* Their folders are cleaned up in batches, and used again. */
static void jobs_after_those_that_were_killed_are_well(void **state)
{
	struct scene s;
	struct km_signal sig = {
	    .signo = SIGKILL, .target = KM_TARGET_TREE, .kill_after_ns = -1, .by = PEER_OWNER};
	union km_any m;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		scene_open(&s, &modes[i]);
		for (int k = 0; k < 40; k++) {
			scene_spec(&s, (char[]){"exec sleep 1000"});
			snprintf(sig.id, sizeof(sig.id), "killed-%d", k);
			peer_run(&s.p, &s.pj, 1, sig.id, &s.spec);
			ask_signal(&s, &sig, &m);
			assert_int_equal(m.hdr.type, KM_DONE);
			peer_finish(&s.p, &s.pj);
			assert_int_equal(s.pj.exit.kind, KM_END_SIGNAL);
			peer_detach(&s.p, &s.pj, true);
			peer_job_free(&s.pj);
			scene_spec(&s, (char[]){"exit 3"});
			snprintf(sig.id, sizeof(sig.id), "well-%d", k);
			peer_run(&s.p, &s.pj, 1, sig.id, &s.spec);
			peer_finish(&s.p, &s.pj);
			assert_int_equal(s.pj.exit.kind, KM_END_CODE);
			assert_int_equal(s.pj.exit.value, 3);
			peer_detach(&s.p, &s.pj, true);
			peer_job_free(&s.pj);
		}
		peer_close(&s.p);
		rig_stop(&s.r);
	}
}

/* Folders telex-* of the keeper in the mode's group. */
static void no_folder_is_left(void **state)
{
	char path[512];
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		if (!modes[i].certain)
			continue;
		scene_open(&s, &modes[i]);
		scene_spec(&s, (char[]){"true"});
		scene_run(&s);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(sscanf(modes[i].config, "cgroup = \"%255[^\"]", path), 1);
		snprintf(path + strlen(path), 64, "/telex-%d", (int)s.r.pid);
		assert_int_equal(access(path, F_OK), 0);
		scene_close(&s);
		assert_int_equal(access(path, F_OK), -1);
		assert_int_equal(errno, ENOENT);
	}
}

/* The keeper's own folder. */
static void own_folder(const struct scene *s, const struct cgroup_mode *mode, char path[512])
{
	assert_int_equal(sscanf(mode->config, "cgroup = \"%255[^\"]", path), 1);
	snprintf(path + strlen(path), 64, "/telex-%d", (int)s->r.pid);
}

/* Whether no job's folder is in it. */
static bool is_empty(void *arg)
{
	bool empty = true;
	struct dirent *d;
	DIR *dir = opendir(arg);

	assert_non_null(dir);
	while ((d = readdir(dir)) != NULL)
		empty = empty && d->d_name[0] != 'j';
	closedir(dir);
	return empty;
}

static void what_a_job_changed_in_its_folder_is_not_the_next_ones(void **state)
{
	char script[1200], path[512];
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		if (!modes[i].certain || geteuid() != 0)
			continue;
		for (int how = 0; how < 2; how++) {
			scene_open(&s, &modes[i]);
			own_folder(&s, &modes[i], path);
			snprintf(script, sizeof(script),
			    how == 0 ? "mkdir %s/j1/more"
			             : "[ ! -e %1$s/j1/cpu.weight ] && mkdir %1$s/j1/more || "
			               "echo 50 >%1$s/j1/cpu.weight",
			    path);
			scene_spec(&s, script);
			scene_run(&s);
			peer_finish(&s.p, &s.pj);
			assert_int_equal(s.pj.exit.value, 0);
			rig_until(is_empty, path, "the removal of its folder");
			scene_close(&s);
		}
	}
}

static void after_an_upgrade_the_folder_of_what_was_left_goes_with_it(void **state)
{
	char path[512];
	int left;
	struct scene s;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		if (!modes[i].certain)
			continue;
		scene_open(&s, &modes[i]);
		own_folder(&s, &modes[i], path);
		/* The job is forgotten, what it left runs on. */
		scene_spec(&s, (char[]){"sleep 1000 >/dev/null 2>&1 & echo $!"});
		scene_run(&s);
		peer_finish(&s.p, &s.pj);
		assert_int_equal(read_pids(&s, &left, 1), 1);
		peer_detach(&s.p, &s.pj, true);
		peer_job_free(&s.pj);
		assert_false(is_empty(path));
		assert_int_equal(kill(s.r.pid, SIGUSR2), 0);
		rig_pass_check(&s.r);
		peer_expect_end(&s.p);
		peer_close(&s.p);
		rig_accept(&s.r, &s.p);
		assert_false(is_empty(path));
		kill(left, SIGKILL);
		rig_until(is_empty, path, "the removal of what was left");
		peer_close(&s.p);
		rig_stop(&s.r);
	}
}

static void what_a_dead_keeper_left_is_removed(void **state)
{
	char path[512], dead[600];
	struct scene s;
	int pid;

	(void)state;
	for (int i = 0; i < n_modes; i++) {
		if (!modes[i].certain)
			continue;
		scene_open(&s, &modes[i]);
		scene_spec(&s, (char[]){"exec sleep 1000"});
		scene_run(&s);
		assert_int_equal(sscanf(modes[i].config, "cgroup = \"%255[^\"]", path), 1);
		snprintf(dead, sizeof(dead), "%s/telex-%d", path, (int)s.r.pid);
		assert_int_equal(access(dead, F_OK), 0);
		kill(s.r.pid, SIGKILL);
		rig_wait(&s.r);
		pid = (int)s.pj.job.pid;
		assert_true(pid > 0);
		kill(pid, SIGKILL);
		peer_job_free(&s.pj);
		peer_close(&s.p);
		rig_stop(&s.r);
		expect_gone(&pid, 1);
		/* Another keeper of this machine may have come before ours. */
		scene_open(&s, &modes[i]);
		assert_int_equal(access(dead, F_OK), -1);
		peer_close(&s.p);
		rig_stop(&s.r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_run_timeout_leaves_nothing_of_it),
	    cmocka_unit_test(those_that_hide_are_ended_when_the_leader_went_at_once),
	    cmocka_unit_test(descendants_of_what_ended_by_itself_live_on),
	    cmocka_unit_test(a_signal_to_the_tree_reaches_those_that_hide),
	    cmocka_unit_test(one_that_hides_from_all_but_control_groups_is_ended),
	    cmocka_unit_test(the_shutdown_leaves_nothing_of_it),
	    cmocka_unit_test(many_descendants_are_all_ended),
	    cmocka_unit_test(sigkill_follows_when_the_leader_went_first),
	    cmocka_unit_test(all_are_killed_when_the_agent_is_out_of_descriptors),
	    cmocka_unit_test(killing_is_tried_again),
	    cmocka_unit_test(jobs_after_those_that_were_killed_are_well),
	    cmocka_unit_test(no_folder_is_left),
	    cmocka_unit_test(what_a_job_changed_in_its_folder_is_not_the_next_ones),
	    cmocka_unit_test(after_an_upgrade_the_folder_of_what_was_left_goes_with_it),
	    cmocka_unit_test(what_a_dead_keeper_left_is_removed),
	};

	n_modes = cgroup_modes(modes);
	return cmocka_run_group_tests_name("keeper_tree", tests, NULL, NULL);
}
