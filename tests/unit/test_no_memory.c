/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of libtelex and of what it links of ours and of nghttp2 fails once: a session
 * either goes well or ends with an error, once; nothing crashes, hangs or leaks. Those of libevent
 * are spared: its TLS bufferevents do not survive them. The agent is a process of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/alloc_fail.h"
#include "tests/support/client_fixture.h"
#include "tests/support/fake_watch.h"

/* ---- the agent's process ---- */

static void agent_process(struct fixture *f, int fd)
{
	struct event_base *base;
	struct fake_agent *agent;
	uint16_t port;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	base = event_base_new();
	agent = fake_agent_new(base, f->server_ctx);
	fake_agent_watch(agent)->tells = true;
	port = fake_agent_port(agent);
	if (write(fd, &port, sizeof(port)) != sizeof(port))
		_exit(1);
	event_base_dispatch(base);
	_exit(1);
}

static pid_t agent_start(struct fixture *f)
{
	uint16_t port = 0;
	pid_t pid;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		agent_process(f, fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &port, sizeof(port)), sizeof(port));
	close(fds[0]);
	snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", port);
	return pid;
}

/* ---- the session ---- */

struct session {
	struct event_base *base;
	struct telex_client *client;
	struct heard run;
	bool asked, answered;
	struct telex_error error;
};

static void on_answer(const struct telex_error *error, void *arg)
{
	struct session *s = arg;

	assert_false(s->answered);
	s->answered = true;
	if (error != NULL)
		s->error = *error;
}

static void talk(struct session *s)
{
	static const struct telex_filter filter = {.include_ended = true};

	const char *argv[] = {"cat", NULL}, *env[] = {"A=B", NULL};
	const struct telex_command command = {.argv = argv, .env = env, .stdin_pipe = true};
	char data[70000];
	size_t taken;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)fake_pattern(i);
	s->run.pattern = true;
	if (telex_run(s->client, &s->run.run, &command, &heard_ops, &s->run, &s->error) != 0)
		s->run.done = true;
	if (telex_list(s->client, &filter, 0, NULL, NULL, on_answer, s, &s->error) != 0)
		s->answered = true;
	if (!s->run.done) {
		taken = telex_run_write(s->run.run, data, sizeof(data));
		assert_true(taken <= sizeof(data));
		telex_run_write_eof(s->run.run);
	}
	while (!s->run.done || !s->answered)
		event_base_loop(s->base, EVLOOP_ONCE);
	assert_false(s->run.wrong);
	if (s->run.exited)
		assert_int_equal(s->run.length[TELEX_STDOUT], sizeof(data));
}

/* True when it went well all through. */
static bool session(struct fixture *f, long failing)
{
	const struct telex_options options = {.address = f->address,
	    .certificate_file = f->certificate,
	    .key_file = f->key,
	    .ca_file = f->ca};
	struct session s = {.base = f->base};

	alloc_fail_at(failing, false);
	if (telex_client_new(&s.client, f->base, &options, &s.error) == 0)
		talk(&s);
	telex_client_free(s.client);
	alloc_fail_stop();
	if (s.client != NULL && s.run.exited && s.error.kind == TELEX_OK)
		return true;
	assert_true(s.error.message[0] != '\0' || s.run.error.message[0] != '\0');
	return false;
}

static void each_allocation_may_fail(void **state)
{
	struct fixture *f = *state;
	pid_t agent = agent_start(f);
	long all, failed = 0;

	/* Twice: what is allocated once a process is not counted. */
	assert_true(session(f, 0));
	assert_true(session(f, 0));
	all = alloc_fail_count();
	assert_true(all > 50);
	for (long n = 1; n <= all; n++)
		failed += !session(f, n);
	assert_true(failed > all / 4);
	assert_true(session(f, 0));
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
}

/* ---- coming back ---- */

/* True when it came back and went well. */
static bool come_back(struct fixture *f, long failing)
{
	const char *argv[] = {"flow", "50000", "10", "cut", NULL};
	const struct telex_command command = {.argv = argv, .stdin_pipe = true};
	struct heard h = {.pattern = true};
	char data[2000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)fake_pattern(i);
	fixture_again(f, NULL);
	heard_command(f, &h, &command);
	fixture_until(f, &h.started);
	assert_int_equal(telex_run_write(h.run, data, sizeof(data)), sizeof(data));
	fixture_until(f, &h.is_interrupted);
	alloc_fail_at(failing, false);
	assert_int_equal(telex_run_signal(h.run, SIGUSR1, TELEX_TARGET_GROUP), 0);
	telex_run_write_eof(h.run);
	fixture_until(f, &h.done);
	alloc_fail_stop();
	assert_false(h.wrong);
	if (h.exited)
		assert_int_equal(h.length[TELEX_STDOUT], 50000);
	else
		assert_string_not_equal(h.error.message, "");
	return h.exited;
}

static void each_allocation_of_a_return_may_fail(void **state)
{
	struct fixture *f = *state;
	pid_t agent = agent_start(f);
	long all, failed = 0;

	assert_true(come_back(f, 0));
	assert_true(come_back(f, 0));
	all = alloc_fail_count();
	assert_true(all > 20);
	for (long n = 1; n <= all; n++)
		failed += !come_back(f, n);
	assert_true(failed > 0);
	assert_true(come_back(f, 0));
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
}

/* Allocations of questions that wait, while they wait on. */
static bool wait_on(struct fixture *f, long failing)
{
	struct session s = {.base = f->base};
	bool begun;

	fixture_again(f, NULL);
	alloc_fail_at(failing, false);
	begun = telex_group_wait(f->client, "g", 0, NULL, on_answer, &s, &s.error) == 0;
	while (begun && !s.answered)
		event_base_loop(f->base, EVLOOP_ONCE);
	alloc_fail_stop();
	return s.error.kind == TELEX_OK;
}

static void each_allocation_of_a_wait_may_fail(void **state)
{
	struct fixture *f = *state;
	pid_t agent = agent_start(f);
	long all, failed = 0;

	assert_true(wait_on(f, 0));
	assert_true(wait_on(f, 0));
	all = alloc_fail_count();
	for (long n = 1; n <= all; n++)
		failed += !wait_on(f, n);
	assert_true(failed > 0);
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
}

/* ---- a watch ---- */

struct watching {
	size_t changes, syncs;
	bool done, failed;
};

static void on_changes(struct telex_watch *watch, const struct telex_change *changes, size_t n,
    const char *clock, void *arg)
{
	struct watching *w = arg;

	(void)changes;
	w->changes += n;
	telex_watch_consumed(watch, n);
	if (clock != NULL && telex_watch_sync(watch, 1) == 0)
		telex_watch_end(watch);
}

static void on_synced(struct telex_watch *watch, uint64_t id, const char *clock, void *arg)
{
	(void)watch;
	(void)id;
	(void)clock;
	((struct watching *)arg)->syncs++;
}

static void on_watch_done(struct telex_watch *watch, const struct telex_error *error, void *arg)
{
	struct watching *w = arg;

	(void)watch;
	assert_false(w->done);
	w->done = true;
	w->failed = error != NULL;
	if (error != NULL)
		assert_string_not_equal(error->message, "");
}

/* True when it went well all through. */
static bool watch(struct fixture *f, long failing)
{
	static const struct telex_watch_ops ops = {
	    .changes = on_changes, .synced = on_synced, .done = on_watch_done};
	static const char *const paths[] = {"a", "b", NULL}, *const some[] = {"x", NULL};
	const struct telex_watch_options o = {
	    .paths = paths, .include = some, .exclude = some, .since = "c0"};
	struct watching w = {0};
	struct telex_error error;
	struct telex_watch *watch;

	fixture_again(f, NULL);
	alloc_fail_at(failing, false);
	if (telex_watch(f->client, &watch, &o, &ops, &w, &error) != 0)
		w.done = w.failed = true;
	while (!w.done)
		event_base_loop(f->base, EVLOOP_ONCE);
	alloc_fail_stop();
	if (!w.failed) {
		assert_int_equal(w.changes, 101);
		assert_int_equal(w.syncs, 1);
	}
	return !w.failed;
}

static void each_allocation_of_a_watch_may_fail(void **state)
{
	struct fixture *f = *state;
	pid_t agent = agent_start(f);
	long all, failed = 0;

	assert_true(watch(f, 0));
	assert_true(watch(f, 0));
	all = alloc_fail_count();
	for (long n = 1; n <= all; n++)
		failed += !watch(f, n);
	assert_true(failed > 10);
	assert_true(watch(f, 0));
	kill(agent, SIGKILL);
	waitpid(agent, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        each_allocation_may_fail, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(
	        each_allocation_of_a_return_may_fail, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(
	        each_allocation_of_a_wait_may_fail, fixture_setup, fixture_teardown),
	    cmocka_unit_test_setup_teardown(
	        each_allocation_of_a_watch_may_fail, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests_name("no_memory", tests, NULL, NULL);
}
