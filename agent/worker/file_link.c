/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A body is read straight into the buffer that it is sent on from, together with the head of the
 * frame after it: one system call a frame, and no copy of it.
 */
#include "agent/worker/file_link.h"

#include <assert.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/err.h"
#include "common/files_frame.h"
#include "common/log.h"
#include "common/mem.h"

#define HEAD       sizeof(struct files_frame)
#define TURN_BYTES ((size_t)1 << 20) /* then others have their turn */
#define BUFFER     (1 << 20)         /* of the socket; the system gives what it allows */

struct file_link {
	int fd;
	const struct file_link_ops *ops;
	void *arg;
	struct event *readable, *writable;
	bool paused, lost, in_callback, freed;
	bool deaf; /* it takes no more; what it said before is still to be read */
	/* Reading: the head of the frame that is on its way, and its body. */
	union {
		struct files_frame frame;
		uint8_t bytes[sizeof(struct files_frame)];
	} head;
	size_t have; /* of head and body */
	struct evbuffer *body;
	struct evbuffer_iovec room; /* the body's, reserved and not committed */
	/* Writing. */
	struct evbuffer *out;
	size_t messages; /* bytes of messages in it */
};

/* ---- the end ---- */

static void destroy(struct file_link *l)
{
	event_free(l->readable);
	event_free(l->writable);
	evbuffer_free(l->body);
	evbuffer_free(l->out);
	close(l->fd);
	free(l);
}

void file_link_free(struct file_link *l)
{
	if (l == NULL)
		return;
	l->freed = true;
	if (!l->in_callback)
		destroy(l);
}

static void be_deaf(struct file_link *l)
{
	l->deaf = true;
	evbuffer_drain(l->out, evbuffer_get_length(l->out));
	l->messages = 0;
	event_del(l->writable);
}

/* From reading alone, whose end tells it. */
static void lose(struct file_link *l)
{
	be_deaf(l);
	l->lost = true;
}

/* ---- writing ---- */

static size_t write_parts(struct file_link *l, struct iovec *v, int n)
{
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n};
	ssize_t done;

	do
		done = sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (done < 0 && errno == EINTR);
	if (done >= 0)
		return (size_t)done;
	if (errno != EAGAIN)
		be_deaf(l);
	return 0;
}

static void append(struct evbuffer *out, const void *data, size_t len)
{
	if (evbuffer_add(out, data, len) != 0)
		abort();
}

void file_link_frame(struct evbuffer *out, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};

	append(out, &head, HEAD);
	append(out, body, len);
}

static void want_writable(struct file_link *l)
{
	if (event_add(l->writable, NULL) != 0)
		abort();
}

size_t file_link_send(struct file_link *l, uint32_t type, const void *body, size_t len)
{
	struct files_frame head = {(uint32_t)len, type};
	struct iovec v[2] = {{&head, HEAD}, {(void *)(uintptr_t)body, len}};
	size_t done = 0, gone;

	assert(len <= FILES_FRAME_MAX);
	if (!l->deaf && evbuffer_get_length(l->out) == 0)
		done = write_parts(l, v, len > 0 ? 2 : 1);
	if (l->deaf)
		return len;
	if (done < HEAD)
		append(l->out, (uint8_t *)&head + done, HEAD - done);
	gone = done > HEAD ? done - HEAD : 0;
	if (gone < len)
		append(l->out, (const uint8_t *)body + gone, len - gone);
	if (type == FILES_MESSAGE)
		l->messages += len - gone;
	if (done < HEAD + len)
		want_writable(l);
	return gone;
}

void file_link_send_buffer(struct file_link *l, struct evbuffer *frames)
{
	if (l->deaf || evbuffer_get_length(frames) == 0)
		return;
	if (evbuffer_add_buffer(l->out, frames) != 0)
		abort();
	want_writable(l);
}

bool file_link_is_drained(const struct file_link *l)
{
	return evbuffer_get_length(l->out) == 0;
}

/* ---- callbacks ---- */

static void end_callback(struct file_link *l)
{
	l->in_callback = false;
	if (l->freed)
		destroy(l);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct file_link *l = arg;
	struct iovec v[16];
	int n = evbuffer_peek(l->out, -1, NULL, v, 16);
	size_t done = write_parts(l, v, n < 16 ? n : 16);
	size_t told;

	(void)fd;
	(void)what;
	if (l->deaf)
		return;
	evbuffer_drain(l->out, done);
	/* Heads count as if they were messages, at the most for what messages there are. */
	told = done < l->messages ? done : l->messages;
	if (evbuffer_get_length(l->out) == 0)
		told = l->messages;
	l->messages -= told;
	if (evbuffer_get_length(l->out) == 0)
		event_del(l->writable);
	l->in_callback = true;
	if (told > 0)
		l->ops->sent(told, l->arg);
	if (!l->freed && evbuffer_get_length(l->out) == 0)
		l->ops->drained(l->arg);
	end_callback(l);
}

static void give_ready(struct file_link *l, const uint8_t *body, size_t len)
{
	Telex__Internal__V1__FilesReady *m =
	    telex__internal__v1__files_ready__unpack(NULL, len, body);

	if (m == NULL) {
		lose(l);
		return;
	}
	l->ops->ready(m, l->arg);
	telex__internal__v1__files_ready__free_unpacked(m, NULL);
}

static void give_status(struct file_link *l, const uint8_t *body, size_t len)
{
	Telex__Internal__V1__FilesStatus *m =
	    telex__internal__v1__files_status__unpack(NULL, len, body);

	if (m == NULL) {
		lose(l);
		return;
	}
	l->ops->status(m, l->arg);
	telex__internal__v1__files_status__free_unpacked(m, NULL);
}

static void give(struct file_link *l)
{
	size_t len = evbuffer_get_length(l->body);
	const uint8_t *body;

	if (l->head.frame.type == FILES_MESSAGE) {
		l->ops->message(l->body, l->arg);
	} else {
		body = evbuffer_pullup(l->body, -1);
		if (l->head.frame.type == FILES_READY)
			give_ready(l, body, len);
		else if (l->head.frame.type == FILES_STATUS)
			give_status(l, body, len);
		else
			lose(l);
	}
	evbuffer_drain(l->body, evbuffer_get_length(l->body));
}

/* ---- reading ---- */

/* A part of the body is there, or all of it. */
static void commit(struct file_link *l, size_t n)
{
	l->room.iov_len = n;
	if (n > 0 && evbuffer_commit_space(l->body, &l->room, 1) != 0)
		abort();
}

/* Room for a head; or for what is missing of a body, and the head after it. */
static int make_room(struct file_link *l, struct iovec v[2])
{
	size_t missing;

	if (l->have < HEAD) {
		v[0] = (struct iovec){l->head.bytes + l->have, HEAD - l->have};
		return 1;
	}
	missing = HEAD + l->head.frame.length - l->have;
	if (evbuffer_reserve_space(l->body, (ev_ssize_t)missing, &l->room, 1) != 1)
		abort();
	v[0] = (struct iovec){l->room.iov_base, missing};
	return 1;
}

static ssize_t read_parts(struct file_link *l, struct iovec *v, int n)
{
	struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)n};
	ssize_t got;

	do
		got = recvmsg(l->fd, &m, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	return got;
}

/* What was read of a body with the head behind it. */
static void take(struct file_link *l, struct files_frame next, size_t got)
{
	size_t body = HEAD + l->head.frame.length - l->have;
	size_t n = got < body ? got : body;

	commit(l, n);
	l->have += n;
	if (got < body)
		return;
	give(l);
	l->have = got - body;
	l->head.frame = next;
}

/* One read. False: there is no more for now. */
static bool step(struct file_link *l, size_t *total)
{
	struct files_frame next = {0, 0};
	struct iovec v[2];
	bool in_body = l->have >= HEAD;
	int n = make_room(l, v);
	ssize_t got;

	if (in_body) {
		v[1] = (struct iovec){&next, HEAD};
		n = 2;
	}
	got = read_parts(l, v, n);
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got <= 0) {
		lose(l);
		return false;
	}
	*total += (size_t)got;
	if (in_body)
		take(l, next, (size_t)got);
	else
		l->have += (size_t)got;
	if (l->have >= HEAD && l->head.frame.length > FILES_FRAME_MAX) {
		log_warn(
		    "telex-files sends a frame of %u bytes: it is let go", l->head.frame.length);
		lose(l);
	}
	/* One without a body. */
	if (!l->lost && !l->freed && l->have == HEAD && l->head.frame.length == 0) {
		give(l);
		l->have = 0;
	}
	return !l->lost && !l->freed && !l->paused && *total < TURN_BYTES;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct file_link *l = arg;
	size_t total = 0;

	(void)fd;
	(void)what;
	l->in_callback = true;
	while (!l->lost && !l->paused && step(l, &total))
		;
	if (l->lost && !l->freed) {
		event_del(l->readable);
		l->ops->lost(l->arg);
	}
	end_callback(l);
}

void file_link_pause(struct file_link *l, bool pause)
{
	if (l->paused == pause)
		return;
	l->paused = pause;
	if (pause && !l->lost)
		event_del(l->readable);
	else if (!l->lost && event_add(l->readable, NULL) != 0)
		abort();
}

struct file_link *file_link_new(
    struct event_base *base, int fd, const struct file_link_ops *ops, void *arg)
{
	const int buffer = BUFFER;
	struct file_link *l = xcalloc(1, sizeof(*l));

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	l->fd = fd;
	l->ops = ops;
	l->arg = arg;
	l->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, l);
	l->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, l);
	l->body = evbuffer_new();
	l->out = evbuffer_new();
	if (l->readable == NULL || l->writable == NULL || l->body == NULL || l->out == NULL ||
	    event_add(l->readable, NULL) != 0)
		abort();
	return l;
}

void file_link_status(struct rpc_status *out, const Telex__Internal__V1__FilesStatus *m)
{
	int code = m->code <= RPC_UNAUTHENTICATED ? (int)m->code : RPC_UNKNOWN;

	rpc_status_set(out, code, m->reason, "%s", m->message);
	for (size_t i = 0; i < m->n_metadata; i++)
		rpc_status_meta(out, m->metadata[i]->key, "%s", m->metadata[i]->value);
}
