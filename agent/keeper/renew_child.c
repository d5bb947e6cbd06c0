/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/renew_child.h"

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
#include "agent/keeper/worker_kit.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/renew_frame.h"

#define LIMIT_NS (40 * NS_PER_S)

struct renew_child {
	struct event_base *base;
	const char *program;
	renew_done *done;
	void *arg;
	int64_t limit_ns;
	pid_t pid; /* 0: none */
	int pidfd; /* or -1 */
	int pipe;
	struct event *readable, *limit;
	struct renew_order order;
	uint8_t *bytes; /* what it wrote */
	size_t len, size;
	bool failed; /* it wrote too much, or could not be read */
};

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct renew_child *c = arg;

	(void)fd;
	(void)what;
	log_warn("telex-renew %s takes too long and is ended", c->order.mode);
	renew_child_kill(c);
}

int renew_child_new(struct renew_child **out, struct event_base *base, const char *program,
    renew_done *done, void *arg, struct err *e)
{
	struct renew_child *c = calloc(1, sizeof(*c));

	if (c != NULL) {
		*c = (struct renew_child){.base = base,
		    .program = program,
		    .done = done,
		    .arg = arg,
		    .limit_ns = LIMIT_NS,
		    .pidfd = -1,
		    .pipe = -1};
		c->limit = evtimer_new(base, on_limit, c);
	}
	if (c == NULL || c->limit == NULL) {
		free(c);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = c;
	return 0;
}

/* A private key may be in it. */
static void forget_bytes(struct renew_child *c)
{
	if (c->bytes != NULL)
		explicit_bzero(c->bytes, c->size);
	free(c->bytes);
	c->bytes = NULL;
	c->len = c->size = 0;
}

static void close_all(struct renew_child *c)
{
	event_del(c->limit);
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->pipe >= 0)
		close(c->pipe);
	if (c->pidfd >= 0)
		close(c->pidfd);
	c->readable = NULL;
	c->pipe = c->pidfd = -1;
	c->pid = 0;
}

void renew_child_kill(struct renew_child *c)
{
	if (c->pid <= 0)
		return;
	/* The number is its own until it is reaped, too. */
	if (c->pidfd < 0 || syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0) != 0)
		(void)kill(c->pid, SIGKILL);
}

void renew_child_free(struct renew_child *c)
{
	if (c == NULL)
		return;
	renew_child_kill(c);
	while (c->pid > 0 && waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close_all(c);
	forget_bytes(c);
	event_free(c->limit);
	free(c);
}

bool renew_child_runs(const struct renew_child *c)
{
	return c->pid > 0;
}

/* ---- its answer ---- */

static size_t most(const struct renew_order *o)
{
	return sizeof(struct renew_frame) + o->first + o->second;
}

static bool grow(struct renew_child *c)
{
	size_t size = c->size == 0 ? 16384 : c->size * 2;
	uint8_t *bytes;

	if (c->len < c->size)
		return true;
	bytes = malloc(size);
	if (bytes == NULL)
		return false;
	if (c->len > 0)
		memcpy(bytes, c->bytes, c->len);
	if (c->bytes != NULL)
		explicit_bzero(c->bytes, c->size);
	free(c->bytes);
	c->bytes = bytes;
	c->size = size;
	return true;
}

static void read_on(struct renew_child *c)
{
	ssize_t n;

	for (;;) {
		if (c->len > most(&c->order) || !grow(c)) {
			c->failed = true;
			return;
		}
		n = read(c->pipe, c->bytes + c->len, c->size - c->len);
		if (n > 0)
			c->len += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return;
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct renew_child *c = arg;
	size_t before = c->len;

	(void)fd;
	(void)what;
	read_on(c);
	/* At its end, or beyond what is taken: the rest is told by its death. */
	if (c->failed || c->len == before)
		event_del(c->readable);
	if (c->failed)
		renew_child_kill(c);
}

bool renew_child_reaped(struct renew_child *c, pid_t pid, int status)
{
	struct renew_answer got;

	if (c->pid != pid)
		return false;
	if (!c->failed)
		read_on(c);
	close_all(c);
	if (!c->failed && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    renew_frame_read(&got, c->bytes, c->len, c->order.first, c->order.second) == 0)
		c->done(got.first, got.first_len, got.second, got.second_len, c->arg);
	else
		c->done(NULL, 0, NULL, 0, c->arg);
	forget_bytes(c);
	return true;
}

/* ---- its start ---- */

static int spawn(struct renew_child *c, const struct config *config, const struct renew_order *o,
    const int ends[2], char **environment, struct err *e)
{
	char no_address[] = "";
	char *argv[] = {(char[]){"telex-renew"}, (char *)(uintptr_t)o->mode,
	    config->renew_from != NULL ? config->renew_from : no_address, NULL};
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int program = open(c->program, O_PATH | O_CLOEXEC);
	struct spawn_plan plan = {
	    .file = c->program,
	    .file_fd = program,
	    .argv = argv,
	    .envp = environment,
	    .fds = {null_fd, ends[1], STDERR_FILENO},
	    .n_fds = RENEW_FD_CERTIFICATE + RENEW_FDS,
	    .cwd = "/",
	    .umask = 077,
	    .no_new_privs = true,
	};
	struct spawn_result got;
	struct spawn_failure why;
	int rc = null_fd < 0 || program < 0 ? err_sys(e, errno, "%s", c->program) : 0;

	for (int i = 0; i < RENEW_FDS; i++)
		plan.fds[RENEW_FD_CERTIFICATE + i] = o->fds[i] >= 0 ? o->fds[i] : null_fd;
	if (rc == 0)
		rc = worker_kit_user(config, &plan.change_user, &plan.uid, &plan.gid, e);
	if (rc == 0 && spawn_run(&plan, &got, &why) != 0)
		rc = err_set(e, TX_ESYS, "%s", why.text);
	if (rc == 0) {
		c->pid = got.pid;
		c->pidfd = got.pidfd;
	}
	if (null_fd >= 0)
		close(null_fd);
	if (program >= 0)
		close(program);
	return rc;
}

static int watch(struct renew_child *c, struct err *e)
{
	struct timeval limit = duration_timeval(c->limit_ns);

	c->readable = event_new(c->base, c->pipe, EV_READ | EV_PERSIST, on_readable, c);
	if (c->readable != NULL && event_add(c->readable, NULL) == 0 &&
	    event_add(c->limit, &limit) == 0)
		return 0;
	return err_set(e, TX_ENOMEM, "out of memory");
}

int renew_child_start(
    struct renew_child *c, const struct config *config, const struct renew_order *o, struct err *e)
{
	char **environment = worker_kit_environment(config->log_json ? "TELEX_LOG_JSON=1" : NULL);
	int ends[2];
	int rc;

	if (environment == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	if (pipe2(ends, O_CLOEXEC) != 0) {
		free(environment);
		return err_sys(e, errno, "cannot make a pipe");
	}
	c->order = *o;
	c->failed = false;
	c->pipe = ends[0];
	(void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
	rc = watch(c, e);
	if (rc == 0)
		rc = spawn(c, config, o, ends, environment, e);
	free(environment);
	close(ends[1]);
	if (rc != 0)
		close_all(c);
	return rc;
}

void renew_child_set_limit(struct renew_child *c, int64_t ns)
{
	c->limit_ns = ns;
}
