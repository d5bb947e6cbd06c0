/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of the pair, on libevent: receives, checks, hands over; sends, or queues for a slow peer,
 * in order.
 *
 * A descriptor that was received belongs to the callee once on_message was called, and is closed
 * here in every other case. A queued message has duplicates of its descriptors. What breaks the
 * rules ends the link: `closed` is set, the events are withdrawn, on_closed is the last call, and
 * nothing of the channel is touched after it.
 *
 * The keeper reads no more questions while QUEUE_HIGH answers wait: a worker that asks a lot in one
 * turn of its loop, and reads later, is busy and not to be ended. The worker always reads, so that
 * the two never wait for each other.
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/keeper_msg.h"

#define MESSAGES_A_TURN 64
#define QUEUE_HIGH      (KM_QUEUE_MAX / 4)
#define FDS_SENT_MAX    4
#define FDS_ROOM                                                                                   \
	16 /* more than any message has, so that too many are seen and not only cut off            \
	    */

struct queued {
	struct queued *next;
	int fds[FDS_SENT_MAX];
	size_t n_fds, len;
	uint8_t data[];
};

struct km_chan {
	int fd;
	enum km_side side;
	enum km_link_state state;
	bool closed, paused; /* paused: not reading, until the queue is empty */
	struct event *readable, *writable;
	const struct km_chan_ops *ops;
	void *arg;
	struct queued *first, **last;
	size_t n_queued;
};

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(FDS_ROOM * sizeof(int))];
};

static void close_fds(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- the queue ---- */

static void queue_pop(struct km_chan *c)
{
	struct queued *q = c->first;

	c->first = q->next;
	if (c->first == NULL)
		c->last = &c->first;
	c->n_queued--;
	close_fds(q->fds, q->n_fds);
	free(q);
}

static void queue_clear(struct km_chan *c)
{
	while (c->first != NULL)
		queue_pop(c);
}

/* Without a message in the queue, too: its end is told. */
static int await_room(struct km_chan *c, int sys_errno)
{
	if (sys_errno != EMFILE && sys_errno != ENFILE)
		return TX_ESYS;
	if (c->first == NULL && event_add(c->writable, NULL) != 0)
		return TX_ESYS;
	return TX_EAGAIN;
}

static int queue_push(struct km_chan *c, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	struct queued *q;
	int rc = TX_ESYS;

	if (c->n_queued >= KM_QUEUE_MAX)
		return TX_ELIMIT;
	q = malloc(sizeof(*q) + len);
	if (q == NULL)
		return TX_ENOMEM;
	q->next = NULL;
	q->len = len;
	memcpy(q->data, msg, len);
	for (q->n_fds = 0; q->n_fds < n_fds; q->n_fds++) {
		q->fds[q->n_fds] = fcntl(fds[q->n_fds], F_DUPFD_CLOEXEC, 0);
		if (q->fds[q->n_fds] < 0) {
			rc = await_room(c, errno);
			goto fail;
		}
	}
	if (c->first == NULL && event_add(c->writable, NULL) != 0)
		goto fail;
	*c->last = q;
	c->last = &q->next;
	c->n_queued++;
	return 0;
fail:
	close_fds(q->fds, q->n_fds);
	free(q);
	return rc;
}

/* ---- sending ---- */

static int code_of_send_errno(int sys)
{
	switch (sys) {
	case EAGAIN:
	case ENOBUFS:
		return TX_EAGAIN;
	case EPIPE:
	case ECONNRESET:
	case ECONNREFUSED:
	case ENOTCONN:
		return TX_ECLOSED;
	default:
		return TX_ESYS;
	}
}

/* 0, TX_EAGAIN, TX_ECLOSED or TX_ESYS; a message goes whole or not at all. */
static int send_now(int fd, const void *msg, size_t len, const int *fds, size_t n_fds)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)msg, .iov_len = len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t n;

	if (n_fds > 0) {
		struct cmsghdr *cm;

		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cm = CMSG_FIRSTHDR(&mh);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? code_of_send_errno(errno) : 0;
}

int km_send(struct km_chan *c, uint16_t type, uint64_t seq, void *msg, const int *fds, size_t n_fds)
{
	const struct km_row *row = km_row(type);
	struct km_hdr *hdr = msg;
	int r = TX_EAGAIN;

	if (row == NULL || row->sender != c->side || n_fds != row->n_fds || n_fds > FDS_SENT_MAX ||
	    !km_strings_valid(row, msg))
		return TX_EINVAL;
	if (c->closed)
		return TX_ECLOSED;
	hdr->version = KM_VERSION;
	hdr->type = type;
	hdr->size = row->size;
	hdr->seq = seq;
	if (c->first == NULL)
		r = send_now(c->fd, msg, row->size, fds, n_fds);
	if (r == TX_EAGAIN)
		r = queue_push(c, msg, row->size, fds, n_fds);
	return r;
}

bool km_chan_busy(const struct km_chan *c)
{
	return c->first != NULL;
}

/* ---- ending ---- */

/* The last touch of c. */
static void chan_close(struct km_chan *c, const struct err *why)
{
	c->closed = true;
	event_del(c->readable);
	event_del(c->writable);
	queue_clear(c);
	c->ops->on_closed(c, why, c->arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct km_chan *c = arg;
	struct err why;

	(void)what;
	while (c->first != NULL) {
		const struct queued *q = c->first;
		int r = send_now(fd, q->data, q->len, q->fds, q->n_fds);

		if (r == TX_EAGAIN)
			return;
		/* What the peer sent before it went away is still to be read; the end comes there.
		 */
		if (r == TX_ECLOSED)
			queue_clear(c);
		else if (r < 0) {
			err_sys(&why, errno, "cannot send");
			chan_close(c, &why);
			return;
		} else
			queue_pop(c);
	}
	event_del(c->writable);
	if (c->paused && event_add(c->readable, NULL) == 0)
		c->paused = false;
	if (c->ops->on_writable != NULL)
		c->ops->on_writable(c, c->arg);
}

/* ---- receiving ---- */

/* Takes the descriptors out of all control messages. Returns how many; more than fds[] holds cannot
 * come. */
static size_t take_fds(struct msghdr *mh, int fds[FDS_ROOM])
{
	size_t n = 0;

	for (struct cmsghdr *cm = CMSG_FIRSTHDR(mh); cm != NULL; cm = CMSG_NXTHDR(mh, cm)) {
		size_t bytes;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		bytes = cm->cmsg_len - CMSG_LEN(0);
		memcpy(fds + n, CMSG_DATA(cm), bytes);
		n += bytes / sizeof(int);
	}
	return n;
}

/* Receives one message. Returns its length, or TX_EAGAIN, or another code with *why. fds are the
 * caller's in any case; *starved: there was no room for all of them. */
static int receive(
    struct km_chan *c, union km_any *msg, int *fds, size_t *n_fds, bool *starved, struct err *why)
{
	union control control;
	struct iovec iov = {.iov_base = msg, .iov_len = sizeof(*msg)};
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	ssize_t n;

	*n_fds = 0;
	*starved = false;
	/* ECONNRESET comes once, and may come before what the peer sent last. */
	do
		n = recvmsg(c->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return errno == EAGAIN ? TX_EAGAIN : err_sys(why, errno, "cannot receive");
	*n_fds = take_fds(&mh, fds);
	if (n == 0)
		return err_set(why, TX_ECLOSED, "the other end is gone");
	*starved = (mh.msg_flags & MSG_CTRUNC) != 0 && *n_fds < FDS_SENT_MAX;
	if ((mh.msg_flags & MSG_CTRUNC) != 0 && (!*starved || c->ops->on_starved == NULL))
		return err_set(why, TX_EPROTO, "descriptors of a message were lost");
	if ((mh.msg_flags & MSG_TRUNC) != 0)
		return err_set(why, TX_EPROTO, "a message of more than %zu bytes", sizeof(*msg));
	return (int)n;
}

/* As many as it was sent with, if it is a message at all. */
static size_t fds_of(const union km_any *msg, int len)
{
	const struct km_row *row = len >= (int)sizeof(msg->hdr) ? km_row(msg->hdr.type) : NULL;

	return row != NULL && row->n_fds > 0 ? row->n_fds : FDS_ROOM;
}

/* One message. 0; 1: there is none; negative: the link is to be ended for *why. */
static int receive_one(struct km_chan *c, struct err *why)
{
	const enum km_side from = c->side == KM_KEEPER ? KM_WORKER : KM_KEEPER;
	union km_any msg;
	int fds[FDS_ROOM];
	size_t n_fds;
	bool starved;
	int r = receive(c, &msg, fds, &n_fds, &starved, why);

	if (r >= 0)
		r = km_check(
		    &msg, (size_t)r, starved ? fds_of(&msg, r) : n_fds, from, c->state, why);
	if (r < 0 || starved)
		close_fds(fds, n_fds);
	if (r < 0)
		return r == TX_EAGAIN ? 1 : r;
	r = starved ? c->ops->on_starved(c, &msg, c->arg)
	            : c->ops->on_message(c, &msg, fds, n_fds, c->arg);
	if (r < 0)
		err_set(
		    why, r, "message %s was refused: %s", km_row(msg.hdr.type)->name, err_name(r));
	return r < 0 ? r : 0;
}

static bool is_full(const struct km_chan *c)
{
	return c->side == KM_KEEPER && c->n_queued >= QUEUE_HIGH;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct km_chan *c = arg;
	struct err why;
	int r = 0;

	(void)fd;
	(void)what;
	for (int i = 0; i < MESSAGES_A_TURN && r == 0 && !is_full(c); i++)
		r = receive_one(c, &why);
	if (r < 0) {
		chan_close(c, &why);
	} else if (is_full(c)) {
		c->paused = true;
		event_del(c->readable);
	}
}

/* ---- life ---- */

int km_chan_new(struct km_chan **out, struct event_base *base, int fd, enum km_side side,
    const struct km_chan_ops *ops, void *arg, struct err *e)
{
	struct km_chan *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	c->fd = -1; /* the caller's until all is well */
	c->side = side;
	c->state = KM_LINK_NEW;
	c->ops = ops;
	c->arg = arg;
	c->last = &c->first;
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	if (c->readable == NULL || c->writable == NULL || evutil_make_socket_nonblocking(fd) != 0 ||
	    event_add(c->readable, NULL) != 0) {
		km_chan_free(c);
		return err_set(e, TX_ESYS, "cannot watch the link between keeper and worker");
	}
	c->fd = fd;
	*out = c;
	return 0;
}

void km_chan_free(struct km_chan *c)
{
	if (c == NULL)
		return;
	queue_clear(c);
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->writable != NULL)
		event_free(c->writable);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

void km_chan_set_state(struct km_chan *c, enum km_link_state state)
{
	c->state = state;
}

enum km_link_state km_chan_state(const struct km_chan *c)
{
	return c->state;
}
