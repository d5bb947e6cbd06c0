/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>

#include "cli/forward.h"
#include "common/signals.h"
#include "tests/unit/cli_loop.h"

struct got {
	int signalled, left;
	int n_signalled;
};

static void on_signal(struct forward *f, int signo, void *arg)
{
	struct got *g = arg;

	(void)f;
	g->signalled = signo;
	g->n_signalled++;
}

static void on_leave(struct forward *f, int signo, void *arg)
{
	struct got *g = arg;

	(void)f;
	g->left = signo;
}

static const struct forward_ops ops = {
    .signal = on_signal, .leave = on_leave, .leave_within_ns = INT64_C(3600) * 1000000000};

static bool was_signalled(void *arg)
{
	return ((struct got *)arg)->signalled != 0;
}

static bool was_left(void *arg)
{
	return ((struct got *)arg)->left != 0;
}

static void what_is_in_the_set_is_forwarded(void **state)
{
	struct event_base *base = event_base_new();
	struct got g = {0};
	struct forward *f =
	    forward_new(base, FORWARD_BIT(SIGUSR1) | FORWARD_BIT(SIGRTMIN + 1), 0, &ops, &g);

	(void)state;
	raise(SIGRTMIN + 1);
	assert_true(cli_loop_until(base, was_signalled, &g));
	assert_int_equal(g.signalled, SIGRTMIN + 1);
	assert_int_equal(g.left, 0);
	forward_free(f);
	event_base_free(base);
}

static void a_second_interrupt_leaves(void **state)
{
	struct event_base *base = event_base_new();
	struct got g = {0};
	struct forward *f = forward_new(base, FORWARD_DEFAULT, 0, &ops, &g);

	(void)state;
	raise(SIGINT);
	assert_true(cli_loop_until(base, was_signalled, &g));
	raise(SIGINT);
	assert_true(cli_loop_until(base, was_left, &g));
	assert_int_equal(g.n_signalled, 1);
	assert_int_equal(g.left, SIGINT);
	forward_free(f);
	event_base_free(base);
}

static void leaving_wins(void **state)
{
	struct event_base *base = event_base_new();
	struct got g = {0};
	struct forward *f = forward_new(base, FORWARD_DEFAULT, FORWARD_LEAVING, &ops, &g);

	(void)state;
	raise(SIGTERM);
	assert_true(cli_loop_until(base, was_left, &g));
	assert_int_equal(g.left, SIGTERM);
	assert_int_equal(g.n_signalled, 0);
	forward_free(f);
	event_base_free(base);
}

static void what_was_ignored_stays_ignored(void **state)
{
	struct event_base *base = event_base_new();
	struct got g = {0};
	struct sigaction now;
	struct forward *f;

	(void)state;
	f = forward_new(base, FORWARD_DEFAULT, FORWARD_LEAVING, &ops, &g);
	raise(SIGHUP);
	raise(SIGUSR1);
	assert_true(cli_loop_until(base, was_signalled, &g));
	assert_int_equal(g.signalled, SIGUSR1);
	assert_int_equal(g.left, 0);
	forward_free(f);
	sigaction(SIGHUP, NULL, &now);
	assert_true(now.sa_handler == SIG_IGN);
	sigaction(SIGTERM, NULL, &now);
	assert_true(now.sa_handler == SIG_DFL);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_in_the_set_is_forwarded),
	    cmocka_unit_test(a_second_interrupt_leaves),
	    cmocka_unit_test(leaving_wins),
	    cmocka_unit_test(what_was_ignored_stays_ignored),
	};

	/* As of the program's start: what the first call of signals notes. */
	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, signo == SIGHUP ? SIG_IGN : SIG_DFL);
	(void)signals_were_ignored(SIGHUP);
	return cmocka_run_group_tests_name("cli_forward", tests, NULL, NULL);
}
