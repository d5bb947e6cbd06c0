/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From nghttp2 to the bufferevent. A TLS bufferevent makes at least one record of every chain of
 * its output, so what is small (control frames, frame headers, short bodies) is gathered in `stage`
 * and written as one chain; what is large goes by reference, its chain moved or, where a frame ends
 * inside it, shared by a counted holder.
 *
 * Frames enter the output whole and in order. The pump stops at H2_SEND_HIGH bytes of output and
 * goes on when the bufferevent has written it down to H2_SEND_LOW.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>

#include "common/h2_internal.h"

static struct evbuffer *output(struct h2_conn *c)
{
	return bufferevent_get_output(c->bev);
}

static bool output_full(struct h2_conn *c)
{
	return evbuffer_get_length(output(c)) + c->stage_len >= H2_SEND_HIGH;
}

/* ---- the stage ---- */

/* Not evbuffer_add: after a large reference that allocates as much again. */
static int append_copy(struct evbuffer *out, const uint8_t *data, size_t len)
{
	struct evbuffer_iovec v;

	if (len == 0)
		return 0;
	if (evbuffer_reserve_space(out, (ev_ssize_t)len, &v, 1) != 1)
		return TX_ENOMEM;
	memcpy(v.iov_base, data, len);
	v.iov_len = len;
	return evbuffer_commit_space(out, &v, 1) == 0 ? 0 : TX_ENOMEM;
}

static int stage_flush(struct h2_conn *c)
{
	size_t len = c->stage_len;

	c->stage_len = 0;
	return append_copy(output(c), c->stage, len);
}

static int stage_add(struct h2_conn *c, const uint8_t *data, size_t len)
{
	if (len > H2_STAGE_SIZE - c->stage_len && stage_flush(c) < 0)
		return TX_ENOMEM;
	if (len > H2_STAGE_SIZE)
		return append_copy(output(c), data, len);
	memcpy(c->stage + c->stage_len, data, len);
	c->stage_len += len;
	return 0;
}

/* ---- pieces: a chain that goes out in several frames ---- */

static void piece_unref(struct h2_piece *p)
{
	if (p == NULL || --p->refs > 0)
		return;
	if (p->holder != NULL)
		evbuffer_free(p->holder);
	free(p);
}

static void piece_sent(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	piece_unref(arg);
}

/* Makes the first chain of the queue, `len` long, the stream's piece. */
static int piece_take(struct h2_stream *s, const uint8_t *data, size_t len)
{
	struct h2_piece *p = malloc(sizeof(*p));

	if (p == NULL)
		return TX_ENOMEM;
	p->refs = 1;
	p->holder = evbuffer_new();
	if (p->holder == NULL || evbuffer_remove_buffer(s->queue, p->holder, len) != (int)len) {
		piece_unref(p);
		return TX_ENOMEM;
	}
	s->piece = p;
	s->piece_data = data;
	s->piece_len = len;
	return 0;
}

static void piece_advance(struct h2_stream *s, size_t len)
{
	s->piece_data += len;
	s->piece_len -= len;
	if (s->piece_len == 0) {
		piece_unref(s->piece);
		s->piece = NULL;
	}
}

void h2_output_drop(struct h2_stream *s)
{
	if (s->queue != NULL)
		evbuffer_free(s->queue);
	s->queue = NULL;
	piece_unref(s->piece);
	s->piece = NULL;
	s->piece_len = 0;
}

/* Sends up to `len` bytes of the piece; tells how many, or TX_ENOMEM. */
static ssize_t send_piece(struct h2_conn *c, struct h2_stream *s, size_t len)
{
	size_t n = s->piece_len < len ? s->piece_len : len;

	if (n < H2_COPY_BELOW) {
		if (stage_add(c, s->piece_data, n) < 0)
			return TX_ENOMEM;
	} else {
		if (stage_flush(c) < 0)
			return TX_ENOMEM;
		s->piece->refs++;
		if (evbuffer_add_reference(output(c), s->piece_data, n, piece_sent, s->piece) !=
		    0) {
			s->piece->refs--;
			return TX_ENOMEM;
		}
	}
	piece_advance(s, n);
	return (ssize_t)n;
}

static ssize_t send_chain(struct h2_conn *c, struct h2_stream *s, size_t len)
{
	struct evbuffer_iovec v;

	if (evbuffer_peek(s->queue, 1, NULL, &v, 1) < 1)
		return TX_ENOMEM;
	if (v.iov_len < H2_COPY_BELOW || len < H2_COPY_BELOW) {
		size_t n = v.iov_len < len ? v.iov_len : len;

		if (stage_add(c, v.iov_base, n) < 0 || evbuffer_drain(s->queue, n) != 0)
			return TX_ENOMEM;
		return (ssize_t)n;
	}
	if (v.iov_len > len)
		return piece_take(s, v.iov_base, v.iov_len) < 0 ? TX_ENOMEM : send_piece(c, s, len);
	if (stage_flush(c) < 0 ||
	    evbuffer_remove_buffer(s->queue, output(c), v.iov_len) != (int)v.iov_len)
		return TX_ENOMEM;
	return (ssize_t)v.iov_len;
}

/* ---- what nghttp2 asks of us ---- */

int h2_output_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *framehd,
    size_t length, nghttp2_data_source *source, void *user_data)
{
	struct h2_conn *c = user_data;
	struct h2_stream *s = h2_stream_find(c, frame->hd.stream_id);
	int r;

	(void)session;
	(void)source;
	if (s == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	r = stage_add(c, framehd, H2_FRAME_HEADER);
	while (r >= 0 && length > 0) {
		ssize_t n = s->piece != NULL ? send_piece(c, s, length) : send_chain(c, s, length);

		if (n < 0)
			r = TX_ENOMEM;
		else
			length -= (size_t)n;
	}
	if (r < 0) {
		c->mute = true; /* half a frame may be out */
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (s->held && !s->due && h2_pending(s) < H2_SEND_LOW) {
		s->due = true;
		TAILQ_INSERT_TAIL(&c->writable, s, due_link);
	}
	return 0;
}

ssize_t h2_output_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
    uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
	struct h2_conn *c = user_data;
	struct h2_stream *s = h2_stream_find(c, id);
	size_t pending;

	(void)buf;
	(void)source;
	if (s == NULL)
		return NGHTTP2_ERR_DEFERRED; /* its RST_STREAM is on the way */
	pending = h2_pending(s);
	if (pending == 0 && !s->ended)
		return NGHTTP2_ERR_DEFERRED;
	if (output_full(c))
		return NGHTTP2_ERR_PAUSE;
	*flags = NGHTTP2_DATA_FLAG_NO_COPY;
	if (pending > length)
		return (ssize_t)length;
	if (!s->ended)
		return (ssize_t)pending;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (s->trailers != NULL) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (h2_stream_submit_trailers(s) < 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	(void)session;
	return (ssize_t)pending;
}

static uint32_t at_most(uint32_t limit, int32_t window)
{
	return window > 0 && (uint32_t)window < limit ? (uint32_t)window : limit;
}

/* As much as is there, so that nghttp2 sizes its buffer for no more than that. */
ssize_t h2_output_read_length(nghttp2_session *session, uint8_t type, int32_t id,
    int32_t session_window, int32_t stream_window, uint32_t max_frame, void *user_data)
{
	struct h2_stream *s = h2_stream_find(user_data, id);
	size_t pending = s != NULL ? h2_pending(s) : 0;
	uint32_t n = max_frame < H2_MAX_FRAME_OUT ? max_frame : H2_MAX_FRAME_OUT;

	(void)session;
	(void)type;
	n = at_most(at_most(n, session_window), stream_window);
	if (pending < n)
		return pending > 0 ? (ssize_t)pending : 1;
	return (ssize_t)n;
}

void h2_pump(struct h2_conn *c)
{
	uint8_t stage[H2_STAGE_SIZE];
	const uint8_t *data;
	ssize_t n = 0;

	c->stage = stage;
	c->stage_len = 0;
	while (!c->closing && !output_full(c)) {
		n = nghttp2_session_mem_send(c->session, &data);
		if (n <= 0)
			break;
		if (stage_add(c, data, (size_t)n) < 0) {
			c->mute = true;
			n = NGHTTP2_ERR_NOMEM;
			break;
		}
	}
	if (!c->mute && stage_flush(c) < 0) {
		c->mute = true;
		n = NGHTTP2_ERR_NOMEM;
	}
	c->stage = NULL;
	if (n < 0)
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
}
