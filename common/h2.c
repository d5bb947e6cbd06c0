/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: its bufferevent, its turns of work, its end.
 *
 * Every callback of the bufferevent takes the input, pumps the output and makes the callbacks that
 * are due, at depth 1. The end has one way: h2_fail or h2_close set `closing`; the next turn, at
 * depth 0, dooms all streams, makes their on_close, writes GOAWAY, lingers until the output is
 * written (LINGER at most) and then calls on_closed and frees everything.
 */
#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/h2_internal.h"

#define ROUNDS      8 /* of callbacks and pumping, before others get their turn */
#define SINGLE_READ ((size_t)256 * 1024)

static const struct timeval LINGER = {1, 0};
static const struct timeval DRAIN_ANSWER = {1, 0};
static const struct timeval SOON = {0, 0};
static const struct timeval SLOWLY = {0, 10000};

/* ---- the end ---- */

int h2_fail(struct h2_conn *c, uint32_t h2_code, int code, const char *fmt, ...)
{
	char text[sizeof(c->why.message)];
	va_list ap;

	if (c->closing)
		return c->why.code;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	err_set(&c->why, code, "%s", text);
	c->close_code = h2_code;
	c->closing = true;
	h2_wake(c);
	return code;
}

void h2_close(struct h2_conn *c, uint32_t code)
{
	h2_fail(c, code, TX_OK, "the connection was closed");
}

static void finish(struct h2_conn *c)
{
	bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
	c->depth++; /* for h2_abort's assertion */
	c->ops->on_closed(c, &c->why, c->arg);
	/* Of use to a bufferevent_pair alone: its other end is told. */
	bufferevent_flush(c->bev, EV_WRITE, BEV_FINISHED);
	if (c->free_bev != NULL)
		c->free_bev(c->bev);
	else
		bufferevent_free(c->bev);
	event_free(c->turn);
	event_free(c->timer);
	if (c->linger != NULL)
		event_free(c->linger);
	if (c->more != NULL)
		event_free(c->more);
	free(c->fields);
	free(c->field_bufs);
	free(c);
}

#define GOAWAY_WORDS 200

/* By hand, since nghttp2 sends nothing more after a fatal error. What it has sent ended with a
 * whole frame. An error's reason is its debug data (RFC 9113, 6.8). */
static void write_goaway(struct h2_conn *c)
{
	uint32_t last = (uint32_t)nghttp2_session_get_last_proc_stream_id(c->session);
	uint32_t code = c->close_code;
	size_t words = code != H2_NO_ERROR ? strnlen(c->why.message, GOAWAY_WORDS) : 0;
	uint8_t frame[] = {0, 0, (uint8_t)(8 + words), NGHTTP2_GOAWAY, 0, 0, 0, 0, 0, /* header */
	    (uint8_t)(last >> 24), (uint8_t)(last >> 16), (uint8_t)(last >> 8), (uint8_t)last,
	    (uint8_t)(code >> 24), (uint8_t)(code >> 16), (uint8_t)(code >> 8), (uint8_t)code};

	if (c->mute || c->bev_gone || c->goaway_sent == (int64_t)code)
		return;
	evbuffer_add(bufferevent_get_output(c->bev), frame, sizeof(frame));
	evbuffer_add(bufferevent_get_output(c->bev), c->why.message, words);
}

static void tear_down(struct h2_conn *c)
{
	struct h2_stream *s;

	c->depth++;
	while ((s = TAILQ_FIRST(&c->streams)) != NULL)
		h2_stream_doom(s, c->close_code);
	h2_stream_deliver(c);
	c->depth--;
	write_goaway(c);
	h2_receive_clear(c);
	nghttp2_session_del(c->session);
	c->session = NULL;
	c->lingering = true;
	event_del(c->turn);
	bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
	/* What comes is thrown away: a close that leaves some of it unread would cost the GOAWAY.
	 */
	if (c->more_waits && !c->bev_gone)
		bufferevent_enable(c->bev, EV_READ);
	if (c->bev_gone || evbuffer_get_length(bufferevent_get_output(c->bev)) == 0 ||
	    event_add(c->timer, &LINGER) != 0)
		finish(c);
}

/* Neither side has anything left to say. */
static void check_done(struct h2_conn *c)
{
	if (c->closing || nghttp2_session_want_read(c->session) != 0 ||
	    nghttp2_session_want_write(c->session) != 0)
		return;
	if (c->goaway.received && c->goaway.code != NGHTTP2_NO_ERROR)
		h2_fail(c, H2_NO_ERROR, TX_ECLOSED, "the peer ended the connection: %s %s",
		    nghttp2_http2_strerror(c->goaway.code), c->goaway.debug);
	else
		h2_fail(c, H2_NO_ERROR, TX_OK, "the connection was drained");
}

/* ---- turns ---- */

void h2_wake(struct h2_conn *c)
{
	if (c->depth == 0)
		event_active(c->turn, EV_TIMEOUT, 0);
}

static void on_more(evutil_socket_t fd, short what, void *arg);

/* What is left of the input waits until others have had their turn; longer for one that is on the
 * way to be cut off. Nothing is read meanwhile. */
static void wait_with_input(struct h2_conn *c)
{
	if (c->more == NULL)
		c->more = event_new(c->base, -1, 0, on_more, c);
	if (c->more == NULL || event_add(c->more, h2_limits_low(c) ? &SLOWLY : &SOON) != 0) {
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
		return;
	}
	c->more_waits = true;
	bufferevent_disable(c->bev, EV_READ);
}

/* Whether all was taken: otherwise the portion is over. */
static bool feed_input(struct h2_conn *c, struct evbuffer *in)
{
	struct evbuffer_iovec v[8];
	int n = evbuffer_peek(in, -1, NULL, v, 8);
	size_t used = 0, taken = 1, given = 1;

	if (n > 8)
		n = 8;
	for (int i = 0; i < n && !c->closing && taken == given; i++) {
		given = v[i].iov_len;
		taken = h2_session_feed(c, v[i].iov_base, given);
		used += taken;
	}
	evbuffer_drain(in, used);
	return taken == given;
}

static void take_input(struct h2_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	int64_t begin = clock_monotonic_ns();

	c->scan.frames = 0;
	c->scan.until = H2_PORTION;
	while (!c->closing && evbuffer_get_length(in) > 0) {
		if (feed_input(c, in))
			continue;
		if (c->scan.frames >= H2_TURN_FRAMES ||
		    clock_monotonic_ns() - begin >= H2_TURN_TIME) {
			wait_with_input(c);
			return;
		}
		c->scan.until = c->scan.frames + H2_PORTION;
	}
}

/* Of one that has hung up: nobody waits for it. */
static void take_last_input(struct h2_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	while (!c->closing && evbuffer_get_length(in) > 0) {
		c->scan.frames = 0;
		c->scan.until = H2_TURN_FRAMES;
		(void)feed_input(c, in);
	}
}

static void work(struct h2_conn *c)
{
	for (int i = 0; i < ROUNDS && !c->closing; i++) {
		h2_pump(c);
		if (!h2_stream_deliver(c)) {
			check_done(c);
			return;
		}
	}
	if (!c->closing)
		event_add(c->turn, &SOON);
}

/* All that the loop calls comes through here. */
static void take_turn(struct h2_conn *c)
{
	if (c->depth > 0) {
		event_active(c->turn, EV_TIMEOUT, 0);
		return;
	}
	c->depth++;
	if (!c->more_waits)
		take_input(c);
	work(c);
	c->depth--;
	if (c->closing)
		event_active(c->turn, EV_TIMEOUT, 0);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	struct h2_conn *c = arg;

	(void)fd;
	(void)what;
	c->more_waits = false;
	if (c->closing)
		return;
	/* It may turn out to be too much again. */
	bufferevent_enable(c->bev, EV_READ);
	take_turn(c);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct h2_conn *c = arg;

	(void)fd;
	(void)what;
	if (c->lingering)
		finish(c);
	else if (c->closing && c->depth == 0)
		tear_down(c);
	else
		take_turn(c);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct h2_conn *c = arg;

	if (c->closing)
		evbuffer_drain(
		    bufferevent_get_input(bev), evbuffer_get_length(bufferevent_get_input(bev)));
	else
		take_turn(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	struct h2_conn *c = arg;

	if (!c->closing)
		take_turn(c);
	else if (c->lingering && evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		event_active(c->turn, EV_TIMEOUT, 0);
}

static void transport_failed(struct h2_conn *c, short what, int error)
{
	if ((what & BEV_EVENT_EOF) != 0 && c->draining && c->stream_count == 0)
		h2_fail(c, H2_NO_ERROR, TX_OK, "the connection was drained");
	else if ((what & BEV_EVENT_EOF) != 0 && c->goaway.received)
		h2_fail(c, H2_CANCEL, TX_ECLOSED, "the peer ended the connection: %s %s",
		    nghttp2_http2_strerror(c->goaway.code), c->goaway.debug);
	else if ((what & BEV_EVENT_EOF) != 0)
		h2_fail(c, H2_CANCEL, TX_ECLOSED, "the peer closed the connection");
	else if ((what & BEV_EVENT_TIMEOUT) != 0)
		h2_fail(c, H2_CANCEL, TX_ETIMEOUT, "the connection timed out");
	else if (error == 0)
		h2_fail(c, H2_CANCEL, TX_ETLS, "the connection failed");
	else {
		h2_fail(c, H2_CANCEL, TX_ESYS, "the connection failed: %s", strerror(error));
		c->why.sys_errno = error;
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct h2_conn *c = arg;
	int error = (what & BEV_EVENT_ERROR) != 0 ? errno : 0;

	(void)bev;
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) == 0)
		return;
	c->bev_gone = true;
	c->bev_event = what;
	if (c->depth == 0 && !c->lingering) { /* what came before the end */
		c->depth++;
		take_last_input(c);
		c->depth--;
	}
	if (!c->closing)
		transport_failed(c, what, error);
	event_active(c->turn, EV_TIMEOUT, 0);
}

/* ---- the API ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct h2_conn *c = arg;

	(void)fd;
	(void)what;
	if (c->lingering)
		finish(c);
	else if (c->drain_notice)
		h2_drain_final(c);
}

static void start(struct h2_conn *c)
{
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, 0);
	bufferevent_setwatermark(c->bev, EV_WRITE, H2_SEND_LOW, 0);
	bufferevent_set_max_single_read(c->bev, SINGLE_READ);
	bufferevent_set_max_single_write(c->bev, SINGLE_READ);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	h2_wake(c);
}

int h2_conn_new(struct h2_conn **out, struct event_base *base, struct bufferevent *bev, bool server,
    const struct h2_limits *limits, const struct h2_conn_ops *ops, void *arg,
    void (*free_bev)(struct bufferevent *), struct err *e)
{
	struct h2_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	c->base = base;
	c->bev = bev;
	c->server = server;
	c->ops = ops;
	c->arg = arg;
	c->free_bev = free_bev;
	c->goaway_sent = -1;
	TAILQ_INIT(&c->streams);
	TAILQ_INIT(&c->dead);
	TAILQ_INIT(&c->writable);
	TAILQ_INIT(&c->waiting);
	h2_limits_init(c, limits);
	c->turn = event_new(base, -1, 0, on_turn, c);
	c->timer = event_new(base, -1, 0, on_timer, c);
	if (c->turn == NULL || c->timer == NULL) {
		err_set(e, TX_ENOMEM, "out of memory");
		goto out;
	}
	if (h2_session_new(c, e) < 0)
		goto out;
	start(c);
	*out = c;
	return 0;
out:
	nghttp2_session_del(c->session);
	if (c->turn != NULL)
		event_free(c->turn);
	if (c->timer != NULL)
		event_free(c->timer);
	free(c);
	return TX_ENOMEM;
}

struct bufferevent *h2_bufferevent(struct h2_conn *c)
{
	return c->bev;
}

void *h2_conn_arg(struct h2_conn *c)
{
	return c->arg;
}

bool h2_is_server(const struct h2_conn *c)
{
	return c->server;
}

size_t h2_stream_count(const struct h2_conn *c)
{
	return c->stream_count;
}

const struct err *h2_why(const struct h2_conn *c)
{
	return c->closing ? &c->why : NULL;
}

short h2_transport_event(const struct h2_conn *c)
{
	return c->bev_event;
}

void h2_drain_final(struct h2_conn *c)
{
	int32_t last = nghttp2_session_get_last_proc_stream_id(c->session);

	c->drain_notice = false;
	if (c->closing)
		return;
	if (nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, last, H2_NO_ERROR, NULL, 0) != 0)
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
	h2_wake(c);
}

void h2_push(struct h2_conn *c)
{
	if (c->depth > 0 || c->closing)
		return;
	c->depth++;
	h2_pump(c);
	c->depth--;
	h2_wake(c);
}

void h2_abort(struct h2_conn *c)
{
	assert(c->depth == 0);
	h2_close(c, H2_NO_ERROR);
	c->bev_gone = true; /* nothing to wait for */
	if (c->lingering)
		finish(c);
	else
		tear_down(c);
}

/*
 * A server first gives notice (RFC 9113, 6.8): streams that the peer opens before it has seen that
 * still count; the PING's answer, or DRAIN_ANSWER, tells that it has.
 */
void h2_drain(struct h2_conn *c)
{
	static const uint8_t zero[8];

	if (c->draining || c->closing)
		return;
	c->draining = true;
	if (!c->server) {
		h2_drain_final(c);
		return;
	}
	c->drain_notice = true;
	if (nghttp2_submit_shutdown_notice(c->session) != 0 ||
	    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, zero) != 0 ||
	    event_add(c->timer, &DRAIN_ANSWER) != 0)
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
	h2_wake(c);
}

int h2_ping(struct h2_conn *c, void (*on_pong)(struct h2_conn *c, void *arg))
{
	uint8_t opaque[8];
	uint64_t serial = c->ping_serial + 1;

	if (c->closing)
		return TX_ECLOSED;
	if (c->on_pong != NULL)
		return TX_ESTATE;
	memcpy(opaque, &serial, sizeof(opaque));
	if (nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, opaque) != 0)
		return TX_ENOMEM;
	c->ping_serial = serial;
	c->on_pong = on_pong;
	h2_wake(c);
	return 0;
}
