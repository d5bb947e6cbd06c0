/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink holds at most what the agent's window lets come: the queue has no limit of its own,
 * because credit goes back (by `written`) only for bytes that left.
 *
 * Written by kind (fdkind.h). A shared descriptor that could not be opened anew is asked with poll
 * and given at most PIPE_BUF bytes, which a pipe that polls writable takes without waiting.
 */
#include "cli/sink.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli/fdkind.h"
#include "common/mem.h"

/* A disk that is full of latency must not keep us from the network for ever: a plain write at a
 * time. */
#define PLAIN_MAX ((size_t)1 << 20)

struct sink {
	struct fdkind_fd fd;
	const struct sink_ops *ops;
	void *arg;
	struct event *writable; /* NULL: FDKIND_PLAIN */
	struct evbuffer *queue;
	int lost; /* errno; 0: not lost */
	bool lost_said;
};

static ssize_t write_shared(int fd, const void *data, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	if (poll(&p, 1, 0) <= 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, data, len < PIPE_BUF ? len : PIPE_BUF);
}

static ssize_t write_some(struct sink *s, const void *data, size_t len)
{
	ssize_t n;

	do {
		switch (s->fd.kind) {
		case FDKIND_SOCKET:
			n = send(s->fd.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
			break;
		case FDKIND_SHARED:
			n = write_shared(s->fd.fd, data, len);
			break;
		case FDKIND_PLAIN:
			n = write(s->fd.fd, data, len < PLAIN_MAX ? len : PLAIN_MAX);
			break;
		default:
			n = write(s->fd.fd, data, len);
			break;
		}
	} while (n < 0 && errno == EINTR);
	return n;
}

static void lose(struct sink *s, int sys_errno)
{
	size_t dropped = evbuffer_get_length(s->queue);

	s->lost = sys_errno;
	if (s->writable)
		event_del(s->writable);
	evbuffer_drain(s->queue, dropped);
	if (!s->lost_said) {
		s->lost_said = true;
		s->ops->lost(s, sys_errno, s->arg);
	}
	if (dropped > 0)
		s->ops->written(s, dropped, s->arg);
}

/* Writes what fits; how much that was. Stops at EAGAIN; anything else is a loss, found by the
 * caller in s->lost. */
static size_t push(struct sink *s, const unsigned char *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write_some(s, data + done, len - done);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n <= 0) {
			s->lost = n < 0 ? errno : EIO;
			break;
		}
		done += (size_t)n;
	}
	return done;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct sink *s = arg;
	size_t done = 0;

	(void)fd;
	(void)what;
	while (evbuffer_get_length(s->queue) > 0 && !s->lost) {
		struct evbuffer_iovec piece;
		size_t n;

		if (evbuffer_peek(s->queue, -1, NULL, &piece, 1) < 1)
			break;
		n = push(s, piece.iov_base, piece.iov_len);
		evbuffer_drain(s->queue, n);
		done += n;
		if (n < piece.iov_len)
			break;
	}
	if (evbuffer_get_length(s->queue) == 0)
		event_del(s->writable);
	if (done > 0)
		s->ops->written(s, done, s->arg);
	if (s->lost)
		lose(s, s->lost);
}

struct sink *sink_new(struct event_base *base, int fd, const struct sink_ops *ops, void *arg)
{
	struct sink *s = xcalloc(1, sizeof(*s));

	s->ops = ops;
	s->arg = arg;
	s->lost = fdkind_open(&s->fd, fd, true);
	s->queue = evbuffer_new();
	if (!s->queue)
		abort();
	if (!s->lost && s->fd.kind != FDKIND_PLAIN) {
		s->writable = event_new(base, s->fd.fd, EV_WRITE | EV_PERSIST, on_writable, s);
		if (!s->writable)
			abort();
	}
	return s;
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	if (s->writable)
		event_free(s->writable);
	evbuffer_free(s->queue);
	fdkind_close(&s->fd);
	free(s);
}

void sink_write(struct sink *s, const void *data, size_t len)
{
	size_t done = 0;

	if (len == 0)
		return;
	if (!s->lost && evbuffer_get_length(s->queue) == 0)
		done = push(s, data, len);
	if (s->lost) {
		lose(s, s->lost);
		s->ops->written(s, len, s->arg);
		return;
	}
	if (done < len) {
		if (evbuffer_add(s->queue, (const unsigned char *)data + done, len - done) < 0)
			abort();
		if (!s->writable || event_add(s->writable, NULL) < 0)
			lose(s, EIO); /* it says "not now" and has no events to say when */
	}
	if (done > 0)
		s->ops->written(s, done, s->arg);
}

size_t sink_pending(const struct sink *s)
{
	return evbuffer_get_length(s->queue);
}
