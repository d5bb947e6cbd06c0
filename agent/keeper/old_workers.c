/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/old_workers.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/exec_log.h"
#include "common/log.h"

#define LIMIT_S 5

struct old_worker {
	LIST_ENTRY(old_worker) link;
	pid_t pid;
	uint64_t writer;
};

struct old_workers {
	struct event *limit;
	struct exec_log *exec_log;
	LIST_HEAD(, old_worker) list;
};

/* Children that are not reaped: the numbers are theirs. */
static void kill_all(const struct old_workers *os)
{
	struct old_worker *w;

	LIST_FOREACH(w, &os->list, link)
	(void)kill(w->pid, SIGKILL);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct old_workers *os = arg;

	(void)fd;
	(void)what;
	if (!LIST_EMPTY(&os->list))
		log_warn("workers from before the upgrade do not end and are killed");
	kill_all(os);
}

int old_workers_new(
    struct old_workers **out, struct event_base *base, struct exec_log *x, struct err *e)
{
	struct old_workers *os = calloc(1, sizeof(*os));

	if (os == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	LIST_INIT(&os->list);
	os->exec_log = x;
	os->limit = evtimer_new(base, on_limit, os);
	if (os->limit == NULL) {
		free(os);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = os;
	return 0;
}

static void forget(struct old_workers *os, struct old_worker *w)
{
	const struct km_pong unknown = {.audit_seq = 0};
	int fd = w->writer != 0 ? exec_log_open_to_read(os->exec_log) : -1;

	if (w->writer != 0)
		exec_log_worker_ended(os->exec_log, w->writer, w->pid, fd, &unknown,
		    "was of before the upgrade, and has ended");
	if (fd >= 0)
		close(fd);
	LIST_REMOVE(w, link);
	free(w);
}

void old_workers_free(struct old_workers *os)
{
	if (os == NULL)
		return;
	kill_all(os);
	while (!LIST_EMPTY(&os->list)) {
		struct old_worker *w = LIST_FIRST(&os->list);

		while (waitpid(w->pid, NULL, 0) < 0 && errno == EINTR)
			;
		forget(os, w);
	}
	event_free(os->limit);
	free(os);
}

void old_workers_add(struct old_workers *os, pid_t pid, uint64_t writer)
{
	static const struct timeval limit = {LIMIT_S, 0};
	struct old_worker *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		(void)kill(pid, SIGKILL);
		return;
	}
	w->pid = pid;
	w->writer = writer;
	LIST_INSERT_HEAD(&os->list, w, link);
	event_add(os->limit, &limit);
}

bool old_workers_reaped(struct old_workers *os, pid_t pid)
{
	struct old_worker *w;

	LIST_FOREACH(w, &os->list, link)
	if (w->pid == pid) {
		forget(os, w);
		return true;
	}
	return false;
}

void old_workers_each(
    const struct old_workers *os, void (*each)(pid_t pid, uint64_t writer, void *arg), void *arg)
{
	struct old_worker *w;

	LIST_FOREACH(w, &os->list, link)
	each(w->pid, w->writer, arg);
}
