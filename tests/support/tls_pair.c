/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tls_pair.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GUARD_SECONDS 300

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

void tls_pair_tcp(int fds[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(listener >= 0, "socket");
	must(bind(listener, (struct sockaddr *)&address, len) == 0, "bind");
	must(listen(listener, 1) == 0, "listen");
	must(getsockname(listener, (struct sockaddr *)&address, &len) == 0, "getsockname");
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(connect(fds[0], (struct sockaddr *)&address, len) == 0, "connect");
	fds[1] = accept(listener, NULL, NULL);
	must(fds[1] >= 0, "accept");
	close(listener);
	evutil_make_socket_nonblocking(fds[0]);
	evutil_make_socket_nonblocking(fds[1]);
}

static bool end_is_over(const struct tls_end *end)
{
	return end->over || end->pair == NULL;
}

static void finish(struct tls_end *end)
{
	end->over = true;
	if (end_is_over(&end->pair->server) && end_is_over(&end->pair->client))
		event_base_loopbreak(end->pair->base);
}

static void fail(struct tls_end *end)
{
	tls_free(end->bev);
	end->bev = NULL;
	finish(end);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct tls_end *end = arg;
	struct evbuffer *input = bufferevent_get_input(bev);

	evbuffer_drain(input, evbuffer_get_length(input));
	end->heard = true;
	if (end->connected)
		finish(end);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct tls_end *end = arg;

	if ((what & BEV_EVENT_CONNECTED) == 0) {
		tls_failure(bev, what, &end->e);
		fail(end);
		return;
	}
	if (tls_established(bev, end->identity, &end->e) != 0) {
		fail(end);
		return;
	}
	end->connected = true;
	bufferevent_write(bev, "x", 1);
	if (end->heard)
		finish(end);
}

void tls_pair_init(struct tls_pair *pair)
{
	memset(pair, 0, sizeof(*pair));
	pair->base = event_base_new();
	must(pair->base != NULL, "event_base_new");
}

static void begin(struct tls_pair *pair, struct tls_end *end, int rc)
{
	must(rc == 0, end->e.message);
	end->pair = pair;
	bufferevent_setcb(end->bev, on_read, NULL, on_event, end);
	bufferevent_enable(end->bev, EV_READ | EV_WRITE);
}

void tls_pair_serve(struct tls_pair *pair, struct tls_ctx *ctx, int fd)
{
	begin(pair, &pair->server,
	    tls_accept(&pair->server.bev, pair->base, ctx, fd, &pair->server.e));
}

void tls_pair_connect(struct tls_pair *pair, struct tls_ctx *ctx, int fd, const char *host)
{
	begin(pair, &pair->client,
	    tls_connect(&pair->client.bev, pair->base, ctx, fd, host, &pair->client.e));
}

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	struct tls_pair *pair = arg;

	(void)fd;
	(void)what;
	pair->timed_out = true;
	event_base_loopbreak(pair->base);
}

void tls_pair_run(struct tls_pair *pair)
{
	struct timeval limit = {GUARD_SECONDS, 0};
	struct event *guard = evtimer_new(pair->base, on_guard, pair);

	must(guard != NULL, "evtimer_new");
	evtimer_add(guard, &limit);
	event_base_dispatch(pair->base);
	event_free(guard);
	must(!pair->timed_out, "a TLS connection neither failed nor was established");
}

void tls_pair_handshake(
    struct tls_pair *pair, struct tls_ctx *server, struct tls_ctx *client, const char *host)
{
	int fds[2];

	tls_pair_tcp(fds);
	tls_pair_init(pair);
	tls_pair_connect(pair, client, fds[0], host == NULL ? "localhost" : host);
	tls_pair_serve(pair, server, fds[1]);
	tls_pair_run(pair);
}

void tls_pair_run_until_failure(struct tls_pair *pair, struct tls_end *end)
{
	end->over = false;
	/* A "x" still on its way must not end the run. */
	end->connected = false;
	tls_pair_run(pair);
}

void tls_pair_free(struct tls_pair *pair)
{
	tls_free(pair->server.bev);
	tls_free(pair->client.bev);
	event_base_loop(pair->base, EVLOOP_NONBLOCK);
	event_base_free(pair->base);
}
