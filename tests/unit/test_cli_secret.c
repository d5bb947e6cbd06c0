/* SPDX-License-Identifier: Apache-2.0 */
/* A child asks on a terminal of its own; its parent types, and looks at that terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/secret.h"

#define PROMPT "Secret: "
#define AGAIN  "Once more: "
#define SIZE   16
#define WAIT   120000

struct scene {
	int master, slave;
	int said[2]; /* what came of it, by the child */
	char seen[4096];
	size_t n_seen;
	pid_t child;
};

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	*state = s;
	s->master = posix_openpt(O_RDWR | O_NOCTTY);
	if (s->master < 0 || grantpt(s->master) < 0 || unlockpt(s->master) < 0)
		return -1;
	s->slave = open(ptsname(s->master), O_RDWR | O_NOCTTY);
	return s->slave < 0 ? -1 : pipe(s->said);
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	close(s->slave);
	close(s->master);
	close(s->said[0]);
	close(s->said[1]);
	free(s);
	return 0;
}

/* ---- the child's part ---- */

static volatile sig_atomic_t handled;

static void on_handled(int signo)
{
	(void)signo;
	handled++;
}

/* "CODE:SECRET:HANDLED" is what came of it. */
static void ask(const struct scene *s, const char *again)
{
	char out[SIZE] = "as it was";
	struct err e;
	int rc = secret_ask(s->slave, PROMPT, again, out, sizeof(out), &e);

	dprintf(s->said[1], "%d:%s:%d", rc, out, (int)handled);
}

/* As after a login, whatever runs these tests ignores; and nobody is waited for without an end. */
static void on_the_terminal(const struct scene *s)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTOU};
	sigset_t none;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(WAIT / 1000);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody asking */
	setsid();
	ioctl(s->slave, TIOCSCTTY, 0);
}

enum { ONCE = 0, TWICE = 1, HANDLES = 2, IGNORES = 4 };

static void start(struct scene *s, int how)
{
	s->child = fork();
	assert_true(s->child >= 0);
	if (s->child > 0)
		return;
	on_the_terminal(s);
	if (how & HANDLES)
		signal(SIGTERM, on_handled);
	if (how & IGNORES)
		signal(SIGHUP, SIG_IGN);
	ask(s, how & TWICE ? AGAIN : NULL);
	_exit(0);
}

/* ---- what the parent does and sees ---- */

static bool echoes(const struct scene *s)
{
	struct termios now;

	assert_int_equal(tcgetattr(s->slave, &now), 0);
	return (now.c_lflag & ECHO) != 0;
}

static void type(const struct scene *s, const char *text)
{
	assert_int_equal(write(s->master, text, strlen(text)), strlen(text));
}

/* What is shown ends with this now. */
static void see(struct scene *s, const char *text)
{
	const size_t len = strlen(text);
	struct pollfd p = {.fd = s->master, .events = POLLIN};

	while (s->n_seen < len || memcmp(s->seen + s->n_seen - len, text, len) != 0) {
		assert_int_equal(poll(&p, 1, WAIT), 1);
		assert_true(s->n_seen + 1 < sizeof(s->seen));
		assert_int_equal(read(s->master, s->seen + s->n_seen, 1), 1);
		s->n_seen++;
	}
}

static int ended(const struct scene *s)
{
	int status = 0;

	while (waitpid(s->child, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_true(echoes(s));
	return status;
}

/* The child ended by itself, and this is what came of it. */
static void came_of_it(const struct scene *s, const char *wanted)
{
	char said[64];
	ssize_t n;

	assert_int_equal(ended(s), 0);
	n = read(s->said[0], said, sizeof(said) - 1);
	assert_true(n > 0);
	said[n] = '\0';
	assert_string_equal(said, wanted);
}

static void nothing_typed_is_shown(void **state)
{
	struct scene *s = *state;

	start(s, ONCE);
	see(s, PROMPT);
	assert_false(echoes(s)); /* when the prompt is there, and not only soon after */
	type(s, "horse battery\n");
	see(s, "\n");
	assert_string_equal(s->seen, PROMPT "\r\n");
	came_of_it(s, "0:horse battery:0");
}

static void what_was_typed_before_is_thrown_away(void **state)
{
	struct scene *s = *state;

	type(s, "early\n");
	start(s, ONCE);
	see(s, PROMPT);
	type(s, "late\n");
	came_of_it(s, "0:late:0");
}

static void twice_the_same(void **state)
{
	struct scene *s = *state;

	start(s, TWICE);
	see(s, PROMPT);
	type(s, "horse\n");
	see(s, AGAIN);
	assert_false(echoes(s));
	type(s, "horse\n");
	came_of_it(s, "0:horse:0");
}

static void two_that_differ_are_refused(void **state)
{
	char wanted[32];
	struct scene *s = *state;

	start(s, TWICE);
	see(s, PROMPT);
	type(s, "horse\n");
	see(s, AGAIN);
	type(s, "horses\n");
	snprintf(wanted, sizeof(wanted), "%d::0", TX_EINVAL);
	came_of_it(s, wanted);
}

static void too_long_is_refused_and_read_to_its_end(void **state)
{
	char wanted[32], rest;
	struct scene *s = *state;

	start(s, ONCE);
	see(s, PROMPT);
	type(s, "0123456789abcdef\n");
	snprintf(wanted, sizeof(wanted), "%d::0", TX_EINVAL);
	came_of_it(s, wanted);
	assert_int_equal(fcntl(s->slave, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(s->slave, &rest, 1), -1);
}

static void the_longest_is_taken(void **state)
{
	struct scene *s = *state;

	start(s, ONCE);
	see(s, PROMPT);
	type(s, "0123456789abcde\n");
	came_of_it(s, "0:0123456789abcde:0");
}

static void the_end_of_input_is_told(void **state)
{
	char wanted[32];
	struct scene *s = *state;

	start(s, ONCE);
	see(s, PROMPT);
	type(s, "\x04");
	snprintf(wanted, sizeof(wanted), "%d::0", TX_ECLOSED);
	came_of_it(s, wanted);
}

static void what_is_no_terminal_is_told(void **state)
{
	char out[SIZE] = "";
	int fd = open("/dev/null", O_RDWR);
	struct err e;

	(void)state;
	assert_int_equal(secret_ask(fd, PROMPT, NULL, out, sizeof(out), &e), TX_ESYS);
	close(fd);
}

/* ---- signals ---- */

static void ends_by(struct scene *s, int signo)
{
	int status = ended(s);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), signo);
}

static void the_interrupt_key_ends_it(void **state)
{
	struct scene *s = *state;

	start(s, ONCE);
	see(s, PROMPT);
	type(s, "hal\x03");
	ends_by(s, SIGINT);
}

static void a_signal_ends_it(void **state)
{
	struct scene *s = *state;

	start(s, ONCE);
	see(s, PROMPT);
	kill(s->child, SIGHUP);
	ends_by(s, SIGHUP);
}

static void a_signal_ends_it_at_the_second_prompt(void **state)
{
	struct scene *s = *state;

	start(s, TWICE);
	see(s, PROMPT);
	type(s, "horse\n");
	see(s, AGAIN);
	kill(s->child, SIGTERM);
	ends_by(s, SIGTERM);
}

static void one_that_is_handled_comes_back_as_an_error(void **state)
{
	char wanted[32];
	struct scene *s = *state;

	start(s, HANDLES);
	see(s, PROMPT);
	kill(s->child, SIGTERM);
	snprintf(wanted, sizeof(wanted), "%d::1", TX_ECLOSED);
	came_of_it(s, wanted);
}

static void one_that_is_ignored_stays_so(void **state)
{
	struct scene *s = *state;

	start(s, IGNORES);
	see(s, PROMPT);
	kill(s->child, SIGHUP);
	type(s, "horse\n");
	came_of_it(s, "0:horse:0");
}

/* ---- with job control: between us and the one who asks there is a shell ---- */

static void go_on(pid_t child)
{
	if (kill(child, SIGCONT) < 0)
		_exit(90);
}

/* Returns by which signal it was stopped. */
static int stopped(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, WUNTRACED) < 0)
		if (errno != EINTR)
			_exit(91);
	return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
}

static void needs_stops(void)
{
	/* valgrind does not stop what it runs at SIGTTOU or SIGTSTP. */
	if (getenv("TELEX_TEST_SLOW") != NULL)
		skip();
}

static pid_t job_of_a_shell(const struct scene *s)
{
	pid_t child;

	on_the_terminal(s);
	signal(SIGTTOU, SIG_IGN); /* as shells do, to give the terminal away */
	child = fork();
	if (child == 0) {
		signal(SIGTTOU, SIG_DFL);
		alarm(WAIT / 1000);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		ask(s, NULL);
		_exit(0);
	}
	setpgid(child, child);
	return child;
}

static void wait_for_end(pid_t child)
{
	int status = 0;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			_exit(92);
	_exit(status == 0 ? 0 : 93);
}

static void in_the_background_it_waits(void **state)
{
	struct scene *s = *state;

	needs_stops();
	s->child = fork();
	assert_true(s->child >= 0);
	if (s->child == 0) {
		pid_t job = job_of_a_shell(s);

		if (stopped(job) != SIGTTOU || !echoes(s))
			_exit(94);
		tcsetpgrp(s->slave, job);
		go_on(job);
		wait_for_end(job);
	}
	see(s, PROMPT);
	assert_false(echoes(s));
	type(s, "horse\n");
	came_of_it(s, "0:horse:0");
}

static void suspended_it_gives_the_terminal_back_and_asks_again(void **state)
{
	struct scene *s = *state;

	needs_stops();
	s->child = fork();
	assert_true(s->child >= 0);
	if (s->child == 0) {
		pid_t job = job_of_a_shell(s);

		/* Whether it was in front in time or not. */
		while (stopped(job) == SIGTTOU) {
			tcsetpgrp(s->slave, job);
			go_on(job);
		}
		if (!echoes(s))
			_exit(94);
		go_on(job);
		wait_for_end(job);
	}
	see(s, PROMPT);
	type(s, "hal\x1a");
	see(s, "\r\n" PROMPT);
	assert_false(echoes(s));
	type(s, "horse\n");
	came_of_it(s, "0:horse:0");
}

#define ON_PTY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ON_PTY(nothing_typed_is_shown),
	    ON_PTY(what_was_typed_before_is_thrown_away),
	    ON_PTY(twice_the_same),
	    ON_PTY(two_that_differ_are_refused),
	    ON_PTY(too_long_is_refused_and_read_to_its_end),
	    ON_PTY(the_longest_is_taken),
	    ON_PTY(the_end_of_input_is_told),
	    ON_PTY(what_is_no_terminal_is_told),
	    ON_PTY(the_interrupt_key_ends_it),
	    ON_PTY(a_signal_ends_it),
	    ON_PTY(a_signal_ends_it_at_the_second_prompt),
	    ON_PTY(one_that_is_handled_comes_back_as_an_error),
	    ON_PTY(one_that_is_ignored_stays_so),
	    ON_PTY(in_the_background_it_waits),
	    ON_PTY(suspended_it_gives_the_terminal_back_and_asks_again),
	};

	return cmocka_run_group_tests_name("cli_secret", tests, NULL, NULL);
}
