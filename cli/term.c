/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local terminal.
 *
 * `saved` is what goes back; it is set before anything is changed, so that every way out can use
 * it. A terminal that is not ours at the moment (we are in the background) is left alone both ways:
 * its foreground has set it up for itself.
 *
 * A crash is the one place where a handler does work: tcsetattr is async-signal-safe, and nobody
 * else would give the terminal back.
 */
#include "cli/term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/say.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/signals.h"

enum { WATCH_WINCH, WATCH_TSTP, WATCH_CONT, WATCHES };

struct term {
	const struct term_ops *ops;
	void *arg;
	struct event_base *base;
	struct signal_watch *watch[WATCHES];
	bool keys;
};

static struct termios saved;
static volatile sig_atomic_t is_raw;

static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))
static struct sigaction old_fault[FAULTS];

static bool size_of(int fd, uint16_t *rows, uint16_t *columns)
{
	struct winsize size;

	if (fd < 0 || ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		return false;
	*rows = size.ws_row < JOB_TERMINAL_MAX ? size.ws_row : JOB_TERMINAL_MAX;
	*columns = size.ws_col < JOB_TERMINAL_MAX ? size.ws_col : JOB_TERMINAL_MAX;
	return true;
}

bool term_size(uint16_t *rows, uint16_t *columns)
{
	bool known;
	int fd;

	*rows = 24;
	*columns = 80;
	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (size_of(fd, rows, columns))
			return true;
	fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
	known = size_of(fd, rows, columns);
	if (fd >= 0)
		close(fd);
	return known;
}

/* ---- raw and back ---- */

/* A terminal that controls another session, or none, has no background for us. */
static bool is_foreground(void)
{
	const pid_t group = tcgetpgrp(STDIN_FILENO);

	return group == getpgrp() || (group < 0 && errno == ENOTTY && isatty(STDIN_FILENO));
}

static void on_fault(int signo)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raise(signo); /* SA_RESETHAND: with its old effect */
}

static void guard(bool on)
{
	struct sigaction ours = {
	    .sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};

	for (size_t i = 0; i < FAULTS; i++)
		if (on)
			sigaction(faults[i], &ours, &old_fault[i]);
		else
			sigaction(faults[i], &old_fault[i], NULL);
}

static void restore(void)
{
	if (!is_raw)
		return;
	if (is_foreground())
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	is_raw = false;
	say_raw(false);
	guard(false);
}

static void make_raw(void)
{
	static bool at_exit;
	struct termios raw;

	if (is_raw || !is_foreground() || tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	raw = saved;
	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	if (!at_exit && atexit(restore) == 0)
		at_exit = true;
	guard(true);
	is_raw = true;
	say_raw(true);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		restore();
}

/* ---- signals ---- */

static void on_winch(int signo, void *arg)
{
	struct term *t = arg;

	(void)signo;
	t->ops->resized(t->arg);
}

static void on_continued(int signo, void *arg)
{
	struct term *t = arg;

	(void)signo;
	make_raw();
	t->ops->resized(t->arg);
}

static void watch(struct term *t, int which, int signo, signals_fn fn)
{
	if (signals_watch(&t->watch[which], t->base, signo, fn, t, NULL) < 0)
		abort();
}

static void on_stop(int signo, void *arg)
{
	(void)signo;
	term_suspend(arg);
}

void term_suspend(struct term *t)
{
	if (!t->keys)
		return;
	restore();
	signals_unwatch(t->watch[WATCH_TSTP]); /* SIGTSTP has its own effect again */
	t->watch[WATCH_TSTP] = NULL;
	kill(0, SIGTSTP);
	/* Here we are when we were continued; an orphan was never stopped. */
	watch(t, WATCH_TSTP, SIGTSTP, on_stop);
	make_raw();
	t->ops->resized(t->arg);
}

void term_awake(struct term *t)
{
	if (t->keys)
		make_raw();
}

struct term *term_new(struct event_base *base, bool raw, const struct term_ops *ops, void *arg)
{
	struct term *t = xcalloc(1, sizeof(*t));

	t->ops = ops;
	t->arg = arg;
	t->base = base;
	t->keys = raw;
	watch(t, WATCH_WINCH, SIGWINCH, on_winch);
	if (raw) {
		watch(t, WATCH_TSTP, SIGTSTP, on_stop);
		watch(t, WATCH_CONT, SIGCONT, on_continued);
		make_raw();
	}
	return t;
}

void term_free(struct term *t)
{
	if (!t)
		return;
	for (int i = 0; i < WATCHES; i++)
		signals_unwatch(t->watch[i]);
	if (t->keys)
		restore();
	free(t);
}
