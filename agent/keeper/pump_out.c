/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe -> ring. States: reading; full (the ring has no room: not listening to the pipe); at the
 * end; dropping (read and thrown away). Bytes are never thrown away before pump_out_drop.
 */
#include "agent/keeper/pump.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include "common/log.h"
#include "common/ring.h"

/* One turn of one pump ends after this many reads, so that others have theirs. */
#define READS_A_TURN 8
#define PIPE_DEFAULT ((size_t)64 * 1024)
#define PIPE_WANTED  ((size_t)256 * 1024)

struct pump_out {
	LIST_ENTRY(pump_out) abandoned;
	int fd; /* -1: at the end */
	struct event *readable;
	struct event *retry; /* the ring or its pages could not be made: try again */
	struct ring *ring;
	size_t ring_size;
	uint64_t length; /* of the stream, when its ring was forgotten */
	pump_fn more;
	void *arg;
	bool full, dropping, enlarged, no_memory_told;
};

static LIST_HEAD(, pump_out) abandoned = LIST_HEAD_INITIALIZER(abandoned);

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_retry(evutil_socket_t fd, short what, void *arg);

int pump_out_new(struct pump_out **out, struct event_base *base, int fd, size_t ring_size,
    pump_fn more, void *arg)
{
	struct pump_out *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return TX_ENOMEM;
	p->fd = fd;
	p->ring_size = ring_size;
	p->more = more;
	p->arg = arg;
	p->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, p);
	p->retry = event_new(base, -1, 0, on_retry, p);
	if (p->readable == NULL || p->retry == NULL || event_add(p->readable, NULL) != 0) {
		p->fd = -1;
		pump_out_free(p);
		return TX_ENOMEM;
	}
	*out = p;
	return 0;
}

static void destroy(struct pump_out *p)
{
	if (p->readable != NULL)
		event_free(p->readable);
	if (p->retry != NULL)
		event_free(p->retry);
	if (p->fd >= 0)
		close(p->fd);
	ring_unref(p->ring);
	free(p);
}

void pump_out_forget(struct pump_out *p)
{
	if (p == NULL || p->ring == NULL)
		return;
	p->length = ring_head(p->ring);
	ring_unref(p->ring);
	p->ring = NULL;
}

/* Nothing comes any more, and all that came was taken. */
static void forget_if_done(struct pump_out *p)
{
	if (p->ring != NULL && (p->fd < 0 || p->dropping) &&
	    ring_tail(p->ring) == ring_head(p->ring))
		pump_out_forget(p);
}

static void at_end(struct pump_out *p)
{
	event_del(p->readable);
	event_del(p->retry);
	close(p->fd);
	p->fd = -1;
	p->full = false;
	forget_if_done(p);
}

uint64_t pump_out_waiting(const struct pump_out *p)
{
	int n = 0;

	if (p->fd < 0 || ioctl(p->fd, FIONREAD, &n) != 0 || n < 0)
		return 0;
	return (uint64_t)n;
}

/* No writer and nothing in it. The count is read after the hang-up was seen: nobody can have added
 * to it. */
static bool pipe_is_over(const struct pump_out *p)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLHUP) != 0 && pump_out_waiting(p) == 0;
}

bool pump_out_ended(const struct pump_out *p)
{
	return p != NULL && p->fd < 0;
}

bool pump_out_look(struct pump_out *p)
{
	if (p->fd >= 0 && !p->dropping && pipe_is_over(p))
		at_end(p);
	return p->fd < 0;
}

static void await_memory(struct pump_out *p, const char *why)
{
	static const struct timeval soon = {0, 100000};

	if (!p->no_memory_told)
		log_warn("an output waits for memory: %s", why);
	p->no_memory_told = true;
	event_del(p->readable);
	event_add(p->retry, &soon);
}

/* At the first byte. Without memory the process waits, and nothing is lost. */
static int make_ring(struct pump_out *p)
{
	struct err e;

	if (ring_create(&p->ring, RING_OUTPUT, p->ring_size, &e) == 0)
		return 0;
	await_memory(p, e.message);
	return TX_ENOMEM;
}

/* A pipe that was full is worth more of the kernel's memory: fewer wake-ups a byte. Not so much
 * that it leaves the processor's cache between writer and reader. */
static void enlarge(struct pump_out *p)
{
	p->enlarged = true;
	for (size_t size = PIPE_WANTED; size > PIPE_DEFAULT; size /= 2)
		if (fcntl(p->fd, F_SETPIPE_SZ, (int)size) >= 0)
			break;
}

static void read_dropping(struct pump_out *p)
{
	static uint8_t sink[PIPE_DEFAULT];
	ssize_t n;

	for (int i = 0; i < READS_A_TURN; i++) {
		n = read(p->fd, sink, sizeof(sink));
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		at_end(p);
		if (p->more == NULL) {
			LIST_REMOVE(p, abandoned);
			destroy(p);
		}
		return;
	}
}

enum outcome { GOT, NOTHING, FULL, END, NO_MEMORY };

static enum outcome read_once(struct pump_out *p)
{
	size_t room;
	uint8_t *at = ring_space(p->ring, &room);
	ssize_t n;

	if (room == 0)
		return FULL;
	n = read(p->fd, at, room);
	if (n > 0) {
		ring_commit(p->ring, (size_t)n);
		if (!p->enlarged && (size_t)n >= PIPE_DEFAULT)
			enlarge(p);
		return GOT;
	}
	if (n < 0 && errno == EINTR)
		return GOT;
	if (n < 0 && errno == EAGAIN)
		return NOTHING;
	/* The ring's pages are made as they are filled. */
	if (n < 0 && (errno == EFAULT || errno == ENOMEM))
		return NO_MEMORY;
	return END;
}

static void stop_full(struct pump_out *p)
{
	p->full = true;
	event_del(p->readable);
}

void pump_out_run(struct pump_out *p)
{
	enum outcome o = GOT;
	bool told = false;

	if (p->fd < 0)
		return;
	if (p->dropping) {
		read_dropping(p);
		return;
	}
	if (p->ring == NULL && pump_out_waiting(p) == 0) {
		if (pump_out_look(p))
			p->more(p->arg);
		return;
	}
	if (p->ring == NULL && make_ring(p) != 0)
		return;
	for (int i = 0; i < READS_A_TURN && o == GOT; i++) {
		o = read_once(p);
		/* As early as can be: the worker encrypts while the next is read. */
		if (o == GOT && !told)
			p->more(p->arg);
		told = true;
		if (p->fd < 0 || p->dropping)
			return;
	}
	/* Full to the last byte: the end is seen without room to read it. */
	if (o == END || (o == FULL && pipe_is_over(p)))
		at_end(p);
	else if (o == FULL)
		stop_full(p);
	else if (o == NO_MEMORY)
		await_memory(p, "a ring's pages");
	p->more(p->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump_out_run(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct pump_out *p = arg;

	(void)fd;
	(void)what;
	if (event_add(p->readable, NULL) == 0)
		pump_out_run(p);
}

int pump_out_release(struct pump_out *p, uint64_t offset)
{
	int rc;

	if (p == NULL)
		return offset == 0 ? 0 : TX_EPROTO;
	if (p->ring == NULL)
		return offset <= p->length ? 0 : TX_EPROTO;
	rc = ring_release(p->ring, offset);
	if (rc == 0 && p->full && ring_head(p->ring) - ring_tail(p->ring) < ring_size(p->ring)) {
		p->full = false;
		event_add(p->readable, NULL);
	}
	forget_if_done(p);
	return rc;
}

struct ring *pump_out_ring(const struct pump_out *p)
{
	return p != NULL ? p->ring : NULL;
}

uint64_t pump_out_head(const struct pump_out *p)
{
	if (p == NULL)
		return 0;
	return p->ring != NULL ? ring_head(p->ring) : p->length;
}

uint64_t pump_out_tail(const struct pump_out *p)
{
	if (p == NULL)
		return 0;
	return p->ring != NULL ? ring_tail(p->ring) : p->length;
}

size_t pump_out_memory(const struct pump_out *p)
{
	if (p == NULL || p->ring == NULL)
		return 0;
	/* Of a ring that never was full only the beginning was touched. */
	return ring_head(p->ring) < ring_size(p->ring) ? (size_t)ring_head(p->ring)
	                                               : ring_size(p->ring);
}

void pump_out_drop(struct pump_out *p)
{
	p->dropping = true;
	event_del(p->retry);
	if (p->fd >= 0)
		event_add(p->readable, NULL);
	forget_if_done(p);
}

void pump_out_free(struct pump_out *p)
{
	if (p == NULL)
		return;
	if (p->fd < 0 || pipe_is_over(p)) {
		destroy(p);
		return;
	}
	pump_out_drop(p);
	p->more = NULL;
	ring_unref(p->ring);
	p->ring = NULL;
	LIST_INSERT_HEAD(&abandoned, p, abandoned);
}

void pump_out_end_all(void)
{
	struct pump_out *p;

	while ((p = LIST_FIRST(&abandoned)) != NULL) {
		LIST_REMOVE(p, abandoned);
		destroy(p);
	}
}
