/* SPDX-License-Identifier: Apache-2.0 */
/* How a process comes to its end, by a signal, a timeout or a lost client, and how it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/duration.h"
#include "tests/support/keeper_rig.h"

static void send_signal(
    struct peer *p, const char *id, int signo, enum km_target target, union km_any *m)
{
	struct km_signal sig = {
	    .signo = (uint32_t)signo, .target = target, .kill_after_ns = -1, .by = PEER_OWNER};
	int fd;

	snprintf(sig.id, sizeof(sig.id), "%s", id);
	peer_send(p, KM_SIGNAL, 12, &sig, -1);
	peer_answer(p, 12, m, &fd);
}

static void a_signal_through_telex_is_told_with_its_sender(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 300"});
	peer_run(&p, &pj, 1, "s", &spec);
	send_signal(&p, "s", SIGUSR1, KM_TARGET_GROUP, &m);
	assert_int_equal(m.hdr.type, KM_DONE);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.kind, KM_END_SIGNAL);
	assert_int_equal(pj.exit.value, SIGUSR1);
	assert_int_equal(pj.exit.reason, KM_REASON_SIGNALLED);
	assert_string_equal(pj.exit.by, PEER_OWNER);
	send_signal(&p, "s", SIGTERM, KM_TARGET_PROCESS, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_ENDED);
	assert_string_equal(m.refused.text, "died of SIGUSR1");
	send_signal(&p, "nobody", SIGTERM, KM_TARGET_PROCESS, &m);
	assert_int_equal(m.refused.why, KM_WHY_NO_SUCH);
	peer_detach(&p, &pj, true);
	/* By its own hand: nobody sent it. */
	peer_spec(&spec, argv, (char[]){"kill -TERM $$"});
	peer_run(&p, &pj, 2, "own", &spec);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.kind, KM_END_SIGNAL);
	assert_int_equal(pj.exit.value, SIGTERM);
	assert_int_equal(pj.exit.reason, KM_REASON_EXITED);
	assert_string_equal(pj.exit.by, "");
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

/* With longer and longer times, until the script was quick enough to say these words before its
 * end. */
static void run_into_timeout(
    struct peer *p, struct peer_job *pj, struct job_spec *spec, const char *words)
{
	char id[] = "a";

	for (spec->run_timeout_ns = 250 * NS_PER_MS;; spec->run_timeout_ns *= 2, id[0]++) {
		assert_true(spec->run_timeout_ns < RIG_DEADLINE_MS * NS_PER_MS);
		peer_run(p, pj, 1, id, spec);
		peer_finish(p, pj);
		if (pj->out[KM_STDOUT].len > 0 &&
		    memmem(pj->out[KM_STDOUT].data, pj->out[KM_STDOUT].len, words, strlen(words)))
			return;
		peer_detach(p, pj, true);
		spec->stop_grace_ns *= 2;
	}
}

static void the_run_timeout_ends_one_that_ignores_the_stop_signal(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(
	    &spec, argv, (char[]){"trap 'echo no' TERM; echo on; while :; do sleep 0.05; done"});
	spec.stop_grace_ns = 300 * NS_PER_MS;
	run_into_timeout(&p, &pj, &spec, "no\n");
	assert_int_equal(pj.exit.kind, KM_END_SIGNAL);
	assert_int_equal(pj.exit.value, SIGKILL);
	assert_int_equal(pj.exit.reason, KM_REASON_RUN_TIMEOUT);
	assert_int_equal(pj.exit.streams_open, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

/* The leader dies at once; another of its group prints its last words in its own time. */
static void the_group_has_its_grace_when_the_leader_dies_first(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv,
	    (char[]){"sh -c 'trap \"sleep 0.2; echo last words; exit\" TERM; echo on; "
	             "while :; do sleep 0.02; done' & wait"});
	run_into_timeout(&p, &pj, &spec, "on\n");
	peer_assert_output(&pj, KM_STDOUT, "on\nlast words\n");
	assert_int_equal(pj.exit.kind, KM_END_SIGNAL);
	assert_int_equal(pj.exit.value, SIGTERM);
	assert_int_equal(pj.exit.reason, KM_REASON_RUN_TIMEOUT);
	assert_int_equal(pj.exit.streams_open, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void the_disconnect_policies_do_what_they_say(void **state)
{
	static const struct {
		enum job_disconnect policy;
		int signo; /* that it dies of; 0: it lives */
	} cases[] = {{JOB_DISCONNECT_HANGUP, SIGHUP}, {JOB_DISCONNECT_KILL, SIGKILL},
	    {JOB_DISCONNECT_KEEP, 0}};
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], id[2] = "a";

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++, id[0]++) {
		peer_spec(&spec, argv, (char[]){"sleep 300"});
		spec.disconnect = cases[i].policy;
		spec.disconnect_wait_ns = 0;
		peer_run(&p, &pj, 1, id, &spec);
		peer_detach(&p, &pj, false);
		if (cases[i].signo == 0) {
			assert_int_equal(peer_job_state(&p, id), KM_STATE_RUNNING);
			continue;
		}
		peer_attach(&p, &pj, 1, id, 0, 0, false);
		peer_finish(&p, &pj);
		assert_int_equal(pj.exit.kind, KM_END_SIGNAL);
		assert_int_equal(pj.exit.value, cases[i].signo);
		assert_int_equal(pj.exit.reason, KM_REASON_DISCONNECT);
		peer_detach(&p, &pj, true);
	}
	peer_close(&p);
	rig_stop(&r);
}

static void an_exit_that_was_not_delivered_is_held(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"exit 5"});
	peer_run(&p, &pj, 1, "kept", &spec);
	peer_finish(&p, &pj);
	peer_detach(&p, &pj, false);
	peer_run(&p, &pj, 2, "kept", &spec);
	assert_int_equal(pj.job.created, 0);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.value, 5);
	/* Nor is one that was delivered run again by a client that asks at once. */
	peer_detach(&p, &pj, 2);
	peer_run(&p, &pj, 3, "kept", &spec);
	assert_int_equal(pj.job.created, 0);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.value, 5);
	/* One that was acknowledged is not needed any more. */
	peer_detach(&p, &pj, 1);
	assert_int_equal(peer_job_state(&p, "kept"), 0);
	peer_close(&p);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_signal_through_telex_is_told_with_its_sender),
	    cmocka_unit_test(the_run_timeout_ends_one_that_ignores_the_stop_signal),
	    cmocka_unit_test(the_group_has_its_grace_when_the_leader_dies_first),
	    cmocka_unit_test(the_disconnect_policies_do_what_they_say),
	    cmocka_unit_test(an_exit_that_was_not_delivered_is_held),
	};

	return cmocka_run_group_tests_name("keeper_policies", tests, NULL, NULL);
}
