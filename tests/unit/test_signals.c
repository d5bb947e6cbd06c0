/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/signals.h"

struct seen {
	int signo, calls;
	struct signal_watch *watch;
	bool leave;
};

static void on_signal(int signo, void *arg)
{
	struct seen *s = arg;

	s->signo = signo;
	s->calls++;
	if (!s->leave)
		return;
	signals_unwatch(s->watch);
	s->watch = NULL;
}

static void (*effect_of(int signo))(int)
{
	struct sigaction now;

	assert_int_equal(sigaction(signo, NULL, &now), 0);
	return now.sa_handler;
}

static void a_watched_signal_is_told_in_the_loop(void **state)
{
	struct event_base *base = event_base_new();
	struct seen usr = {0}, again = {0};
	struct err e;

	(void)state;
	assert_non_null(base);
	assert_int_equal(signals_watch(&usr.watch, base, SIGUSR1, on_signal, &usr, &e), 0);
	assert_int_equal(signals_watch(&again.watch, base, SIGUSR1, on_signal, &again, &e), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(usr.calls, 0);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(usr.calls, 1);
	assert_int_equal(again.calls, 1);
	assert_int_equal(usr.signo, SIGUSR1);
	signals_unwatch(usr.watch);
	raise(SIGUSR1);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(usr.calls, 1);
	assert_int_equal(again.calls, 2);
	signals_unwatch(again.watch);
	signals_unwatch(NULL);
	event_base_free(base);
}

static void unwatched_it_has_its_old_effect(void **state)
{
	struct event_base *base = event_base_new();
	struct seen s = {.leave = true};
	struct err e;

	(void)state;
	signals_ignore(SIGUSR2);
	assert_true(effect_of(SIGUSR2) == SIG_IGN);
	assert_int_equal(signals_watch(&s.watch, base, SIGUSR2, on_signal, &s, &e), 0);
	assert_true(effect_of(SIGUSR2) != SIG_IGN);
	raise(SIGUSR2);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(s.calls, 1);
	assert_null(s.watch);
	assert_true(effect_of(SIGUSR2) == SIG_IGN);
	signals_default(SIGUSR2);
	assert_true(effect_of(SIGUSR2) == SIG_DFL);
	event_base_free(base);
}

static void what_cannot_be_caught_is_refused(void **state)
{
	static const int never[] = {SIGKILL, SIGSTOP, 0, -1, 65, 32};
	struct event_base *base = event_base_new();
	struct signal_watch *w = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		assert_int_equal(signals_watch(&w, base, never[i], on_signal, NULL, &e), TX_EINVAL);
		assert_null(w);
	}
	event_base_free(base);
}

static void blocked_signals_come_when_they_are_restored(void **state)
{
	struct event_base *base = event_base_new();
	struct signals_held outer, inner;
	struct seen s = {0};
	struct err e;
	sigset_t now;

	(void)state;
	assert_int_equal(signals_watch(&s.watch, base, SIGTERM, on_signal, &s, &e), 0);
	signals_block(&outer);
	signals_block(&inner);
	raise(SIGTERM);
	signals_restore(&inner);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(s.calls, 0);
	sigprocmask(SIG_SETMASK, NULL, &now);
	assert_true(sigismember(&now, SIGINT));
	signals_restore(&outer);
	event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(s.calls, 1);
	signals_unwatch(s.watch);
	event_base_free(base);
}

static void what_was_ignored_at_the_start_is_known(void **state)
{
	(void)state;
	/* main ignored it, and the other not, before the first call of all. */
	signals_default(SIGHUP);
	assert_true(signals_were_ignored(SIGHUP));
	signals_ignore(SIGQUIT);
	assert_false(signals_were_ignored(SIGQUIT));
	signals_default(SIGQUIT);
	assert_false(signals_were_ignored(0));
	assert_false(signals_were_ignored(65));
}

static int is_reset(void)
{
	sigset_t now;

	signals_ignore(SIGTERM);
	sigfillset(&now);
	sigprocmask(SIG_SETMASK, &now, NULL);
	signals_reset();
	sigprocmask(SIG_SETMASK, NULL, &now);
	for (int s = 1; s <= 31; s++)
		if (sigismember(&now, s))
			return 1;
	return effect_of(SIGTERM) == SIG_DFL ? 0 : 2;
}

static void a_reset_leaves_nothing(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(is_reset());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_watched_signal_is_told_in_the_loop),
	    cmocka_unit_test(unwatched_it_has_its_old_effect),
	    cmocka_unit_test(what_cannot_be_caught_is_refused),
	    cmocka_unit_test(blocked_signals_come_when_they_are_restored),
	    cmocka_unit_test(what_was_ignored_at_the_start_is_known),
	    cmocka_unit_test(a_reset_leaves_nothing),
	};

	signal(SIGHUP, SIG_IGN);
	signal(SIGQUIT, SIG_DFL); /* a shell's background jobs ignore it */
	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
