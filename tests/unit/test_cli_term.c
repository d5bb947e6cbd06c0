/* SPDX-License-Identifier: Apache-2.0 */
/* Each way out is taken by a child on a terminal of its own; its parent looks at that terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/term.h"

struct pty {
	int master, slave;
};

static int open_pty(void **state)
{
	static struct pty p;

	p.master = posix_openpt(O_RDWR | O_NOCTTY);
	if (p.master < 0 || grantpt(p.master) < 0 || unlockpt(p.master) < 0)
		return -1;
	p.slave = open(ptsname(p.master), O_RDWR | O_NOCTTY);
	*state = &p;
	return p.slave < 0 ? -1 : 0;
}

static int close_pty(void **state)
{
	struct pty *p = *state;

	close(p->slave);
	close(p->master);
	return 0;
}

static void on_resized(void *arg)
{
	(void)arg;
}

static const struct term_ops ops = {.resized = on_resized};

static bool is_raw(const struct pty *p)
{
	struct termios now;

	assert_int_equal(tcgetattr(p->slave, &now), 0);
	return (now.c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

/* The child's part: on the terminal, raw, then out. */
static void become(const struct pty *p, void (*out)(struct term *t))
{
	struct event_base *base = event_base_new();
	struct term *t;

	setsid();
	ioctl(p->slave, TIOCSCTTY, 0);
	dup2(p->slave, STDIN_FILENO);
	t = term_new(base, true, &ops, NULL);
	if (!is_raw(p))
		_exit(99);
	out(t);
	event_base_free(base);
	_exit(0);
}

/* How the child ended, whose terminal is as it was. */
static int way_out(struct pty *p, void (*out)(struct term *t))
{
	struct termios before = {0}, after = {0};
	int status = 0;
	pid_t pid;

	assert_int_equal(tcgetattr(p->slave, &before), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		become(p, out);
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_int_equal(tcgetattr(p->slave, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	return status;
}

static void out_free(struct term *t)
{
	term_free(t);
}

static void out_exit(struct term *t)
{
	(void)t;
	exit(7);
}

static void out_abort(struct term *t)
{
	(void)t;
	abort();
}

static void out_crash(struct term *t)
{
	(void)t;
	raise(SIGSEGV);
}

static void the_terminal_is_given_back(void **state)
{
	int status = way_out(*state, out_free);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void it_is_given_back_by_exit(void **state)
{
	int status = way_out(*state, out_exit);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void it_is_given_back_by_abort(void **state)
{
	int status = way_out(*state, out_abort);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void it_is_given_back_by_a_crash(void **state)
{
	int status = way_out(*state, out_crash);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* Its parent leads the session and is in the foreground. */
static void in_background(const struct pty *p)
{
	struct event_base *base;
	struct term *t;
	int status = 99;
	pid_t pid;

	setsid();
	ioctl(p->slave, TIOCSCTTY, 0);
	dup2(p->slave, STDIN_FILENO);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		base = event_base_new();
		t = term_new(base, true, &ops, NULL);
		status = is_raw(p) ? 98 : 0;
		term_free(t);
		_exit(status);
	}
	while (waitpid(pid, &status, WUNTRACED) < 0 && errno == EINTR)
		;
	if (WIFSTOPPED(status))
		kill(pid, SIGKILL);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 97);
}

static void in_the_background_it_is_left_alone(void **state)
{
	struct pty *p = *state;
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		in_background(p);
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void one_of_another_session_is_made_raw_too(void **state)
{
	struct pty *p = *state;
	struct event_base *base = event_base_new();
	int old = dup(STDIN_FILENO);
	struct term *t;

	dup2(p->slave, STDIN_FILENO); /* it is nobody's controlling terminal */
	t = term_new(base, true, &ops, NULL);
	assert_true(is_raw(p));
	term_free(t);
	assert_false(is_raw(p));
	dup2(old, STDIN_FILENO);
	close(old);
	event_base_free(base);
}

static void its_size_is_the_first_terminals(void **state)
{
	struct pty *p = *state;
	const struct winsize size = {.ws_row = 31, .ws_col = 97};
	int old = dup(STDIN_FILENO);
	uint16_t rows, columns;

	assert_int_equal(ioctl(p->slave, TIOCSWINSZ, &size), 0);
	dup2(p->slave, STDIN_FILENO);
	term_size(&rows, &columns);
	assert_int_equal(rows, 31);
	assert_int_equal(columns, 97);
	dup2(old, STDIN_FILENO);
	close(old);
}

#define ON_PTY(test) cmocka_unit_test_setup_teardown(test, open_pty, close_pty)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ON_PTY(the_terminal_is_given_back),
	    ON_PTY(it_is_given_back_by_exit),
	    ON_PTY(it_is_given_back_by_abort),
	    ON_PTY(it_is_given_back_by_a_crash),
	    ON_PTY(in_the_background_it_is_left_alone),
	    ON_PTY(one_of_another_session_is_made_raw_too),
	    ON_PTY(its_size_is_the_first_terminals),
	};

	return cmocka_run_group_tests_name("cli_term", tests, NULL, NULL);
}
