/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store is for one process at a time: an heir gets it when its process is reaped, or has closed
 * its control socket (which the kernel does after its memory is gone) and was killed besides.
 */
#include "agent/keeper/watcher_proc.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/log.h"
#include "common/memfile.h"
#include "common/watch_control.h"

_Static_assert(WATCH_KEY_SIZE == KM_HASH_SIZE, "the key");

/* So long one may take that was let go. */
#define LET_GO_NS (10 * NS_PER_S)
/* Who dies sooner has perhaps died of its store: the third time it is dropped. */
#define YOUNG_NS  (10 * NS_PER_S)
#define YOUNG_MAX 3

static void on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- life ---- */

struct watcher_proc *watcher_proc_new(struct event_base *base, const char *owner, const char *spec,
    const uint8_t key[KM_HASH_SIZE], struct user **user)
{
	struct watcher_proc *w = calloc(1, sizeof(*w));
	struct err e;

	if (w == NULL)
		return NULL;
	w->control = w->store = -1;
	w->timer = evtimer_new(base, on_timer, w);
	if (w->timer == NULL || memfile_new("telex-watch", &w->store, &e) != 0) {
		watcher_proc_free(w);
		return NULL;
	}
	snprintf(w->owner, sizeof(w->owner), "%s", owner);
	snprintf(w->spec, sizeof(w->spec), "%s", spec);
	memcpy(w->key, key, sizeof(w->key));
	w->user = *user;
	*user = NULL;
	return w;
}

static void close_control(struct watcher_proc *w)
{
	if (w->readable != NULL)
		event_free(w->readable);
	w->readable = NULL;
	if (w->control >= 0)
		close(w->control);
	w->control = -1;
}

static void drop_store(struct watcher_proc *w)
{
	if (w->store >= 0)
		close(w->store);
	w->store = -1;
}

void watcher_proc_free(struct watcher_proc *w)
{
	if (w == NULL)
		return;
	close_control(w);
	drop_store(w);
	if (w->timer != NULL)
		event_free(w->timer);
	user_free(w->user);
	config_unref(w->config);
	free(w);
}

uint64_t watcher_proc_memory(const struct watcher_proc *w)
{
	struct stat st;

	return w->store >= 0 && fstat(w->store, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void set_timer(struct watcher_proc *w, int64_t ns)
{
	const struct timeval tv = duration_timeval(ns);

	/* Without memory for it, at once. */
	if (event_add(w->timer, &tv) != 0)
		event_active(w->timer, EV_TIMEOUT, 0);
}

static int64_t linger(const struct watcher_proc *w)
{
	return w->config != NULL ? w->config->watch_linger_ns : 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct watcher_proc *w = arg;

	(void)fd;
	(void)what;
	if (w->state == WATCHER_KEPT) {
		w->over(w, w->arg);
	} else if (w->state == WATCHER_RUNNING && !w->deaf) {
		watcher_proc_let_go(w, false);
	} else {
		/* Ours until it is reaped: the number cannot be another's. */
		log_warn("telex-files, pid %d, does not end and is killed", (int)w->pid);
		(void)kill(w->pid, SIGKILL);
	}
}

/* ---- its end ---- */

static void be_going(struct watcher_proc *w)
{
	close_control(w);
	w->state = WATCHER_GOING;
	set_timer(w, LET_GO_NS);
}

void watcher_proc_let_go(struct watcher_proc *w, bool kill_now)
{
	if (kill_now)
		(void)kill(w->pid, SIGKILL);
	drop_store(w);
	be_going(w);
}

/* Counts one more death, or begins anew. */
static bool is_worn(struct watcher_proc *w)
{
	struct stat st;

	if (clock_monotonic_ns() - w->started_ns < YOUNG_NS)
		w->died_young++;
	else
		w->died_young = 0;
	return w->died_young >= YOUNG_MAX || fstat(w->store, &st) != 0 ||
	       (uint64_t)st.st_size > WATCH_STORE_MAX;
}

void watcher_proc_inherit(struct watcher_proc *heir, struct watcher_proc *w)
{
	(void)kill(w->pid, SIGKILL);
	if (!is_worn(w)) {
		drop_store(heir);
		heir->store = w->store;
		heir->died_young = w->died_young;
		w->store = -1;
	}
	drop_store(w);
	be_going(w);
}

void watcher_proc_reaped(struct watcher_proc *w)
{
	w->pid = 0;
	if (w->state == WATCHER_RUNNING && !w->stale && !is_worn(w)) {
		close_control(w);
		w->state = WATCHER_KEPT;
		set_timer(w, linger(w));
	} else {
		w->over(w, w->arg);
	}
}

/* ---- its control socket ---- */

static void be_idle(struct watcher_proc *w)
{
	w->idle = true;
	set_timer(w, w->stale ? 0 : linger(w));
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
	struct watcher_proc *w = arg;
	struct watch_idle m;
	ssize_t n = recv(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);

	(void)what;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof(m)) {
		if (m.taken == w->handed)
			be_idle(w);
		return;
	}
	/* Its death is seen otherwise. */
	w->deaf = true;
	event_del(w->readable);
	set_timer(w, LET_GO_NS);
}

static int send_end(int control, const struct watch_allow *allow, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room;
	struct watch_allow body = *allow;
	struct iovec v = {&body, sizeof(body)};
	struct msghdr m = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = room.bytes,
	    .msg_controllen = sizeof(room.bytes)};
	struct cmsghdr *c;

	memset(&room, 0, sizeof(room));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(control, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(body) ? 0
	                                                                                  : errno;
}

bool watcher_proc_is_dying(const struct watcher_proc *w)
{
	struct pollfd p = {.fd = w->control};

	return w->deaf || (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0);
}

int watcher_proc_hand(struct watcher_proc *w, const struct watch_allow *allow, int *fd)
{
	int pair[2];
	int rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return errno;
	rc = send_end(w->control, allow, pair[1]);
	close(pair[1]);
	if (rc != 0) {
		close(pair[0]);
		return rc;
	}
	w->handed++;
	w->allowed = *allow;
	w->idle = false;
	event_del(w->timer);
	*fd = pair[0];
	return 0;
}

void watcher_proc_allow(struct watcher_proc *w, const struct watch_allow *allow)
{
	if (allow->memory == w->allowed.memory && allow->limit == w->allowed.limit)
		return;
	/* Where there is no room for it now, it is told the next time. */
	if (send(w->control, allow, sizeof(*allow), MSG_DONTWAIT | MSG_NOSIGNAL) ==
	    (ssize_t)sizeof(*allow))
		w->allowed = *allow;
}

/* ---- starting ---- */

/* Whoever watches a whole file system is told the names of all that changes on it: root, who may
 * read them anyway. */
static bool is_wide(const struct watcher_proc *w, const struct files_program *program)
{
	const struct config *c = files_program_config(program);

	return w->user->uid == 0 && c->watch_fanotify && c->ceiling.n_folders == 0;
}

static pid_t start_process(
    struct watcher_proc *w, struct files_program *program, int control, struct km_refused *why)
{
	char hex[WATCH_KEY_HEX_SIZE];
	const int fds[] = {control, w->store};
	const struct files_start start = {.owner = w->owner,
	    .user = w->user,
	    .fds = fds,
	    .n_fds = 2,
	    .option = is_wide(w, program) ? WATCH_WIDE_OPTION : WATCH_OPTION,
	    .value = hex};

	for (size_t i = 0; i < sizeof(w->key); i++)
		snprintf(hex + 2 * i, 3, "%02x", w->key[i]);
	return files_program_start(program, &start, why);
}

int watcher_proc_start(
    struct watcher_proc *w, struct files_program *program, struct km_refused *why)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return files_program_refuse(why, KM_WHY_SYSTEM, errno, "cannot make a socket pair");
	w->control = pair[0];
	w->readable =
	    event_new(event_get_base(w->timer), pair[0], EV_READ | EV_PERSIST, on_control, w);
	if (w->readable == NULL || event_add(w->readable, NULL) != 0)
		pid = files_program_refuse(why, KM_WHY_SYSTEM, ENOMEM, "out of memory");
	else
		pid = start_process(w, program, pair[1], why);
	close(pair[1]);
	if (pid < 0) {
		close_control(w);
		return pid;
	}
	w->pid = pid;
	w->state = WATCHER_RUNNING;
	w->handed = 0;
	w->idle = w->deaf = false;
	w->started_ns = clock_monotonic_ns();
	config_unref(w->config);
	w->config = config_ref(files_program_config(program));
	event_del(w->timer);
	return 0;
}
