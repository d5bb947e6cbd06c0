/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/ca_client.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/ca_control.h"
#include "common/log.h"
#include "common/mem.h"

struct ca_call {
	TAILQ_ENTRY(ca_call) entry;
	struct ca_client *client;
	uint64_t id;
	ca_answer *answer; /* NULL: forgotten */
	void *arg;
	struct event *timer;
};

struct ca_client {
	struct event_base *base;
	int fd; /* -1: none */
	struct event *readable;
	uint64_t last_id;
	unsigned n;
	TAILQ_HEAD(ca_call_list, ca_call) calls;
	uint8_t packet[CA_PACKET_MAX];
};

static void call_free(struct ca_call *call)
{
	TAILQ_REMOVE(&call->client->calls, call, entry);
	call->client->n--;
	event_free(call->timer);
	free(call);
}

static void finish(struct ca_call *call, const Telex__Internal__V1__CaAnswer *answer, int list_fd)
{
	ca_answer *tell = call->answer;
	void *arg = call->arg;

	call_free(call);
	if (tell != NULL)
		tell(answer, list_fd, arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg, NULL, -1);
}

static void let_go(struct ca_client *c)
{
	struct ca_call *call;

	if (c->readable != NULL)
		event_free(c->readable);
	c->readable = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	while ((call = TAILQ_FIRST(&c->calls)) != NULL)
		finish(call, NULL, -1);
}

static struct ca_call *find(struct ca_client *c, uint64_t id)
{
	struct ca_call *call;

	TAILQ_FOREACH(call, &c->calls, entry)
	if (call->id == id)
		return call;
	return NULL;
}

static int take_answer(struct ca_client *c, size_t len, int list_fd)
{
	Telex__Internal__V1__CaAnswer *answer =
	    telex__internal__v1__ca_answer__unpack(NULL, len, c->packet);
	struct ca_call *call;

	if (answer == NULL)
		return TX_EPROTO;
	/* One that came too late is nobody's. */
	call = find(c, answer->id);
	if (call != NULL)
		finish(call, answer, answer->list ? list_fd : -1);
	telex__internal__v1__ca_answer__free_unpacked(answer, NULL);
	return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ca_client *c = arg;
	size_t len = sizeof(c->packet);
	int list_fd = -1;
	int rc = ca_packet_receive(fd, c->packet, &len, &list_fd);

	(void)what;
	if (rc == TX_EAGAIN)
		return;
	if (rc == 0)
		rc = take_answer(c, len, list_fd);
	if (list_fd >= 0)
		close(list_fd);
	if (rc == 0)
		return;
	log_warn("the authority's process does not answer any more: %s", err_name(rc));
	let_go(c);
}

struct ca_client *ca_client_new(struct event_base *base)
{
	struct ca_client *c = xcalloc(1, sizeof(*c));

	c->base = base;
	c->fd = -1;
	TAILQ_INIT(&c->calls);
	return c;
}

void ca_client_free(struct ca_client *c)
{
	struct ca_call *call;

	if (c == NULL)
		return;
	TAILQ_FOREACH(call, &c->calls, entry)
	call->answer = NULL;
	let_go(c);
	free(c);
}

void ca_client_take(struct ca_client *c, int fd)
{
	let_go(c);
	c->fd = fd;
	c->readable = event_new(c->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	if (c->readable == NULL)
		abort();
	event_add(c->readable, NULL);
}

static int send_request(struct ca_client *c, const Telex__Internal__V1__CaRequest *request)
{
	size_t len = telex__internal__v1__ca_request__get_packed_size(request);
	uint8_t *packet;
	int rc;

	if (len > CA_PACKET_MAX)
		return TX_ETOOBIG;
	packet = xcalloc(1, len);
	telex__internal__v1__ca_request__pack(request, packet);
	rc = ca_packet_send(c->fd, packet, len, -1);
	free(packet);
	return rc == TX_EAGAIN ? TX_ELIMIT : rc == 0 ? 0 : TX_ECLOSED;
}

int ca_client_ask(struct ca_client *c, Telex__Internal__V1__CaRequest *request, ca_answer *answer,
    void *arg, struct ca_call **out)
{
	static const struct timeval wait = {CA_CLIENT_WAIT_S, 0};
	struct ca_call *call;
	int rc;

	if (c->fd < 0)
		return TX_ECLOSED;
	if (c->n >= CA_CLIENT_CALLS)
		return TX_ELIMIT;
	request->id = ++c->last_id;
	rc = send_request(c, request);
	if (rc != 0)
		return rc;
	call = xcalloc(1, sizeof(*call));
	call->client = c;
	call->id = request->id;
	call->answer = answer;
	call->arg = arg;
	call->timer = evtimer_new(c->base, on_timer, call);
	if (call->timer == NULL)
		abort();
	event_add(call->timer, &wait);
	TAILQ_INSERT_TAIL(&c->calls, call, entry);
	c->n++;
	*out = call;
	return 0;
}

void ca_call_forget(struct ca_call *call)
{
	if (call != NULL)
		call->answer = NULL;
}
