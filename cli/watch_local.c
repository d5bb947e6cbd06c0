/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch --exec: a command on this side, in a process group of its own, so that a signal reaches all
 * that it has started. The keys of a terminal reach us, and are passed on; where it reads from the
 * terminal or sets it, which stops it, it is given the terminal until it ends, as a shell does it.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/say.h"
#include "cli/watch_command.h"
#include "cli/watch_queue.h"
#include "common/mem.h"
#include "common/signals.h"
#include "common/signame.h"

#define ARGV_MAX ((size_t)512 * 1024) /* of names; execve takes more */
#define GRACE_S  10                   /* from SIGTERM of --timeout to SIGKILL */
#define SHELL    "/bin/sh"

struct local {
	struct watch *watch;
	struct watch_queue *queue;
	struct watch_command command;
	struct watch_command_run run;
	struct signal_watch *child;
	struct event *grace;
	struct event *feed; /* NULL: all is given */
	int in;             /* its standard input; -1: none */
	size_t given;       /* of run.input */
	pid_t pid;          /* 0: none runs */
	int terminal;       /* that was given to it; -1: none was */
	struct termios modes;
	struct signal_watch *stop_key;
	bool stopping; /* the run is ended because we end */
};

/* ---- its standard input ---- */

static void stop_feeding(struct local *l)
{
	if (l->feed)
		event_free(l->feed);
	l->feed = NULL;
	if (l->in >= 0)
		close(l->in);
	l->in = -1;
}

static void on_feed(evutil_socket_t fd, short what, void *arg)
{
	struct local *l = arg;

	(void)what;
	while (l->given < l->run.input_len) {
		ssize_t n = write(fd, l->run.input + l->given, l->run.input_len - l->given);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break; /* it reads no more */
		l->given += (size_t)n;
	}
	stop_feeding(l);
}

static void begin_feeding(struct local *l, int fd)
{
	l->in = fd;
	l->given = 0;
	l->feed = event_new(watch_session(l->watch)->base, fd, EV_WRITE | EV_PERSIST, on_feed, l);
	if (!l->feed || event_add(l->feed, NULL) < 0)
		abort();
}

/* ---- the terminal ---- */

/* Only where it is ours to give. */
static void give_terminal(struct local *l)
{
	int fd;

	if (l->terminal >= 0)
		close(l->terminal);
	l->terminal = -1;
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return;
	if (tcgetpgrp(fd) != getpgrp() || tcgetattr(fd, &l->modes) != 0 ||
	    tcsetpgrp(fd, l->pid) != 0) {
		close(fd);
		return;
	}
	l->terminal = fd;
	kill(-l->pid, SIGCONT);
}

/* As it was. Who takes a terminal back is in the background. */
static void take_terminal(struct local *l)
{
	struct signals_held held;

	if (l->terminal < 0)
		return;
	signals_block(&held);
	(void)tcsetpgrp(l->terminal, getpgrp());
	(void)tcsetattr(l->terminal, TCSADRAIN, &l->modes);
	signals_restore(&held);
	close(l->terminal);
	l->terminal = -1;
}

/* As Ctrl-Z does it without us. Who is in an orphaned process group, which no shell could continue,
 * is not stopped by that (setpgid(2), signal(7)), as SIGSTOP would. */
static void stop_ourselves(void)
{
	struct sigaction effect = {.sa_handler = SIG_DFL}, before;
	sigset_t set, mask;

	sigemptyset(&effect.sa_mask);
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	(void)sigaction(SIGTSTP, &effect, &before);
	pthread_sigmask(SIG_UNBLOCK, &set, &mask);
	(void)raise(SIGTSTP);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	(void)sigaction(SIGTSTP, &before, NULL);
}

/* Ctrl-Z is for both. */
static void on_stop_key(int signo, void *arg)
{
	struct local *l = arg;

	(void)signo;
	if (l->pid > 0)
		kill(-l->pid, SIGTSTP);
	stop_ourselves();
	if (l->pid > 0)
		kill(-l->pid, SIGCONT);
}

/* The command is, by that signal. */
static void stopped(struct local *l, int signo)
{
	/* With the terminal it has had Ctrl-Z alone. */
	if (signo == SIGTSTP && l->terminal >= 0) {
		take_terminal(l);
		stop_ourselves();
		give_terminal(l);
	} else if (signo == SIGTTIN || signo == SIGTTOU) {
		give_terminal(l);
	}
}

/* ---- a run ---- */

static void ended(struct local *l, int status)
{
	/* Nobody knows what it has left out when it was told to end. */
	const enum watch_run_end how = l->stopping   ? WATCH_RUN_UNDONE
	                               : l->run.more ? WATCH_RUN_PART
	                                             : WATCH_RUN_WHOLE;

	l->pid = 0;
	take_terminal(l);
	event_del(l->grace);
	stop_feeding(l);
	watch_command_run_clear(&l->run);
	watch_queue_ended(l->queue, status, how);
}

/* With the terminal it has had the key alone, which was meant for both. */
static bool is_ended_by_key(const struct local *l, const siginfo_t *info)
{
	return l->terminal >= 0 && info->si_code != CLD_EXITED &&
	       (info->si_status == SIGINT || info->si_status == SIGQUIT);
}

/* What it has left running does not outlive us, though shells have such a thing ignore the keys.
 * The group's number is its own until its leader is reaped. */
static void before_end(struct local *l)
{
	siginfo_t info = {0};
	bool key;

	if (waitid(P_PID, (id_t)l->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	    info.si_pid != l->pid)
		return;
	key = is_ended_by_key(l, &info);
	if (l->stopping || key)
		kill(-l->pid, SIGTERM);
	if (key) {
		l->stopping = true;
		watch_end(l->watch, 128 + info.si_status);
	}
}

static void on_child(int signo, void *arg)
{
	struct local *l = arg;
	char how[48], name[24];
	int status;

	(void)signo;
	if (l->pid != 0)
		before_end(l);
	if (l->pid == 0 || waitpid(l->pid, &status, WNOHANG | WUNTRACED) != l->pid)
		return;
	if (WIFSTOPPED(status)) {
		stopped(l, WSTOPSIG(status));
		return;
	}
	if (WIFSIGNALED(status)) {
		snprintf(
		    how, sizeof(how), "%s", signame_format(name, sizeof(name), WTERMSIG(status)));
		status = 128 + WTERMSIG(status);
	} else {
		status = WEXITSTATUS(status);
		snprintf(how, sizeof(how), "exit %d", status);
	}
	watch_command_say(&l->command, how, status == 0, !l->stopping);
	ended(l, status);
}

static char **environment(char *const more[])
{
	size_t n = 0, k = 0;
	char **out;

	while (environ[n])
		n++;
	out = xcalloc(n + 3, sizeof(*out));
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "TELEX_CLOCK=", 12) != 0 &&
		    strncmp(environ[i], "TELEX_OVERFLOW=", 15) != 0)
			out[k++] = environ[i];
	out[k++] = more[0];
	out[k++] = more[1];
	return out;
}

/* All signals have their default effect there, and none is blocked. 0 or an errno. */
static int spawn(struct local *l, int in)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char **env = environment(l->run.env);
	short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP;
	sigset_t set;
	int error;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(&attr, &set);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(&attr, &set);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, flags);
	error = posix_spawn(&l->pid, SHELL, &actions, &attr, l->run.argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	free(env);
	return error;
}

/* fds[0] is its standard input, fds[1] ours, or -1. 0 or -1 and errno. */
static int open_input(const struct local *l, int fds[2])
{
	fds[0] = fds[1] = -1;
	if (l->run.input == NULL) {
		fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return fds[0] < 0 ? -1 : 0;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	return fcntl(fds[1], F_SETFL, O_NONBLOCK);
}

static void on_start(void *self, const char *clock, bool overflow)
{
	struct local *l = self;
	int fds[2], error;

	watch_command_take(&l->command, &l->run, ARGV_MAX, clock, overflow);
	say_detail("%s: %zu name%s", l->command.text, l->run.n, l->run.n == 1 ? "" : "s");
	error = open_input(l, fds) < 0 ? errno : spawn(l, fds[0]);
	if (fds[0] >= 0)
		close(fds[0]);
	if (error == 0 && fds[1] >= 0) {
		begin_feeding(l, fds[1]);
	} else if (fds[1] >= 0) {
		close(fds[1]);
	}
	if (error != 0) {
		say_error("watch: cannot run " SHELL ": %s", strerror(error));
		l->pid = 0;
		watch_end(l->watch, CLI_TELEX);
		ended(l, CLI_TELEX);
	}
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct local *l = arg;

	(void)fd;
	(void)what;
	if (l->pid > 0)
		kill(-l->pid, SIGKILL);
}

static void on_signal(void *self, int signo, bool last)
{
	static const struct timeval grace = {.tv_sec = GRACE_S};
	struct local *l = self;

	l->stopping = true;
	if (last) {
		on_grace(-1, 0, l);
	} else {
		kill(-l->pid, signo);
		/* One that was stopped would not meet it. */
		kill(-l->pid, SIGCONT);
	}
	if (signo == SIGTERM && !last)
		event_add(l->grace, &grace);
}

static size_t on_add(void *self, const struct telex_change *c)
{
	struct local *l = self;

	return watch_command_add(&l->command, c);
}

static void on_free(void *self)
{
	struct local *l = self;

	stop_feeding(l);
	signals_unwatch(l->child);
	signals_unwatch(l->stop_key);
	event_free(l->grace);
	watch_command_run_clear(&l->run);
	watch_command_clear(&l->command);
	free(l);
}

static const struct watch_runner runner = {
    .add = on_add, .start = on_start, .signal = on_signal, .free = on_free};

void *watch_local_new(struct watch *w)
{
	const struct watch_options *o = watch_get_options(w);
	struct local *l = xcalloc(1, sizeof(*l));
	struct err e;

	l->watch = w;
	l->in = l->terminal = -1;
	watch_command_init(&l->command, o->command, o->null, o->o.paths);
	l->grace = evtimer_new(watch_session(w)->base, on_grace, l);
	if (!l->grace ||
	    signals_watch(&l->child, watch_session(w)->base, SIGCHLD, on_child, l, &e) < 0)
		abort();
	if (!signals_were_ignored(SIGTSTP) &&
	    signals_watch(&l->stop_key, watch_session(w)->base, SIGTSTP, on_stop_key, l, &e) < 0)
		abort();
	l->queue = watch_queue_new(w, &runner, l);
	return l->queue;
}
