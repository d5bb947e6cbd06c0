/* SPDX-License-Identifier: Apache-2.0 */
/* See listener.h. States: off (not started, or stopped), on, full (no room), backing off (no
 * descriptors; a timer turns it on again). */
#include "agent/worker/listener.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/keeper_msg.h"
#include "common/log.h"
#include "common/mem.h"

#define ACCEPTS_A_TURN       8
#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT      4

enum state { OFF, ON, FULL, BACKING_OFF };

struct socket {
	struct listeners *owner;
	int fd;
	struct event *readable;
	char address[KM_TEXT_SIZE];
};

struct listeners {
	struct event_base *base;
	const struct listener_ops *ops;
	void *arg;
	enum state state;
	bool told; /* of this lack of descriptors */
	struct event *again;
	struct socket sockets[KM_LISTEN_MAX];
	size_t n;
};

static void set_state(struct listeners *l, enum state state)
{
	for (size_t i = 0; i < l->n && (state == ON) != (l->state == ON); i++) {
		if (state == ON)
			event_add(l->sockets[i].readable, NULL);
		else
			event_del(l->sockets[i].readable);
	}
	l->state = state;
}

static void back_off(struct listeners *l, int why)
{
	static const struct timeval pause = {0, 100000};

	if (!l->told)
		log_warn("no connection can be accepted: %s", strerror(why));
	l->told = true;
	set_state(l, BACKING_OFF);
	event_add(l->again, &pause);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct listeners *l = arg;

	(void)fd;
	(void)what;
	if (l->state == BACKING_OFF)
		set_state(l, ON);
}

static void set_options(int fd)
{
	const int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S,
	          count = KEEPALIVE_COUNT;

	/* Each only makes a connection better: not worth refusing it for. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

/* Whether an accept's errno is about us and not about that one connection (accept(2), "Error
 * handling"). */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_readable(evutil_socket_t listening, short what, void *arg)
{
	struct socket *s = arg;
	struct listeners *l = s->owner;

	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN && l->state == ON; i++) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		int fd;

		if (!l->ops->room(l->arg)) {
			set_state(l, FULL);
			return;
		}
		fd = accept4(
		    listening, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && errno == EAGAIN)
			return;
		if (fd < 0 && is_shortage(errno)) {
			back_off(l, errno);
			return;
		}
		if (fd < 0)
			continue;
		l->told = false;
		set_options(fd);
		l->ops->accepted(fd, (const struct sockaddr *)&from, len, l->arg);
	}
}

struct listeners *listeners_new(struct event_base *base, const struct listener_ops *ops, void *arg)
{
	struct listeners *l = xcalloc(1, sizeof(*l));

	l->base = base;
	l->ops = ops;
	l->arg = arg;
	l->again = evtimer_new(base, on_again, l);
	if (l->again == NULL)
		abort();
	return l;
}

void listeners_free(struct listeners *l)
{
	if (l == NULL)
		return;
	listeners_stop(l);
	event_free(l->again);
	free(l);
}

void listeners_add(struct listeners *l, int fd, const char *address)
{
	struct socket *s;

	if (l->n == KM_LISTEN_MAX || l->state != OFF) {
		close(fd);
		return;
	}
	s = &l->sockets[l->n++];
	s->owner = l;
	s->fd = fd;
	snprintf(s->address, sizeof(s->address), "%s", address);
	evutil_make_socket_nonblocking(fd);
	s->readable = event_new(l->base, fd, EV_READ | EV_PERSIST, on_readable, s);
	if (s->readable == NULL)
		abort();
}

void listeners_start(struct listeners *l)
{
	for (size_t i = 0; i < l->n; i++)
		log_debug("accepting on %s", l->sockets[i].address);
	set_state(l, ON);
}

void listeners_resume(struct listeners *l)
{
	if (l->state == FULL)
		set_state(l, ON);
}

void listeners_stop(struct listeners *l)
{
	set_state(l, OFF);
	event_del(l->again);
	for (size_t i = 0; i < l->n; i++) {
		event_free(l->sockets[i].readable);
		close(l->sockets[i].fd);
	}
	l->n = 0;
}
