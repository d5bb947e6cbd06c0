/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca/client.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/ca/authority.h"
#include "common/ca_control.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rpc_status.h"

struct client {
	LIST_ENTRY(client) entry;
	struct clients *owner;
	int fd;
	struct event *readable, *writable;
	uint8_t *waiting; /* an answer that the socket had no room for; NULL: none */
	size_t waiting_len;
	int waiting_fd;
};

struct clients {
	struct event_base *base;
	struct authority *au;
	LIST_HEAD(client_list, client) list;
	uint8_t packet[CA_PACKET_MAX], out[CA_PACKET_MAX];
};

static void client_free(struct client *c)
{
	LIST_REMOVE(c, entry);
	event_free(c->readable);
	event_free(c->writable);
	if (c->waiting_fd >= 0)
		close(c->waiting_fd);
	free(c->waiting);
	close(c->fd);
	free(c);
}

static void wait_for_room(struct client *c, const struct answer *a, size_t len)
{
	c->waiting = (uint8_t *)xmemdup0((const char *)c->owner->out, len);
	c->waiting_len = len;
	c->waiting_fd = a->list_fd >= 0 ? dup(a->list_fd) : -1;
	event_del(c->readable);
	event_add(c->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	int rc = ca_packet_send(fd, c->waiting, c->waiting_len, c->waiting_fd);

	(void)what;
	if (rc == TX_EAGAIN)
		return;
	if (rc != 0) {
		client_free(c);
		return;
	}
	if (c->waiting_fd >= 0)
		close(c->waiting_fd);
	c->waiting_fd = -1;
	free(c->waiting);
	c->waiting = NULL;
	event_del(c->writable);
	event_add(c->readable, NULL);
}

static int reply(struct client *c, struct answer *a)
{
	struct clients *cs = c->owner;
	size_t len = telex__internal__v1__ca_answer__get_packed_size(&a->message);
	int rc;

	if (len > sizeof(cs->out)) {
		uint64_t id = a->message.id;

		answer_clear(a);
		answer_refuse(a, RPC_INTERNAL, "TOO_LARGE", "the answer is too large", NULL);
		a->message.id = id;
		len = telex__internal__v1__ca_answer__get_packed_size(&a->message);
	}
	telex__internal__v1__ca_answer__pack(&a->message, cs->out);
	rc = ca_packet_send(c->fd, cs->out, len, a->list_fd);
	if (rc == TX_EAGAIN)
		wait_for_room(c, a, len);
	return rc == TX_EAGAIN ? 0 : rc;
}

static int serve(struct client *c, size_t len)
{
	Telex__Internal__V1__CaRequest *request =
	    telex__internal__v1__ca_request__unpack(NULL, len, c->owner->packet);
	struct answer a;
	int rc;

	if (request == NULL)
		return TX_EPROTO;
	answer_init(&a);
	authority_answer(c->owner->au, request, &a);
	rc = reply(c, &a);
	answer_clear(&a);
	telex__internal__v1__ca_request__free_unpacked(request, NULL);
	return rc;
}

/* One request a turn: many workers are served in turns. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	size_t len = sizeof(c->owner->packet);
	int got = -1;
	int rc = ca_packet_receive(fd, c->owner->packet, &len, &got);

	(void)what;
	if (rc == TX_EAGAIN)
		return;
	/* Nothing that a worker holds is wanted here. */
	if (got >= 0) {
		close(got);
		rc = TX_EPROTO;
	}
	if (rc == 0)
		rc = serve(c, len);
	if (rc == 0)
		return;
	if (rc != TX_ECLOSED)
		log_error("a worker is cut off: %s", err_name(rc));
	client_free(c);
}

struct clients *clients_new(struct event_base *base, struct authority *au)
{
	struct clients *cs = xcalloc(1, sizeof(*cs));

	cs->base = base;
	cs->au = au;
	LIST_INIT(&cs->list);
	return cs;
}

void clients_free(struct clients *cs)
{
	struct client *c;

	if (cs == NULL)
		return;
	while ((c = LIST_FIRST(&cs->list)) != NULL)
		client_free(c);
	free(cs);
}

void clients_add(struct clients *cs, int fd)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->owner = cs;
	c->fd = fd;
	c->waiting_fd = -1;
	c->readable = event_new(cs->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(cs->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	if (c->readable == NULL || c->writable == NULL)
		abort();
	event_add(c->readable, NULL);
	LIST_INSERT_HEAD(&cs->list, c, entry);
}
