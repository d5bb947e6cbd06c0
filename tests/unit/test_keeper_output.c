/* SPDX-License-Identifier: Apache-2.0 */
/* What a whole telexd holds of outputs, and for whom: its workers' side of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/job_record.h"
#include "common/ring.h"
#include "tests/support/keeper_rig.h"

struct probe {
	struct peer *p;
	const char *id;
};

static bool leader_is_gone(void *arg)
{
	struct probe *probe = arg;

	return peer_job_state(probe->p, probe->id) >= KM_STATE_ENDING;
}

/* It has told its exit, with all that was still in its pipes. */
static bool has_ended(void *arg)
{
	struct probe *probe = arg;

	return peer_job_state(probe->p, probe->id) == KM_STATE_ENDED;
}

static void start_detached(struct peer *p, const char *id, const struct job_spec *spec)
{
	union km_any m;

	peer_start(p, 0, id, spec, &m);
	if (m.hdr.type != KM_JOB)
		fail_msg("refused: %s", m.refused.text);
}

static void expect_refused(
    struct peer *p, const char *id, enum km_from from, uint64_t offset, union km_any *m)
{
	struct km_attach attach = {.att = 99, .owner = PEER_OWNER, .from = (uint8_t)from};

	snprintf(attach.id, sizeof(attach.id), "%s", id);
	attach.offset[KM_STDOUT] = offset;
	peer_send(p, KM_ATTACH, 1, &attach, -1);
	peer_expect(p, KM_REFUSED, m);
}

/* A reader that is late must get all of it: the grace of two seconds does not cut a full ring. */
static void a_late_reader_gets_what_the_dead_process_wrote(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], script[300];
	struct probe probe = {&p, "late"};
	int64_t until;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	/* 4 KiB in the ring, the rest fits into the pipe: the process ends long before it is read.
	 */
	peer_pattern_script(script, sizeof(script), 1000);
	peer_spec(&spec, argv, script);
	spec.output_buffer = 4096;
	{
		union km_any m;

		peer_start(&p, 0, "late", &spec, &m);
		assert_int_equal(m.hdr.type, KM_JOB);
	}
	rig_until(leader_is_gone, &probe, "the leader's end");
	/* Past the grace: nothing may be published, for nobody has read. */
	until = clock_monotonic_ns() + 2500 * NS_PER_MS;
	while (clock_monotonic_ns() < until)
		assert_int_equal(peer_job_state(&p, "late"), KM_STATE_ENDING);
	peer_attach(&p, &pj, 1, "late", 0, 0, false);
	peer_finish(&p, &pj);
	peer_assert_pattern(&pj.out[KM_STDOUT], 0, 1000);
	assert_int_equal(pj.exit.streams_open, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void what_one_has_is_there_for_the_next(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj, again;
	struct job_spec spec;
	char *argv[4], script[256];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_pattern_script(script, sizeof(script), 1000);
	peer_spec(&spec, argv, script);
	spec.disconnect = JOB_DISCONNECT_KEEP;
	peer_run(&p, &pj, 1, "twice", &spec);
	peer_finish(&p, &pj);
	peer_detach(&p, &pj, true);
	for (uint32_t i = 0; i < 3; i++) {
		peer_attach(&p, &again, 2 + i, "twice", 0, 0, false);
		peer_finish(&p, &again);
		peer_assert_pattern(&again.out[KM_STDOUT], 0, 1000);
		peer_detach(&p, &again, false);
	}
	peer_close(&p);
	rig_stop(&r);
}

static void offsets_that_are_not_held_are_refused(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj, again;
	struct job_spec spec;
	char *argv[4], script[256];
	union km_any m;
	uint64_t oldest;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_pattern_script(script, sizeof(script), 1000);
	peer_spec(&spec, argv, script);
	spec.output_buffer = 4096;
	spec.disconnect = JOB_DISCONNECT_KEEP;
	peer_run(&p, &pj, 1, "held", &spec);
	peer_finish(&p, &pj);
	expect_refused(&p, "held", KM_FROM_OFFSET, 0, &m);
	assert_int_equal(m.refused.why, KM_WHY_DROPPED);
	assert_int_equal(m.refused.stream, KM_STDOUT);
	assert_int_equal(m.refused.newest, 64000);
	oldest = m.refused.oldest;
	assert_in_range(oldest, 64000 - 4096, 64000);
	expect_refused(&p, "held", KM_FROM_OFFSET, oldest - 1, &m);
	assert_int_equal(m.refused.why, KM_WHY_DROPPED);
	expect_refused(&p, "held", KM_FROM_OFFSET, 64001, &m);
	assert_int_equal(m.refused.why, KM_WHY_AHEAD);
	peer_detach(&p, &pj, false);
	peer_attach(&p, &again, 2, "held", oldest, 0, false);
	assert_int_equal(again.job.tail[KM_STDOUT], oldest);
	peer_finish(&p, &again);
	peer_assert_pattern(&again.out[KM_STDOUT], oldest, 1000);
	peer_detach(&p, &again, true);
	peer_close(&p);
	rig_stop(&r);
}

static void nobody_reads_and_the_spool_holds_it_all(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], script[256];
	struct probe probe = {&p, "spooled"};

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_pattern_script(script, sizeof(script), 8000);
	peer_spec(&spec, argv, script);
	spec.output_buffer = 4096;
	spec.spool = 1 << 20;
	spec.disconnect = JOB_DISCONNECT_KEEP;
	start_detached(&p, "spooled", &spec);
	rig_until(leader_is_gone, &probe, "the process's end");
	for (uint32_t i = 1; i <= 2; i++) {
		peer_attach(&p, &pj, i, "spooled", 0, 0, false);
		assert_int_equal(pj.job.tail[KM_STDOUT], 0);
		peer_finish(&p, &pj);
		peer_assert_pattern(&pj.out[KM_STDOUT], 0, 8000);
		peer_detach(&p, &pj, false);
	}
	peer_close(&p);
	rig_stop(&r);
}

/* More than ring, spool and pipe hold: the process waits, and all of it comes in the end. */
static void a_reader_drains_a_full_spool_while_the_process_writes_on(void **state)
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
	spec.spool = 64 * 1024;
	start_detached(&p, "drained", &spec);
	/* From the beginning, while it goes on. */
	peer_attach(&p, &pj, 1, "drained", 0, 0, false);
	peer_finish(&p, &pj);
	peer_assert_pattern(&pj.out[KM_STDOUT], 0, 8000);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void drop_oldest_keeps_the_end_and_says_from_where(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], script[256];
	struct probe probe = {&p, "dropped"};
	struct km_attach oldest = {
	    .att = 50, .owner = PEER_OWNER, .from = KM_FROM_OFFSET, .id = "dropped"};
	union km_any m;
	uint64_t at;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_pattern_script(script, sizeof(script), 8000);
	peer_spec(&spec, argv, script);
	spec.output_buffer = 4096;
	spec.output_policy = JOB_OUTPUT_DROP_OLDEST;
	spec.disconnect = JOB_DISCONNECT_KEEP;
	start_detached(&p, "dropped", &spec);
	/* What is still read of it moves the oldest. */
	rig_until(has_ended, &probe, "the process's end");
	expect_refused(&p, "dropped", KM_FROM_OFFSET, 0, &m);
	assert_int_equal(m.refused.why, KM_WHY_DROPPED);
	at = m.refused.oldest;
	peer_attach(&p, &pj, 1, "dropped", m.refused.oldest, 0, false);
	peer_finish(&p, &pj);
	assert_true(pj.out[KM_STDOUT].len > 0 && pj.out[KM_STDOUT].len <= 4096);
	peer_assert_pattern(&pj.out[KM_STDOUT], m.refused.oldest, 8000);
	peer_detach(&p, &pj, true);
	/* Whoever does not know where that is may ask for it, and for another byte of the other. */
	oldest.offset[KM_STDOUT] = KM_OFFSET_OLDEST;
	peer_send(&p, KM_ATTACH, 7, &oldest, -1);
	peer_expect(&p, KM_JOB, &m);
	assert_true(m.job.tail[KM_STDOUT] == at);
	peer_close(&p);
	rig_stop(&r);
}

static void sizes_above_the_maximum_are_refused(void **state)
{
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1\nmax_output_buffer = 2MiB\nmax_spool = 3MiB");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"exit 0"});
	spec.output_buffer = (2 << 20) + 1;
	peer_start(&p, 0, "big", &spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_MAXIMUM);
	assert_int_equal(m.refused.newest, 2 << 20);
	assert_non_null(strstr(m.refused.text, "2097152"));
	spec.output_buffer = 2 << 20;
	spec.spool = (3 << 20) + 1;
	peer_start(&p, 0, "big", &spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_MAXIMUM);
	assert_int_equal(m.refused.newest, 3 << 20);
	spec.spool = 3 << 20;
	start_detached(&p, "big", &spec);
	peer_close(&p);
	rig_stop(&r);
}

/* The client's new connection is with another worker; the old one is not known to be dead. */
static void the_same_key_on_another_worker_takes_over(void **state)
{
	struct km_attach attach = {
	    .att = 5, .owner = PEER_OWNER, .id = "moved", .key = 11, .want_stdin = 1};
	struct rig r;
	struct peer p, q;
	struct peer_job pj, stranger;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 2");
	rig_accept(&r, &p);
	rig_accept(&r, &q);
	peer_spec(&spec, argv, (char[]){"cat"});
	spec.stdin_pipe = true;
	start_detached(&p, "moved", &spec);
	peer_send(&p, KM_ATTACH, 1, &attach, -1);
	peer_expect(&p, KM_JOB, &m);
	assert_int_equal(m.job.stdin_held, 1);
	peer_expect(&p, KM_RING, &m);
	/* Without the key it is said who holds stdin. */
	attach.key = 0;
	peer_send(&q, KM_ATTACH, 1, &attach, -1);
	peer_expect(&q, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_STDIN_HELD);
	assert_string_equal(m.refused.text, PEER_OWNER);
	attach.key = 11;
	peer_send(&q, KM_ATTACH, 1, &attach, -1);
	peer_expect(&q, KM_JOB, &m);
	assert_int_equal(m.job.stdin_held, 1);
	memset(&pj, 0, sizeof(pj));
	pj.att = 5;
	pj.job = m.job;
	peer_expect(&p, KM_DETACHED, &m);
	assert_int_equal(m.detached.att, 5);
	assert_int_equal(m.detached.why, KM_WHY_REPLACED);
	/* What the old worker still says of it is no violation, and its number is free. */
	peer_release(&p, 5, KM_STDOUT, 1 << 20, 0);
	peer_attach(&p, &stranger, 5, "moved", 0, 0, false);
	peer_detach(&p, &stranger, false);
	peer_input(&q, &pj, "here", 4, true);
	peer_finish(&q, &pj);
	assert_int_equal(pj.out[KM_STDOUT].len, 4);
	peer_detach(&q, &pj, true);
	peer_close(&p);
	peer_close(&q);
	rig_stop(&r);
}

static bool output_waits(void *arg)
{
	return rig_logged(arg, "waits");
}

/* The agent was started with a limit of file sizes (ulimit -f): memory of outputs counts, too. */
static void a_limit_of_file_sizes_does_not_kill_the_agent(void **state)
{
	struct peer_job pj;
	struct job_spec spec;
	struct rlimit before, little;
	struct rig r;
	struct peer p;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	assert_int_equal(prlimit(r.pid, RLIMIT_FSIZE, NULL, &before), 0);
	little = before;
	little.rlim_cur = 64 * 1024;
	assert_int_equal(prlimit(r.pid, RLIMIT_FSIZE, &little, NULL), 0);
	peer_spec(&spec, argv, (char[]){"echo here"});
	peer_run(&p, &pj, 1, "limited", &spec);
	rig_until(output_waits, &r, "an output without memory");
	assert_true(peer_answers_between(&p));
	assert_int_equal(prlimit(r.pid, RLIMIT_FSIZE, &before, NULL), 0);
	peer_finish(&p, &pj);
	assert_int_equal(pj.out[KM_STDOUT].len, 5);
	peer_detach(&p, &pj, true);
	peer_job_free(&pj);
	peer_close(&p);
	rig_stop(&r);
}

static void without_descriptors_a_start_is_refused_and_the_link_stays(void **state)
{
	struct rlimit before, none;
	struct job_spec spec;
	struct rig r;
	struct peer p;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1\n");
	rig_accept(&r, &p);
	assert_true(peer_answers(&p));
	assert_int_equal(prlimit(r.pid, RLIMIT_NOFILE, NULL, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(prlimit(r.pid, RLIMIT_NOFILE, &none, NULL), 0);
	peer_spec(&spec, argv, (char[]){"true"});
	peer_start(&p, 0, "none", &spec, &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_SYSTEM);
	assert_int_equal(m.refused.sys_errno, EMFILE);
	assert_int_equal(prlimit(r.pid, RLIMIT_NOFILE, &before, NULL), 0);
	peer_start(&p, 0, "some", &spec, &m);
	assert_int_equal(m.hdr.type, KM_JOB);
	peer_close(&p);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_late_reader_gets_what_the_dead_process_wrote),
	    cmocka_unit_test(what_one_has_is_there_for_the_next),
	    cmocka_unit_test(offsets_that_are_not_held_are_refused),
	    cmocka_unit_test(nobody_reads_and_the_spool_holds_it_all),
	    cmocka_unit_test(a_reader_drains_a_full_spool_while_the_process_writes_on),
	    cmocka_unit_test(drop_oldest_keeps_the_end_and_says_from_where),
	    cmocka_unit_test(sizes_above_the_maximum_are_refused),
	    cmocka_unit_test(the_same_key_on_another_worker_takes_over),
	    cmocka_unit_test(without_descriptors_a_start_is_refused_and_the_link_stays),
	    cmocka_unit_test(a_limit_of_file_sizes_does_not_kill_the_agent),
	};

	return cmocka_run_group_tests_name("keeper_output", tests, NULL, NULL);
}
