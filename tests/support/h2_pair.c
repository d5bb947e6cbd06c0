/* SPDX-License-Identifier: Apache-2.0 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/h2_pair.h"

#define DEADLINE 300

/* The fixture's own needs; a test that cannot be set up has failed. */
static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "h2_pair: %s\n", what);
	abort();
}

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct h2_pair_side *side = arg;

	if (side->ops == NULL || side->ops->on_stream == NULL)
		return -1;
	return side->ops->on_stream(c, s, side->arg);
}

static void on_goaway(struct h2_conn *c, int32_t last, uint32_t code, void *arg)
{
	struct h2_pair_side *side = arg;

	side->goaways++;
	side->goaway_code = code;
	if (side->ops != NULL && side->ops->on_goaway != NULL)
		side->ops->on_goaway(c, last, code, side->arg);
}

static void on_closed(struct h2_conn *c, const struct err *why, void *arg)
{
	struct h2_pair_side *side = arg;

	require(!side->closed, "on_closed came twice");
	side->closed = true;
	side->why = *why;
	side->conn = NULL;
	side->bev = NULL;
	if (side->ops != NULL && side->ops->on_closed != NULL)
		side->ops->on_closed(c, why, side->arg);
}

static const struct h2_conn_ops pair_ops = {on_stream, on_goaway, on_closed};

void h2_pair_init(struct h2_pair *p)
{
	struct bufferevent *bev[2];

	memset(p, 0, sizeof(*p));
	p->base = event_base_new();
	require(p->base != NULL, "no event base");
	require(bufferevent_pair_new(p->base, 0, bev) == 0, "no bufferevent_pair");
	p->client.bev = bev[0];
	p->server.bev = bev[1];
	bufferevent_enable(bev[0], EV_READ | EV_WRITE);
	bufferevent_enable(bev[1], EV_READ | EV_WRITE);
}

void h2_pair_start(struct h2_pair *p, struct h2_pair_side *side, const struct h2_limits *limits,
    const struct h2_conn_ops *ops, void *arg)
{
	struct err e;

	side->ops = ops;
	side->arg = arg;
	require(h2_conn_new(&side->conn, p->base, side->bev, side == &p->server, limits, &pair_ops,
	            side, NULL, &e) == 0,
	    "no connection");
}

void h2_pair_settle(struct h2_pair *p)
{
	/* Each pass runs all that is active; what asks to be called again soon is due in the next.
	 */
	for (int i = 0; i < 64; i++)
		event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

bool h2_pair_run(struct h2_pair *p, const bool *flag)
{
	struct timeval tv = {DEADLINE, 0};
	bool late = false;
	struct event *deadline = evtimer_new(p->base, on_deadline, &late);

	require(deadline != NULL && event_add(deadline, &tv) == 0, "no timer");
	while (!*flag && !late)
		event_base_loop(p->base, EVLOOP_ONCE);
	event_free(deadline);
	return *flag;
}

void h2_pair_cut(struct h2_pair *p, struct h2_pair_side *side)
{
	(void)p;
	require(side->conn == NULL, "only a raw end is cut");
	bufferevent_flush(side->bev, EV_WRITE, BEV_FINISHED);
	bufferevent_free(side->bev);
	side->bev = NULL;
}

static void side_free(struct h2_pair *p, struct h2_pair_side *side)
{
	if (side->conn != NULL) {
		h2_close(side->conn, H2_NO_ERROR);
		/* A peer that does not read holds its GOAWAY up for a second. */
		require(h2_pair_run(p, &side->closed), "a connection did not close");
	}
	if (side->bev != NULL)
		bufferevent_free(side->bev);
}

void h2_pair_free(struct h2_pair *p)
{
	side_free(p, &p->client);
	side_free(p, &p->server);
	h2_pair_settle(p);
	event_base_free(p->base);
}

/* ---- frames by hand ---- */

void h2_raw_write(struct h2_pair_side *side, const void *data, size_t len)
{
	require(evbuffer_add(bufferevent_get_output(side->bev), data, len) == 0, "no memory");
}

void h2_raw_frame(struct h2_pair_side *side, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t len)
{
	uint8_t *frame = malloc(9 + len);

	require(frame != NULL, "no memory");
	frame[0] = (uint8_t)(len >> 16);
	frame[1] = (uint8_t)(len >> 8);
	frame[2] = (uint8_t)len;
	frame[3] = type;
	frame[4] = flags;
	for (int i = 0; i < 4; i++)
		frame[5 + i] = (uint8_t)(stream >> (24 - 8 * i));
	if (len > 0)
		memcpy(frame + 9, payload, len);
	h2_raw_write(side, frame, 9 + len);
	free(frame);
}

void h2_raw_preface(struct h2_pair_side *side)
{
	static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	h2_raw_write(side, magic, sizeof(magic) - 1);
	h2_raw_frame(side, 4, 0, 0, NULL, 0);
}

void h2_raw_request(struct h2_pair_side *side, uint32_t stream, bool end)
{
	/* Static table: 3 :method POST, 7 :scheme https; literals without indexing: 4 :path, 1
	 * :authority. */
	static const uint8_t block[] = {0x83, 0x87, 0x04, 2, '/', 'x', 0x01, 1, 'a'};

	h2_raw_frame(side, 1, (uint8_t)(end ? 0x5 : 0x4), stream, block, sizeof(block));
}

bool h2_raw_read(struct h2_pair_side *side, struct h2_raw_frame *f)
{
	static uint8_t payload[1 << 20];
	struct evbuffer *in = bufferevent_get_input(side->bev);
	uint8_t h[9];

	if (evbuffer_copyout(in, h, sizeof(h)) != (ev_ssize_t)sizeof(h))
		return false;
	f->len = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
	require(f->len <= sizeof(payload), "a frame too large for the fixture");
	if (evbuffer_get_length(in) < sizeof(h) + f->len)
		return false;
	f->type = h[3];
	f->flags = h[4];
	f->stream = (uint32_t)h[5] << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 | h[8];
	f->payload = payload;
	evbuffer_drain(in, sizeof(h));
	evbuffer_remove(in, payload, f->len);
	return true;
}

bool h2_raw_find(struct h2_pair_side *side, uint8_t type, struct h2_raw_frame *f)
{
	while (h2_raw_read(side, f))
		if (f->type == type)
			return true;
	return false;
}
