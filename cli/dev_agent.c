/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded agent's folder and process. A pid from the file is believed only when the process
 * that a pidfd holds has the same start time and is a telexd: a reused pid is never signalled.
 */
#include "cli/dev_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/dev_spawn.h"
#include "cli/paths.h"
#include "cli/policy_file.h"
#include "common/escape.h"
#include "common/mem.h"

#define SMALL_FILE ((size_t)64 * 1024)
#define LOG_TAIL   ((size_t)4096)

static char *in(const struct dev_agent *a, const char *name)
{
	return xasprintf("%s/%s", a->dir, name);
}

/* ---- which process ---- */

/* Field 22 of /proc/PID/stat: when it started, in ticks since boot. 0: there is no such process. */
static unsigned long long start_of(pid_t pid)
{
	char *path = xasprintf("/proc/%d/stat", (int)pid), *text = NULL, *p;
	unsigned long long start = 0;

	if (paths_read(path, SMALL_FILE, &text, NULL) == 0) {
		p = strrchr(text, ')'); /* the name may hold anything, spaces too */
		for (int field = 2; p && field < 22; field++)
			p = strchr(p + 1, ' ');
		if (p)
			start = strtoull(p, NULL, 10);
	}
	free(text);
	free(path);
	return start;
}

static bool is_telexd(pid_t pid)
{
	char *path = xasprintf("/proc/%d/exe", (int)pid), target[4096];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	free(path);
	if (n < 0)
		return false;
	target[n] = '\0';
	slash = strrchr(target, '/');
	/* A binary that was replaced has " (deleted)" after its name. */
	return slash && strncmp(slash + 1, "telexd", 6) == 0;
}

static void look(struct dev_agent *a)
{
	char *path = in(a, "telexd.pid"), *text = NULL;
	unsigned long long start;
	int pid, fd;

	if (paths_read(path, 256, &text, NULL) == 0 && sscanf(text, "%d %llu", &pid, &start) == 2 &&
	    pid > 0) {
		fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (fd >= 0 && start_of(pid) == start && is_telexd(pid)) {
			a->pid = pid;
			a->pidfd = fd;
		} else if (fd >= 0) {
			close(fd);
		}
	}
	free(text);
	free(path);
}

static int remember(const struct dev_agent *a, struct err *e)
{
	char *path = in(a, "telexd.pid");
	char *text = xasprintf("%d %llu\n", (int)a->pid, start_of(a->pid));
	int r = paths_write(path, text, strlen(text), e);

	free(text);
	free(path);
	return r;
}

void dev_agent_forget(struct dev_agent *a)
{
	char *path = in(a, "telexd.pid");

	unlink(path);
	free(path);
	if (a->pidfd >= 0)
		close(a->pidfd);
	a->pidfd = -1;
	a->pid = 0;
}

/* ---- the folder ---- */

static int take_lock(struct dev_agent *a, struct err *e)
{
	char *path = in(a, "lock");
	int r = 0;

	a->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (a->lock < 0 || flock(a->lock, LOCK_EX) < 0)
		r = err_sys(e, errno, "cannot lock %s", path);
	free(path);
	return r;
}

int dev_agent_open(struct dev_agent *a, const char *dir, struct err *e)
{
	char *state = NULL;
	int r;

	*a = (struct dev_agent){.pidfd = -1, .lock = -1};
	if (dir) {
		r = paths_absolute(dir, &a->dir, e);
	} else {
		r = paths_state(&state, e);
		a->dir = r == 0 ? xasprintf("%s/dev", state) : NULL;
		free(state);
	}
	if (r == 0)
		r = paths_make_folder(a->dir, e);
	if (r == 0)
		r = take_lock(a, e);
	if (r == 0)
		look(a);
	else
		dev_agent_close(a);
	return r;
}

void dev_agent_unlock(struct dev_agent *a)
{
	if (a->lock >= 0)
		close(a->lock);
	a->lock = -1;
}

void dev_agent_close(struct dev_agent *a)
{
	dev_agent_unlock(a);
	if (a->pidfd >= 0)
		close(a->pidfd);
	a->pidfd = -1;
	free(a->dir);
	a->dir = NULL;
}

/* For a string in single quotes of the configuration file. */
static char *quoted(const char *text)
{
	char *out = xmalloc(strlen(text) * 2 + 1), *p = out;

	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			*p++ = '\\';
		*p++ = *text;
	}
	*p = '\0';
	return out;
}

static int write_policy(const struct dev_agent *a, struct err *e)
{
	char *path = in(a, "policy.conf"), *user = in(a, "user.pem");
	char identity[IDENTITY_SIZE];
	int r = policy_file_identity(user, identity, e);

	if (r == 0)
		r = policy_file_write(path, identity, false, e);
	if (r == TX_EEXIST)
		r = 0;
	free(user);
	free(path);
	return r;
}

int dev_agent_configure(const struct dev_agent *a, unsigned port, bool verbose, struct err *e)
{
	char *path, *dir, *text;
	int r;

	if (strpbrk(a->dir, "\r\n"))
		return err_set(e, TX_EINVAL, "the folder's name holds a line break");
	path = in(a, "telexd.conf");
	dir = quoted(a->dir);
	text = xasprintf("# Written by `telex dev` at each start.\n"
	                 "listen = {\"127.0.0.1:%u\"}\n"
	                 "certificate = '%s/agent.pem'\n"
	                 "key = '%s/agent.key'\n"
	                 "ca = '%s/ca.pem'\n"
	                 "policy = '%s/policy.conf'\n"
	                 "state_directory = '%s/agent'\n"
	                 "log_level = \"%s\"\n",
	    port, dir, dir, dir, dir, dir, verbose ? "debug" : "info");
	r = paths_write(path, text, strlen(text), e);
	if (r == 0)
		r = write_policy(a, e);
	free(text);
	free(dir);
	free(path);
	return r;
}

int dev_agent_address(const struct dev_agent *a, char **address, struct err *e)
{
	char *path = in(a, "agent/address"), *text = NULL;
	int r = paths_read(path, SMALL_FILE, &text, e);

	if (r == 0) {
		text[strcspn(text, "\n")] = '\0';
		if (text[0])
			*address = xstrdup(text);
		else
			r = err_set(e, TX_ENOENT, "%s is empty", path);
	}
	free(text);
	free(path);
	return r;
}

/* ---- the process ---- */

int dev_agent_start(struct dev_agent *a, bool detach, struct err *e)
{
	char *config = in(a, "telexd.conf"), *log = detach ? in(a, "telexd.log") : NULL;
	char *state = in(a, "agent"), *address = in(a, "agent/address");
	int r;

	/* What an earlier agent wrote must not be taken for this one's. */
	unlink(address);
	r = paths_make_folder(state, e);
	if (r == 0)
		r = dev_spawn(config, log, &a->pid, e);
	if (r == 0) {
		a->pidfd = (int)syscall(SYS_pidfd_open, a->pid, 0);
		if (a->pidfd < 0)
			r = err_sys(e, errno, "pidfd_open");
		else
			r = remember(a, e);
		if (r < 0) {
			kill(a->pid, SIGTERM); /* our child, not waited for: the pid is its own */
			a->pid = 0;
		}
	}
	free(address);
	free(state);
	free(log);
	free(config);
	return r;
}

bool dev_agent_ended(const struct dev_agent *a, int timeout_ms)
{
	struct pollfd p = {.fd = a->pidfd, .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

int dev_agent_signal(const struct dev_agent *a, int signo, struct err *e)
{
	if (syscall(SYS_pidfd_send_signal, a->pidfd, signo, NULL, 0) < 0 && errno != ESRCH)
		return err_sys(e, errno, "cannot signal the agent (pid %d)", (int)a->pid);
	return 0;
}

void dev_agent_show_log(const struct dev_agent *a)
{
	char *path = in(a, "telexd.log"), tail[LOG_TAIL + 1], *line, *save = NULL, *text;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	free(path);
	if (fd < 0)
		return;
	lseek(fd, -(off_t)LOG_TAIL, SEEK_END); /* a shorter file: from its beginning */
	n = read(fd, tail, LOG_TAIL);
	close(fd);
	tail[n > 0 ? n : 0] = '\0';
	text = tail;
	if (n == (ssize_t)LOG_TAIL && strchr(text, '\n'))
		text = strchr(text, '\n'); /* the first one is cut */
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char safe[1024];

		escape_text(safe, sizeof(safe), line, strlen(line));
		fprintf(stderr, "  %s\n", safe);
	}
}
