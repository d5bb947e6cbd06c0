/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals are blocked but for the wait in ppoll(2), so that none is lost between a look at `came`
 * and the wait; a signal takes its effect when the terminal is as it was.
 */
#include "cli/secret.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
#define ENDING (sizeof(ending) / sizeof(ending[0]))

struct asking {
	int tty;
	struct termios saved;
	struct sigaction actions[ENDING];
	sigset_t mask;
};

static volatile sig_atomic_t came;

static void on_signal(int signo)
{
	came = signo;
}

static int set_terminal(int tty, int when, const struct termios *to)
{
	int rc;

	do
		rc = tcsetattr(tty, when, to);
	while (rc < 0 && errno == EINTR);
	return rc;
}

/* Who ignores a signal goes on doing so. */
static void catch_signals(struct asking *a)
{
	const struct sigaction ours = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	for (size_t i = 0; i < ENDING; i++)
		sigaddset(&blocked, ending[i]);
	sigprocmask(SIG_BLOCK, &blocked, &a->mask);
	came = 0;
	for (size_t i = 0; i < ENDING; i++) {
		sigaction(ending[i], NULL, &a->actions[i]);
		if (a->actions[i].sa_handler != SIG_IGN)
			sigaction(ending[i], &ours, NULL);
	}
}

static void release_signals(const struct asking *a)
{
	for (size_t i = 0; i < ENDING; i++)
		sigaction(ending[i], &a->actions[i], NULL);
	if (came != 0)
		raise(came);
	sigprocmask(SIG_SETMASK, &a->mask, NULL);
}

static int hush(struct asking *a, struct err *e)
{
	struct termios silent;

	/* The second call changes nothing: in the background it stops us until we are in front,
	 * while signals have their own effects still. */
	if (tcgetattr(a->tty, &a->saved) < 0 || set_terminal(a->tty, TCSANOW, &a->saved) < 0)
		return err_sys(e, errno, "cannot ask on the terminal");
	catch_signals(a);
	silent = a->saved;
	silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	silent.c_lflag |= ICANON | ISIG;
	if (set_terminal(a->tty, TCSAFLUSH, &silent) == 0)
		return 0;
	err_sys(e, errno, "cannot turn off the terminal's echo");
	release_signals(a);
	return TX_ESYS;
}

static void show(int tty, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = write(tty, text, len);

		if (n < 0 && errno != EINTR)
			return;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

/* False: a signal came. */
static bool wait_for_line(const struct asking *a)
{
	struct pollfd p = {.fd = a->tty, .events = POLLIN};

	while (came == 0)
		if (ppoll(&p, 1, NULL, &a->mask) > 0)
			return true;
	return false;
}

/* Reads to the line's end, also what is too long: the rest would be for the shell. */
static int read_line(const struct asking *a, char *out, size_t size, struct err *e)
{
	size_t len = 0;
	ssize_t n;
	char c = 0;

	while (c != '\n') {
		if (!wait_for_line(a))
			return err_set(e, TX_ECLOSED, "interrupted");
		n = read(a->tty, &c, 1);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return err_set(e, TX_ECLOSED, "the terminal has no more to say");
		if (c != '\n' && len < size)
			out[len] = c;
		len += c != '\n';
	}
	if (len >= size)
		return err_set(
		    e, TX_EINVAL, "what was typed is longer than %zu characters", size - 1);
	out[len] = '\0';
	return 0;
}

static int ask_once(
    const struct asking *a, const char *prompt, char *out, size_t size, struct err *e)
{
	int rc;

	show(a->tty, prompt);
	rc = read_line(a, out, size, e);
	show(a->tty, "\n"); /* nobody saw the line's end either */
	return rc;
}

static int ask_again(const struct asking *a, const char *prompt, const char *first, struct err *e)
{
	char second[4096]; /* no line of a terminal is longer */
	int rc = ask_once(a, prompt, second, sizeof(second), e);

	if (rc == 0 && strcmp(first, second) != 0)
		rc = err_set(e, TX_EINVAL, "what was typed the second time is not the same");
	explicit_bzero(second, sizeof(second));
	return rc;
}

int secret_ask(
    int tty, const char *prompt, const char *again, char *out, size_t size, struct err *e)
{
	struct asking a = {.tty = tty};
	int stopped, rc;

	do {
		rc = hush(&a, e);
		if (rc != 0)
			return rc;
		rc = ask_once(&a, prompt, out, size, e);
		if (rc == 0 && again != NULL)
			rc = ask_again(&a, again, out, e);
		set_terminal(tty, TCSADRAIN, &a.saved);
		stopped = came == SIGTSTP;
		release_signals(&a);
	} while (rc != 0 && stopped);
	if (rc != 0)
		explicit_bzero(out, size);
	return rc;
}
