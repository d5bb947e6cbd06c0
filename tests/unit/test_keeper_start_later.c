/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start that hangs: a write lease on the program, which the test holds, makes its execve(2) wait.
 * The others do not notice.
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/keeper_rig.h"
#include "tests/support/peer.h"
#include "tests/support/peer_job.h"

struct scene {
	struct rig r;
	struct peer p, other; /* two workers */
	char program[160];
	int lease;
	struct job_spec spec;
	char *argv[4];
};

/* Who looks at the file's name holds it off for that moment. */
static bool has_lease(void *arg)
{
	struct scene *s = arg;

	return fcntl(s->lease, F_SETLEASE, F_WRLCK) == 0 || (errno != EAGAIN && errno != EBUSY);
}

/* False: there are no leases here. */
static bool take_lease(struct scene *s)
{
	s->lease = open(s->program, O_RDONLY | O_CLOEXEC);
	assert_true(s->lease >= 0);
	rig_until(has_lease, s, "a lease on the program");
	return fcntl(s->lease, F_GETLEASE) == F_WRLCK;
}

/* The first one's starts are queued while they hang. */
static void take_workers(struct scene *s)
{
	rig_accept(&s->r, &s->p);
	rig_accept(&s->r, &s->other);
	s->p.queues = true;
}

static void begin(struct scene *s)
{
	static char word[] = "came";
	char command[400];

	memset(s, 0, sizeof(*s));
	/* What a lease's holder is told by. */
	signal(SIGIO, SIG_IGN);
	rig_start(&s->r, "workers = 2");
	take_workers(s);
	snprintf(s->program, sizeof(s->program), "%s/program", s->r.dir);
	snprintf(
	    command, sizeof(command), "cp /bin/echo %s && chmod 755 %s", s->program, s->program);
	assert_int_equal(system(command), 0);
	if (!take_lease(s)) {
		print_message("no leases: %s\n", strerror(errno));
		close(s->lease);
		peer_close(&s->p);
		peer_close(&s->other);
		rig_stop(&s->r);
		skip();
	}
	peer_spec(&s->spec, s->argv, (char[]){""});
	s->argv[0] = s->program;
	s->argv[1] = word;
	s->argv[2] = NULL;
	s->spec.argc = 2;
}

static void finish(struct scene *s)
{
	if (s->lease >= 0)
		close(s->lease);
	peer_close(&s->p);
	peer_close(&s->other);
	rig_stop(&s->r);
}

static void let_go(struct scene *s)
{
	close(s->lease);
	s->lease = -1;
}

/* Attached by `other`: it goes on for ever. */
static void stream(struct scene *s, struct peer_job *pj)
{
	struct job_spec spec;
	char *argv[4];

	peer_spec(&spec, argv, (char[]){"while :; do echo line; sleep 0.002; done"});
	peer_run(&s->other, pj, 1, "stream", &spec);
	assert_int_equal(pj->job.state, KM_STATE_RUNNING);
}

static void read_more(struct scene *s, struct peer_job *pj, size_t bytes)
{
	uint64_t until = pj->out[KM_STDOUT].offset + bytes;

	while (pj->out[KM_STDOUT].offset < until)
		peer_step(&s->other, pj, true);
}

static void run_hanging(struct scene *s, struct peer_job *pj, const char *id)
{
	peer_run(&s->p, pj, 1, id, &s->spec);
	assert_int_equal(pj->job.state, KM_STATE_QUEUED);
	assert_int_equal(pj->job.pid, 0);
}

static void expect_came(struct scene *s, struct peer_job *pj)
{
	peer_finish(&s->p, pj);
	assert_true(pj->running.pid > 0);
	assert_int_equal(pj->exit.kind, KM_END_CODE);
	assert_int_equal(pj->exit.value, 0);
	assert_true(pj->exit.start_ns > 0);
	peer_assert_output(pj, KM_STDOUT, "came\n");
	peer_detach(&s->p, pj, true);
}

static void others_stream_while_it_hangs_and_then_it_runs(void **state)
{
	struct peer_job pj, streaming;
	union km_any m;
	struct scene s;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	begin(&s);
	stream(&s, &streaming);
	run_hanging(&s, &pj, "hangs");
	read_more(&s, &streaming, 500);
	/* Those that come meanwhile wait in line; a user that is none is told at once. */
	peer_spec(&spec, argv, (char[]){"echo second"});
	peer_start(&s.p, 0, "second", &spec, &m);
	assert_int_equal(m.job.state, KM_STATE_QUEUED);
	spec.user = (char[]){"nobody-of-that-name"};
	peer_start(&s.p, 0, "third", &spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.stage, KM_STAGE_USER);
	read_more(&s, &streaming, 500);
	assert_int_equal(peer_job_state(&s.p, "hangs"), KM_STATE_QUEUED);
	let_go(&s);
	expect_came(&s, &pj);
	peer_attach(&s.p, &pj, 2, "second", 0, 0, false);
	peer_finish(&s.p, &pj);
	peer_assert_output(&pj, KM_STDOUT, "second\n");
	peer_detach(&s.p, &pj, true);
	read_more(&s, &streaming, 50);
	peer_job_free(&streaming);
	finish(&s);
}

static void as_another_user_too(void **state)
{
	struct peer_job pj, streaming;
	struct scene s;

	(void)state;
	if (geteuid() != 0)
		skip();
	begin(&s);
	stream(&s, &streaming);
	s.spec.user = (char[]){"nobody"};
	run_hanging(&s, &pj, "hangs");
	read_more(&s, &streaming, 500);
	let_go(&s);
	expect_came(&s, &pj);
	peer_job_free(&streaming);
	finish(&s);
}

/* Its input, its output and its terminal are there only afterwards. */
static void a_terminal_and_an_input_wait_for_it(void **state)
{
	struct peer_job pj;
	struct scene s;

	(void)state;
	begin(&s);
	s.spec.stdin_pipe = s.spec.terminal = true;
	s.spec.rows = 20;
	s.spec.columns = 30;
	run_hanging(&s, &pj, "hangs");
	assert_true(peer_answers_between(&s.other));
	let_go(&s);
	peer_finish(&s.p, &pj);
	assert_int_equal(pj.exit.kind, KM_END_CODE);
	peer_assert_output(&pj, KM_STDOUT, "came\r\n");
	peer_detach(&s.p, &pj, true);
	finish(&s);
}

static void ask_to_end(struct scene *s, const char *id)
{
	struct km_signal kill_it = {
	    .signo = SIGKILL, .target = KM_TARGET_PROCESS, .kill_after_ns = -1};
	union km_any m;

	snprintf(kill_it.id, sizeof(kill_it.id), "%s", id);
	snprintf(kill_it.by, sizeof(kill_it.by), "%s", PEER_OWNER);
	peer_send(&s->other, KM_SIGNAL, 3, &kill_it, -1);
	peer_expect(&s->other, KM_DONE, &m);
}

static void what_is_ended_meanwhile_has_not_run(void **state)
{
	struct peer_job pj;
	struct job_spec spec;
	union km_any m;
	struct scene s;
	char *argv[4];

	(void)state;
	begin(&s);
	run_hanging(&s, &pj, "hangs");
	peer_spec(&spec, argv, (char[]){"echo second"});
	peer_start(&s.p, 0, "waits", &spec, &m);
	assert_int_equal(m.job.state, KM_STATE_QUEUED);
	peer_start(&s.p, 0, "waits-too", &spec, &m);
	assert_int_equal(m.job.state, KM_STATE_QUEUED);
	ask_to_end(&s, "waits");
	ask_to_end(&s, "hangs");
	peer_finish(&s.p, &pj);
	assert_int_equal(pj.exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(pj.exit.reason, KM_REASON_SIGNALLED);
	peer_detach(&s.p, &pj, true);
	/* The thread is free again, though the lease is held. */
	peer_attach(&s.p, &pj, 2, "waits-too", 0, 0, false);
	peer_finish(&s.p, &pj);
	peer_assert_output(&pj, KM_STDOUT, "second\n");
	peer_detach(&s.p, &pj, true);
	assert_int_equal(peer_job_state(&s.p, "waits"), KM_STATE_ENDED);
	let_go(&s);
	finish(&s);
}

/* It is no program, which is found out only when it is read. */
static void one_that_fails_then_says_why(void **state)
{
	struct peer_job pj;
	struct scene s;

	(void)state;
	begin(&s);
	let_go(&s);
	rig_write(&s.r, "program", "this is no program\n");
	assert_int_equal(
	    chmod(s.program, 0755), 0); /* what the rig writes is for the agent alone */
	assert_true(take_lease(&s));
	run_hanging(&s, &pj, "hangs");
	let_go(&s);
	peer_finish(&s.p, &pj);
	assert_int_equal(pj.exit.kind, KM_END_NOT_STARTED);
	assert_int_equal(pj.exit.reason, KM_REASON_EXITED);
	assert_int_equal(pj.exit.stage, KM_STAGE_EXEC);
	assert_int_equal(pj.exit.value, ENOEXEC);
	assert_string_not_equal(pj.exit.text, "");
	peer_detach(&s.p, &pj, true);
	finish(&s);
}

/* The first of a group holds the others' turn, and its place counts once. */
static void a_group_goes_on_in_order(void **state)
{
	struct km_group get = {.op = KM_GROUP_GET, .name = "queue", .by = PEER_OWNER};
	struct peer_job pj;
	struct job_spec spec;
	union km_any m;
	struct scene s;
	char *argv[4];

	(void)state;
	begin(&s);
	s.spec.group = (char[]){"queue"};
	s.spec.group_max = 1;
	run_hanging(&s, &pj, "first");
	peer_spec(&spec, argv, (char[]){"echo second"});
	spec.group = (char[]){"queue"};
	peer_start(&s.p, 0, "second", &spec, &m);
	assert_int_equal(m.job.state, KM_STATE_QUEUED);
	peer_send(&s.other, KM_GROUP, 4, &get, -1);
	peer_expect(&s.other, KM_GROUP_REPLY, &m);
	assert_int_equal(m.group_reply.queued, 2);
	assert_int_equal(m.group_reply.running, 0);
	let_go(&s);
	expect_came(&s, &pj);
	peer_attach(&s.p, &pj, 2, "second", 0, 0, false);
	peer_finish(&s.p, &pj);
	peer_assert_output(&pj, KM_STDOUT, "second\n");
	peer_detach(&s.p, &pj, true);
	peer_send(&s.other, KM_GROUP, 5, &get, -1);
	peer_expect(&s.other, KM_GROUP_REPLY, &m);
	assert_int_equal(m.group_reply.queued, 0);
	assert_int_equal(m.group_reply.running, 0);
	finish(&s);
}

static bool is_refused(void *arg)
{
	return rig_logged(arg, "not upgraded: a process is being started");
}

static void an_upgrade_is_refused_meanwhile(void **state)
{
	struct peer_job pj;
	struct scene s;

	(void)state;
	begin(&s);
	run_hanging(&s, &pj, "hangs");
	assert_int_equal(kill(s.r.pid, SIGUSR2), 0);
	rig_until(is_refused, &s.r, "the refusal");
	let_go(&s);
	expect_came(&s, &pj);
	assert_int_equal(kill(s.r.pid, SIGUSR2), 0);
	rig_pass_check(&s.r);
	peer_expect_end(&s.p);
	peer_expect_end(&s.other);
	peer_close(&s.p);
	peer_close(&s.other);
	take_workers(&s);
	/* The new image has a thread of its own. */
	assert_true(take_lease(&s));
	run_hanging(&s, &pj, "again");
	let_go(&s);
	expect_came(&s, &pj);
	finish(&s);
}

static void the_agent_ends_while_it_hangs(void **state)
{
	struct peer_job pj;
	struct scene s;

	(void)state;
	begin(&s);
	run_hanging(&s, &pj, "hangs");
	assert_int_equal(kill(s.r.pid, SIGTERM), 0);
	peer_expect_end(&s.p);
	peer_expect_end(&s.other);
	peer_job_free(&pj);
	peer_close(&s.p);
	peer_close(&s.other);
	rig_wait(&s.r);
	assert_true(WIFEXITED(s.r.status));
	assert_int_equal(WEXITSTATUS(s.r.status), 0);
	assert_true(rig_logged(&s.r, "job hangs: did not run: it was ended while it was queued"));
	close(s.lease);
	rig_stop(&s.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(others_stream_while_it_hangs_and_then_it_runs),
	    cmocka_unit_test(as_another_user_too),
	    cmocka_unit_test(a_terminal_and_an_input_wait_for_it),
	    cmocka_unit_test(what_is_ended_meanwhile_has_not_run),
	    cmocka_unit_test(one_that_fails_then_says_why),
	    cmocka_unit_test(a_group_goes_on_in_order),
	    cmocka_unit_test(an_upgrade_is_refused_meanwhile),
	    cmocka_unit_test(the_agent_ends_while_it_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
