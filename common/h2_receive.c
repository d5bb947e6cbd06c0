/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in. A field section is collected (nghttp2's own buffers, by reference) and given to
 * its stream when it is whole, within limits; data goes to its stream as it comes, its credit with
 * the connection returned at once, that with the stream by its user alone.
 *
 * A field section over the limits is decoded to its end all the same, since the decoder's state is
 * the connection's; the stream is then reset, and four times the limits end the connection.
 */
#include <stdlib.h>
#include <string.h>

#include "common/h2_internal.h"

#define HARD_FACTOR 4 /* of the header limits: this much ends the connection */

/* ---- field sections ---- */

void h2_receive_clear(struct h2_conn *c)
{
	for (size_t i = 0; i < c->fields_n * 2; i++)
		nghttp2_rcbuf_decref(c->field_bufs[i]);
	c->fields_n = 0;
	c->section_fields = 0;
	c->section_bytes = 0;
}

static int fields_grow(struct h2_conn *c)
{
	size_t size = c->fields_size > 0 ? c->fields_size * 2 : 16;
	struct h2_field *fields = realloc(c->fields, size * sizeof(*fields));
	nghttp2_rcbuf **bufs;

	if (fields == NULL)
		return TX_ENOMEM;
	c->fields = fields;
	bufs = realloc(c->field_bufs, size * 2 * sizeof(nghttp2_rcbuf *));
	if (bufs == NULL)
		return TX_ENOMEM;
	c->field_bufs = bufs;
	c->fields_size = size;
	return 0;
}

static bool section_over(const struct h2_conn *c, uint64_t factor)
{
	return c->section_bytes > factor * c->limits.header_bytes ||
	       c->section_fields > factor * c->limits.header_fields;
}

int h2_receive_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	(void)session;
	(void)frame;
	h2_receive_clear(arg);
	return 0;
}

int h2_receive_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
    nghttp2_rcbuf *value, uint8_t flags, void *arg)
{
	struct h2_conn *c = arg;
	nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);

	(void)session;
	(void)frame;
	(void)flags;
	if (c->closing)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	c->section_fields++;
	c->section_bytes += n.len + v.len + 32;
	if (section_over(c, HARD_FACTOR)) {
		h2_fail(c, H2_ENHANCE_YOUR_CALM, TX_ELIMIT, "the peer sent far too large a header");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (section_over(c, 1))
		return 0;
	if (c->fields_n == c->fields_size && fields_grow(c) < 0) {
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	nghttp2_rcbuf_incref(name);
	nghttp2_rcbuf_incref(value);
	c->field_bufs[c->fields_n * 2] = name;
	c->field_bufs[c->fields_n * 2 + 1] = value;
	c->fields[c->fields_n++] =
	    (struct h2_field){(const char *)n.base, (const char *)v.base, n.len, v.len};
	return 0;
}

/* ---- frames ---- */

static int reset_by_limit(struct h2_conn *c, int32_t id)
{
	if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, H2_ENHANCE_YOUR_CALM) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

/* A request. On refusal the stream is nobody's. */
static int open_request(struct h2_conn *c, int32_t id, struct h2_stream **out)
{
	struct h2_stream *s = h2_stream_new(c);

	if (s == NULL || nghttp2_session_set_stream_user_data(c->session, id, s) != 0) {
		if (s != NULL)
			h2_stream_free(s);
		return nghttp2_submit_rst_stream(
		    c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
	}
	s->id = id;
	TAILQ_INSERT_TAIL(&c->streams, s, link);
	c->stream_count++;
	*out = s;
	if (c->ops->on_stream == NULL || c->ops->on_stream(c, s, c->arg) < 0) {
		s->ops = NULL;
		h2_reset(s, H2_REFUSED_STREAM);
	}
	return 0;
}

static void ended(struct h2_stream *s)
{
	if (s->state != H2_LIVE || s->remote_ended)
		return;
	s->remote_ended = true;
	if (s->ops != NULL)
		s->ops->on_end(s, s->arg);
}

static int on_headers_frame(struct h2_conn *c, const nghttp2_frame *frame)
{
	bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
	struct h2_stream *s = h2_stream_find(c, frame->hd.stream_id);

	if (section_over(c, 1))
		return reset_by_limit(c, frame->hd.stream_id);
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST &&
	    open_request(c, frame->hd.stream_id, &s) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (s == NULL || s->state != H2_LIVE || c->closing)
		return 0;
	if (s->ops != NULL)
		s->ops->on_headers(s, c->fields, c->fields_n, end, s->arg);
	if (end)
		ended(s);
	return 0;
}

static void on_goaway_frame(struct h2_conn *c, const nghttp2_goaway *g)
{
	size_t n = g->opaque_data_len;

	if (n > sizeof(c->goaway.debug) - 1)
		n = sizeof(c->goaway.debug) - 1;
	for (size_t i = 0; i < n; i++) {
		uint8_t ch = g->opaque_data[i];

		c->goaway.debug[i] = ch >= ' ' && ch <= '~' ? (char)ch : '?';
	}
	c->goaway.debug[n] = '\0';
	c->goaway.received = true;
	c->goaway.code = g->error_code;
	if (c->ops->on_goaway != NULL)
		c->ops->on_goaway(c, g->last_stream_id, g->error_code, c->arg);
}

static void on_pong_frame(struct h2_conn *c, const uint8_t *opaque)
{
	void (*on_pong)(struct h2_conn *, void *) = c->on_pong;
	uint64_t serial;

	memcpy(&serial, opaque, sizeof(serial));
	if (serial == 0 && c->drain_notice) {
		h2_drain_final(c);
	} else if (serial == c->ping_serial && on_pong != NULL) {
		c->on_pong = NULL;
		on_pong(c, c->arg);
	}
}

/* A client's own streams bound what a server can reset; what crosses a reset of ours is nobody's
 * fault. */
static int on_reset_frame(struct h2_conn *c, int32_t id)
{
	struct h2_stream *s = h2_stream_find(c, id);

	if (s != NULL && !c->server)
		return 0;
	if (s == NULL && c->resets_free > 0) {
		c->resets_free--;
		return 0;
	}
	return h2_limits_reset(c, "RST_STREAM received");
}

int h2_receive_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *c = arg;
	struct h2_stream *s;
	int r = 0;

	(void)session;
	if (c->closing)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		r = on_headers_frame(c, frame);
		h2_receive_clear(c);
		break;
	case NGHTTP2_DATA:
		s = h2_stream_find(c, frame->hd.stream_id);
		if (s != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
			ended(s);
		break;
	case NGHTTP2_RST_STREAM:
		r = on_reset_frame(c, frame->hd.stream_id);
		break;
	case NGHTTP2_GOAWAY:
		on_goaway_frame(c, &frame->goaway);
		break;
	case NGHTTP2_PING:
		if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
			on_pong_frame(c, frame->ping.opaque_data);
		break;
	default:
		break;
	}
	return r < 0 || c->closing ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

int h2_receive_data(
    nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg)
{
	struct h2_conn *c = arg;
	struct h2_stream *s = h2_stream_find(c, id);

	(void)flags;
	if (c->closing || nghttp2_session_consume_connection(session, len) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (s == NULL || s->state != H2_LIVE)
		return 0;
	s->uncredited += len;
	if (s->ops != NULL)
		s->ops->on_data(s, data, len, s->arg);
	else
		h2_credit(s, len);
	return c->closing ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}
