/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's stream whose response is whole and whose request is still open. RFC 9113, 8.1, lets
 * the server reset it at once with NO_ERROR; but a stock client that is just then writing takes
 * that reset for a failure of the call. So the client is given time to end its half: it has then
 * seen the response, and on_close says NO_ERROR. Who does not is reset, and on_close says CANCEL.
 * The oldest go first when too many wait: they count as open streams.
 */
#include <event2/event.h>

#include "common/duration.h"
#include "common/h2_internal.h"

static void arm(struct h2_conn *c, int64_t now)
{
	struct h2_stream *first = TAILQ_FIRST(&c->waiting);
	struct timeval tv;

	if (first == NULL) {
		event_del(c->linger);
		return;
	}
	tv = duration_timeval(first->linger_until > now ? first->linger_until - now : 0);
	if (event_add(c->linger, &tv) != 0)
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
}

static void give_up(struct h2_stream *s)
{
	struct h2_conn *c = s->conn;

	/* Doomed first: the reset that follows is not the client's doing. */
	h2_stream_doom(s, H2_CANCEL);
	if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR) != 0)
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
}

static void on_linger(evutil_socket_t fd, short what, void *arg)
{
	struct h2_conn *c = arg;
	int64_t now = clock_monotonic_ns();
	struct h2_stream *s;

	(void)fd;
	(void)what;
	while (!c->closing && (s = TAILQ_FIRST(&c->waiting)) != NULL && s->linger_until <= now)
		give_up(s);
	if (!c->closing)
		arm(c, now);
}

int h2_linger_add(struct h2_stream *s)
{
	struct h2_conn *c = s->conn;
	int64_t now = clock_monotonic_ns();

	if (c->linger == NULL)
		c->linger = event_new(c->base, -1, 0, on_linger, c);
	if (c->linger == NULL)
		return TX_ENOMEM;
	if (c->n_waiting > c->limits.max_streams / 2)
		give_up(TAILQ_FIRST(&c->waiting));
	s->waits = true;
	s->linger_until = now + c->limits.linger_ms * NS_PER_MS;
	TAILQ_INSERT_TAIL(&c->waiting, s, wait_link);
	c->n_waiting++;
	if (c->n_waiting == 1)
		arm(c, now);
	return 0;
}

void h2_linger_remove(struct h2_stream *s)
{
	if (!s->waits)
		return;
	s->waits = false;
	TAILQ_REMOVE(&s->conn->waiting, s, wait_link);
	s->conn->n_waiting--;
}
