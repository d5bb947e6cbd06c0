/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call's life on both sides: its status, its deadline, its end. It lives from grpc_serve or
 * grpc_open until h2's on_close has made on_done: never inside a function that the call's user
 * called.
 */
#include "common/grpc_call.h"

#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"

#define TIMER_MAX_NS (86400 * NS_PER_S) /* a longer deadline is looked at once a day */

static void on_timer(evutil_socket_t fd, short what, void *arg);

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
	c->hold = CALL_HOLD;
	evtimer_assign(&c->timer, base, on_timer, c);
	evtimer_assign(&c->resume, base, grpc_receive_resume, c);
	return c;
}

void grpc_set_max_message(struct grpc_call *c, size_t max_message)
{
	c->max_message = c->in.max = max_message;
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

__attribute__((format(printf, 4, 0))) static void set_status(
    struct grpc_call *c, int code, const char *reason, const char *fmt, va_list ap)
{
	char text[sizeof(c->status.message)];

	if (c->has_status)
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	rpc_status_set(&c->status, code, reason, "%s", text);
	c->has_status = true;
}

void grpc_call_set_status(struct grpc_call *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_status(c, code, NULL, fmt, ap);
	va_end(ap);
}

/* Ends a call from our side with the status that is set; on_done comes later. */
static void abandon(struct grpc_call *c)
{
	c->ended = true;
	grpc_receive_drop(c);
	h2_reset(c->stream, H2_CANCEL);
}

void grpc_call_break(struct grpc_call *c, int code, const char *reason, const char *fmt, ...)
{
	va_list ap;

	/* A peer that says OK about messages that cannot be read does not decide. */
	if (c->status.code == RPC_OK)
		c->has_status = false;
	va_start(ap, fmt);
	/* Details are a server's: what a client finds by itself nobody has told it. */
	set_status(c, code, c->server ? reason : NULL, fmt, ap);
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
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
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

	grpc_call_break(c, RPC_DEADLINE_EXCEEDED, "DEADLINE_PASSED", "the deadline passed");
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

/* ---- small things ---- */

struct h2_conn *grpc_conn(struct grpc_call *c)
{
	return h2_stream_conn(c->stream);
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
