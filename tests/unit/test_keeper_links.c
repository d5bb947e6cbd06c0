/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper and a worker say to each other: who says nonsense, hangs or dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "tests/support/keeper_rig.h"

static void a_killed_worker_loses_no_byte(void **state)
{
	struct rig r;
	struct peer p, q;
	struct peer_job pj, again;
	struct job_spec spec;
	char *argv[4], script[256];
	uint64_t from;

	(void)state;
	rig_start(&r, "workers = 2\noutput_buffer = 16KiB");
	rig_accept(&r, &p);
	rig_accept(&r, &q);
	peer_pattern_script(script, sizeof(script), 20000);
	peer_spec(&spec, argv, script);
	peer_run(&p, &pj, 1, "stream", &spec);
	while (pj.out[KM_STDOUT].len < 100000)
		peer_step(&p, &pj, true);
	from = pj.out[KM_STDOUT].offset;
	peer_kill(&p);
	peer_attach(&q, &again, 5, "stream", from, 0, false);
	peer_finish(&q, &again);
	peer_assert_pattern(&again.out[KM_STDOUT], from, 20000);
	assert_int_equal(again.exit.value, 0);
	peer_job_free(&pj);
	peer_detach(&q, &again, true);
	/* A new one took its place. */
	rig_accept(&r, &p);
	peer_close(&p);
	peer_close(&q);
	rig_stop(&r);
}

/* What att 2 is told on the way is its own; att 1 is not woken. */
static void until_answered(struct peer *p, uint16_t type, union km_any *m)
{
	int fd;

	do {
		peer_recv(p, m, &fd);
		if (fd >= 0)
			close(fd);
		if (m->hdr.type == KM_WAKE)
			assert_int_equal(m->wake.att, 2);
	} while (m->hdr.type != type);
}

static void one_wake_until_the_release(void **state)
{
	struct km_info info = {0};
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"cat"});
	spec.stdin_pipe = true;
	peer_run(&p, &pj, 1, "wake", &spec);
	peer_input(&p, &pj, "a", 1, false);
	/* The first wake; it is not answered. */
	while (pj.out[KM_STDOUT].len == 0 || pj.input_done.written == 0)
		peer_step(&p, &pj, false);
	/* More comes (the job table says so), and no second wake before the release. */
	peer_input(&p, &pj, "b", 1, false);
	do
		peer_step(&p, &pj, false);
	while (pj.input_done.written < 2);
	for (uint64_t head = 0; head < 2;) {
		struct km_attach attach = {
		    .att = 2, .id = "wake", .owner = PEER_OWNER, .offset = {0, 0, 0}};
		struct km_detach detach = {.att = 2};

		peer_send(&p, KM_ATTACH, 3, &attach, -1);
		until_answered(&p, KM_JOB, &m);
		head = m.job.head[KM_STDOUT];
		peer_send(&p, KM_DETACH, 0, &detach, -1);
	}
	peer_send(&p, KM_INFO, 4, &info, -1);
	until_answered(&p, KM_INFO_REPLY, &m);
	assert_int_equal(m.info_reply.processes, 1);
	peer_release(&p, 1, KM_STDOUT, 0, 1);
	peer_expect(&p, KM_WAKE, &m);
	assert_int_equal(m.wake.att, 1);
	peer_job_free(&pj);
	peer_close(&p);
	rig_stop(&r);
}

struct nonsense {
	const char *what;
	void (*send)(struct peer *p);
};

static void send_rubbish(struct peer *p)
{
	peer_send_raw(p, "rubbish that is no message", 26);
}

static void send_keeper_message(struct peer *p)
{
	struct km_drain m = {0};

	peer_send(p, KM_DRAIN, 0, &m, -1);
}

static void send_second_ready(struct peer *p)
{
	struct km_ready m = {0};

	peer_send(p, KM_READY, 0, &m, -1);
}

static void send_release_beyond(struct peer *p)
{
	peer_release(p, 1, KM_STDOUT, 1 << 20, 0);
}

static void send_seen_beyond(struct peer *p)
{
	peer_release(p, 1, KM_STDERR, 0, 1);
}

static void send_release_of_no_stream(struct peer *p)
{
	peer_release(p, 1, 3, 0, 0);
}

static void send_input_beyond(struct peer *p)
{
	struct km_input m = {.att = 1, .head = UINT64_MAX};

	peer_send(p, KM_INPUT, 0, &m, -1);
}

static void send_number_in_use(struct peer *p)
{
	struct km_attach m = {.att = 1, .id = "victim", .owner = "x"};

	peer_send(p, KM_ATTACH, 1, &m, -1);
}

static void send_no_owner(struct peer *p)
{
	struct km_attach m = {.att = 2, .id = "victim"};

	peer_send(p, KM_ATTACH, 1, &m, -1);
}

static void send_bad_signal(struct peer *p)
{
	struct km_signal m = {.signo = 65, .target = KM_TARGET_GROUP, .id = "victim", .by = "x"};

	peer_send(p, KM_SIGNAL, 1, &m, -1);
}

static void send_bad_id(struct peer *p)
{
	struct km_start m = {.id = "../../etc", .owner = "x"};

	peer_send(p, KM_START, 1, &m, STDERR_FILENO);
}

static void send_bad_spec(struct peer *p)
{
	struct km_start m = {.id = "new", .owner = "x"};

	peer_send(p, KM_START, 1, &m, p->process);
}

static void nonsense_ends_the_worker_and_jobs_live(void **state)
{
	static const struct nonsense all[] = {
	    {"rubbish", send_rubbish},
	    {"the keeper's own message", send_keeper_message},
	    {"a second ready", send_second_ready},
	    {"a release beyond the head", send_release_beyond},
	    {"seen beyond the head", send_seen_beyond},
	    {"a release of no stream", send_release_of_no_stream},
	    {"input beyond the ring", send_input_beyond},
	    {"a number in use", send_number_in_use},
	    {"no owner", send_no_owner},
	    {"a bad signal", send_bad_signal},
	    {"a bad id", send_bad_id},
	    {"a spec that is none", send_bad_spec},
	};
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"cat"});
	spec.stdin_pipe = true;
	peer_run(&p, &pj, 1, "victim", &spec);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		print_message("# %s\n", all[i].what);
		all[i].send(&p);
		peer_expect_death(&p);
		peer_job_free(&pj);
		rig_accept(&r, &p);
		peer_attach(&p, &pj, 1, "victim", 0, 0, true);
		assert_int_equal(pj.job.state, KM_STATE_RUNNING);
	}
	peer_input(&p, &pj, "alive", 5, true);
	peer_finish(&p, &pj);
	peer_assert_output(&pj, KM_STDOUT, "alive");
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void a_worker_that_hangs_is_killed_and_replaced(void **state)
{
	struct rig r;
	struct peer p, q;
	int late = 0;

	(void)state;
	rig_start(&r, "workers = 1\nheartbeat_interval = 20ms\nhang_timeout = 100ms");
	rig_accept(&r, &p);
	/* Not one pong: the next to connect is its successor. */
	rig_accept(&r, &q);
	assert_true(q.pid != p.pid);
	assert_true(rig_logged(&r, "hangs and is killed"));
	peer_close(&p);
	/* One that answers lives. Where the machine is so slow that an answer is late, the next one
	 * does. */
	while (!peer_answers(&q)) {
		assert_true(++late < 20);
		peer_close(&q);
		rig_accept(&r, &q);
	}
	peer_close(&q);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_killed_worker_loses_no_byte),
	    cmocka_unit_test(one_wake_until_the_release),
	    cmocka_unit_test(nonsense_ends_the_worker_and_jobs_live),
	    cmocka_unit_test(a_worker_that_hangs_is_killed_and_replaced),
	};

	return cmocka_run_group_tests_name("keeper_links", tests, NULL, NULL);
}
