/* SPDX-License-Identifier: Apache-2.0 */
/* A whole telexd, driven by its workers' side of the links. */
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
#include <sys/wait.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/job_record.h"
#include "tests/support/keeper_rig.h"

static void assert_output(const struct peer_job *pj, int s, const char *text)
{
	assert_int_equal(pj->out[s].len, strlen(text));
	assert_memory_equal(pj->out[s].data, text, strlen(text));
}

/* Bytes that depend on their offset, as the script below writes them. */
#define PATTERN_SCRIPT "i=0; while [ $i -lt %d ]; do printf '%%08d%s' $i; i=$((i+1)); done"
#define PATTERN_LINE   64

static void pattern_script(char *out, size_t size, int lines)
{
	char rest[PATTERN_LINE - 8 + 1];

	memset(rest, '.', sizeof(rest));
	rest[sizeof(rest) - 1] = '\0';
	snprintf(out, size, PATTERN_SCRIPT, lines, rest);
}

static void assert_pattern(const struct peer_output *o, uint64_t from, int lines)
{
	assert_int_equal(o->offset, (uint64_t)lines * PATTERN_LINE);
	assert_int_equal(o->len, o->offset - from);
	for (size_t i = 0; i < o->len; i++) {
		uint64_t at = from + i;
		char want[16];

		snprintf(want, sizeof(want), "%08u", (unsigned)(at / PATTERN_LINE));
		if (o->data[i] != (at % PATTERN_LINE < 8 ? want[at % PATTERN_LINE] : '.'))
			fail_msg("a wrong byte at offset %llu", (unsigned long long)at);
	}
}

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
	assert_output(&pj, KM_STDOUT, "out\n");
	assert_output(&pj, KM_STDERR, "err\n");
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
	pattern_script(script, sizeof(script), 8000);
	peer_spec(&spec, argv, script);
	spec.output_buffer = 4096;
	peer_run(&p, &pj, 1, "burst", &spec);
	peer_finish(&p, &pj);
	assert_pattern(&pj.out[KM_STDOUT], 0, 8000);
	assert_int_equal(pj.exit.streams_open, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

struct probe {
	struct peer *p;
	const char *id;
	int state;
};

static void note_state(const struct job_record *rec, void *arg)
{
	((struct probe *)arg)->state = rec->state;
}

/* The state of a job by KM_LIST; 0: there is none. */
static int job_state(struct peer *p, const char *id)
{
	struct probe probe = {p, id, 0};
	struct km_list list = {.one = 1, .owner = PEER_OWNER};
	union km_any m;
	struct err e;
	int fd;

	snprintf(list.id, sizeof(list.id), "%s", id);
	peer_send(p, KM_LIST, 9, &list, -1);
	peer_recv(p, &m, &fd);
	assert_int_equal(m.hdr.seq, 9);
	if (m.hdr.type == KM_REFUSED) {
		assert_int_equal(m.refused.why, KM_WHY_NO_SUCH);
		return 0;
	}
	assert_int_equal(m.hdr.type, KM_TABLE);
	assert_int_equal(m.table.count, 1);
	assert_int_equal(job_records_read(fd, m.table.bytes, 1, note_state, &probe, &e), 0);
	close(fd);
	return probe.state;
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
	assert_output(&pj, KM_STDOUT, "/dev/null\n012");
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

/* ---- links ---- */

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
	pattern_script(script, sizeof(script), 20000);
	peer_spec(&spec, argv, script);
	peer_run(&p, &pj, 1, "stream", &spec);
	while (pj.out[KM_STDOUT].len < 100000)
		peer_step(&p, &pj, true);
	from = pj.out[KM_STDOUT].offset;
	peer_kill(&p);
	peer_attach(&q, &again, 5, "stream", from, 0, false);
	peer_finish(&q, &again);
	assert_pattern(&again.out[KM_STDOUT], from, 20000);
	assert_int_equal(again.exit.value, 0);
	peer_job_free(&pj);
	peer_detach(&q, &again, true);
	/* A new one took its place. */
	rig_accept(&r, &p);
	peer_close(&p);
	peer_close(&q);
	rig_stop(&r);
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
		do {
			int fd;

			peer_recv(&p, &m, &fd);
			if (fd >= 0)
				close(fd);
			/* What att 2 is told is its own. */
			if (m.hdr.type == KM_WAKE)
				assert_int_equal(m.wake.att, 2);
		} while (m.hdr.type != KM_JOB);
		head = m.job.head[KM_STDOUT];
		peer_send(&p, KM_DETACH, 0, &detach, -1);
	}
	peer_send(&p, KM_INFO, 4, &info, -1);
	do {
		int fd;

		peer_recv(&p, &m, &fd);
		if (fd >= 0)
			close(fd);
		if (m.hdr.type == KM_WAKE)
			assert_int_equal(m.wake.att, 2);
	} while (m.hdr.type != KM_INFO_REPLY);
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
	assert_output(&pj, KM_STDOUT, "alive");
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
	while (pj.out[KM_STDOUT].len == 0)
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
	assert_int_equal(job_state(&p, "gone"), 0);
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
		assert_int_equal(job_state(&p, "bad"), 0);
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

/* ---- endings ---- */

static void send_signal(
    struct peer *p, const char *id, int signo, enum km_target target, union km_any *m)
{
	struct km_signal sig = {
	    .signo = (uint32_t)signo, .target = target, .kill_after_ns = -1, .by = PEER_OWNER};
	int fd;

	snprintf(sig.id, sizeof(sig.id), "%s", id);
	peer_send(p, KM_SIGNAL, 12, &sig, -1);
	do
		peer_recv(p, m, &fd);
	while (m->hdr.seq != 12);
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
	assert_output(&pj, KM_STDOUT, "on\nlast words\n");
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
			assert_int_equal(job_state(&p, id), KM_STATE_RUNNING);
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
	assert_int_equal(job_state(&p, "kept"), 0);
	peer_close(&p);
	rig_stop(&r);
}

/* ---- the agent itself ---- */

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
	kill(r.pid, SIGTERM);
	{
		union km_any m;

		peer_expect(&p, KM_DRAIN, &m);
		peer_start(&p, 2, "late", &spec, &m);
		assert_int_equal(m.hdr.type, KM_REFUSED);
		assert_int_equal(m.refused.why, KM_WHY_SHUTTING_DOWN);
	}
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
	    cmocka_unit_test(a_run_gives_both_outputs_and_then_the_exit),
	    cmocka_unit_test(half_a_megabyte_through_a_tiny_ring_arrives_whole),
	    cmocka_unit_test(a_grandchild_that_holds_an_output_does_not_hold_the_exit),
	    cmocka_unit_test(a_grandchild_writes_on_after_the_exit_without_sigpipe),
	    cmocka_unit_test(stdin_arrives_whole_and_its_end_is_said),
	    cmocka_unit_test(a_process_that_closes_stdin_is_told),
	    cmocka_unit_test(stdin_is_null_without_a_pipe_and_no_other_fd_is_open),
	    cmocka_unit_test(a_killed_worker_loses_no_byte),
	    cmocka_unit_test(one_wake_until_the_release),
	    cmocka_unit_test(nonsense_ends_the_worker_and_jobs_live),
	    cmocka_unit_test(a_worker_that_hangs_is_killed_and_replaced),
	    cmocka_unit_test(the_same_start_again_finds_the_process),
	    cmocka_unit_test(an_id_in_use_by_another_identity_is_refused),
	    cmocka_unit_test(a_start_with_offsets_does_not_run_what_was_forgotten),
	    cmocka_unit_test(a_start_that_fails_says_where),
	    cmocka_unit_test(no_more_processes_than_allowed),
	    cmocka_unit_test(a_signal_through_telex_is_told_with_its_sender),
	    cmocka_unit_test(the_run_timeout_ends_one_that_ignores_the_stop_signal),
	    cmocka_unit_test(the_group_has_its_grace_when_the_leader_dies_first),
	    cmocka_unit_test(the_disconnect_policies_do_what_they_say),
	    cmocka_unit_test(an_exit_that_was_not_delivered_is_held),
	    cmocka_unit_test(shutdown_leaves_no_process),
	    cmocka_unit_test(output_that_nobody_reads_does_not_hold_the_shutdown),
	    cmocka_unit_test(a_second_sigterm_does_not_wait),
	    cmocka_unit_test(a_worker_that_cannot_serve_fails_the_first_start),
	    cmocka_unit_test(the_address_is_published_and_the_state_is_locked),
	};

	return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
