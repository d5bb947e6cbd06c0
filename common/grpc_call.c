/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both sides of a call share: receiving messages and their credit (the rules are in
 * grpc_call.h), sending, the deadline, the end. A call lives from grpc_serve or grpc_open until
 * on_done has returned, which is in h2's on_close or, where messages were still held up then, in
 * `resume`: never inside a function that the call's user called.
 */
#include "common/grpc_call.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"

#define COALESCE_MAX 512                /* a head of up to this goes into the prefix's memory */
#define TIMER_MAX_NS (86400 * NS_PER_S) /* a longer deadline is looked at once a day */

static void on_timer(evutil_socket_t fd, short what, void *arg);
static void on_resume(evutil_socket_t fd, short what, void *arg);

/* ---- life ---- */

struct grpc_call *grpc_call_new(struct event_base *base, bool server, size_t max_message)
{
	struct grpc_call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->base = base;
	c->server = server;
	c->max_message = max_message > 0 ? max_message : GRPC_MAX_MESSAGE;
	c->in.max = c->max_message;
	evtimer_assign(&c->timer, base, on_timer, c);
	evtimer_assign(&c->resume, base, on_resume, c);
	return c;
}

void grpc_call_free(struct grpc_call *c)
{
	event_del(&c->timer);
	event_del(&c->resume);
	grpc_codec_clear(&c->in);
	if (c->backlog != NULL)
		evbuffer_free(c->backlog);
	if (c->out != NULL)
		evbuffer_free(c->out);
	free(c->meta);
	free(c);
}

void grpc_call_done(struct grpc_call *c)
{
	c->ended = true;
	c->dropping = true;
	if (c->ops != NULL)
		c->ops->on_done(c, &c->status, c->arg);
	if (c->server && c->server_ops->on_end != NULL)
		c->server_ops->on_end(c->server_arg);
	grpc_call_free(c);
}

static void set_status(struct grpc_call *c, int code, const char *fmt, va_list ap)
{
	char text[sizeof(c->status.message)];

	if (c->has_status)
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	rpc_status_set(&c->status, code, NULL, "%s", text);
	c->has_status = true;
}

void grpc_call_set_status(struct grpc_call *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_status(c, code, fmt, ap);
	va_end(ap);
}

/* Ends a call from our side with the status that is set; on_done comes later. */
static void abandon(struct grpc_call *c)
{
	c->ended = true;
	grpc_call_drop(c);
	if (c->stream != NULL)
		h2_reset(c->stream, H2_CANCEL);
	else
		event_active(&c->resume, EV_TIMEOUT, 0);
}

void grpc_call_break(struct grpc_call *c, int code, const char *fmt, ...)
{
	va_list ap;

	/* A peer that says OK about messages that cannot be read does not decide. */
	if (c->status.code == RPC_OK)
		c->has_status = false;
	va_start(ap, fmt);
	set_status(c, code, fmt, ap);
	va_end(ap);
	if (c->server)
		grpc_finish(c, &c->status);
	else
		abandon(c);
}

void grpc_cancel(struct grpc_call *c)
{
	if (c->dropping && c->ended && c->has_status)
		return;
	/* Also when the trailers are there: messages before them may not have been delivered. */
	if (!c->dropping)
		c->has_status = false;
	grpc_call_set_status(c, RPC_CANCELLED, "cancelled");
	abandon(c);
}

/* ---- the deadline ---- */

static void arm_timer(struct grpc_call *c)
{
	int64_t left = grpc_time_left(c);
	struct timeval tv = duration_timeval(left < TIMER_MAX_NS ? left : TIMER_MAX_NS);

	if (evtimer_add(&c->timer, &tv) < 0)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

void grpc_call_set_timeout(struct grpc_call *c, int64_t ns)
{
	if (__builtin_add_overflow(clock_monotonic_ns(), ns, &c->deadline))
		c->deadline = INT64_MAX;
	arm_timer(c);
}

int64_t grpc_time_left(const struct grpc_call *c)
{
	int64_t now;

	if (c->deadline == 0)
		return -1;
	now = clock_monotonic_ns();
	return c->deadline > now ? c->deadline - now : 0;
}

static void expire_server(struct grpc_call *c)
{
	bool stuck = grpc_pending(c) > 0;

	grpc_call_set_status(c, RPC_DEADLINE_EXCEEDED, "the deadline passed");
	grpc_finish(c, &c->status);
	/* The client does not read: trailers would wait for ever behind what is queued. */
	if (stuck)
		h2_reset(c->stream, H2_CANCEL);
}

/* A client that has its trailers, and only waits for the receiver, has made it. */
static void expire_client(struct grpc_call *c)
{
	if (c->has_status)
		return;
	grpc_call_set_status(c, RPC_DEADLINE_EXCEEDED, "the deadline passed");
	abandon(c);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct grpc_call *c = arg;

	(void)fd;
	(void)what;
	if (grpc_time_left(c) > 0)
		arm_timer(c);
	else if (c->server)
		expire_server(c);
	else
		expire_client(c);
}

/* ---- the receive window ---- */

/* The only place that credits: see grpc_call.h. */
static void settle(struct grpc_call *c)
{
	size_t keep = c->owed + c->partial + c->unseen, n = c->held - keep;

	assert(keep <= c->held);
	if (n == 0)
		return;
	c->held = keep;
	if (c->stream != NULL)
		h2_credit(c->stream, n);
}

static bool held_up(const struct grpc_call *c)
{
	return c->encoding == GRPC_GZIP && c->unread >= CALL_HOLD;
}

void grpc_credit(struct grpc_call *c, size_t n)
{
	assert(n <= c->unread);
	c->unread -= n;
	if (c->owed > c->unread)
		c->owed = c->unread;
	if (c->unread <= CALL_LOAN)
		c->partial = 0;
	settle(c);
	if (c->backlog != NULL && !held_up(c))
		event_active(&c->resume, EV_TIMEOUT, 0);
}

void grpc_call_drop(struct grpc_call *c)
{
	c->dropping = true;
	c->owed = c->partial = c->unseen = 0;
	if (c->backlog != NULL)
		evbuffer_free(c->backlog);
	c->backlog = NULL;
	settle(c);
}

/* ---- receiving ---- */

static void deliver(struct grpc_call *c, const uint8_t *msg, size_t len)
{
	c->unread += len;
	if (c->owed > c->unread)
		c->owed = c->unread;
	c->ops->on_message(c, msg, len, c->arg);
}

static void deliver_compressed(struct grpc_call *c, const struct grpc_frame *f)
{
	uint8_t *msg = NULL;
	size_t len = 0;
	int r;

	if (c->encoding != GRPC_GZIP) {
		grpc_call_break(c, RPC_INTERNAL, "a message is compressed, but %s",
		    c->encoding == GRPC_OTHER ? "its grpc-encoding is not supported"
		                              : "grpc-encoding was not given");
		return;
	}
	r = grpc_codec_gunzip(f->body, f->len, c->max_message, &msg, &len);
	if (r == TX_ETOOBIG)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED,
		    "a message is larger than %zu bytes when it is decompressed", c->max_message);
	else if (r == TX_ENOMEM)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
	else if (r < 0)
		grpc_call_break(c, RPC_INTERNAL, "a message is not gzip, though it says so");
	else
		deliver(c, msg, len);
	free(msg);
}

static void decoder_failed(struct grpc_call *c, int error)
{
	if (error == TX_ETOOBIG)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED,
		    "a message of %zu bytes is over the limit of %zu", c->in.size, c->max_message);
	else if (error == TX_ENOMEM)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
	else
		grpc_call_break(c, RPC_INTERNAL, "a message begins with byte %u, neither 0 nor 1",
		    c->in.prefix[0]);
}

/* Delivers the messages in data[len] as far as that may go on now; returns how much it took. */
static size_t feed(struct grpc_call *c, const uint8_t *data, size_t len)
{
	const uint8_t *at = data;
	size_t left = len;

	while (left > 0 && !c->dropping && !held_up(c)) {
		size_t before = left, had = c->in.have;
		struct grpc_frame f = {0};
		int r = grpc_codec_step(&c->in, &at, &left, &f);

		c->unseen -= before - left;
		if (r < 0) {
			decoder_failed(c, r);
		} else if (r == 0) {
			if (c->unread > CALL_LOAN)
				c->partial += c->in.have - had;
		} else {
			c->owed += c->partial + (f.len - had);
			c->partial = 0;
			if (f.compressed)
				deliver_compressed(c, &f);
			else
				deliver(c, f.body, f.len);
			free(f.owned);
		}
	}
	return len - left;
}

static int hold_up(struct grpc_call *c, const uint8_t *data, size_t len)
{
	if (c->backlog == NULL)
		c->backlog = evbuffer_new();
	if (c->backlog == NULL || evbuffer_add(c->backlog, data, len) < 0)
		return TX_ENOMEM;
	return 0;
}

void grpc_call_on_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	struct grpc_call *c = arg;
	size_t n = 0;

	(void)s;
	c->held += len;
	if (!c->dropping) {
		c->unseen += len;
		if (c->backlog == NULL)
			n = feed(c, data, len);
		if (!c->dropping && n < len && hold_up(c, data + n, len - n) < 0)
			grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "out of memory");
	}
	settle(c);
}

static void peer_ended(struct grpc_call *c)
{
	if (c->server)
		grpc_server_ended(c);
	else
		grpc_client_ended(c);
}

void grpc_call_on_end(struct h2_stream *s, void *arg)
{
	struct grpc_call *c = arg;

	(void)s;
	c->peer_ended = true;
	if (c->backlog == NULL || c->dropping)
		peer_ended(c);
}

/* Goes on with what was held up; and ends a call whose stream has gone meanwhile. */
static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct grpc_call *c = arg;
	struct evbuffer *queue = c->backlog;
	struct evbuffer_iovec v;

	(void)fd;
	(void)what;
	c->backlog = NULL;
	while (queue != NULL && !c->dropping && !held_up(c) &&
	       evbuffer_peek(queue, -1, NULL, &v, 1) > 0)
		evbuffer_drain(queue, feed(c, v.iov_base, v.iov_len));
	if (queue != NULL && !c->dropping && evbuffer_get_length(queue) > 0)
		c->backlog = queue;
	else if (queue != NULL)
		evbuffer_free(queue);
	settle(c);
	if (c->backlog == NULL && c->peer_ended && !c->dropping)
		peer_ended(c);
	if (c->backlog == NULL && c->stream == NULL)
		grpc_call_done(c);
}

/* ---- sending ---- */

void grpc_call_on_writable(struct h2_stream *s, void *arg)
{
	struct grpc_call *c = arg;

	(void)s;
	if (!c->ended && c->ops != NULL && c->ops->on_writable != NULL)
		c->ops->on_writable(c, c->arg);
}

size_t grpc_pending(const struct grpc_call *c)
{
	return c->stream != NULL ? h2_pending(c->stream) : 0;
}

void grpc_compress(struct grpc_call *c, bool on)
{
	c->compress = on;
}

/* Whether a message may be queued now: headers sent, a buffer there. */
static int ready(struct grpc_call *c, size_t len)
{
	if (c->ended || c->stream == NULL)
		return TX_ECLOSED;
	if (len > UINT32_MAX)
		return TX_ETOOBIG;
	if (c->out == NULL)
		c->out = evbuffer_new();
	if (c->out == NULL)
		return TX_ENOMEM;
	return c->server ? grpc_server_respond(c) : 0;
}

/* Hands `out` to h2 when r is 0; after a failure nothing of the message is left over. */
static int flush(struct grpc_call *c, int r)
{
	if (r == 0)
		r = h2_send(c->stream, c->out);
	if (r < 0)
		evbuffer_drain(c->out, evbuffer_get_length(c->out));
	return r == TX_ESTATE ? TX_ECLOSED : r;
}

/* Prefix and bytes in one piece of memory. */
static int put_plain(struct evbuffer *out, uint32_t message_len, const void *data, size_t len)
{
	struct evbuffer_iovec v;

	if (evbuffer_reserve_space(out, (ev_ssize_t)(GRPC_PREFIX_SIZE + len), &v, 1) < 1)
		return TX_ENOMEM;
	grpc_codec_prefix(v.iov_base, false, message_len);
	if (len > 0)
		memcpy((uint8_t *)v.iov_base + GRPC_PREFIX_SIZE, data, len);
	v.iov_len = GRPC_PREFIX_SIZE + len;
	return evbuffer_commit_space(out, &v, 1) < 0 ? TX_ENOMEM : 0;
}

int grpc_send(struct grpc_call *c, const void *msg, size_t len)
{
	int r = ready(c, len);

	if (r < 0)
		return r;
	if (c->compress && c->gzip)
		return flush(c, grpc_codec_gzip(c->out, msg, len));
	return flush(c, put_plain(c->out, (uint32_t)len, msg, len));
}

/* The first bytes are copied behind the prefix when they are few, the rest is moved. */
static int put_buffer(struct evbuffer *out, struct evbuffer *msg)
{
	uint32_t len = (uint32_t)evbuffer_get_length(msg);
	struct evbuffer_iovec v = {0};
	int r;

	if (evbuffer_peek(msg, -1, NULL, &v, 1) < 1 || v.iov_len > COALESCE_MAX)
		v.iov_len = 0;
	r = put_plain(out, len, v.iov_base, v.iov_len);
	if (r < 0)
		return r;
	if (evbuffer_drain(msg, v.iov_len) < 0 || evbuffer_add_buffer(out, msg) < 0)
		return TX_ENOMEM;
	return 0;
}

int grpc_send_buffer(struct grpc_call *c, struct evbuffer *msg)
{
	size_t len = evbuffer_get_length(msg);
	int r = ready(c, len);

	if (r < 0)
		return r;
	if (c->compress && c->gzip) {
		const uint8_t *flat = evbuffer_pullup(msg, -1);

		if (flat == NULL && len > 0)
			return TX_ENOMEM;
		r = flush(c, grpc_codec_gzip(c->out, flat, len));
		if (r == 0)
			evbuffer_drain(msg, len);
		return r;
	}
	return flush(c, put_buffer(c->out, msg));
}

/* ---- small things ---- */

struct h2_conn *grpc_conn(struct grpc_call *c)
{
	return c->stream != NULL ? h2_stream_conn(c->stream) : NULL;
}

bool grpc_call_is(const struct h2_field *f, const char *name)
{
	return f->name_len == strlen(name) && memcmp(f->name, name, f->name_len) == 0;
}

static bool value_is(const char *value, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(value, want, len) == 0;
}

enum grpc_encoding grpc_call_encoding(const struct h2_field *f)
{
	if (value_is(f->value, f->value_len, "identity"))
		return GRPC_IDENTITY;
	return value_is(f->value, f->value_len, "gzip") ? GRPC_GZIP : GRPC_OTHER;
}

bool grpc_call_has_token(const struct h2_field *f, const char *token)
{
	const char *p = f->value, *end = f->value + f->value_len;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *stop = comma != NULL ? comma : end;
		const char *last = stop;

		while (p < last && *p == ' ')
			p++;
		while (last > p && last[-1] == ' ')
			last--;
		if (value_is(p, (size_t)(last - p), token))
			return true;
		p = stop + (comma != NULL);
	}
	return false;
}
