/* SPDX-License-Identifier: Apache-2.0 */
/* A whole telexd that executes itself anew, and what its jobs, clients and workers have then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/state_io.h"
#include "common/duration.h"
#include "common/memfile.h"
#include "tests/support/keeper_rig.h"

struct wish {
	const struct rig *r;
	const char *words;
};

static bool is_logged(void *arg)
{
	const struct wish *w = arg;

	return rig_logged(w->r, w->words);
}

static void until_logged(const struct rig *r, const char *words)
{
	struct wish w = {r, words};

	rig_until(is_logged, &w, words);
}

/* p: the only worker; afterwards the new image's. */
static void upgrade(struct rig *r, struct peer *p)
{
	assert_int_equal(kill(r->pid, SIGUSR2), 0);
	rig_pass_check(r);
	/* The link's end, and then the process is let go. */
	peer_expect_end(p);
	peer_close(p);
	rig_accept(r, p);
}

static void start(struct peer *p, const char *id, const struct job_spec *spec)
{
	union km_any m;

	peer_start(p, 0, id, spec, &m);
	if (m.hdr.type == KM_REFUSED)
		fail_msg("refused: why %u, %s", m.refused.why, m.refused.text);
}

static void assert_text(const struct peer_output *o, const char *text)
{
	assert_int_equal(o->len, strlen(text));
	assert_memory_equal(o->data, text, strlen(text));
}

/* ---- what is kept ---- */

static void output_and_exits_are_kept(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];
	pid_t pid;

	(void)state;
	rig_start(&r, "workers = 1");
	pid = r.pid;
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"echo before; kill -USR1 $$"});
	start(&p, "ended", &spec);
	peer_spec(&spec, argv,
	    (char[]){"i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 5"});
	spec.output_buffer = 4096;
	start(&p, "full", &spec);
	/* Some of it is read and acknowledged before. */
	peer_attach(&p, &pj, 1, "full", 0, 0, false);
	while (pj.out[KM_STDOUT].offset < 10000)
		peer_step(&p, &pj, true);
	{
		uint64_t had = pj.out[KM_STDOUT].offset;

		assert_true(peer_answers_between(&p));
		peer_job_free(&pj);
		for (int i = 0; i < 3; i++)
			upgrade(&r, &p);
		peer_attach(&p, &pj, 1, "full", had, 0, false);
		peer_finish(&p, &pj);
		assert_int_equal(pj.exit.value, 5);
		assert_int_equal(
		    pj.exit.stdout_length, 10 * 7 + 90 * 8 + 900 * 9 + 9000 * 10 + 10000 * 11);
		assert_memory_equal(
		    pj.out[KM_STDOUT].data + pj.out[KM_STDOUT].len - 11, "line 19999\n", 11);
		peer_detach(&p, &pj, true);
	}
	peer_attach(&p, &pj, 2, "ended", 0, 0, false);
	peer_finish(&p, &pj);
	assert_text(&pj.out[KM_STDOUT], "before\n");
	assert_int_equal(pj.exit.kind, KM_END_SIGNAL);
	assert_int_equal(pj.exit.value, SIGUSR1);
	assert_true(pj.exit.maxrss_kib > 0);
	peer_detach(&p, &pj, true);
	assert_int_equal(r.pid, pid);
	peer_close(&p);
	rig_stop(&r);
}

static bool is_done(void *arg)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/done", ((struct rig *)arg)->dir);
	return access(path, F_OK) == 0;
}

/* Somebody still reads it, and a descendant of its lives: that is not to find its pipe broken. */
static void the_pipes_of_one_that_was_removed_are_kept(void **state)
{
	struct km_remove m = {.id = "removed", .by = PEER_OWNER};
	struct job_spec spec;
	struct peer_job pj;
	struct rig r;
	struct peer p;
	char *argv[4];
	union km_any answer;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv,
	    (char[]){"(while [ ! -e go ]; do sleep 0.01; done; echo late; touch done) & exit 0"});
	spec.cwd = r.dir;
	start(&p, "removed", &spec);
	peer_attach(&p, &pj, 1, "removed", 0, 0, false);
	peer_finish(&p, &pj);
	peer_send(&p, KM_REMOVE, 9, &m, -1);
	peer_expect(&p, KM_DONE, &answer);
	upgrade(&r, &p);
	rig_write(&r, "go", "");
	rig_until(is_done, &r, "the descendant's end");
	peer_job_free(&pj);
	peer_close(&p);
	rig_stop(&r);
}

/* What is in its spool, and the policy. */
static void a_spool_is_kept_and_goes_on(void **state)
{
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv,
	    (char[]){"i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $i != 1500 ] || "
	             "while [ ! -e go ]; do sleep 0.01; done; done; touch done; exit 5"});
	spec.cwd = r.dir;
	spec.output_buffer = 4096;
	spec.spool = 1 << 20;
	start(&p, "spooled", &spec);
	upgrade(&r, &p);
	rig_write(&r, "go", "");
	upgrade(&r, &p);
	/* It comes to its end with nobody to read: the spool takes it all. */
	until_logged(&r, "job spooled: pid");
	upgrade(&r, &p);
	{
		union km_any m;
		int fd;
		struct km_attach attach = {.att = 1};

		snprintf(attach.id, sizeof(attach.id), "spooled");
		snprintf(attach.owner, sizeof(attach.owner), "spiffe://test/user/one");
		peer_send(&p, KM_ATTACH, 8, &attach, -1);
		peer_expect(&p, KM_JOB, &m);
		assert_int_equal(m.job.tail[KM_STDOUT], 0);
		assert_int_equal(m.job.head[KM_STDOUT], 10 * 7 + 90 * 8 + 900 * 9 + 2000 * 10);
		do
			peer_recv(&p, &m, &fd);
		while (m.hdr.type != KM_SPOOL);
		assert_int_equal(m.spool.base, 0);
		{
			char text[16] = "";

			assert_int_equal(pread(fd, text, 15, 0), 15);
			assert_string_equal(text, "line 0\nline 1\nl");
			close(fd);
		}
	}
	peer_close(&p);
	rig_stop(&r);
}

/* The first to come back is ahead: it must not take from the other what that has not read. */
static void readers_are_waited_for_until_they_are_back(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job slow, fast;
	struct job_spec spec;
	uint64_t had;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(
	    &spec, argv, (char[]){"i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"});
	spec.output_buffer = 4096;
	peer_run(&p, &slow, 1, "two", &spec);
	while (slow.out[KM_STDOUT].len == 0)
		peer_step(&p, &slow, false);
	peer_job_free(&slow);
	upgrade(&r, &p);
	peer_attach(&p, &fast, 2, "two", 0, 0, false);
	while (fast.out[KM_STDOUT].offset < 4096)
		peer_step(&p, &fast, true);
	had = fast.out[KM_STDOUT].offset;
	assert_true(peer_answers_between(&p));
	peer_job_free(&fast);
	upgrade(&r, &p);
	peer_attach(&p, &fast, 2, "two", had, 0, false);
	peer_release(&p, 2, KM_STDOUT, had, had);
	assert_true(peer_answers_between(&p));
	peer_detach(&p, &fast, false);
	peer_attach(&p, &slow, 1, "two", 0, 0, false);
	peer_finish(&p, &slow);
	assert_int_equal(slow.exit.stdout_length, 10 * 7 + 90 * 8 + 900 * 9 + 1000 * 10);
	assert_memory_equal(slow.out[KM_STDOUT].data, "line 0\n", 7);
	peer_detach(&p, &slow, true);
	peer_close(&p);
	rig_stop(&r);
}

static void input_is_kept_byte_for_byte(void **state)
{
	static char block[300000];
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], want[32];
	uint64_t head = 0;

	(void)state;
	memset(block, 'x', sizeof(block));
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	/* It does not read before the third upgrade: the pipe, and then the ring, fill up. */
	peer_spec(&spec, argv, (char[]){"while [ ! -e go ]; do sleep 0.01; done; wc -c"});
	spec.stdin_pipe = true;
	spec.cwd = r.dir;
	start(&p, "reads", &spec);
	for (int i = 0; i < 3; i++) {
		peer_attach(&p, &pj, 1, "reads", 0, 0, true);
		assert_int_equal(pj.job.stdin_head, head);
		peer_input(&p, &pj, block, sizeof(block), false);
		assert_true(peer_answers_between(&p));
		head += sizeof(block);
		peer_job_free(&pj);
		upgrade(&r, &p);
	}
	peer_attach(&p, &pj, 1, "reads", 0, 0, true);
	assert_int_equal(pj.job.stdin_head, head);
	peer_input(&p, &pj, "end", 3, true);
	assert_true(peer_answers_between(&p));
	peer_job_free(&pj);
	upgrade(&r, &p);
	rig_write(&r, "go", "");
	peer_attach(&p, &pj, 1, "reads", 0, 0, true);
	peer_finish(&p, &pj);
	snprintf(want, sizeof(want), "%llu\n", (unsigned long long)head + 3);
	assert_text(&pj.out[KM_STDOUT], want);
	assert_int_equal(pj.exit.value, 0);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

static void a_terminal_is_kept(void **state)
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
	    &spec, argv, (char[]){"stty -echo; echo up; read a; stty size; echo $a; cat; exit 6"});
	spec.terminal = spec.stdin_pipe = true;
	spec.rows = 37;
	spec.columns = 111;
	start(&p, "shell", &spec);
	peer_attach(&p, &pj, 1, "shell", 0, 0, true);
	while (pj.out[KM_STDOUT].len < strlen("up\r\n"))
		peer_step(&p, &pj, false);
	peer_job_free(&pj);
	upgrade(&r, &p);
	upgrade(&r, &p);
	peer_attach(&p, &pj, 1, "shell", 0, 0, true);
	peer_input(&p, &pj, "typed\nand ", 10, false);
	assert_true(peer_answers_between(&p));
	peer_job_free(&pj);
	upgrade(&r, &p);
	peer_attach(&p, &pj, 1, "shell", 0, 0, true);
	assert_int_equal(pj.job.stdin_head, 10);
	peer_input(&p, &pj, "more", 4, true);
	peer_finish(&p, &pj);
	assert_text(&pj.out[KM_STDOUT], "up\r\n37 111\r\ntyped\r\nand more");
	assert_int_equal(pj.exit.value, 6);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

/* Ends, in whatever moment of the change they come, are seen. */
static void no_exit_is_missed(void **state)
{
	enum { JOBS = 40 };
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4], id[16], script[64];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	for (int i = 0; i < JOBS; i++) {
		snprintf(id, sizeof(id), "job%d", i);
		snprintf(script, sizeof(script), "sleep 0.%02d; echo %d; exit %d", i, i, i);
		peer_spec(&spec, argv, script);
		start(&p, id, &spec);
	}
	for (int i = 0; i < 6; i++)
		upgrade(&r, &p);
	for (int i = 0; i < JOBS; i++) {
		char text[8];

		snprintf(id, sizeof(id), "job%d", i);
		snprintf(text, sizeof(text), "%d\n", i);
		peer_attach(&p, &pj, 1 + (uint32_t)i, id, 0, 0, false);
		peer_finish(&p, &pj);
		assert_int_equal(pj.exit.kind, KM_END_CODE);
		assert_int_equal(pj.exit.value, i);
		assert_text(&pj.out[KM_STDOUT], text);
		peer_detach(&p, &pj, true);
	}
	peer_close(&p);
	rig_stop(&r);
}

/* False: the time was over before the one that it is for stood its signal. */
static bool ends_and_by_whom_is_known(int64_t run_timeout_ns)
{
	struct km_signal hup = {.signo = SIGHUP, .target = KM_TARGET_PROCESS, .kill_after_ns = -1};
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	union km_any m;
	char *argv[4];
	bool stood;

	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"trap '' TERM; echo; while :; do sleep 0.05; done"});
	spec.run_timeout_ns = run_timeout_ns;
	spec.stop_grace_ns = 500 * NS_PER_MS;
	start(&p, "timeout", &spec);
	peer_spec(&spec, argv,
	    (char[]){"trap 'sleep 0.5; trap - HUP; kill -HUP $$' HUP; echo; while :; do sleep "
	             "0.05; done"});
	start(&p, "signalled", &spec);
	peer_attach(&p, &pj, 1, "signalled", 0, 0, false);
	while (pj.out[KM_STDOUT].len == 0)
		peer_step(&p, &pj, true);
	snprintf(hup.id, sizeof(hup.id), "signalled");
	snprintf(hup.by, sizeof(hup.by), "%s", pj.job.owner);
	peer_send(&p, KM_SIGNAL, 3, &hup, -1);
	peer_answer(&p, 3, &m, &(int){-1});
	assert_int_equal(m.hdr.type, KM_DONE);
	peer_job_free(&pj);
	upgrade(&r, &p);
	upgrade(&r, &p);
	peer_attach(&p, &pj, 1, "signalled", 1, 0, false);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.reason, KM_REASON_SIGNALLED);
	assert_string_equal(pj.exit.by, hup.by);
	peer_detach(&p, &pj, true);
	peer_attach(&p, &pj, 2, "timeout", 0, 0, false);
	upgrade(&r, &p);
	peer_job_free(&pj);
	peer_attach(&p, &pj, 2, "timeout", 0, 0, false);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.reason, KM_REASON_RUN_TIMEOUT);
	stood = pj.exit.stdout_length > 0;
	assert_int_equal(pj.exit.value, stood ? SIGKILL : SIGTERM);
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
	return stood;
}

static void what_is_to_end_ends_and_by_whom_is_known(void **state)
{
	int64_t run_timeout_ns = 500 * NS_PER_MS;

	(void)state;
	while (!ends_and_by_whom_is_known(run_timeout_ns)) {
		run_timeout_ns *= 2;
		assert_true(run_timeout_ns < RIG_DEADLINE_MS * NS_PER_MS);
	}
}

static void who_waits_in_a_group_has_its_turn(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	union km_any m;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"while [ ! -e go ]; do sleep 0.01; done; exit 1"});
	spec.cwd = r.dir;
	spec.group = (char[]){"queue"};
	spec.group_max = 1;
	start(&p, "first", &spec);
	peer_until_started(&p, "first");
	for (int i = 2; i <= 3; i++) {
		char id[8], script[64];

		snprintf(id, sizeof(id), "turn%d", i);
		snprintf(script, sizeof(script), "cat order; echo %d >>order; exit %d", i, i);
		peer_spec(&spec, argv, script);
		spec.cwd = r.dir;
		spec.group = (char[]){"queue"};
		peer_start(&p, 0, id, &spec, &m);
		assert_int_equal(m.job.state, KM_STATE_QUEUED);
	}
	upgrade(&r, &p);
	upgrade(&r, &p);
	rig_write(&r, "order", "1\n");
	peer_attach(&p, &pj, 1, "turn3", 0, 0, false);
	assert_int_equal(pj.job.state, KM_STATE_QUEUED);
	peer_detach(&p, &pj, false);
	rig_write(&r, "go", "");
	until_logged(&r, "job turn3: pid");
	upgrade(&r, &p);
	peer_attach(&p, &pj, 2, "turn3", 0, 0, false);
	peer_finish(&p, &pj);
	assert_int_equal(pj.exit.value, 3);
	assert_text(&pj.out[KM_STDOUT], "1\n2\n");
	peer_detach(&p, &pj, true);
	peer_close(&p);
	rig_stop(&r);
}

/* Its client has lost its worker, and is gone for good. */
static void a_client_that_does_not_come_back_has_left(void **state)
{
	struct rig r;
	struct peer p;
	struct peer_job pj;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 100"});
	spec.disconnect = JOB_DISCONNECT_KEEP;
	peer_run(&p, &pj, 1, "kept", &spec);
	spec.disconnect = JOB_DISCONNECT_KILL;
	peer_job_free(&pj);
	peer_run(&p, &pj, 2, "killed", &spec);
	peer_job_free(&pj);
	upgrade(&r, &p);
	until_logged(&r, "job killed: is ended: disconnect policy");
	assert_false(rig_logged(&r, "job kept: is ended"));
	peer_close(&p);
	rig_stop(&r);
}

/* ---- what must not grow ---- */

static unsigned count_fds(const struct rig *r)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)r->pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

struct bound {
	const struct rig *r;
	unsigned max;
};

static bool has_no_more_fds(void *arg)
{
	const struct bound *b = arg;

	return count_fds(b->r) <= b->max;
}

static void many_upgrades_leave_no_descriptor_behind(void **state)
{
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];
	struct bound bound = {&r, 0};
	unsigned before;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"echo out; echo err >&2; sleep 100"});
	spec.stdin_pipe = true;
	start(&p, "lives", &spec);
	peer_spec(&spec, argv, (char[]){"sleep 100 & echo out"});
	start(&p, "left", &spec);
	until_logged(&r, "job left: ending -> ended");
	/* The second one's descriptors are in place after the first. */
	upgrade(&r, &p);
	assert_true(peer_answers(&p));
	before = count_fds(&r);
	for (int i = 0; i < 10; i++)
		upgrade(&r, &p);
	assert_true(peer_answers(&p));
	/* A telex-renew that runs has a few, at either time; what each upgrade leaves is ten. */
	bound.max = before + 4;
	rig_until(has_no_more_fds, &bound, "as few descriptors as before");
	peer_close(&p);
	rig_stop(&r);
}

/* ---- what is refused ---- */

static void refused(struct rig *r, struct peer *p, const char *why)
{
	assert_int_equal(kill(r->pid, SIGUSR2), 0);
	until_logged(r, why);
	until_logged(r, "not upgraded: ");
	assert_true(peer_answers(p));
}

static void a_program_that_will_not_do_leaves_this_one_serving(void **state)
{
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4], path[128];

	(void)state;
	rig_start_copy(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 100"});
	start(&p, "lives", &spec);
	snprintf(path, sizeof(path), "%s/telexd", r.dir);
	/* Says no; is no program; is not there. */
	rig_replace(&r, "tests/support/fake_worker");
	refused(&r, &p, "telexd says: no, thank you");
	rig_write(&r, "telexd", "this is no program\n");
	assert_int_equal(chmod(path, 0755), 0);
	refused(&r, &p, "Exec format error");
	assert_int_equal(unlink(path), 0);
	refused(&r, &p, "No such file or directory");
	/* And then a good one, which is not the file that runs. */
	rig_replace(&r, "telexd");
	upgrade(&r, &p);
	assert_true(rig_logged(&r, "upgraded: 1 processes run on"));
	upgrade(&r, &p);
	peer_close(&p);
	rig_stop(&r);
}

static void a_bad_configuration_leaves_this_one_serving(void **state)
{
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	rig_configure(&r, "workers = 1\nfoo = bar");
	refused(&r, &p, "says: ");
	assert_true(rig_logged(&r, "unknown key 'foo'"));
	rig_configure(&r, "workers = 1\nworker_user = nobody-of-that-name");
	refused(&r, &p, "no such user");
	rig_configure(&r, "workers = 2");
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	rig_pass_check(&r);
	peer_expect_end(&p);
	peer_close(&p);
	rig_accept(&r, &p);
	{
		struct peer second;

		rig_accept(&r, &second);
		peer_close(&second);
	}
	peer_close(&p);
	rig_stop(&r);
}

/* A socket on a port of its own, and that port in `address`. */
static int occupy(char address[32])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(address, 32, "127.0.0.1:%d", ntohs(sa.sin_port));
	return fd;
}

static void listen_on(struct rig *r, const char *address)
{
	char text[2048];

	snprintf(text, sizeof(text),
	    "listen = {\"%s\"}\ncertificate = \"%s/pem\"\nkey = \"%s/pem\"\nca = \"%s/pem\"\n"
	    "policy = \"%s/pem\"\nstate_directory = \"%s/state\"\nlog_level = debug\nworkers = 1\n",
	    address, r->dir, r->dir, r->dir, r->dir, r->dir);
	rig_write(r, "conf", text);
}

static void what_would_keep_it_from_serving_is_found_before(void **state)
{
	struct km_failed failed = {.text = "certificate: it is no good"};
	char address[32] = "", path[128];
	struct rig r;
	struct peer p, check;
	FILE *f;
	int fd;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	rig_configure(&r, "workers = 1\ncgroup = \"/nonexistent\"");
	refused(&r, &p, "says: cgroup: /nonexistent: No such file or directory");
	fd = occupy(address);
	listen_on(&r, address);
	refused(&r, &p, "Address already in use");
	close(fd);
	rig_configure(&r, "workers = 1");
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	rig_accept_early(&r, &check);
	peer_send(&check, KM_FAILED, 0, &failed, -1);
	peer_close(&check);
	until_logged(&r, "says: certificate: it is no good");
	assert_true(peer_answers(&p));
	/* Its own address is not in its way, whatever it is called. */
	snprintf(path, sizeof(path), "%s/state/address", r.dir);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%31s", address), 1);
	fclose(f);
	listen_on(&r, address);
	upgrade(&r, &p);
	peer_close(&p);
	rig_stop(&r);
}

/* It was all right when it was asked. */
static void a_change_between_question_and_upgrade_costs_no_process(void **state)
{
	struct km_ready ready = {0};
	struct job_spec spec;
	struct rig r;
	struct peer p, check;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 100"});
	start(&p, "lives", &spec);
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	rig_accept_early(&r, &check);
	rig_configure(
	    &r, "workers = 1\ncgroup = \"/nonexistent\"\nworker_user = nobody-of-that-name");
	peer_send(&check, KM_READY, 0, &ready, -1);
	peer_expect_end(&check);
	peer_close(&check);
	peer_expect_end(&p);
	peer_close(&p);
	until_logged(&r, "control groups are used as if it were set to auto");
	until_logged(&r, "upgraded: 1 processes run on");
	if (geteuid() == 0) {
		until_logged(&r, "no worker can be started: worker_user: ");
		rig_configure(&r, "workers = 1\nworker_user = nobody");
		assert_int_equal(kill(r.pid, SIGHUP), 0);
	}
	rig_accept(&r, &p);
	assert_true(peer_answers(&p));
	/* Workers that cannot serve are started again. */
	peer_kill(&p);
	rig_accept_early(&r, &p);
	peer_kill(&p);
	rig_accept(&r, &p);
	peer_close(&p);
	rig_stop(&r);
}

/* As long as nobody serves nothing is in force: no reload is needed. */
static void files_that_are_put_right_after_it_are_taken(void **state)
{
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	rig_pass_check(&r);
	peer_expect_end(&p);
	peer_close(&p);
	rig_accept_early(&r, &p);
	rig_write(&r, "pem", "put right\n");
	peer_kill(&p);
	rig_accept(&r, &p);
	assert_string_equal(p.policy, "put right\n");
	peer_close(&p);
	rig_stop(&r);
}

/* What a newer telexd's state is to this one. */
static void a_state_of_a_newer_version_is_refused_by_the_program(void **state)
{
	struct state_out *o = state_out_new();
	uint32_t newer = STATE_VERSION + 1;
	uint8_t *data;
	size_t len, n;
	const char *top = getenv("top_builddir") != NULL ? getenv("top_builddir") : ".";
	char command[1024], text[512];
	struct rig r;
	struct peer p;
	struct err e;
	FILE *out;
	int fd;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	assert_non_null(o);
	state_begin(o, STATE_END);
	state_put(o, 0);
	state_end(o);
	assert_int_equal(state_seal(o, &fd, &e), 0);
	state_out_free(o);
	assert_int_equal(memfile_load(fd, 1 << 20, &data, &len, &e), 0);
	close(fd);
	memcpy(data + 8, &newer, sizeof(newer));
	assert_int_equal(memfile_freeze("state", data, len, &fd, &e), 0);
	free(data);
	snprintf(command, sizeof(command),
	    "exec %s/telexd -c %s/conf --worker %s/telex-worker --check-state 3</proc/%d/fd/%d "
	    "2>&1",
	    top, r.dir, top, (int)getpid(), fd);
	out = popen(command, "re");
	assert_non_null(out);
	n = fread(text, 1, sizeof(text) - 1, out);
	text[n] = '\0';
	assert_int_equal(WEXITSTATUS(pclose(out)), 1);
	if (strstr(text, "understands up to") == NULL)
		fail_msg("it said: %s", text);
	close(fd);
	peer_close(&p);
	rig_stop(&r);
}

static void an_upgrade_and_an_end_at_the_same_time(void **state)
{
	struct rig r;
	struct peer p;
	struct job_spec spec;
	char *argv[4];

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	peer_spec(&spec, argv, (char[]){"sleep 100"});
	start(&p, "lives", &spec);
	/* Whichever is first: it ends, and in order. */
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	assert_int_equal(kill(r.pid, SIGTERM), 0);
	peer_expect_end(&p);
	peer_close(&p);
	rig_wait(&r);
	assert_true(WIFEXITED(r.status));
	assert_int_equal(WEXITSTATUS(r.status), 0);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(output_and_exits_are_kept),
	    cmocka_unit_test(the_pipes_of_one_that_was_removed_are_kept),
	    cmocka_unit_test(a_spool_is_kept_and_goes_on),
	    cmocka_unit_test(readers_are_waited_for_until_they_are_back),
	    cmocka_unit_test(input_is_kept_byte_for_byte),
	    cmocka_unit_test(a_terminal_is_kept),
	    cmocka_unit_test(no_exit_is_missed),
	    cmocka_unit_test(what_is_to_end_ends_and_by_whom_is_known),
	    cmocka_unit_test(who_waits_in_a_group_has_its_turn),
	    cmocka_unit_test(a_client_that_does_not_come_back_has_left),
	    cmocka_unit_test(many_upgrades_leave_no_descriptor_behind),
	    cmocka_unit_test(a_program_that_will_not_do_leaves_this_one_serving),
	    cmocka_unit_test(a_bad_configuration_leaves_this_one_serving),
	    cmocka_unit_test(what_would_keep_it_from_serving_is_found_before),
	    cmocka_unit_test(a_change_between_question_and_upgrade_costs_no_process),
	    cmocka_unit_test(files_that_are_put_right_after_it_are_taken),
	    cmocka_unit_test(a_state_of_a_newer_version_is_refused_by_the_program),
	    cmocka_unit_test(an_upgrade_and_an_end_at_the_same_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
