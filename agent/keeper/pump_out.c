/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipe or terminal -> ring. States: reading; full (the store makes no room: not listening to the
 * pipe); at the end; dropping (read and thrown away). What is thrown away before pump_out_drop, the
 * store decides.
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

#include "agent/keeper/state_io.h"
#include "agent/keeper/terminal.h"
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
	struct event *retry; /* memory or disk was lacking: try again */
	struct store *store;
	const struct pump_out_ops *ops;
	void *arg;
	bool full, dropping, enlarged, no_memory_told;
	bool dry;                              /* pump_out_dry */
	enum { UNKNOWN, PIPE, TERMINAL } kind; /* of fd; by is_terminal */
};

static LIST_HEAD(, pump_out) abandoned = LIST_HEAD_INITIALIZER(abandoned);

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_retry(evutil_socket_t fd, short what, void *arg);

static void destroy(struct pump_out *p)
{
	if (p->readable != NULL)
		event_free(p->readable);
	if (p->retry != NULL)
		event_free(p->retry);
	if (p->fd >= 0)
		close(p->fd);
	store_free(p->store);
	free(p);
}

int pump_out_new(struct pump_out **out, struct event_base *base, int fd,
    const struct store_config *config, const struct pump_out_ops *ops, void *arg)
{
	struct pump_out *p = calloc(1, sizeof(*p));
	int rc;

	if (p == NULL)
		return TX_ENOMEM;
	p->fd = -1;
	p->ops = ops;
	p->arg = arg;
	rc = store_new(&p->store, config);
	p->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, p);
	p->retry = event_new(base, -1, 0, on_retry, p);
	if (rc != 0 || p->readable == NULL || p->retry == NULL ||
	    (fd >= 0 && event_add(p->readable, NULL) != 0)) {
		destroy(p);
		return TX_ENOMEM;
	}
	p->fd = fd;
	*out = p;
	return 0;
}

void pump_out_forget(struct pump_out *p)
{
	if (p != NULL)
		store_forget(p->store);
}

static void set_full(struct pump_out *p, bool full)
{
	if (p->full == full)
		return;
	p->full = full;
	if (p->ops != NULL && p->ops->full != NULL)
		p->ops->full(full, p->arg);
}

static void at_end(struct pump_out *p)
{
	event_del(p->readable);
	event_del(p->retry);
	close(p->fd);
	p->fd = -1;
	set_full(p, false);
}

static bool is_terminal(struct pump_out *p)
{
	if (p->kind == UNKNOWN)
		p->kind = terminal_is(p->fd) ? TERMINAL : PIPE;
	return p->kind == TERMINAL;
}

/* Bytes that are in the pipe and not yet in the ring. */
static uint64_t waiting(const struct pump_out *p)
{
	int n = 0;

	if (p->fd < 0 || ioctl(p->fd, FIONREAD, &n) != 0 || n < 0)
		return 0;
	return (uint64_t)n;
}

/* No writer and nothing in it. The count is read after the hang-up was seen: nobody can have added
 * to it. */
static bool pipe_is_over(struct pump_out *p)
{
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};

	if (is_terminal(p))
		return terminal_is_over(p->fd);
	return poll(&pfd, 1, 0) == 1 && (pfd.revents & POLLHUP) != 0 && waiting(p) == 0;
}

/* What a terminal's driver has it does not count. */
static bool has_bytes(struct pump_out *p)
{
	return is_terminal(p) ? terminal_has_output(p->fd) : waiting(p) > 0;
}

uint64_t pump_out_mark(struct pump_out *p)
{
	p->dry = false;
	if (p->fd >= 0 && is_terminal(p))
		return UINT64_MAX;
	return pump_out_head(p) + waiting(p);
}

bool pump_out_dry(const struct pump_out *p)
{
	return p->dry;
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
		if (p->ops == NULL) {
			LIST_REMOVE(p, abandoned);
			destroy(p);
		}
		return;
	}
}

enum outcome { GOT, NOTHING, FULL, END, WAIT };

/* At the first byte. Without memory the process waits, and nothing is lost. */
static enum outcome make_ring(struct pump_out *p)
{
	struct err e;

	if (store_open(p->store, &e) == 0)
		return GOT;
	await_memory(p, e.message);
	return WAIT;
}

static enum outcome make_room(struct pump_out *p)
{
	struct store_readers readers = {.hold = UINT64_MAX, .guard = UINT64_MAX};
	static const struct timeval later = {5, 0};
	struct err e;

	if (p->ops->readers != NULL)
		p->ops->readers(&readers, p->arg);
	switch (store_make_room(p->store, &readers, &e)) {
	case STORE_ROOM:
		return GOT;
	case STORE_NO_MEMORY:
		await_memory(p, e.message);
		return WAIT;
	case STORE_DISK_FULL:
		event_add(p->retry, &later);
		return FULL;
	case STORE_FULL:
		break;
	}
	return FULL;
}

static enum outcome read_once(struct pump_out *p)
{
	struct ring *ring = store_ring(p->store);
	size_t room;
	uint8_t *at = ring_space(ring, &room);
	ssize_t n;

	if (room == 0) {
		enum outcome o = make_room(p);

		if (o != GOT)
			return o;
		ring = store_ring(p->store);
		at = ring_space(ring, &room);
	}
	n = read(p->fd, at, room);
	if (n > 0) {
		ring_commit(ring, (size_t)n);
		if (!p->enlarged && (size_t)n >= PIPE_DEFAULT)
			enlarge(p);
		return GOT;
	}
	if (n < 0 && errno == EINTR)
		return GOT;
	if (n < 0 && errno == EAGAIN) {
		p->dry = true;
		return NOTHING;
	}
	/* It may have been closed after the last bytes were looked for. */
	if (n < 0 && errno == EIO && is_terminal(p) && !terminal_is_over(p->fd))
		return GOT;
	/* The ring's pages are made as they are filled. */
	if (n < 0 && (errno == EFAULT || errno == ENOMEM)) {
		await_memory(p, "a ring's pages");
		return WAIT;
	}
	return END;
}

static void stop_full(struct pump_out *p)
{
	event_del(p->readable);
	set_full(p, true);
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
	if (store_ring(p->store) == NULL && !has_bytes(p)) {
		p->dry = true;
		if (pump_out_look(p))
			p->ops->more(p->arg);
		return;
	}
	if (make_ring(p) != GOT)
		return;
	for (int i = 0; i < READS_A_TURN && o == GOT; i++) {
		o = read_once(p);
		/* As early as can be: the worker encrypts while the next is read. */
		if (o == GOT && !told)
			p->ops->more(p->arg);
		told = true;
		if (p->fd < 0 || p->dropping)
			return;
	}
	/* Full to the last byte: the end is seen without room to read it. */
	if (o == END || (o == FULL && pipe_is_over(p)))
		at_end(p);
	else if (o == FULL)
		stop_full(p);
	p->ops->more(p->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump_out_run(arg);
}

/* Reads again, if only to find that there is still no room. */
static void resume(struct pump_out *p)
{
	set_full(p, false);
	if (event_add(p->readable, NULL) == 0)
		pump_out_run(p);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	resume(arg);
}

/* Whether a reader's news can make room, without making any. */
static bool may_have_room(struct pump_out *p)
{
	struct store_readers r = {.hold = UINT64_MAX, .guard = UINT64_MAX};
	uint64_t tail = ring_tail(store_ring(p->store));

	if (p->ops->readers != NULL)
		p->ops->readers(&r, p->arg);
	if (r.hold != UINT64_MAX)
		return r.hold > tail;
	return r.unwaited || store_released(p->store) > tail;
}

void pump_out_poke(struct pump_out *p)
{
	if (p == NULL || !p->full || !may_have_room(p))
		return;
	set_full(p, false);
	event_del(p->retry);
	event_add(p->readable, NULL);
}

int pump_out_release(struct pump_out *p, uint64_t offset)
{
	int rc = store_release(p != NULL ? p->store : NULL, offset);

	if (rc == 0)
		pump_out_poke(p);
	return rc;
}

void pump_out_keep_memory(struct pump_out *p, uint64_t offset)
{
	if (p != NULL)
		store_keep_memory(p->store, offset);
}

const struct store *pump_out_store(const struct pump_out *p)
{
	return p != NULL ? p->store : NULL;
}

uint64_t pump_out_head(const struct pump_out *p)
{
	return store_head(pump_out_store(p));
}

uint64_t pump_out_oldest(const struct pump_out *p)
{
	return store_oldest(pump_out_store(p));
}

bool pump_out_full(const struct pump_out *p)
{
	return p != NULL && p->full;
}

void pump_out_drop(struct pump_out *p)
{
	p->dropping = true;
	set_full(p, false);
	event_del(p->retry);
	if (p->fd >= 0)
		event_add(p->readable, NULL);
}

void pump_out_free(struct pump_out *p)
{
	if (p == NULL)
		return;
	if (p->fd < 0 || pipe_is_over(p)) {
		destroy(p);
		return;
	}
	p->ops = NULL;
	pump_out_drop(p);
	store_free(p->store);
	p->store = NULL;
	LIST_INSERT_HEAD(&abandoned, p, abandoned);
}

void pump_out_abandon(struct pump_out *p)
{
	struct pump_out *other =
	    p != NULL && p->dropping && p->fd >= 0 ? calloc(1, sizeof(*other)) : NULL;

	if (other == NULL)
		return;
	other->fd = -1;
	other->dropping = true;
	other->readable =
	    event_new(event_get_base(p->readable), p->fd, EV_READ | EV_PERSIST, on_readable, other);
	other->retry = event_new(event_get_base(p->retry), -1, 0, on_retry, other);
	if (other->readable == NULL || other->retry == NULL) {
		destroy(other);
		return;
	}
	event_del(p->readable);
	other->fd = p->fd;
	p->fd = -1;
	if (event_add(other->readable, NULL) != 0)
		log_error("no memory to drain an output");
	LIST_INSERT_HEAD(&abandoned, other, abandoned);
}

void pump_out_end_all(void)
{
	struct pump_out *p;

	while ((p = LIST_FIRST(&abandoned)) != NULL) {
		LIST_REMOVE(p, abandoned);
		destroy(p);
	}
}

/* ---- over an upgrade ---- */

void pump_out_save(struct state_out *o, const struct pump_out *p)
{
	state_put_fd(o, p->fd);
	state_put(o, p->dropping);
	state_put(o, p->enlarged);
	state_put(o, p->dry);
	state_put(o, p->store != NULL);
	if (p->store != NULL)
		store_save(o, p->store);
}

void pump_out_load(struct state_in *in, struct pump_out_saved *s)
{
	s->fd = state_get_fd(in);
	s->dropping = state_get_bool(in);
	s->enlarged = state_get_bool(in);
	s->dry = state_get_bool(in);
	s->has_store = state_get_bool(in);
	if (s->has_store)
		store_load(in, &s->store);
	else if (!s->dropping)
		state_bad(in);
}

int pump_out_restore(struct pump_out **out, struct event_base *base, const struct pump_out_saved *s,
    const struct store_config *config, const struct pump_out_ops *ops, void *arg, struct err *e)
{
	struct pump_out *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (p == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	p->fd = -1;
	p->ops = ops;
	p->arg = arg;
	p->dropping = s->dropping;
	p->enlarged = s->enlarged;
	p->dry = s->dry;
	p->readable = event_new(base, s->fd, EV_READ | EV_PERSIST, on_readable, p);
	p->retry = event_new(base, -1, 0, on_retry, p);
	/* Where the ring is full, the first look finds that out. */
	if (p->readable == NULL || p->retry == NULL ||
	    (s->fd >= 0 && event_add(p->readable, NULL) != 0))
		rc = err_set(e, TX_ENOMEM, "cannot watch a pipe");
	if (rc == 0 && s->has_store)
		rc = store_restore(&p->store, config, &s->store, e);
	if (rc != 0) {
		destroy(p);
		return rc;
	}
	p->fd = s->fd;
	*out = p;
	return 0;
}

void pump_out_save_abandoned(struct state_out *o)
{
	struct pump_out *p;

	LIST_FOREACH(p, &abandoned, abandoned)
	{
		state_begin(o, STATE_ABANDONED);
		pump_out_save(o, p);
		state_end(o);
	}
}

int pump_out_restore_abandoned(
    struct event_base *base, const struct pump_out_saved *s, struct err *e)
{
	struct pump_out *p;
	int rc = pump_out_restore(&p, base, s, NULL, NULL, NULL, e);

	if (rc == 0)
		LIST_INSERT_HEAD(&abandoned, p, abandoned);
	return rc;
}
