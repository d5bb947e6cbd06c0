/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All is done as the agent itself does it, and undone. The worker that is tried has a socket of its
 * own, on which nobody calls: it must not take a client from those that serve.
 */
#include "agent/keeper/preflight.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/exec_log.h"
#include "agent/keeper/job.h"
#include "agent/keeper/reap.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/workers.h"
#include "common/duration.h"

/* The old ones serve meanwhile: only one that hangs has to be told from a slow machine. */
#define READY_LIMIT_S 60

struct trial {
	struct link_env env;
	struct workers *workers;
	struct reap *reap;
	struct event *limit;
	struct listeners *listeners;
	bool ready;
	struct err why;
};

static void all_ready(void *arg)
{
	struct trial *t = arg;

	t->ready = true;
	event_base_loopbreak(t->env.base);
}

static void cannot_start(const char *why, void *arg)
{
	struct trial *t = arg;

	err_set(&t->why, TX_ESTATE, "%s", why);
	event_base_loopbreak(t->env.base);
}

static const struct workers_ops workers_ops = {
    .all_ready = all_ready, .cannot_start = cannot_start};

static int reaped(pid_t pid, int status, void *arg)
{
	struct trial *t = arg;

	return workers_reaped(t->workers, pid, status);
}

static const struct reap_ops reap_ops = {NULL, reaped, NULL};

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct trial *t = arg;

	(void)fd;
	(void)what;
	err_set(&t->why, TX_ESTATE, "a worker does not come to serve within %d s", READY_LIMIT_S);
	event_base_loopbreak(t->env.base);
}

/* Where there is no loopback the worker has no socket. */
static struct listeners *quiet_listeners(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct listeners *ls = calloc(1, sizeof(*ls));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (ls != NULL)
		ls->refs = 1;
	if (ls != NULL && fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    listen(fd, 1) == 0) {
		ls->list[0].fd = fd;
		snprintf(ls->list[0].address, sizeof(ls->list[0].address), "127.0.0.1:0");
		ls->n = 1;
	} else if (fd >= 0) {
		close(fd);
	}
	return ls;
}

static int begin(struct trial *t, struct config *c, const char *worker, struct err *e)
{
	const struct timeval limit = {READY_LIMIT_S, 0};
	int rc;

	t->listeners = quiet_listeners();
	t->env.base = event_base_new();
	if (t->env.base != NULL)
		t->limit = evtimer_new(t->env.base, on_limit, t);
	if (t->listeners == NULL || t->limit == NULL || event_add(t->limit, &limit) != 0)
		return err_set(e, TX_ENOMEM, "out of memory");
	t->env.ceiling = &c->ceiling;
	rc = jobs_new(&t->env.jobs, t->env.base, 1, e);
	if (rc == 0)
		rc = workers_new(
		    &t->workers, &t->env, worker, clock_realtime_ns(), &workers_ops, t, e);
	if (rc == 0)
		rc = reap_new(&t->reap, t->env.base, t->env.jobs, &reap_ops, t, e);
	if (rc == 0)
		rc = workers_start(t->workers, c, t->listeners, false, e);
	return rc;
}

static void end(struct trial *t)
{
	workers_free(t->workers);
	reap_free(t->reap);
	jobs_free(t->env.jobs);
	listeners_unref(t->listeners);
	if (t->limit != NULL)
		event_free(t->limit);
	if (t->env.base != NULL)
		event_base_free(t->env.base);
}

static int try_worker(struct config *c, const char *worker, struct err *e)
{
	struct trial t = {.ready = false};
	int rc;

	c->workers = 1;
	rc = begin(&t, c, worker, e);
	if (rc == 0 && event_base_dispatch(t.env.base) < 0)
		rc = err_set(e, TX_ESYS, "the event loop failed");
	if (rc == 0 && !t.ready) {
		*e = t.why;
		rc = t.why.code;
	}
	end(&t);
	return rc;
}

/* What a worker says goes to its stderr as well, and what counts of it is told by us. */
static int try_quietly(struct config *c, const char *worker, struct err *e)
{
	int words = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int rc;

	if (words < 0 || null_fd < 0 || dup2(null_fd, STDERR_FILENO) < 0)
		rc = err_sys(e, errno, "/dev/null");
	else
		rc = try_worker(c, worker, e);
	if (words >= 0) {
		dup2(words, STDERR_FILENO);
		close(words);
	}
	if (null_fd >= 0)
		close(null_fd);
	return rc;
}

static int try_addresses(const struct config *c, const struct listeners *held, struct err *e)
{
	struct listeners *before = calloc(1, sizeof(*before)), *ls;
	int rc;

	if (before == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	*before = *held;
	for (size_t i = 0; i < before->n; i++)
		before->list[i].fd = -1;
	rc = listeners_open(&ls, c, before, e);
	if (rc == 0)
		listeners_unref(ls);
	free(before);
	return rc;
}

int preflight_run(struct config *c, const char *worker, const struct listeners *held, struct err *e)
{
	int rc;

	spawn_init();
	rc = cgroups_check(c->cgroup, e);
	if (rc == 0)
		rc = exec_log_check(c, e);
	if (rc == 0)
		rc = try_addresses(c, held, e);
	if (rc == 0)
		rc = try_quietly(c, worker, e);
	return rc;
}
