/* SPDX-License-Identifier: Apache-2.0 */
/* A whole telexd, driven by its workers' side of the links: starts and runs. */
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
#include <unistd.h>

#include "common/duration.h"
#include "tests/support/keeper_rig.h"

/* ---- runs ---- */

static void a_run_gives_both_outputs_and_then_the_exit(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"echo out; echo err >&2; exit 7"});
	peer_run(&p, &pj, 1, "one", &spec);
	assert_int_equal(pj.job.created, 1);
	assert_int_equal(pj.job.stdin_pipe, 0);
	assert_string_equal(pj.job.id, "one");
	assert_string_equal(pj.job.owner, PEER_OWNER);
	peer_finish(&p, &pj);
	peer_assert_output(&pj, KM_STDOUT, "out\n");
	peer_assert_output(&pj, KM_STDERR, "err\n");
	assert_int_equal(pj.exit.kind, KM_END_CODE);
	assert_int_equal(pj.exit.value, 7);
	assert_int_equal(pj.exit.reason, KM_REASON_EXITED);
	assert_int_equal(pj.exit.streams_open, 0);
	assert_true(pj.exit.start_ns > 0 && pj.exit.end_ns >= pj.exit.start_ns);
	assert_true(pj.exit.maxrss_kib > 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void half_a_megabyte_through_a_tiny_ring_arrives_whole(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], script[256];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_pattern_script(script, sizeof(script), 8000);
	peer_spec(&spec, argv, script);
	spec.output_buffer = 4096;
	peer_run(&p, &pj, 1, "burst", &spec);
	peer_finish(&p, &pj);
	peer_assert_pattern(&pj.out[KM_STDOUT], 0, 8000);
	assert_int_equal(pj.exit.streams_open, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void a_grandchild_that_holds_an_output_does_not_hold_the_exit(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	pid_t grandchild;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 300 & echo $!; exit 3"});
	peer_run(&p, &pj, 1, "holder", &spec);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.value, 3);
	assert_int_equal(pj.exit.streams_open, KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR));
	pj.out[KM_STDOUT].data[pj.out[KM_STDOUT].len - 1] = '\0';
	grandchild = atoi((char *)pj.out[KM_STDOUT].data);
	assert_int_equal(kill(grandchild, 0), 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
	/* But the agent's end is its end. */
	assert_int_equal(kill(grandchild, 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void a_grandchild_writes_on_after_the_exit_without_sigpipe(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], script[512];
	char path[128];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	/* Writes 200 kB after a signal that the test sends by making a file. */
	snprintf(path, sizeof(path), "%s/go", r.dir);
	snprintf(script, sizeof(script),
	    "( while ! [ -e %s ]; do sleep 0.02; done; head -c 200000 /dev/zero && : > %s.done ) & "
	    "exit 0",
	    path, path);
	peer_spec(&spec, argv, script);
	peer_run(&p, &pj, 1, "writer", &spec);
	peer_finish(&p, &pj);
	assert_true(pj.exit.streams_open & KM_BIT(KM_STDOUT));
	peer_detach(&p, &pj, true);
	fclose(fopen(path, "we"));
	snprintf(path, sizeof(path), "%s/go.done", r.dir);
	for (int64_t until = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	     access(path, F_OK) != 0;)
		assert_true(clock_monotonic_ns() < until);
	peer_close(&p);
	rig_stop(&r);
}

static void stdin_arrives_whole_and_its_end_is_said(void **state)
{
	static uint8_t data[300000];
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 >> 3);
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"cat"});
	spec.stdin_pipe = true;
	peer_run(&p, &pj, 1, "cat", &spec);
	assert_int_equal(pj.job.stdin_held, 1);
	peer_input(&p, &pj, data, 100000, false);
	while (pj.input_done.written < 100000)
		peer_step(&p, &pj, true);
	peer_input(&p, &pj, data + 100000, 200000, true);
	peer_finish(&p, &pj);
	assert_int_equal(pj.out[KM_STDOUT].len, sizeof(data));
	assert_memory_equal(pj.out[KM_STDOUT].data, data, sizeof(data));
	assert_int_equal(pj.exit.value, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void a_process_that_closes_stdin_is_told(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"exec 0<&-; echo closed; sleep 300"});
	spec.stdin_pipe = true;
	peer_run(&p, &pj, 1, "closer", &spec);
	while (pj.out[KM_STDOUT].len == 0)
		peer_step(&p, &pj, true);
	peer_input(&p, &pj, "x", 1, false);
	while (!pj.input_done.closed)
		peer_step(&p, &pj, true);
	assert_int_equal(pj.input_done.written, 0);
	peer_detach(&p, &pj, false);
	peer_close(&p);
	rig_stop(&r);
}

static void stdin_is_null_without_a_pipe_and_no_other_fd_is_open(void **state)
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
	    (char[]){"readlink /proc/self/fd/0; i=0; while [ $i -lt 200 ]; do "
	             "[ -e /proc/$$/fd/$i ] && echo -n $i; i=$((i+1)); done"});
	peer_run(&p, &pj, 1, "fds", &spec);
	peer_finish(&p, &pj);
	peer_assert_output(&pj, KM_STDOUT, "/dev/null\n012");
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

/* ---- starts ---- */

static void the_same_start_again_finds_the_process(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj, again;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"echo $$; cat"});
	spec.stdin_pipe = true;
	peer_run(&p, &pj, 1, "once", &spec);
	/* stdin's ring comes too: else it could come in the place of the next answer. */
	while (pj.out[KM_STDOUT].len == 0 || pj.input == NULL)
		peer_step(&p, &pj, false);
	peer_run(&p, &again, 2, "once", &spec);
	assert_int_equal(again.job.created, 0);
	assert_int_equal(again.job.pid, pj.job.pid);
	/* The client came back: stdin is with its new attachment. */
	assert_int_equal(again.job.stdin_held, 1);
	peer_detach(&p, &pj, false);
	peer_input(&p, &again, "x", 1, true);
	peer_finish(&p, &again);
	assert_true(again.out[KM_STDOUT].len > 2);
	/* Another spec. */
	spec.stop_grace_ns = 1;
	peer_start(&p, 3, "once", &spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_EXISTS);
	peer_detach(&p, &again, true);
	peer_close(&p);
	rig_stop(&r);
}

static void an_id_in_use_by_another_identity_is_refused(void **state)
{
	struct km_start start = {.att = 2, .id = "mine", .owner = "spiffe://test/user/two"};
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	union km_any m;
	struct err e;
	int memfd;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 300"});
	peer_run(&p, &pj, 1, "mine", &spec);
	assert_int_equal(job_spec_seal(&spec, &memfd, &e), 0);
	peer_send(&p, KM_START, 1, &start, memfd);
	close(memfd);
	peer_expect(&p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_EXISTS);
	peer_job_free(&pj);
	peer_close(&p);
	rig_stop(&r);
}

static void a_start_with_offsets_does_not_run_what_was_forgotten(void **state)
{
	struct km_start start = {.att = 2, .id = "gone", .owner = "x", .offset = {0, 100, 0}};
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
	union km_any m;
	struct err e;
	int memfd;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 300"});
	assert_int_equal(job_spec_seal(&spec, &memfd, &e), 0);
	peer_send(&p, KM_START, 1, &start, memfd);
	close(memfd);
	peer_expect(&p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_AHEAD);
	assert_int_equal(peer_job_state(&p, "gone"), 0);
	peer_close(&p);
	rig_stop(&r);
}

static void a_start_that_fails_says_where(void **state)
{
	static const struct {
		const char *program, *cwd, *user;
		int stage, sys_errno;
	} cases[] = {
	    {"no-such-command-here", "/", NULL, KM_STAGE_EXEC, ENOENT},
	    {"/etc/passwd", "/", NULL, KM_STAGE_EXEC, EACCES},
	    {"/bin/true", "/no/such/folder", NULL, KM_STAGE_CHDIR, ENOENT},
	    {"/bin/true", "/", "no-such-user-here", KM_STAGE_USER, ENOENT},
	};
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		peer_spec(&spec, argv, NULL);
		spec.argc = 1;
		argv[0] = (char *)(uintptr_t)cases[i].program;
		argv[1] = NULL;
		spec.cwd = (char *)(uintptr_t)cases[i].cwd;
		spec.user = (char *)(uintptr_t)cases[i].user;
		peer_start(&p, 1, "bad", &spec, &m);
		assert_int_equal(m.hdr.type, KM_REFUSED);
		assert_int_equal(m.refused.why, KM_WHY_START);
		assert_int_equal(m.refused.stage, cases[i].stage);
		assert_int_equal(m.refused.sys_errno, cases[i].sys_errno);
		assert_true(m.refused.text[0] != '\0');
		assert_int_equal(peer_job_state(&p, "bad"), 0);
	}
	peer_close(&p);
	rig_stop(&r);
}

static void no_more_processes_than_allowed(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1\nmax_processes = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 300"});
	peer_run(&p, &pj, 1, "a", &spec);
	peer_start(&p, 2, "b", &spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_LIMIT);
	assert_non_null(strstr(m.refused.text, "1"));
	peer_job_free(&pj);
	peer_close(&p);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_run_gives_both_outputs_and_then_the_exit),
	    cmocka_unit_test(half_a_megabyte_through_a_tiny_ring_arrives_whole),
	    cmocka_unit_test(a_grandchild_that_holds_an_output_does_not_hold_the_exit),
	    cmocka_unit_test(a_grandchild_writes_on_after_the_exit_without_sigpipe),
	    cmocka_unit_test(stdin_arrives_whole_and_its_end_is_said),
	    cmocka_unit_test(a_process_that_closes_stdin_is_told),
	    cmocka_unit_test(stdin_is_null_without_a_pipe_and_no_other_fd_is_open),
	    cmocka_unit_test(the_same_start_again_finds_the_process),
	    cmocka_unit_test(an_id_in_use_by_another_identity_is_refused),
	    cmocka_unit_test(a_start_with_offsets_does_not_run_what_was_forgotten),
	    cmocka_unit_test(a_start_that_fails_says_where),
	    cmocka_unit_test(no_more_processes_than_allowed),
	};

	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
