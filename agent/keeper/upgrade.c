/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle -> asking (a child checks the state; what it says on its stderr is kept for the log) ->
 * executing, or idle again.
 *
 * All signals are blocked from before the state is taken until the new image has its handlers: none
 * may meet their default actions.
 */
#include "agent/keeper/upgrade.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/spawn.h"
#include "agent/keeper/state_io.h"
#include "common/log.h"
#include "common/signals.h"

#define ENV_NAME          "TELEXD_STATE_FD"
#define ASK_LIMIT_S       120 /* longer than what a trial worker may take (preflight.c) */
#define WORDS_MAX         512
#define HINDERED_PAUSE_US 50000
#define HINDERED_TIMES    100

struct upgrade {
	struct event_base *base;
	const char *program;
	char *const *argv;
	const struct upgrade_ops *ops;
	void *arg;
	int program_fd; /* -1: idle */
	pid_t pid;      /* of the child; 0: none */
	int words_fd;   /* -1: none */
	struct event *words, *limit, *go;
	char said[WORDS_MAX];
	size_t n_said;
	bool timed_out;
	unsigned hindered; /* how often it was, one after the other */
};

static void on_words(evutil_socket_t fd, short what, void *arg);
static void on_limit(evutil_socket_t fd, short what, void *arg);
static void on_go(evutil_socket_t fd, short what, void *arg);

int upgrade_new(struct upgrade **out, struct event_base *base, const char *program,
    char *const *argv, const struct upgrade_ops *ops, void *arg, struct err *e)
{
	struct upgrade *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	u->base = base;
	u->program = program;
	u->argv = argv;
	u->ops = ops;
	u->arg = arg;
	u->program_fd = u->words_fd = -1;
	u->limit = evtimer_new(base, on_limit, u);
	u->go = event_new(base, -1, 0, on_go, u);
	if (u->limit == NULL || u->go == NULL) {
		upgrade_free(u);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = u;
	return 0;
}

static void close_words(struct upgrade *u)
{
	if (u->words != NULL)
		event_free(u->words);
	u->words = NULL;
	if (u->words_fd >= 0)
		close(u->words_fd);
	u->words_fd = -1;
}

static void be_idle(struct upgrade *u)
{
	event_del(u->limit);
	event_del(u->go);
	u->hindered = 0;
	close_words(u);
	if (u->program_fd >= 0)
		close(u->program_fd);
	u->program_fd = -1;
}

void upgrade_free(struct upgrade *u)
{
	if (u == NULL)
		return;
	if (u->limit != NULL && u->go != NULL)
		upgrade_cancel(u);
	if (u->limit != NULL)
		event_free(u->limit);
	if (u->go != NULL)
		event_free(u->go);
	free(u);
}

static void refuse(struct upgrade *u, const char *why)
{
	be_idle(u);
	u->ops->refused(why, u->arg);
}

/* ---- asking ---- */

static void read_words(struct upgrade *u)
{
	char rest[256];

	for (;;) {
		size_t room = sizeof(u->said) - 1 - u->n_said;
		ssize_t n;

		if (room > 0)
			n = read(u->words_fd, u->said + u->n_said, room);
		else
			n = read(u->words_fd, rest, sizeof(rest));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				event_del(u->words);
			return;
		}
		if (room > 0)
			u->n_said += (size_t)n;
	}
}

static void on_words(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_words(arg);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;

	(void)fd;
	(void)what;
	u->timed_out = true;
	if (u->pid > 0)
		(void)kill(u->pid, SIGKILL);
}

/* --check-state, and the arguments as they were. */
static char **check_argv(const struct upgrade *u)
{
	static char flag[] = "--check-state";
	size_t n = 0;
	char **argv;

	while (u->argv[n] != NULL)
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (argv == NULL || n == 0)
		return argv;
	/* The first one: behind "--" it would be no option. */
	argv[0] = u->argv[0];
	argv[1] = flag;
	memcpy(argv + 2, u->argv + 1, (n - 1) * sizeof(*argv));
	return argv;
}

static int spawn_check(struct upgrade *u, int state_fd, int words, struct err *e)
{
	char **argv = check_argv(u);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct spawn_plan plan = {
	    .file = u->program,
	    .file_fd = u->program_fd,
	    .argv = argv,
	    .envp = environ,
	    .fds = {null_fd, words, words, state_fd},
	    .n_fds = 4,
	    .cwd = ".",
	};
	struct spawn_failure why;
	struct spawn_result got;
	int rc = 0;

	if (argv == NULL || null_fd < 0)
		rc = err_set(e, TX_ENOMEM, "out of memory or descriptors");
	else if (spawn_run(&plan, &got, &why) != 0)
		rc = err_set(e, TX_ESYS, "%s", why.text);
	if (null_fd >= 0)
		close(null_fd);
	free(argv);
	if (rc != 0)
		return rc;
	if (got.pidfd >= 0)
		close(got.pidfd);
	u->pid = got.pid;
	return 0;
}

static int ask(struct upgrade *u, int state_fd, struct err *e)
{
	static const struct timeval limit = {ASK_LIMIT_S, 0};
	int pair[2];
	int rc;

	if (pipe2(pair, O_CLOEXEC) != 0)
		return err_sys(e, errno, "cannot make a pipe");
	(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
	u->words_fd = pair[0];
	u->words = event_new(u->base, pair[0], EV_READ | EV_PERSIST, on_words, u);
	if (u->words == NULL || event_add(u->words, NULL) != 0 || event_add(u->limit, &limit) != 0)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	else
		rc = spawn_check(u, state_fd, pair[1], e);
	close(pair[1]);
	return rc;
}

static int take_state(struct upgrade *u, struct state_out **o, int *memfd, struct err *e)
{
	int rc;

	*o = u->ops->save(u->arg);
	if (*o == NULL)
		return err_set(e, TX_ENOMEM, "no memory for the agent's state");
	rc = state_seal(*o, memfd, e);
	if (rc != 0) {
		state_out_free(*o);
		*o = NULL;
	}
	return rc;
}

/* What hinders it is over in a moment, mostly: it is asked again, and refused in the end. */
static bool is_hindered(struct upgrade *u)
{
	static const struct timeval pause = {0, HINDERED_PAUSE_US};
	const char *why = u->ops->hindered(u->arg);

	if (why == NULL) {
		u->hindered = 0;
		return false;
	}
	if (++u->hindered > HINDERED_TIMES || event_add(u->go, &pause) != 0) {
		u->hindered = 0;
		refuse(u, why);
	}
	return true;
}

static void begin(struct upgrade *u)
{
	struct state_out *o;
	struct err e = {0};
	int memfd = -1;
	int rc;

	u->n_said = 0;
	u->timed_out = false;
	u->program_fd = open(u->program, O_PATH | O_CLOEXEC);
	rc = u->program_fd < 0 ? err_sys(&e, errno, "%s", u->program)
	                       : take_state(u, &o, &memfd, &e);
	if (rc == 0) {
		state_out_free(o);
		rc = ask(u, memfd, &e);
		close(memfd);
	}
	if (rc != 0)
		refuse(u, e.message);
}

void upgrade_request(struct upgrade *u)
{
	if (u->program_fd >= 0 || u->pid > 0 || u->hindered > 0) {
		log_info("an upgrade is on its way already");
		return;
	}
	if (!is_hindered(u))
		begin(u);
}

void upgrade_cancel(struct upgrade *u)
{
	if (u->pid > 0)
		(void)kill(u->pid, SIGKILL);
	be_idle(u);
}

/* Of what it said the first line that is telexd's answer, without that name; else the first. */
static char *answer(struct upgrade *u)
{
	static const char name[] = "telexd: ";
	char *line = u->said, *found;

	u->said[u->n_said] = '\0';
	for (found = strstr(line, name); found != NULL; found = strstr(found + 1, name))
		if (found == line || found[-1] == '\n') {
			line = found + sizeof(name) - 1;
			break;
		}
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void describe(struct upgrade *u, int status, char *out, size_t size)
{
	const char *line = answer(u);

	if (u->timed_out)
		snprintf(out, size, "%s did not answer within %d s", u->program, ASK_LIMIT_S);
	else if (line[0] != '\0')
		snprintf(out, size, "%s says: %s", u->program, line);
	else
		snprintf(out, size, "%s %s %d", u->program,
		    WIFEXITED(status) ? "exited with" : "died of signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

bool upgrade_reaped(struct upgrade *u, pid_t pid, int status)
{
	char why[WORDS_MAX + 128];

	if (u->pid != pid || pid == 0)
		return false;
	u->pid = 0;
	if (u->program_fd < 0)
		return true; /* given up */
	if (u->words_fd >= 0)
		read_words(u);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		/* Not here, inside of somebody's loop. */
		event_active(u->go, EV_TIMEOUT, 0);
		return true;
	}
	describe(u, status, why, sizeof(why));
	refuse(u, why);
	return true;
}

/* ---- executing ---- */

static int keep_over_exec(const struct state_out *o, bool keep)
{
	size_t n;
	const int *fds = state_out_fds(o, &n);

	for (size_t i = 0; i < n; i++)
		if (fcntl(fds[i], F_SETFD, keep ? 0 : FD_CLOEXEC) != 0)
			return errno;
	return 0;
}

/* Comes back only when it failed. */
static void execute(struct upgrade *u, struct err *e)
{
	struct state_out *o = NULL;
	char number[16];
	int memfd = -1;
	int error;

	if (take_state(u, &o, &memfd, e) != 0)
		return;
	snprintf(number, sizeof(number), "%d", memfd);
	error = setenv(ENV_NAME, number, 1) != 0 ? ENOMEM : keep_over_exec(o, true);
	if (error == 0 && fcntl(memfd, F_SETFD, 0) != 0)
		error = errno;
	if (error == 0) {
		u->ops->leaving(u->arg);
		(void)syscall(SYS_execveat, u->program_fd, "", u->argv, environ, AT_EMPTY_PATH);
		error = errno;
	}
	unsetenv(ENV_NAME);
	(void)keep_over_exec(o, false);
	close(memfd);
	state_out_free(o);
	err_sys(e, error, "%s", u->program);
}

static void on_go(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;
	struct err e = {0};
	struct signals_held held;

	(void)fd;
	(void)what;
	if (is_hindered(u))
		return;
	if (u->program_fd < 0) {
		begin(u);
		return;
	}
	log_info("executing %s", u->program);
	signals_block(&held);
	execute(u, &e);
	signals_restore(&held);
	refuse(u, e.message);
}

int upgrade_state_fd(void)
{
	const char *text = getenv(ENV_NAME);
	int fd = text != NULL ? atoi(text) : -1;

	if (text == NULL)
		return -1;
	unsetenv(ENV_NAME);
	if (fd <= STDERR_FILENO || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return -1;
	return fd;
}
