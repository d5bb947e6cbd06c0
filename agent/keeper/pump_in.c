/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring -> stdin. What was written to the pipe is released at once; exactly once, by the offsets.
 * When the process has closed its end the rest is forgotten, and the worker told.
 *
 * A terminal takes little, and does not always say when it takes more: there a timer asks, too. The
 * end of the input is written to it as a character or two, when all else is.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/keeper/pump.h"
#include "agent/keeper/state_io.h"
#include "agent/keeper/terminal.h"
#include "common/ring.h"

#define WRITES_A_TURN 8
#define PIPE_DEFAULT  (64 * 1024)
#define PIPE_WANTED   (1024 * 1024)
#define RETRY_MIN_MS  10
#define RETRY_MAX_MS  1000

struct pump_in {
	int fd; /* -1: closed */
	struct event *writable;
	struct ring *ring; /* NULL: closed, nothing goes through it any more */
	uint64_t head;     /* then: the ring's */
	uint64_t written;
	pump_fn progress;
	void *arg;
	bool eof;    /* a worker has said so: close when all is written */
	bool closed; /* the process has closed it */
	bool enlarged;
	enum { UNKNOWN, PIPE, TERMINAL } kind; /* of fd; by is_terminal */
	int retry_ms;                          /* TERMINAL: 0: it took something */
	int last; /* TERMINAL: the byte that it took last, + 1; 0: none */
};

static void on_writable(evutil_socket_t fd, short what, void *arg);

int pump_in_new(struct pump_in **out, struct event_base *base, int fd, size_t ring_size,
    pump_fn progress, void *arg, struct err *e)
{
	struct pump_in *p = calloc(1, sizeof(*p));
	int rc = TX_ENOMEM;

	if (p == NULL)
		return err_set(e, rc, "out of memory");
	p->fd = -1;
	p->progress = progress;
	p->arg = arg;
	p->writable = event_new(base, fd, EV_WRITE, on_writable, p);
	if (p->writable == NULL)
		err_set(e, rc, "out of memory");
	else
		rc = ring_create(&p->ring, RING_INPUT, ring_size, e);
	if (rc != 0) {
		pump_in_free(p);
		return rc;
	}
	p->fd = fd;
	*out = p;
	return 0;
}

static void finish(struct pump_in *p)
{
	if (p->fd < 0)
		return;
	event_del(p->writable);
	close(p->fd);
	p->fd = -1;
	p->head = ring_head(p->ring);
	ring_unref(p->ring);
	p->ring = NULL;
}

static void process_closed(struct pump_in *p)
{
	p->closed = true;
	finish(p);
}

static bool is_terminal(struct pump_in *p)
{
	if (p->kind == UNKNOWN)
		p->kind = terminal_is(p->fd) ? TERMINAL : PIPE;
	return p->kind == TERMINAL;
}

/* A pipe that was full is worth more of the kernel's memory: fewer wake-ups a byte. */
static void enlarge(struct pump_in *p)
{
	p->enlarged = true;
	for (int size = PIPE_WANTED; size > PIPE_DEFAULT; size /= 2)
		if (fcntl(p->fd, F_SETPIPE_SZ, size) >= 0)
			break;
}

static void await_room(struct pump_in *p)
{
	struct timeval retry;

	if (!is_terminal(p)) {
		event_add(p->writable, NULL);
		return;
	}
	if (p->retry_ms < RETRY_MIN_MS)
		p->retry_ms = RETRY_MIN_MS;
	retry = (struct timeval){p->retry_ms / 1000, p->retry_ms % 1000 * 1000};
	event_add(p->writable, &retry);
	if (p->retry_ms < RETRY_MAX_MS)
		p->retry_ms *= 2;
}

/* All is written. Whether the line is begun is asked again when it took the first of two. */
static void write_end(struct pump_in *p)
{
	uint8_t end[2];
	int n = is_terminal(p) ? terminal_end_of_input(p->fd, p->last - 1, end) : 0;

	for (int i = 0; i < n; i++) {
		ssize_t done = write(p->fd, &end[i], 1);

		if (done != 1 && (done == 0 || errno == EAGAIN || errno == EINTR)) {
			await_room(p);
			return;
		}
		if (done != 1)
			break;
		p->last = end[i] + 1;
	}
	finish(p);
}

static void write_some(struct pump_in *p)
{
	for (int i = 0; i < WRITES_A_TURN; i++) {
		size_t len;
		const uint8_t *at = ring_peek(p->ring, p->written, &len);
		ssize_t n;

		if (len == 0) {
			if (p->eof)
				write_end(p);
			return;
		}
		n = write(p->fd, at, len);
		if (n > 0) {
			p->last = at[n - 1] + 1;
			p->retry_ms = 0;
			p->written += (uint64_t)n;
			(void)ring_release(p->ring, p->written);
		} else if (n == 0 || errno == EAGAIN) {
			if (p->enlarged || is_terminal(p))
				break;
			enlarge(p);
		} else if (errno != EINTR) {
			process_closed(p);
			return;
		}
	}
	await_room(p);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct pump_in *p = arg;

	(void)fd;
	(void)what;
	if (p->fd < 0)
		return;
	write_some(p);
	p->progress(p->arg);
}

int pump_in_accept(struct pump_in *p, uint64_t head, bool eof)
{
	int rc;

	if (p->eof || p->fd < 0)
		return 0;
	rc = ring_accept(p->ring, head);
	if (rc != 0)
		return rc;
	p->eof = eof;
	if (!event_pending(p->writable, EV_WRITE, NULL)) {
		write_some(p);
		p->progress(p->arg);
	}
	return 0;
}

struct ring *pump_in_ring(const struct pump_in *p)
{
	return p->ring;
}

uint64_t pump_in_head(const struct pump_in *p)
{
	return p->ring != NULL ? ring_head(p->ring) : p->head;
}

uint64_t pump_in_written(const struct pump_in *p)
{
	return p->written;
}

bool pump_in_ended(const struct pump_in *p)
{
	return p->eof || p->closed;
}

bool pump_in_closed(const struct pump_in *p)
{
	return p->closed;
}

void pump_in_close(struct pump_in *p)
{
	if (p->fd >= 0)
		process_closed(p);
}

void pump_in_free(struct pump_in *p)
{
	if (p == NULL)
		return;
	finish(p);
	if (p->writable != NULL)
		event_free(p->writable);
	ring_unref(p->ring);
	free(p);
}

/* ---- over an upgrade ---- */

void pump_in_save(struct state_out *o, const struct pump_in *p)
{
	state_put_fd(o, p->fd);
	state_put_fd(o, p->ring != NULL ? ring_fd(p->ring) : -1);
	state_put(o, p->ring != NULL ? ring_size(p->ring) : 0);
	state_put(o, pump_in_head(p));
	state_put(o, p->written);
	state_put(o, p->eof);
	state_put(o, p->closed);
	state_put(o, p->enlarged);
	state_put(o, (uint64_t)p->last);
}

void pump_in_load(struct state_in *in, struct pump_in_saved *s)
{
	s->fd = state_get_fd(in);
	s->ring_fd = state_get_fd(in);
	s->size = state_get_most(in, RING_SIZE_MAX);
	s->head = state_get(in);
	s->written = state_get(in);
	s->eof = state_get_bool(in);
	s->closed = state_get_bool(in);
	s->enlarged = state_get_bool(in);
	s->last = (int)state_get_most(in, UINT8_MAX + 1);
	if (s->written > s->head || (s->ring_fd >= 0 && s->head - s->written > s->size) ||
	    (s->fd >= 0) != (s->ring_fd >= 0))
		state_bad(in);
}

int pump_in_restore(struct pump_in **out, struct event_base *base, const struct pump_in_saved *s,
    pump_fn progress, void *arg, struct err *e)
{
	const struct ring_span span = {
	    .size = s->size, .oldest = s->written, .tail = s->written, .head = s->head};
	struct pump_in *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (p == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	p->fd = -1;
	p->head = s->head;
	p->written = s->written;
	p->progress = progress;
	p->arg = arg;
	p->eof = s->eof;
	p->closed = s->closed;
	p->enlarged = s->enlarged;
	p->last = s->last;
	p->writable = event_new(base, s->fd, EV_WRITE, on_writable, p);
	if (p->writable == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	else if (s->fd >= 0)
		rc = ring_copy(&p->ring, s->ring_fd, RING_INPUT, &span, e);
	/* What waits is written, and the end told, at the first turn of the loop. */
	if (rc == 0 && s->fd >= 0 && event_add(p->writable, NULL) != 0)
		rc = err_set(e, TX_ENOMEM, "cannot watch a pipe");
	if (rc != 0) {
		pump_in_free(p);
		return rc;
	}
	p->fd = s->fd;
	if (s->ring_fd >= 0)
		close(s->ring_fd);
	*out = p;
	return 0;
}
