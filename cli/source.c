/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One piece is read, offered, and read again only when all of it was taken, so that what a process
 * never asked for stays in the pipe. What can always be read (a regular file) has no events; its
 * turns are made with event_active, a few pieces each, so that the network gets its turn too.
 */
#include "cli/source.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/fdkind.h"
#include "common/mem.h"

#define PIECES_A_TURN 8

struct source {
	struct fdkind_fd fd;
	const struct source_ops *ops;
	void *arg;
	struct event *readable; /* for FDKIND_PLAIN without a descriptor: only made active */
	bool stopped, armed, at_end, in_turn;
	int end_errno;
	size_t start, len; /* of what is held */
	unsigned char piece[SOURCE_PIECE];
};

/* Readable events come, or (plain) one turn is asked for. */
static void arm(struct source *s, bool on)
{
	if (s->fd.kind == FDKIND_PLAIN) {
		if (on)
			event_active(s->readable, EV_READ, 1);
		return;
	}
	if (on == s->armed)
		return;
	s->armed = on;
	if (!on)
		event_del(s->readable);
	else if (event_add(s->readable, NULL) < 0)
		abort();
}

static ssize_t read_some(struct source *s)
{
	struct pollfd p = {.fd = s->fd.fd, .events = POLLIN};
	ssize_t n;

	do {
		if (s->fd.kind == FDKIND_SHARED && poll(&p, 1, 0) <= 0) {
			errno = EAGAIN;
			return -1;
		}
		if (s->fd.kind == FDKIND_SOCKET)
			n = recv(s->fd.fd, s->piece, sizeof(s->piece), MSG_DONTWAIT);
		else
			n = read(s->fd.fd, s->piece, sizeof(s->piece));
	} while (n < 0 && errno == EINTR);
	return n;
}

/* Fills the empty piece: false when there is nothing now, or no more. */
static bool fill(struct source *s)
{
	ssize_t n = read_some(s);

	if (n > 0) {
		s->start = 0;
		s->len = (size_t)n;
		return true;
	}
	if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
		s->at_end = true;
		s->end_errno = n == 0 ? 0 : errno;
	}
	return false;
}

/* Offers what is held: whether all of it was taken. */
static bool offer(struct source *s)
{
	size_t n = s->ops->take(s, s->piece + s->start, s->len, s->arg);

	s->start += n;
	s->len -= n;
	return s->len == 0;
}

static void end(struct source *s)
{
	source_stop(s);
	s->ops->ended(s, s->end_errno, s->arg);
}

static void turn(struct source *s)
{
	for (int i = 0; i < PIECES_A_TURN && !s->stopped; i++) {
		if (s->len > 0 && !offer(s)) {
			arm(s, false);
			return;
		}
		if (s->stopped)
			return;
		if (!fill(s)) {
			if (s->at_end)
				end(s);
			else
				arm(s, true);
			return;
		}
	}
	if (!s->stopped)
		arm(s, true);
}

/* Room may be told from inside `take`; the turn that goes on sees it. */
static void take_turn(struct source *s)
{
	if (s->stopped || s->in_turn)
		return;
	s->in_turn = true;
	turn(s);
	s->in_turn = false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	take_turn(arg);
}

struct source *source_new(struct event_base *base, int fd, const struct source_ops *ops, void *arg)
{
	struct source *s = xcalloc(1, sizeof(*s));
	int at;

	s->ops = ops;
	s->arg = arg;
	s->end_errno = fdkind_open(&s->fd, fd, false);
	if (s->end_errno) {
		s->at_end = true;
		s->fd = (struct fdkind_fd){.kind = FDKIND_PLAIN, .fd = -1};
	}
	at = s->fd.kind == FDKIND_PLAIN ? -1 : s->fd.fd;
	s->readable = event_new(base, at, EV_READ | EV_PERSIST, on_readable, s);
	if (!s->readable)
		abort();
	arm(s, true);
	return s;
}

void source_free(struct source *s)
{
	if (!s)
		return;
	event_free(s->readable);
	fdkind_close(&s->fd);
	free(s);
}

void source_room(struct source *s)
{
	take_turn(s);
}

void source_stop(struct source *s)
{
	s->stopped = true;
	event_del(s->readable);
}
