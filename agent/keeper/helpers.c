/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/helpers.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/files_program.h"
#include "common/duration.h"
#include "common/log.h"

/* So long one may take that its worker has let go of; and at the agent's end. */
#define LET_GO_NS (10 * NS_PER_S)
#define END_NS    NS_PER_S
/* From SIGKILL on. */
#define GIVE_UP_NS (3 * NS_PER_S)

struct helper {
	TAILQ_ENTRY(helper) entry;
	struct helpers *all;
	pid_t pid;
	/* Its own end of the socket: to see the worker's close; closed when it is reaped, and only
	 * then the worker sees its end. */
	int fd;
	struct event *let_go; /* the worker has closed; then the limit of its end */
	bool ending;
	char owner[KM_IDENTITY_SIZE];
};

struct helpers {
	struct event_base *base;
	struct files_program *program;
	TAILQ_HEAD(helper_list, helper) list;
	uint32_t n;
};

/* ---- their end ---- */

static void forget(struct helper *h)
{
	TAILQ_REMOVE(&h->all->list, h, entry);
	h->all->n--;
	event_free(h->let_go);
	close(h->fd);
	free(h);
}

/* Ours until it is reaped: the number cannot be another's. */
static void on_let_go(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval limit = duration_timeval(LET_GO_NS);
	struct helper *h = arg;

	(void)fd;
	(void)what;
	if (h->ending) {
		log_warn("telex-files, pid %d, does not end and is killed", (int)h->pid);
		(void)kill(h->pid, SIGKILL);
		return;
	}
	h->ending = true;
	event_del(h->let_go);
	(void)event_assign(h->let_go, h->all->base, -1, 0, on_let_go, h);
	if (event_add(h->let_go, &limit) != 0)
		(void)kill(h->pid, SIGKILL);
}

bool helpers_reaped(struct helpers *hs, pid_t pid, int status)
{
	struct helper *h;

	if (hs == NULL)
		return false;
	TAILQ_FOREACH(h, &hs->list, entry)
	if (h->pid == pid)
		break;
	if (h == NULL)
		return false;
	files_program_ended(hs->program, h->owner, pid, status);
	forget(h);
	return true;
}

/* ---- life ---- */

int helpers_new(
    struct helpers **out, struct event_base *base, struct files_program *program, struct err *e)
{
	struct helpers *hs = calloc(1, sizeof(*hs));

	if (hs == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	hs->base = base;
	hs->program = program;
	TAILQ_INIT(&hs->list);
	*out = hs;
	return 0;
}

static void leave(struct helper *h)
{
	log_warn(
	    "telex-files, pid %d, was killed and does not die; it is left behind", (int)h->pid);
	forget(h);
}

/* One that stands in a call to a file system whose server is away, dies when that answers. */
static void end_all(struct helpers *hs)
{
	const struct timespec pause = {0, 10 * NS_PER_MS};
	int64_t until = clock_monotonic_ns() + END_NS;
	struct helper *h, *next;
	bool forced = false;

	/* Their workers are gone by now. */
	while ((h = TAILQ_FIRST(&hs->list)) != NULL) {
		bool over = clock_monotonic_ns() > until;
		bool hopeless = clock_monotonic_ns() > until + GIVE_UP_NS;

		for (; h != NULL; h = next) {
			int status;
			pid_t got;

			next = TAILQ_NEXT(h, entry);
			if (over && !forced)
				(void)kill(h->pid, SIGKILL);
			got = waitpid(h->pid, &status, WNOHANG);
			if (got == h->pid)
				(void)helpers_reaped(hs, h->pid, status);
			else if (got < 0 && errno != EINTR)
				forget(h);
			else if (hopeless)
				leave(h);
		}
		forced = over;
		(void)nanosleep(&pause, NULL);
	}
}

void helpers_free(struct helpers *hs)
{
	if (hs == NULL)
		return;
	end_all(hs);
	free(hs);
}

/* ---- starting ---- */

static int check_number(const struct helpers *hs, const char *owner, struct km_refused *why)
{
	const struct helper *h;
	uint32_t mine = 0;

	TAILQ_FOREACH(h, &hs->list, entry)
	mine += strcmp(h->owner, owner) == 0;
	return files_program_room(hs->program, hs->n, mine, why);
}

/* Takes `own`, its end of the socket. NULL: no memory; nothing is taken then. */
static struct helper *add(struct helpers *hs, const char *owner, int own)
{
	struct helper *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->all = hs;
	h->fd = own;
	snprintf(h->owner, sizeof(h->owner), "%s", owner);
	h->let_go = event_new(hs->base, own, EV_CLOSED, on_let_go, h);
	if (h->let_go == NULL) {
		free(h);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&hs->list, h, entry);
	hs->n++;
	return h;
}

static int start_as(struct helpers *hs, const char *owner, const struct user *u, int pair[2],
    struct km_refused *why)
{
	const struct files_start start = {.owner = owner, .user = u, .fds = &pair[1], .n_fds = 1};
	struct helper *h = add(hs, owner, pair[1]);
	pid_t pid;

	if (h == NULL) {
		close(pair[1]);
		return files_program_refuse(why, KM_WHY_SYSTEM, ENOMEM, "out of memory");
	}
	pid = files_program_start(hs->program, &start, why);
	if (pid < 0) {
		forget(h);
		return pid;
	}
	h->pid = pid;
	if (event_add(h->let_go, NULL) != 0)
		log_debug("telex-files, pid %d: its worker's end is not seen", (int)h->pid);
	return pid;
}

static int start_for(struct helpers *hs, const char *owner, const struct user *u,
    struct km_files_reply *reply, int *fd, struct km_refused *why)
{
	int pair[2];
	int rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return files_program_refuse(why, KM_WHY_SYSTEM, errno, "cannot make a socket pair");
	rc = start_as(hs, owner, u, pair, why);
	if (rc < 0) {
		close(pair[0]);
		return rc;
	}
	*reply = (struct km_files_reply){.pid = (uint32_t)rc, .uid = (uint32_t)u->uid};
	snprintf(reply->home, sizeof(reply->home), "%s", u->home);
	*fd = pair[0];
	return 0;
}

int helpers_start(struct helpers *hs, const char *owner, const char *user,
    struct km_files_reply *reply, int *fd, struct km_refused *why)
{
	struct user *u = NULL;
	int rc = files_program_ready(hs != NULL ? hs->program : NULL, why);

	if (rc == 0)
		rc = check_number(hs, owner, why);
	if (rc == 0)
		rc = files_program_user(hs->program, user, &u, why);
	if (rc != 0)
		return rc;
	rc = start_for(hs, owner, u, reply, fd, why);
	user_free(u);
	return rc;
}
