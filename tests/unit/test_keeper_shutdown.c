/* SPDX-License-Identifier: Apache-2.0 */
/* A telexd that ends, and one that cannot begin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/duration.h"
#include "tests/support/keeper_rig.h"

/*
 * A start that is asked for after the end has begun, however long anybody stands still: the keeper
 * takes 64 messages of a link in one turn, and sees a signal in the next one at the latest.
 */
static void end_and_start(struct rig *r, struct peer *p, const struct job_spec *spec)
{
	union km_any m;
	int fd;

	rig_pause(r);
	kill(r->pid, SIGTERM);
	for (int i = 0; i < 2 * 64; i++) {
		struct km_pong pong = {0};

		peer_send(p, KM_PONG, 0, &pong, -1);
	}
	peer_ask_start(p, 2, "late", spec);
	rig_go_on(r);
	peer_expect(p, KM_DRAIN, &m);
	peer_answer(p, 7, &m, &fd);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_SHUTTING_DOWN);
}

static void shutdown_leaves_no_process(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	int leader, stubborn, away;

	(void)state;
	rig_start(&r, "workers = 1\nshutdown_grace = 300ms");
	rig_accept(&r, &p);
	peer_spec(&spec, argv,
	    (char[]){"trap '' TERM HUP; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & s=$!; "
	             "setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' </dev/null "
	             ">/dev/null 2>&1 & "
	             "echo $$ $s $!; wait; sleep 300"});
	peer_run(&p, &pj, 1, "stay", &spec);
	while (pj.out[KM_STDOUT].len == 0)
		peer_step(&p, &pj, true);
	pj.out[KM_STDOUT].data[pj.out[KM_STDOUT].len - 1] = '\0';
	assert_int_equal(
	    sscanf((char *)pj.out[KM_STDOUT].data, "%d %d %d", &leader, &stubborn, &away), 3);
	end_and_start(&r, &p, &spec);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.reason, KM_REASON_SHUTDOWN);
	peer_job_free(&pj);
	peer_close(&p);
	rig_wait(&r);
	assert_int_equal(WEXITSTATUS(r.status), 0);
	assert_int_equal(kill(leader, 0), -1);
	assert_int_equal(kill(stubborn, 0), -1);
	assert_int_equal(kill(away, 0), -1);
	rig_stop(&r);
}

static void output_that_nobody_reads_does_not_hold_the_shutdown(void **state)
{
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"head -c 1000000 /dev/zero; exec sleep 300"});
	spec.output_buffer = 4096;
	peer_start(&p, 0, "unread", &spec, &m);
	assert_int_equal(m.hdr.type, KM_JOB);
	kill(r.pid, SIGTERM);
	peer_expect(&p, KM_DRAIN, &m);
	peer_close(&p);
	rig_wait(&r);
	assert_int_equal(WEXITSTATUS(r.status), 0);
	rig_stop(&r);
}

static void a_second_sigterm_does_not_wait(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1\nshutdown_grace = 1h");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"trap '' TERM; echo on; while :; do sleep 1; done"});
	spec.stop_grace_ns = 3600 * NS_PER_S;
	peer_run(&p, &pj, 1, "stay", &spec);
	while (pj.out[KM_STDOUT].len == 0)
		peer_step(&p, &pj, true);
	kill(r.pid, SIGTERM);
	peer_expect(&p, KM_DRAIN, &m);
	kill(r.pid, SIGTERM);
	rig_wait(&r);
	assert_int_equal(WEXITSTATUS(r.status), 0);
	peer_job_free(&pj);
	peer_close(&p);
	rig_stop(&r);
}

static void a_worker_that_cannot_serve_fails_the_first_start(void **state)
{
	struct rig r;

	(void)state;
	setenv("TELEX_TEST_FAIL", "9", 1);
	rig_start(&r, "workers = 2");
	unsetenv("TELEX_TEST_FAIL");
	rig_wait(&r);
	assert_true(WIFEXITED(r.status));
	assert_int_equal(WEXITSTATUS(r.status), 1);
	assert_true(rig_logged(&r, "cannot start: the worker exited with 9"));
	rig_stop(&r);
}

static bool has_address(void *arg)
{
	const struct rig *r = arg;
	char path[128], line[128] = "";
	unsigned port = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/state/address", r->dir);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	if (fgets(line, sizeof(line), f) != NULL)
		(void)sscanf(line, "127.0.0.1:%u", &port);
	fclose(f);
	return port > 0;
}

static void the_address_is_published_and_the_state_is_locked(void **state)
{
	struct rig r, second;
	struct peer p;
	char config[160], path[128];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	rig_until(has_address, &r, "the address file");
	snprintf(config, sizeof(config), "state_directory = \"%s/state\"", r.dir);
	rig_start(&second, config);
	rig_wait(&second);
	assert_int_equal(WEXITSTATUS(second.status), 1);
	assert_true(rig_logged(&second, "another telexd uses state directory"));
	rig_stop(&second);
	/* The second did not take the first one's file away. */
	assert_true(has_address(&r));
	peer_close(&p);
	kill(r.pid, SIGTERM);
	rig_wait(&r);
	snprintf(path, sizeof(path), "%s/state/address", r.dir);
	assert_int_equal(access(path, F_OK), -1);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shutdown_leaves_no_process),
	    cmocka_unit_test(output_that_nobody_reads_does_not_hold_the_shutdown),
	    cmocka_unit_test(a_second_sigterm_does_not_wait),
	    cmocka_unit_test(a_worker_that_cannot_serve_fails_the_first_start),
	    cmocka_unit_test(the_address_is_published_and_the_state_is_locked),
	};

	return cmocka_run_group_tests_name("keeper_shutdown", tests, NULL, NULL);
}
