/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/cut_relay.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define HOLD 65536 /* read ahead of a slow side */

struct pair {
	TAILQ_ENTRY(pair) entry;
	struct cut_relay *relay;
	struct bufferevent *side[2]; /* the client, the agent */
	uint64_t left;
};

struct cut_relay {
	struct event_base *base;
	struct evconnlistener *listener;
	struct sockaddr_in to;
	cut_relay_limit *limit;
	void *arg;
	TAILQ_HEAD(, pair) pairs;
	unsigned connections, cuts;
};

static void pair_free(struct pair *p)
{
	TAILQ_REMOVE(&p->relay->pairs, p, entry);
	bufferevent_free(p->side[0]);
	bufferevent_free(p->side[1]);
	free(p);
}

/* Every other cut is a reset. */
static void cut(struct pair *p)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (p->relay->cuts++ % 2 == 1)
		for (int i = 0; i < 2; i++)
			setsockopt(bufferevent_getfd(p->side[i]), SOL_SOCKET, SO_LINGER, &reset,
			    sizeof(reset));
	pair_free(p);
}

static struct bufferevent *other(struct pair *p, struct bufferevent *bev)
{
	return p->side[bev == p->side[0]];
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct pair *p = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer *out = bufferevent_get_output(other(p, bev));
	size_t n = evbuffer_get_length(in);

	if (n > p->left)
		n = (size_t)p->left;
	p->left -= n;
	evbuffer_remove_buffer(in, out, n);
	if (p->left == 0)
		bufferevent_disable(p->side[0], EV_READ), bufferevent_disable(p->side[1], EV_READ);
	else if (evbuffer_get_length(out) > HOLD)
		bufferevent_disable(bev, EV_READ);
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct pair *p = arg;

	if (p->left > 0)
		bufferevent_enable(other(p, bev), EV_READ);
	else if (evbuffer_get_length(bufferevent_get_output(p->side[0])) == 0 &&
	         evbuffer_get_length(bufferevent_get_output(p->side[1])) == 0)
		cut(p);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		pair_free(arg);
}

static void on_accept(
    struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr, int len, void *arg)
{
	struct cut_relay *r = arg;
	struct pair *p = calloc(1, sizeof(*p));

	(void)l;
	(void)addr;
	(void)len;
	if (p == NULL)
		abort();
	p->relay = r;
	p->left = r->limit(r->connections++, r->arg);
	p->side[0] = bufferevent_socket_new(r->base, fd, BEV_OPT_CLOSE_ON_FREE);
	p->side[1] = bufferevent_socket_new(r->base, -1, BEV_OPT_CLOSE_ON_FREE);
	TAILQ_INSERT_TAIL(&r->pairs, p, entry);
	if (p->left == 0) {
		cut(p);
		return;
	}
	for (int i = 0; i < 2; i++)
		bufferevent_setcb(p->side[i], on_read, on_written, on_event, p);
	if (bufferevent_socket_connect(p->side[1], (struct sockaddr *)&r->to, (int)sizeof(r->to)) <
	    0)
		abort();
	bufferevent_enable(p->side[0], EV_READ | EV_WRITE);
	bufferevent_enable(p->side[1], EV_READ | EV_WRITE);
}

struct cut_relay *cut_relay_new(
    struct event_base *base, uint16_t to_port, cut_relay_limit *limit, void *arg)
{
	struct cut_relay *r = calloc(1, sizeof(*r));
	struct sockaddr_in sin = {.sin_family = AF_INET};

	if (r == NULL)
		abort();
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r->base = base;
	r->to = sin;
	r->to.sin_port = htons(to_port);
	r->limit = limit;
	r->arg = arg;
	TAILQ_INIT(&r->pairs);
	r->listener = evconnlistener_new_bind(base, on_accept, r,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, (struct sockaddr *)&sin,
	    sizeof(sin));
	if (r->listener == NULL)
		abort();
	return r;
}

void cut_relay_free(struct cut_relay *r)
{
	struct pair *p;

	while ((p = TAILQ_FIRST(&r->pairs)) != NULL)
		pair_free(p);
	evconnlistener_free(r->listener);
	free(r);
}

uint16_t cut_relay_port(const struct cut_relay *r)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	if (getsockname(evconnlistener_get_fd(r->listener), (struct sockaddr *)&sin, &len) < 0)
		abort();
	return ntohs(sin.sin_port);
}

unsigned cut_relay_connections(const struct cut_relay *r)
{
	return r->connections;
}

unsigned cut_relay_cuts(const struct cut_relay *r)
{
	return r->cuts;
}

void cut_relay_cut(struct cut_relay *r)
{
	struct pair *p;

	while ((p = TAILQ_FIRST(&r->pairs)) != NULL)
		cut(p);
}
