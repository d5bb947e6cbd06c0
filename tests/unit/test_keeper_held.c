/* SPDX-License-Identifier: Apache-2.0 */
/* How long ended jobs are held, who lets go of them, and what a list says of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/job_record.h"
#include "tests/support/keeper_rig.h"

struct scene {
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
};

static void begin(struct scene *s, char *script)
{
	rig_start(&s->r, "workers = 1");
	rig_accept(&s->r, &s->p);
	peer_spec(&s->spec, s->argv, script);
	s->spec.disconnect = JOB_DISCONNECT_KEEP;
}

static void finish(struct scene *s)
{
	peer_close(&s->p);
	rig_stop(&s->r);
}

struct seen {
	size_t n;
	int state;
	uint32_t attached;
	size_t argc, argv_bytes;
	bool cut;
	uint64_t oldest, newest;
	int64_t expire_ns, end_ns;
};

static void note(const struct job_record *rec, void *arg)
{
	struct seen *seen = arg;

	seen->n++;
	seen->state = rec->state;
	seen->attached = rec->attached;
	seen->argc = rec->argc;
	seen->argv_bytes = 0;
	for (size_t i = 0; i < rec->argc; i++)
		seen->argv_bytes += strlen(rec->argv[i]) + 1;
	seen->cut = rec->argv_cut != 0;
	seen->oldest = rec->oldest[KM_STDOUT];
	seen->newest = rec->newest[KM_STDOUT];
	seen->expire_ns = rec->expire_ns;
	seen->end_ns = rec->exit.end_ns;
}

/* All, or the one of this id (then n is 0 when there is none). Returns how many were dropped. */
static uint64_t list(struct scene *s, const char *id, struct seen *seen)
{
	struct km_list q = {.one = id != NULL, .states = UINT32_MAX, .owner = PEER_OWNER};
	union km_any m;
	int fd;

	memset(seen, 0, sizeof(*seen));
	if (id != NULL)
		snprintf(q.id, sizeof(q.id), "%s", id);
	peer_send(&s->p, KM_LIST, 22, &q, -1);
	peer_answer(&s->p, 22, &m, &fd);
	if (m.hdr.type != KM_TABLE)
		return 0;
	assert_int_equal(job_records_read(fd, m.table.bytes, m.table.count, note, seen, NULL), 0);
	close(fd);
	return m.table.dropped;
}

static void remove_job(struct scene *s, const char *id, union km_any *m)
{
	struct km_remove q = {.by = PEER_OWNER};
	int fd;

	snprintf(q.id, sizeof(q.id), "%s", id);
	peer_send(&s->p, KM_REMOVE, 24, &q, -1);
	peer_answer(&s->p, 24, m, &fd);
}

static void wait_ended(struct scene *s, const char *id)
{
	const int64_t deadline = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	struct seen seen;

	do {
		(void)list(s, id, &seen);
		assert_true(clock_monotonic_ns() < deadline);
	} while (seen.state != KM_STATE_ENDED);
}

/* An attachment that waits for the end and is nobody's presence. */
static void watch(struct scene *s, struct peer_job *pj, uint32_t att, const char *id)
{
	struct km_attach q = {.att = att,
	    .from = KM_FROM_OLDEST,
	    .flags = KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT,
	    .owner = PEER_OWNER};
	union km_any m;

	memset(pj, 0, sizeof(*pj));
	pj->att = att;
	snprintf(q.id, sizeof(q.id), "%s", id);
	peer_send(&s->p, KM_ATTACH, 8, &q, -1);
	peer_expect(&s->p, KM_JOB, &m);
	peer_join(&s->p, att);
	pj->job = m.job;
}

static void the_time_is_the_specs(void **state)
{
	const int64_t deadline = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	struct seen seen;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, (char[]){"exit 0"});
	peer_start(&s.p, 0, "hour", &s.spec, &m);
	s.spec.keep_ns = JOB_KEEP_MIN_NS;
	peer_start(&s.p, 0, "second", &s.spec, &m);
	wait_ended(&s, "hour");
	(void)list(&s, "hour", &seen);
	assert_true(seen.expire_ns >= seen.end_ns + JOB_KEEP_DEFAULT_NS);
	assert_true(seen.expire_ns < seen.end_ns + JOB_KEEP_DEFAULT_NS + 60 * NS_PER_S);
	do {
		(void)list(&s, "second", &seen);
		assert_true(clock_monotonic_ns() < deadline);
	} while (seen.n == 1);
	/* Nobody had its exit: that is said. */
	assert_int_equal(list(&s, NULL, &seen), 1);
	assert_int_equal(seen.n, 1);
	finish(&s);
}

static void one_that_somebody_had_is_not_missed(void **state)
{
	const int64_t deadline = clock_monotonic_ns() + RIG_DEADLINE_MS * NS_PER_MS;
	struct peer_job pj;
	struct seen seen;
	struct scene s;
	uint64_t dropped;

	(void)state;
	begin(&s, (char[]){"exit 0"});
	s.spec.keep_ns = JOB_KEEP_MIN_NS;
	peer_run(&s.p, &pj, 1, "had", &s.spec);
	peer_finish(&s.p, &pj);
	peer_detach(&s.p, &pj, 1);
	do {
		dropped = list(&s, NULL, &seen);
		assert_true(clock_monotonic_ns() < deadline);
	} while (seen.n == 1);
	assert_int_equal(dropped, 0);
	finish(&s);
}

/* The one who started it was cut off; that another looked on is none of its business. */
static void who_only_looked_on_acknowledges_for_nobody_else(void **state)
{
	struct peer_job pj;
	struct seen seen;
	struct scene s;

	(void)state;
	begin(&s, (char[]){"exit 3"});
	s.spec.disconnect = JOB_DISCONNECT_HANGUP;
	peer_run(&s.p, &pj, 1, "job", &s.spec);
	peer_finish(&s.p, &pj);
	peer_detach(&s.p, &pj, KM_DELIVERED_NOT);
	peer_attach(&s.p, &pj, 2, "job", 0, 0, false);
	peer_finish(&s.p, &pj);
	peer_detach(&s.p, &pj, KM_DELIVERED_ACKNOWLEDGED);
	(void)list(&s, "job", &seen);
	assert_int_equal(seen.n, 1);
	peer_run(&s.p, &pj, 3, "job", &s.spec);
	assert_int_equal(pj.job.created, 0);
	peer_finish(&s.p, &pj);
	assert_int_equal(pj.exit.value, 3);
	peer_detach(&s.p, &pj, KM_DELIVERED_ACKNOWLEDGED);
	(void)list(&s, "job", &seen);
	assert_int_equal(seen.n, 0);
	finish(&s);
}

static void only_what_has_ended_is_removed(void **state)
{
	struct km_remove foreign = {.id = "done", .by = "spiffe://test/user/two"};
	struct seen seen;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, (char[]){"exit 0"});
	peer_start(&s.p, 0, "done", &s.spec, &m);
	peer_spec(&s.spec, s.argv, (char[]){"exec sleep 300"});
	peer_start(&s.p, 0, "runs", &s.spec, &m);
	wait_ended(&s, "done");
	remove_job(&s, "runs", &m);
	assert_int_equal(m.hdr.type, KM_REFUSED);
	assert_int_equal(m.refused.why, KM_WHY_RUNNING);
	remove_job(&s, "none", &m);
	assert_int_equal(m.refused.why, KM_WHY_NO_SUCH);
	peer_send(&s.p, KM_REMOVE, 1, &foreign, -1);
	peer_expect(&s.p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, KM_WHY_NO_SUCH);
	remove_job(&s, "done", &m);
	assert_int_equal(m.hdr.type, KM_DONE);
	assert_int_equal(list(&s, "done", &seen), 0);
	assert_int_equal(seen.n, 0);
	finish(&s);
}

static void what_is_removed_is_gone_for_all_but_its_readers(void **state)
{
	struct peer_job pj;
	struct seen seen;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, (char[]){"echo hello"});
	peer_start(&s.p, 0, "read", &s.spec, &m);
	wait_ended(&s, "read");
	peer_attach(&s.p, &pj, 1, "read", 0, 0, false);
	remove_job(&s, "read", &m);
	assert_int_equal(m.hdr.type, KM_DONE);
	(void)list(&s, NULL, &seen);
	assert_int_equal(seen.n, 0);
	/* The id is free: this is another one. */
	peer_start(&s.p, 0, "read", &s.spec, &m);
	assert_int_equal(m.job.created, 1);
	peer_detach(&s.p, &pj, 0);
	wait_ended(&s, "read");
	finish(&s);
}

static void a_watcher_is_nobodys_presence(void **state)
{
	struct peer_job pj, eye;
	struct seen seen;
	struct scene s;

	(void)state;
	begin(&s, (char[]){"echo x; exec sleep 300"});
	s.spec.disconnect = JOB_DISCONNECT_KILL;
	peer_run(&s.p, &pj, 1, "w", &s.spec);
	while (pj.out[KM_STDOUT].len == 0)
		peer_step(&s.p, &pj, false);
	watch(&s, &eye, 2, "w");
	(void)list(&s, "w", &seen);
	assert_int_equal(seen.attached, 1);
	peer_detach(&s.p, &pj, 0);
	/* Neither rings nor wakes: the next that it hears is the end. */
	peer_step(&s.p, &eye, false);
	assert_true(eye.ended);
	assert_int_equal(eye.exit.reason, KM_REASON_DISCONNECT);
	peer_detach(&s.p, &eye, 0);
	finish(&s);
}

static void a_watcher_does_not_hold_up_the_output(void **state)
{
	struct peer_job pj, eye;
	struct peer reader;
	struct scene s;

	(void)state;
	rig_start(&s.r, "workers = 2");
	rig_accept(&s.r, &s.p);
	rig_accept(&s.r, &reader);
	peer_spec(&s.spec, s.argv, (char[]){"read x; head -c 100000 /dev/zero"});
	s.spec.output_buffer = 4096;
	s.spec.stdin_pipe = true;
	peer_run(&reader, &pj, 1, "w", &s.spec);
	watch(&s, &eye, 2, "w");
	peer_input(&reader, &pj, "\n", 1, true);
	peer_finish(&reader, &pj);
	assert_int_equal(pj.exit.stdout_length, 100000);
	peer_detach(&reader, &pj, 1);
	peer_step(&s.p, &eye, false);
	assert_true(eye.ended);
	peer_close(&reader);
	finish(&s);
}

static void a_list_cuts_long_commands_and_says_so(void **state)
{
	enum { N = 100 };
	char *argv[N + 1], big[1000], empty[] = "";
	struct seen seen;
	struct scene s;
	union km_any m;

	(void)state;
	begin(&s, (char[]){"exit 0"});
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	argv[0] = (char[]){"true"};
	for (int i = 1; i < N; i++)
		argv[i] = big;
	argv[N] = NULL;
	s.spec.argv = argv;
	s.spec.argc = N;
	peer_start(&s.p, 0, "long", &s.spec, &m);
	assert_int_equal(m.hdr.type, KM_JOB);
	(void)list(&s, NULL, &seen);
	assert_true(seen.cut);
	assert_int_equal(seen.argv_bytes, JOB_RECORD_ARGV);
	(void)list(&s, "long", &seen);
	assert_false(seen.cut);
	assert_int_equal(seen.argc, N);
	assert_int_equal(seen.argv_bytes, 5 + (N - 1) * 1000);
	/* Many short ones are many, too. */
	for (int i = 1; i < N; i++)
		argv[i] = empty;
	peer_start(&s.p, 0, "short", &s.spec, &m);
	(void)list(&s, NULL, &seen);
	assert_false(seen.cut);
	assert_int_equal(seen.argc, N);
	finish(&s);
}

static void a_list_says_what_is_held_of_the_outputs(void **state)
{
	struct peer_job pj;
	struct seen seen;
	struct scene s;

	(void)state;
	begin(&s, (char[]){"echo 0123456789"});
	peer_run(&s.p, &pj, 1, "o", &s.spec);
	peer_finish(&s.p, &pj);
	(void)list(&s, "o", &seen);
	assert_int_equal(seen.newest, 11);
	assert_int_equal(seen.oldest, 0);
	assert_int_equal(seen.attached, 1);
	peer_detach(&s.p, &pj, 1);
	finish(&s);
}

/* Each of those that ended holds two descriptors, for what it wrote: more than there are. */
static void what_has_ended_keeps_nobody_from_starting(void **state)
{
	enum { N = 150 };
	const struct rlimit few = {256, 256};
	struct seen seen;
	struct scene s;
	union km_any m;
	char id[16];

	(void)state;
	/* For good: it may not be raised again. So this test is the last. */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	begin(&s, (char[]){"echo out; echo err >&2"});
	for (int i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "p%d", i);
		peer_start(&s.p, 0, id, &s.spec, &m);
		assert_int_equal(m.hdr.type, KM_JOB);
		wait_ended(&s, id);
	}
	/* The oldest paid for it; its end is known all the same. */
	list(&s, "p0", &seen);
	assert_int_equal(seen.state, KM_STATE_ENDED);
	assert_int_equal(seen.newest, 4);
	assert_int_equal(seen.oldest, 4);
	list(&s, id, &seen);
	assert_int_equal(seen.newest, 4);
	assert_int_equal(seen.oldest, 0);
	finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_time_is_the_specs),
	    cmocka_unit_test(one_that_somebody_had_is_not_missed),
	    cmocka_unit_test(who_only_looked_on_acknowledges_for_nobody_else),
	    cmocka_unit_test(only_what_has_ended_is_removed),
	    cmocka_unit_test(what_is_removed_is_gone_for_all_but_its_readers),
	    cmocka_unit_test(a_watcher_is_nobodys_presence),
	    cmocka_unit_test(a_watcher_does_not_hold_up_the_output),
	    cmocka_unit_test(a_list_cuts_long_commands_and_says_so),
	    cmocka_unit_test(a_list_says_what_is_held_of_the_outputs),
	    cmocka_unit_test(what_has_ended_keeps_nobody_from_starting),
	};

	/* valgrind: its limit of descriptors is not the kernel's. */
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		puts("# left out under valgrind: what_has_ended_keeps_nobody_from_starting");
		cmocka_set_skip_filter("what_has_ended_keeps_nobody_from_starting");
	}
	return cmocka_run_group_tests_name("keeper_held", tests, NULL, NULL);
}
