/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of jobs: who waits, who is started when, and what is asked of all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/job_record.h"
#include "tests/support/keeper_rig.h"

static char group_name[] = "build";

/* A rig with one worker, and a spec of a group; what every test begins with. */
struct scene {
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
};

static void begin(struct scene *s, const char *config, char *script, uint32_t maximum)
{
	char lines[128];

	snprintf(lines, sizeof(lines), "workers = 1\n%s", config);
	rig_start(&s->r, lines);
	rig_accept(&s->r, &s->p);
	peer_spec(&s->spec, s->argv, script);
	s->spec.group = group_name;
	s->spec.group_max = maximum;
	s->spec.disconnect = JOB_DISCONNECT_KEEP;
}

static void finish(struct scene *s)
{
	peer_close(&s->p);
	rig_stop(&s->r);
}

static void ask(struct scene *s, struct km_group *q, union km_any *m)
{
	int fd;

	if (q->by[0] == '\0')
		snprintf(q->by, sizeof(q->by), PEER_OWNER);
	if (q->name[0] == '\0')
		snprintf(q->name, sizeof(q->name), "%s", group_name);
	q->kill_after_ns = -1;
	peer_send(&s->p, KM_GROUP, 21, q, -1);
	peer_answer(&s->p, 21, m, &fd);
}

static struct km_group_reply group_is(struct scene *s)
{
	struct km_group q = {.op = KM_GROUP_GET};
	union km_any m;

	ask(s, &q, &m);
	assert_int_equal(m.hdr.type, KM_GROUP_REPLY);
	return m.group_reply;
}

static void counts(struct scene *s, uint32_t queued, uint32_t running, uint32_t ended)
{
	struct km_group_reply g = group_is(s);

	assert_int_equal(g.queued, queued);
	assert_int_equal(g.running, running);
	assert_int_equal(g.ended, ended);
}

static void send_signal(struct scene *s, const char *id, int signo)
{
	struct km_signal q = {.signo = (uint32_t)signo,
	    .target = KM_TARGET_GROUP,
	    .kill_after_ns = -1,
	    .by = PEER_OWNER};

	snprintf(q.id, sizeof(q.id), "%s", id);
	peer_send(&s->p, KM_SIGNAL, 0, &q, -1);
}

static void wait_for(struct scene *s, uint32_t queued, uint32_t running, uint32_t ended)
{
	const int64_t deadline = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	struct km_group_reply g;

	do {
		g = group_is(s);
		assert_true(clock_monotonic_ns() < deadline);
	} while (g.queued != queued || g.running != running || g.ended != ended);
}

static void note_state(const struct job_record *rec, void *arg)
{
	*(int *)arg = rec->state;
}

static int state_of(struct scene *s, const char *id)
{
	struct km_list q = {.one = 1, .owner = PEER_OWNER};
	union km_any m;
	int state = 0, fd;

	snprintf(q.id, sizeof(q.id), "%s", id);
	peer_send(&s->p, KM_LIST, 22, &q, -1);
	peer_answer(&s->p, 22, &m, &fd);
	if (m.hdr.type != KM_TABLE)
		return 0;
	assert_int_equal(job_records_read(fd, m.table.bytes, 1, note_state, &state, NULL), 0);
	close(fd);
	return state;
}

struct waiting {
	struct scene *s;
	const char *id;
	union km_any *m;
};

/* Whether it runs, or others of its group do that leave it no room. */
static bool runs_or_has_no_room(void *arg)
{
	struct waiting *w = arg;
	struct km_group_reply g = group_is(w->s);

	if (state_of(w->s, w->id) != KM_STATE_QUEUED) {
		peer_start(&w->s->p, 0, w->id, &w->s->spec, w->m);
		w->m->job.created = 1;
		return true;
	}
	return g.maximum != 0 && g.running >= g.maximum;
}

/* The answer is left in *m: QUEUED where there is no room, and not because its start takes long. */
static void start(struct scene *s, const char *id, union km_any *m)
{
	struct waiting w = {s, id, m};

	peer_start(&s->p, 0, id, &s->spec, m);
	assert_int_equal(m->hdr.type, KM_JOB);
	if (m->job.state == KM_STATE_QUEUED && s->spec.group != NULL)
		rig_until(runs_or_has_no_room, &w, "the start of a process that has room");
}

/* ---- waiting ---- */

static void a_full_group_queues_and_starts_in_order(void **state)
{
	struct peer_job b = {0}, c = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	assert_int_equal(m.job.state, KM_STATE_RUNNING);
	assert_true(m.job.pid > 0);
	peer_run(&s.p, &b, 1, "b", &s.spec);
	assert_int_equal(b.job.state, KM_STATE_QUEUED);
	assert_int_equal(b.job.pid, 0);
	assert_int_equal(b.job.created, 1);
	peer_run(&s.p, &c, 2, "c", &s.spec);
	assert_int_equal(c.job.state, KM_STATE_QUEUED);
	counts(&s, 2, 1, 0);
	send_signal(&s, "a", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	peer_step(&s.p, &b, true);
	assert_true(b.running.pid > 0);
	assert_true(b.running.start_ns > 0);
	counts(&s, 1, 1, 1);
	assert_int_equal(state_of(&s, "c"), KM_STATE_QUEUED);
	send_signal(&s, "b", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	peer_finish(&s.p, &b);
	assert_int_equal(b.exit.kind, KM_END_SIGNAL);
	peer_step(&s.p, &c, true);
	assert_true(c.running.pid > 0);
	counts(&s, 0, 1, 2);
	peer_detach(&s.p, &b, 1);
	peer_detach(&s.p, &c, 0);
	finish(&s);
}

static void the_same_start_again_finds_it_queued(void **state)
{
	struct peer_job b = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	start(&s, "b", &m);
	start(&s, "b", &m);
	assert_int_equal(m.job.created, 0);
	assert_int_equal(m.job.state, KM_STATE_QUEUED);
	peer_attach(&s.p, &b, 1, "b", 0, 0, false);
	assert_int_equal(b.job.state, KM_STATE_QUEUED);
	counts(&s, 1, 1, 0);
	s.spec.stop_signal = SIGINT;
	peer_start(&s.p, 0, "b", &s.spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_EXISTS);
	peer_job_free(&b);
	finish(&s);
}

static void stdin_of_a_queued_one_waits_for_it(void **state)
{
	struct peer_job b = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec cat"}, 1);
	s.spec.stdin_pipe = true;
	start(&s, "a", &m);
	peer_run(&s.p, &b, 1, "b", &s.spec);
	assert_int_equal(b.job.state, KM_STATE_QUEUED);
	assert_int_equal(b.job.stdin_pipe, 1);
	assert_int_equal(b.job.stdin_held, 1);
	assert_int_equal(b.job.stdin_closed, 0);
	send_signal(&s, "a", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	peer_input(&s.p, &b, "later", 5, true);
	assert_true(b.running.pid > 0);
	peer_finish(&s.p, &b);
	assert_int_equal(b.out[KM_STDOUT].len, 5);
	assert_memory_equal(b.out[KM_STDOUT].data, "later", 5);
	peer_detach(&s.p, &b, 1);
	finish(&s);
}

static void a_signal_ends_a_queued_one_without_running_it(void **state)
{
	struct peer_job b = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	peer_run(&s.p, &b, 1, "b", &s.spec);
	send_signal(&s, "b", SIGTERM);
	peer_expect(&s.p, KM_DONE, &m);
	peer_finish(&s.p, &b);
	assert_int_equal(b.running.pid, 0);
	assert_int_equal(b.exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(b.exit.reason, KM_REASON_SIGNALLED);
	assert_string_equal(b.exit.by, PEER_OWNER);
	assert_non_null(strstr(b.exit.text, "SIGTERM"));
	assert_int_equal(b.exit.stage, KM_STAGE_NONE);
	assert_int_equal(b.exit.value, 0);
	counts(&s, 0, 1, 1);
	/* It has ended: there is nobody to signal. */
	send_signal(&s, "b", SIGTERM);
	peer_expect(&s.p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_ENDED);
	assert_non_null(strstr(m.refused.text, "did not run"));
	peer_detach(&s.p, &b, 1);
	finish(&s);
}

static void one_that_cannot_start_has_ended_and_the_next_is_tried(void **state)
{
	static char nothing[] = "/nonexistent/program";
	struct peer_job b = {0}, c = {0};
	struct scene s;
	union km_any m;
	char *shell;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	shell = s.argv[0];
	s.argv[0] = nothing;
	peer_run(&s.p, &b, 1, "b", &s.spec);
	s.argv[0] = shell;
	peer_run(&s.p, &c, 2, "c", &s.spec);
	send_signal(&s, "a", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	peer_finish(&s.p, &b);
	assert_int_equal(b.exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(b.exit.stage, KM_STAGE_EXEC);
	assert_int_equal(b.exit.value, ENOENT);
	assert_true(b.exit.text[0] != '\0');
	peer_step(&s.p, &c, true);
	assert_true(c.running.pid > 0);
	counts(&s, 0, 1, 2);
	peer_detach(&s.p, &b, 1);
	peer_detach(&s.p, &c, 0);
	finish(&s);
}

static bool waits(void *arg)
{
	return rig_logged(arg, "its next process waits");
}

/* The agent has no descriptor left when their turn comes. */
static void a_passing_shortage_leaves_the_queue_as_it_is(void **state)
{
	struct rlimit before, none;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	start(&s, "b", &m);
	start(&s, "c", &m);
	assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, &none, NULL), 0);
	send_signal(&s, "a", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	rig_until(waits, &s.r, "a start that fails");
	counts(&s, 2, 0, 1);
	assert_int_equal(prlimit(s.r.pid, RLIMIT_NOFILE, &before, NULL), 0);
	wait_for(&s, 1, 1, 1);
	send_signal(&s, "b", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	wait_for(&s, 0, 1, 2);
	finish(&s);
}

static void what_can_be_known_at_once_is_said_at_once(void **state)
{
	static char nobody[] = "no-such-user-here";
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	s.spec.user = nobody;
	peer_start(&s.p, 0, "b", &s.spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_START);
	assert_int_equal(m.refused.stage, KM_STAGE_USER);
	counts(&s, 0, 1, 0);
	finish(&s);
}

static void a_start_that_fails_leaves_no_group(void **state)
{
	struct km_group q = {.op = KM_GROUP_GET};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"true"}, 1);
	s.argv[0] = (char[]){"/nonexistent/program"};
	/* One whose start takes long has ended, and its group is there, until it is removed. */
	while (peer_start(&s.p, 0, "a", &s.spec, &m), m.hdr.type == KM_JOB) {
		struct km_group drop = {.op = KM_GROUP_REMOVE};

		wait_for(&s, 0, 0, 1);
		ask(&s, &drop, &m);
	}
	assert_int_equal(m.hdr.type, KM_REFUSED);
	ask(&s, &q, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_NO_GROUP);
	finish(&s);
}

static void the_maximum_rises_and_more_run(void **state)
{
	struct km_group q = {.op = KM_GROUP_UPDATE, .maximum = 3};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	for (char id[2] = "a"; id[0] < 'g'; id[0]++)
		start(&s, id, &m);
	counts(&s, 5, 1, 0);
	ask(&s, &q, &m);
	assert_int_equal(m.hdr.type, KM_GROUP_REPLY);
	assert_int_equal(m.group_reply.maximum, 3);
	wait_for(&s, 3, 3, 0);
	/* Fewer end nobody. */
	q.maximum = 1;
	ask(&s, &q, &m);
	counts(&s, 3, 3, 0);
	q.maximum = 0;
	ask(&s, &q, &m);
	wait_for(&s, 0, 6, 0);
	/* A later member sets it, too. */
	s.spec.group_max = 2;
	start(&s, "z", &m);
	assert_int_equal(m.job.state, KM_STATE_QUEUED);
	assert_int_equal(group_is(&s).maximum, 2);
	finish(&s);
}

static void the_disconnect_policy_counts_while_it_waits(void **state)
{
	struct peer_job b = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	s.spec.disconnect = JOB_DISCONNECT_KILL;
	peer_run(&s.p, &b, 1, "b", &s.spec);
	peer_detach(&s.p, &b, 0);
	wait_for(&s, 0, 1, 1);
	peer_attach(&s.p, &b, 2, "b", 0, 0, false);
	peer_finish(&s.p, &b);
	assert_int_equal(b.exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(b.exit.reason, KM_REASON_DISCONNECT);
	assert_string_equal(b.exit.by, PEER_OWNER);
	peer_job_free(&b);
	finish(&s);
}

static void the_run_timeout_begins_when_it_runs(void **state)
{
	struct peer_job b = {0};
	int64_t until;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	s.spec.run_timeout_ns = 50 * NS_PER_MS;
	peer_run(&s.p, &b, 1, "b", &s.spec);
	until = clock_monotonic_ns() + 300 * NS_PER_MS;
	do
		counts(&s, 1, 1, 0);
	while (clock_monotonic_ns() < until);
	send_signal(&s, "a", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	peer_finish(&s.p, &b);
	assert_true(b.running.pid > 0);
	assert_int_equal(b.exit.kind, KM_END_SIGNAL);
	assert_int_equal(b.exit.reason, KM_REASON_RUN_TIMEOUT);
	peer_detach(&s.p, &b, 1);
	finish(&s);
}

static void queued_ones_count_as_processes(void **state)
{
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "max_processes = 3", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	start(&s, "b", &m);
	start(&s, "c", &m);
	peer_start(&s.p, 0, "d", &s.spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_LIMIT);
	assert_non_null(strstr(m.refused.text, "3 "));
	send_signal(&s, "b", SIGTERM);
	peer_expect(&s.p, KM_DONE, &m);
	start(&s, "d", &m);
	counts(&s, 2, 1, 1);
	finish(&s);
}

/* The memory of what waits is the agent's alone. */
static void queued_commands_have_a_limit_together(void **state)
{
	static char big[100000];
	char *argv[40], id[8];
	struct scene s;
	union km_any m;
	int n = 0;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	memset(big, 'x', sizeof(big) - 1);
	argv[0] = s.argv[0];
	for (int i = 1; i < 40; i++)
		argv[i] = big;
	argv[39] = NULL;
	s.spec.argv = argv;
	s.spec.argc = 39;
	do {
		snprintf(id, sizeof(id), "b%d", n++);
		peer_start(&s.p, 0, id, &s.spec, &m);
	} while (m.hdr.type == KM_JOB && n < 100);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_LIMIT);
	assert_in_range(n, 60, 75);
	send_signal(&s, "b0", SIGTERM);
	peer_expect(&s.p, KM_DONE, &m);
	start(&s, id, &m);
	finish(&s);
}

static void a_killed_worker_leaves_the_queue_as_it_is(void **state)
{
	struct peer_job b = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	peer_run(&s.p, &b, 1, "b", &s.spec);
	peer_kill(&s.p);
	peer_job_free(&b);
	rig_accept(&s.r, &s.p);
	counts(&s, 1, 1, 0);
	peer_attach(&s.p, &b, 1, "b", 0, 0, false);
	send_signal(&s, "a", SIGKILL);
	peer_expect(&s.p, KM_DONE, &m);
	peer_step(&s.p, &b, true);
	assert_true(b.running.pid > 0);
	peer_job_free(&b);
	finish(&s);
}

static void shutdown_ends_the_queued_ones_too(void **state)
{
	struct peer_job b = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	peer_run(&s.p, &b, 1, "b", &s.spec);
	kill(s.r.pid, SIGTERM);
	do
		peer_recv(&s.p, &m, &(int){-1});
	while (m.hdr.type == KM_DRAIN || m.hdr.type == KM_WAKE);
	assert_int_equal(m.hdr.type, KM_ENDED);
	assert_int_equal(m.ended.exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(m.ended.exit.reason, KM_REASON_SHUTDOWN);
	peer_job_free(&b);
	peer_close(&s.p);
	rig_wait(&s.r);
	rig_stop(&s.r);
}

/* ---- all at once ---- */

static void a_name_is_its_owners(void **state)
{
	struct km_start other = {.id = "theirs", .owner = "spiffe://test/user/two"};
	struct km_group q = {.op = KM_GROUP_GET, .by = "spiffe://test/user/two"};
	struct scene s;
	union km_any m;
	struct err e;
	int memfd;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	ask(&s, &q, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_NO_GROUP);
	/* Another's group of that name has its own room. */
	assert_int_equal(job_spec_seal(&s.spec, &memfd, &e), 0);
	peer_send(&s.p, KM_START, 7, &other, memfd);
	close(memfd);
	peer_expect(&s.p, KM_JOB, &m);
	/* It runs, though "a" does, and leaves the own group as it is. */
	do {
		struct km_group theirs = {.op = KM_GROUP_GET, .by = "spiffe://test/user/two"};

		ask(&s, &theirs, &m);
		assert_int_equal(m.hdr.type, KM_GROUP_REPLY);
		assert_int_equal(m.group_reply.queued + m.group_reply.running, 1);
	} while (m.group_reply.running == 0);
	counts(&s, 0, 1, 0);
	finish(&s);
}

static void odd_names_and_questions_are_refused(void **state)
{
	static const char *const names[] = {".a", "a b", "-x", "a/b", "\xc3\xa9"};
	struct scene s;
	union km_any m;
	struct km_group odd = {.op = 9, .name = "build", .by = PEER_OWNER};

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct km_group q = {.op = KM_GROUP_GET};

		snprintf(q.name, sizeof(q.name), "%s", names[i]);
		ask(&s, &q, &m);
		assert_int_equal(m.hdr.type, KM_REFUSED);
		assert_int_equal(m.refused.why, KM_WHY_BAD_FIELD);
	}
	peer_send(&s.p, KM_GROUP, 1, &odd, -1);
	assert_false(peer_answers(&s.p));
	peer_close(&s.p);
	rig_stop(&s.r);
}

static void a_signal_to_all_counts_both(void **state)
{
	struct km_group q = {.op = KM_GROUP_SIGNAL, .signo = SIGKILL, .target = KM_TARGET_GROUP};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 2);
	for (char id[2] = "a"; id[0] < 'f'; id[0]++)
		start(&s, id, &m);
	counts(&s, 3, 2, 0);
	ask(&s, &q, &m);
	assert_int_equal(m.hdr.type, KM_GROUP_REPLY);
	assert_int_equal(m.group_reply.did[0], 2);
	assert_int_equal(m.group_reply.did[1], 3);
	assert_int_equal(m.group_reply.queued, 0);
	wait_for(&s, 0, 0, 5);
	ask(&s, &q, &m);
	assert_int_equal(m.group_reply.did[0] + m.group_reply.did[1], 0);
	finish(&s);
}

static void signal_zero_is_each_ones_own(void **state)
{
	struct km_group q = {.op = KM_GROUP_SIGNAL, .target = KM_TARGET_GROUP};
	struct peer_job a = {0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 0);
	s.spec.stop_signal = SIGUSR2;
	peer_run(&s.p, &a, 1, "a", &s.spec);
	peer_until_started(&s.p, "a");
	ask(&s, &q, &m);
	assert_int_equal(m.group_reply.did[0], 1);
	peer_finish(&s.p, &a);
	assert_int_equal(a.exit.kind, KM_END_SIGNAL);
	assert_int_equal(a.exit.value, SIGUSR2);
	assert_int_equal(a.exit.reason, KM_REASON_SIGNALLED);
	peer_detach(&s.p, &a, 1);
	finish(&s);
}

static void the_ended_are_removed_and_the_group_with_the_last(void **state)
{
	struct km_group get = {.op = KM_GROUP_GET}, drop = {.op = KM_GROUP_REMOVE};
	struct km_group free_it = {.op = KM_GROUP_UPDATE, .maximum = 0};
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exit 0"}, 5);
	start(&s, "a", &m);
	start(&s, "b", &m);
	wait_for(&s, 0, 0, 2);
	ask(&s, &drop, &m);
	assert_int_equal(m.group_reply.did[0], 2);
	assert_int_equal(m.group_reply.ended, 0);
	assert_int_equal(state_of(&s, "a"), 0);
	/* Its maximum keeps it. */
	counts(&s, 0, 0, 0);
	ask(&s, &free_it, &m);
	assert_int_equal(m.hdr.type, KM_GROUP_REPLY);
	ask(&s, &get, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_NO_GROUP);
	finish(&s);
}

struct names {
	char all[64];
};

static void note_name(const struct job_record *rec, void *arg)
{
	struct names *names = arg;

	assert_string_equal(rec->group, group_name);
	strncat(names->all, rec->id, sizeof(names->all) - strlen(names->all) - 1);
}

static void list_group(struct scene *s, uint32_t states, struct names *names)
{
	struct km_list q = {.states = states, .owner = PEER_OWNER, .group = "build"};
	union km_any m;
	int fd;

	memset(names, 0, sizeof(*names));
	peer_send(&s->p, KM_LIST, 23, &q, -1);
	peer_recv(&s->p, &m, &fd);
	assert_int_equal(m.hdr.type, KM_TABLE);
	assert_int_equal(
	    job_records_read(fd, m.table.bytes, m.table.count, note_name, names, NULL), 0);
	close(fd);
}

static void a_groups_list_has_its_members_by_state(void **state)
{
	struct km_list none = {.owner = PEER_OWNER, .group = "other"};
	struct names names;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, "", (char[]){"exec sleep 300"}, 1);
	start(&s, "a", &m);
	start(&s, "b", &m);
	start(&s, "c", &m);
	s.spec.group = NULL;
	s.spec.group_max = 0;
	start(&s, "x", &m);
	send_signal(&s, "b", SIGTERM);
	peer_expect(&s.p, KM_DONE, &m);
	list_group(&s, 0, &names);
	assert_string_equal(names.all, "ac");
	list_group(&s, UINT32_MAX, &names);
	assert_string_equal(names.all, "abc");
	list_group(&s, KM_STATE_BIT(KM_STATE_QUEUED) | KM_STATE_BIT(KM_STATE_ENDED), &names);
	assert_string_equal(names.all, "bc");
	peer_send(&s.p, KM_LIST, 1, &none, -1);
	peer_expect(&s.p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_NO_GROUP);
	finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_full_group_queues_and_starts_in_order),
	    cmocka_unit_test(the_same_start_again_finds_it_queued),
	    cmocka_unit_test(stdin_of_a_queued_one_waits_for_it),
	    cmocka_unit_test(a_signal_ends_a_queued_one_without_running_it),
	    cmocka_unit_test(one_that_cannot_start_has_ended_and_the_next_is_tried),
	    cmocka_unit_test(a_passing_shortage_leaves_the_queue_as_it_is),
	    cmocka_unit_test(what_can_be_known_at_once_is_said_at_once),
	    cmocka_unit_test(a_start_that_fails_leaves_no_group),
	    cmocka_unit_test(the_maximum_rises_and_more_run),
	    cmocka_unit_test(the_disconnect_policy_counts_while_it_waits),
	    cmocka_unit_test(the_run_timeout_begins_when_it_runs),
	    cmocka_unit_test(queued_ones_count_as_processes),
	    cmocka_unit_test(queued_commands_have_a_limit_together),
	    cmocka_unit_test(a_killed_worker_leaves_the_queue_as_it_is),
	    cmocka_unit_test(shutdown_ends_the_queued_ones_too),
	    cmocka_unit_test(a_name_is_its_owners),
	    cmocka_unit_test(odd_names_and_questions_are_refused),
	    cmocka_unit_test(a_signal_to_all_counts_both),
	    cmocka_unit_test(signal_zero_is_each_ones_own),
	    cmocka_unit_test(the_ended_are_removed_and_the_group_with_the_last),
	    cmocka_unit_test(a_groups_list_has_its_members_by_state),
	};

	return cmocka_run_group_tests_name("keeper_group", tests, NULL, NULL);
}
