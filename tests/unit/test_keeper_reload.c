/* SPDX-License-Identifier: Apache-2.0 */
/* A whole telexd that is told to read its configuration anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/duration.h"
#include "tests/support/keeper_rig.h"

static bool is_logged(void *arg)
{
	const void **both = arg;

	return rig_logged(both[0], both[1]);
}

static void until_logged(struct rig *r, const char *words)
{
	const void *both[] = {r, words};

	rig_until(is_logged, both, words);
}

static void hang_up(struct rig *r)
{
	assert_int_equal(kill(r->pid, SIGHUP), 0);
}

static void new_workers_serve_before_the_old_ones_drain(void **state)
{
	struct rig r;
	struct peer old, fresh[2];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1\ndrain_timeout = 7s");
	rig_accept(&r, &old);
	until_logged(&r, "ready");
	rig_configure(&r, "workers = 2\ndrain_timeout = 9s\nmax_connections = 77");
	hang_up(&r);
	rig_accept(&r, &fresh[0]);
	/* One of two is not all. */
	assert_true(peer_answers(&old));
	assert_true(peer_answers(&fresh[0]));
	rig_accept(&r, &fresh[1]);
	peer_expect(&old, KM_DRAIN, &m);
	assert_int_equal(m.drain.move, 1);
	assert_int_equal(m.drain.timeout_ns, 9 * NS_PER_S);
	until_logged(&r, "reloaded: 2 workers");
	peer_close(&old);
	assert_true(peer_answers(&fresh[0]));
	assert_true(peer_answers(&fresh[1]));
	peer_close(&fresh[0]);
	peer_close(&fresh[1]);
	rig_stop(&r);
}

static void a_bad_file_changes_nothing_and_is_told(void **state)
{
	static const char *const bad[][2] = {
	    {"worker = 1", "unknown key 'worker'; did you mean 'workers'?"},
	    {"workers = many", "workers: 'many' is not a number"},
	    {"max_processes = 0", "max_processes: '0' is too small"},
	    {"worker_user = nobody-of-that-name", "no such user"},
	    {"certificate = /nowhere/at/all", "certificate: /nowhere/at/all: No such file"},
	};
	struct rig r;
	struct peer p;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	until_logged(&r, "ready");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_configure(&r, bad[i][0]);
		hang_up(&r);
		until_logged(&r, bad[i][1]);
		assert_true(peer_answers(&p));
	}
	until_logged(&r, "not reloaded: ");
	/* And then a good one. */
	rig_configure(&r, "workers = 1");
	hang_up(&r);
	{
		struct peer fresh;
		union km_any m;

		rig_accept(&r, &fresh);
		peer_expect(&p, KM_DRAIN, &m);
		assert_true(peer_answers(&fresh));
		peer_close(&fresh);
	}
	peer_close(&p);
	rig_stop(&r);
}

static void workers_that_fail_change_nothing(void **state)
{
	struct rig r;
	struct peer p, fresh;
	struct km_failed failed = {.text = "certificate: it has expired"};

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &p);
	until_logged(&r, "ready");
	hang_up(&r);
	rig_accept_early(&r, &fresh);
	peer_send(&fresh, KM_FAILED, 0, &failed, -1);
	peer_close(&fresh);
	until_logged(&r, "not reloaded: certificate: it has expired");
	assert_true(peer_answers(&p));
	peer_close(&p);
	rig_stop(&r);
}

/* Two of a generation never differ, and a crash is no reload. */
static void who_is_started_again_gets_what_is_in_force(void **state)
{
	static const char old[] = "stands for a certificate\n";
	struct rig r;
	struct peer p[2], fresh, other;
	struct km_failed failed = {.text = "policy: a typo"};
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 2");
	rig_accept(&r, &p[0]);
	rig_accept(&r, &p[1]);
	assert_string_equal(p[0].policy, old);
	rig_write(&r, "pem", "edited\n");
	peer_kill(&p[0]);
	rig_accept(&r, &p[0]);
	assert_string_equal(p[0].policy, old);
	assert_string_equal(p[0].certificate, old);
	assert_string_equal(p[0].key, old);
	/* A reload that is refused leaves it at that. */
	hang_up(&r);
	rig_accept_early(&r, &fresh);
	rig_accept_early(&r, &other);
	assert_string_equal(fresh.policy, "edited\n");
	peer_send(&fresh, KM_FAILED, 0, &failed, -1);
	peer_close(&fresh);
	peer_close(&other);
	until_logged(&r, "not reloaded: ");
	peer_kill(&p[1]);
	rig_accept(&r, &p[1]);
	assert_string_equal(p[1].policy, old);
	/* And one that is accepted is what is in force from then on. */
	hang_up(&r);
	rig_accept(&r, &fresh);
	rig_accept(&r, &other);
	assert_string_equal(fresh.policy, "edited\n");
	assert_string_equal(other.key, "edited\n");
	for (int i = 0; i < 2; i++) {
		peer_expect(&p[i], KM_DRAIN, &m);
		peer_close(&p[i]);
	}
	peer_close(&fresh);
	peer_close(&other);
	rig_stop(&r);
}

static void a_second_reload_overtakes_the_first(void **state)
{
	struct rig r;
	struct peer old, first, second;
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &old);
	until_logged(&r, "ready");
	hang_up(&r);
	rig_accept_early(&r, &first);
	rig_configure(&r, "workers = 1\nmax_connections = 5");
	hang_up(&r);
	rig_accept(&r, &second);
	peer_expect_death(&first);
	peer_expect(&old, KM_DRAIN, &m);
	assert_true(peer_answers(&second));
	peer_close(&old);
	peer_close(&second);
	rig_stop(&r);
}

static void jobs_outlive_the_reload_and_those_who_move_have_not_left(void **state)
{
	struct rig r;
	struct peer old, fresh;
	struct peer_job pj;
	struct job_spec spec;
	struct km_detach moved = {.att = 1, .moved = 1};
	char *argv[4];
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &old);
	until_logged(&r, "ready");
	peer_spec(&spec, argv, (char[]){"read a; echo got $a; exit 3"});
	spec.stdin_pipe = true;
	spec.disconnect = JOB_DISCONNECT_KILL;
	peer_run(&old, &pj, 1, "stays", &spec);
	peer_input(&old, &pj, "on", 2, false);
	hang_up(&r);
	rig_accept(&r, &fresh);
	peer_job_free(&pj);
	while (peer_recv(&old, &m, &(int){-1}), m.hdr.type != KM_DRAIN)
		;
	peer_send(&old, KM_DETACH, 0, &moved, -1);
	/* That its input was written may be told before. */
	assert_true(peer_answers_between(&old));
	peer_close(&old);
	peer_attach(&fresh, &pj, 1, "stays", 0, 0, true);
	assert_int_equal(pj.job.stdin_head, 2);
	peer_input(&fresh, &pj, "ward\n", 5, true);
	peer_finish(&fresh, &pj);
	assert_int_equal(pj.exit.kind, KM_END_CODE);
	assert_int_equal(pj.exit.value, 3);
	assert_int_equal(pj.out[KM_STDOUT].len, strlen("got onward\n"));
	assert_memory_equal(pj.out[KM_STDOUT].data, "got onward\n", strlen("got onward\n"));
	peer_detach(&fresh, &pj, true);
	peer_close(&fresh);
	rig_stop(&r);
}

static void a_worker_that_does_not_drain_is_ended(void **state)
{
	struct rig r;
	struct peer old, fresh;

	(void)state;
	rig_start(&r, "workers = 1\ndrain_timeout = 0s");
	rig_accept(&r, &old);
	until_logged(&r, "ready");
	hang_up(&r);
	rig_accept(&r, &fresh);
	/* It only answers its pings. */
	peer_expect_death(&old);
	assert_true(peer_answers(&fresh));
	peer_close(&fresh);
	rig_stop(&r);
}

static void the_end_comes_also_during_a_reload(void **state)
{
	struct rig r;
	struct peer old, fresh;
	union km_any m;

	(void)state;
	rig_start(&r, "workers = 1");
	rig_accept(&r, &old);
	until_logged(&r, "ready");
	hang_up(&r);
	rig_accept_early(&r, &fresh);
	assert_int_equal(kill(r.pid, SIGTERM), 0);
	peer_expect(&old, KM_DRAIN, &m);
	assert_int_equal(m.drain.move, 0);
	peer_expect_death(&fresh);
	peer_close(&old);
	rig_wait(&r);
	rig_stop(&r);
}

static void expect_notice(int fd, const char *begin)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char text[128];
	ssize_t n;

	assert_int_equal(poll(&pfd, 1, RIG_DEADLINE_MS), 1);
	n = recv(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	if (strncmp(text, begin, strlen(begin)) != 0)
		fail_msg("'%s' instead of '%s'", text, begin);
}

static void the_service_manager_is_told(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "/tmp/telex-notify-XXXXXX"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct rig r;
	struct peer p, fresh;

	(void)state;
	assert_true(fd >= 0);
	assert_non_null(mkdtemp(sa.sun_path));
	strcat(sa.sun_path, "/s");
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setenv("NOTIFY_SOCKET", sa.sun_path, 1);
	rig_start(&r, "workers = 1");
	unsetenv("NOTIFY_SOCKET");
	rig_accept(&r, &p);
	expect_notice(fd, "READY=1");
	hang_up(&r);
	rig_accept(&r, &fresh);
	expect_notice(fd, "RELOADING=1\nMONOTONIC_USEC=");
	expect_notice(fd, "READY=1");
	peer_close(&p);
	/* Also when it comes to nothing. */
	rig_configure(&r, "workers = none");
	hang_up(&r);
	expect_notice(fd, "RELOADING=1");
	expect_notice(fd, "READY=1");
	rig_configure(&r, "workers = 1");
	assert_int_equal(kill(r.pid, SIGUSR2), 0);
	rig_pass_check(&r);
	peer_expect_end(&fresh);
	peer_close(&fresh);
	rig_accept(&r, &fresh);
	expect_notice(fd, "RELOADING=1");
	expect_notice(fd, "READY=1");
	assert_int_equal(kill(r.pid, SIGTERM), 0);
	expect_notice(fd, "STOPPING=1");
	peer_close(&fresh);
	rig_wait(&r);
	rig_stop(&r);
	close(fd);
	assert_int_equal(unlink(sa.sun_path), 0);
	*strrchr(sa.sun_path, '/') = '\0';
	assert_int_equal(rmdir(sa.sun_path), 0);
}

static void sleep_ms(unsigned ms)
{
	const struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	assert_int_equal(nanosleep(&ts, NULL), 0);
}

/* False: it may be blamed, as it was not looked at for that long while its keeper went on. */
static bool is_not_blamed(unsigned hang_ms)
{
	int64_t at = clock_monotonic_ns(), silent_ns;
	struct rig r;
	struct peer p;
	char config[96];
	bool blamed;

	snprintf(config, sizeof(config),
	    "workers = 1\nheartbeat_interval = %ums\nhang_timeout = %ums", hang_ms / 4, hang_ms);
	rig_start(&r, config);
	rig_accept(&r, &p);
	until_logged(&r, "ready");
	rig_pause(&r);
	silent_ns = clock_monotonic_ns() - at;
	/* Time is what it is about: longer than both, by the grace that a busy machine has. */
	sleep_ms(hang_ms + 1800);
	at = clock_monotonic_ns();
	rig_go_on(&r);
	blamed = !peer_answers(&p) || rig_logged(&r, "hangs and is killed");
	if (silent_ns < clock_monotonic_ns() - at)
		silent_ns = clock_monotonic_ns() - at;
	peer_close(&p);
	rig_stop(&r);
	if (silent_ns < hang_ms * NS_PER_MS)
		assert_false(blamed);
	return !blamed;
}

static void a_keeper_that_was_stopped_blames_no_worker(void **state)
{
	unsigned hang_ms = 200;

	(void)state;
	while (!is_not_blamed(hang_ms)) {
		hang_ms *= 2;
		assert_true(hang_ms < RIG_DEADLINE_MS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(new_workers_serve_before_the_old_ones_drain),
	    cmocka_unit_test(a_bad_file_changes_nothing_and_is_told),
	    cmocka_unit_test(workers_that_fail_change_nothing),
	    cmocka_unit_test(who_is_started_again_gets_what_is_in_force),
	    cmocka_unit_test(a_second_reload_overtakes_the_first),
	    cmocka_unit_test(jobs_outlive_the_reload_and_those_who_move_have_not_left),
	    cmocka_unit_test(a_worker_that_does_not_drain_is_ended),
	    cmocka_unit_test(the_end_comes_also_during_a_reload),
	    cmocka_unit_test(the_service_manager_is_told),
	    cmocka_unit_test(a_keeper_that_was_stopped_blames_no_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
