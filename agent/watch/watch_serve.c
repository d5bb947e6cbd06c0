/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A turn of the loop: what has come from the connections, then a piece of the watcher's own work,
 * then what is to be written. Only there a connection is freed, so that no callback meets one that
 * is gone.
 */
#include "agent/watch/watch_serve.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/duration.h"
#include "common/log.h"

#define FIXED (1 + WATCHER_FDS) /* the control socket, and the watcher's */

struct loop {
	const struct watch_serve *s;
	struct watch_conns all;
	struct watch_conn *conns[WATCH_CONNS_MAX];
	size_t n;
	struct pollfd fds[FIXED + WATCH_CONNS_MAX];
	size_t n_own; /* of the watcher's */
	uint64_t taken, told;
	bool ended;
};

int watch_serve_key(uint8_t key[WATCH_KEY_SIZE], const char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < WATCH_KEY_SIZE; i++) {
		const char *high = hex[2 * i] != '\0' ? strchr(digits, hex[2 * i]) : NULL;
		const char *low =
		    high != NULL && hex[2 * i + 1] != '\0' ? strchr(digits, hex[2 * i + 1]) : NULL;

		if (low == NULL)
			return TX_EINVAL;
		key[i] = (uint8_t)((high - digits) * 16 + (low - digits));
	}
	return hex[WATCH_KEY_HEX_SIZE - 1] == '\0' ? 0 : TX_EINVAL;
}

/* ---- the control socket ---- */

#define ALLOWED (-2)

/* The descriptor; ALLOWED: the message came without one; -1: there was no room for it here. *more:
 * whether there was a message at all. */
static int receive(struct loop *l, bool *more)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room;
	struct watch_allow allow;
	struct iovec v = {&allow, sizeof(allow)};
	struct msghdr m = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = room.bytes,
	    .msg_controllen = sizeof(room.bytes)};
	const struct cmsghdr *c;
	ssize_t n;
	int fd = -1;

	do
		n = recvmsg(l->s->control_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	*more = n > 0;
	if (n <= 0) {
		l->ended = n == 0 || errno != EAGAIN;
		return -1;
	}
	if (n == (ssize_t)sizeof(allow))
		watcher_allow(l->s->watcher, &allow);
	c = CMSG_FIRSTHDR(&m);
	if (c == NULL && (m.msg_flags & MSG_CTRUNC) == 0)
		return ALLOWED;
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static void refuse_for_number(struct loop *l, int fd)
{
	struct watch_conn *c = watch_conn_new(&l->all, fd);
	struct rpc_status status;

	if (c == NULL)
		return;
	rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "LIMIT",
	    "%d calls watch for this identity and user already, and no more may", WATCH_CONNS_MAX);
	rpc_status_meta(&status, "limit", "%d", WATCH_CONNS_MAX);
	watch_conn_refuse(c, &status);
	watch_conn_flush(c);
	watch_conn_free(c);
}

static void take_connections(struct loop *l)
{
	bool more = true;

	for (int fd = receive(l, &more); more; fd = receive(l, &more)) {
		if (fd == ALLOWED)
			continue;
		l->taken++;
		if (fd < 0)
			log_warn("a connection is lost: no descriptors are left");
		else if (l->n == WATCH_CONNS_MAX)
			refuse_for_number(l, fd);
		else if ((l->conns[l->n] = watch_conn_new(&l->all, fd)) != NULL)
			l->n++;
	}
}

/* ---- a turn ---- */

static void fill(struct loop *l)
{
	size_t at = FIXED;

	l->fds[0] = (struct pollfd){.fd = l->s->control_fd, .events = POLLIN};
	l->n_own = watcher_poll(l->s->watcher, l->fds + 1);
	for (size_t i = l->n_own; i < WATCHER_FDS; i++)
		l->fds[1 + i] = (struct pollfd){.fd = -1};
	for (size_t i = 0; i < l->n; i++)
		l->fds[at++] = (struct pollfd){
		    .fd = watch_conn_fd(l->conns[i]), .events = watch_conn_events(l->conns[i])};
}

static int wait_for(struct loop *l)
{
	int64_t due = watcher_due(l->s->watcher), now = clock_monotonic_ns();
	int64_t left = due > now ? due - now : 0;
	const struct timespec limit = {left / NS_PER_S, left % NS_PER_S};

	return ppoll(l->fds, FIXED + l->n, due == INT64_MAX ? NULL : &limit, NULL);
}

static bool watcher_wants(const struct loop *l)
{
	for (size_t i = 0; i < l->n_own; i++)
		if (l->fds[1 + i].revents != 0)
			return true;
	return watcher_due(l->s->watcher) <= clock_monotonic_ns();
}

static void finish_turn(struct loop *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->n; i++) {
		watch_conn_flush(l->conns[i]);
		if (watch_conn_is_over(l->conns[i]))
			watch_conn_free(l->conns[i]);
		else
			l->conns[kept++] = l->conns[i];
	}
	l->n = kept;
}

static void tell_idle(struct loop *l)
{
	const struct watch_idle m = {l->taken};

	if (l->n == 0 && l->told != l->taken &&
	    send(l->s->control_fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) ==
	        (ssize_t)sizeof(m))
		l->told = l->taken;
}

static void turn(struct loop *l)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->fds[FIXED + i].revents != 0)
			watch_conn_turn(l->conns[i], l->fds[FIXED + i].revents);
	if (watcher_wants(l))
		watcher_run(l->s->watcher);
	finish_turn(l);
	if (l->fds[0].revents != 0)
		take_connections(l);
	tell_idle(l);
}

static int run(struct loop *l, struct err *e)
{
	while (!l->ended) {
		fill(l);
		if (wait_for(l) >= 0)
			turn(l);
		else if (errno != EINTR)
			return err_sys(e, errno, "poll");
		if (l->all.failure.code != 0) {
			*e = l->all.failure;
			return e->code;
		}
	}
	return 0;
}

int watch_serve(const struct watch_serve *s, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int rc;

	if (l == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	l->s = s;
	l->all.serve = s;
	rc = run(l, e);
	for (size_t i = 0; i < l->n; i++)
		watch_conn_free(l->conns[i]);
	free(l);
	return rc;
}
