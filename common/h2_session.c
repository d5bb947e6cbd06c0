/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nghttp2 session of a connection, and what it receives. nghttp2 holds the protocol's state and
 * makes the checks of RFC 9113; here a field section is collected (nghttp2's own buffers, by
 * reference) and given to its stream when it is whole, within limits.
 *
 * A field section over the limits is decoded to its end all the same, since the decoder's state is
 * the connection's; the stream is then reset, and four times the limits end the connection.
 */
#include <stdlib.h>
#include <string.h>

#include "common/h2_internal.h"
#include "config.h"

#define HARD_FACTOR 4 /* of the header limits: this much ends the connection */

struct h2_stream *h2_stream_find(struct h2_conn *c, int32_t id)
{
	void *data = nghttp2_session_get_stream_user_data(c->session, id);

	return data == h2_stream_gone(c) ? NULL : data;
}

/* ---- field sections ---- */

void h2_fields_clear(struct h2_conn *c)
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

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	(void)session;
	(void)frame;
	h2_fields_clear(arg);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
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

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
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
		h2_fields_clear(c);
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

static int on_data_chunk(
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

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
	struct h2_conn *c = arg;
	struct h2_stream *s = h2_stream_find(c, id);

	(void)session;
	if (!c->server)
		c->opened--;
	if (s != NULL)
		h2_stream_doom(s, code);
	return 0;
}

/* ---- what we sent ---- */

static int sent_end(struct h2_conn *c, int32_t id)
{
	struct h2_stream *s = h2_stream_find(c, id);

	/* RFC 9113, 8.1: the response is whole, the rest of the request is not wanted. */
	if (!c->server || s == NULL || s->remote_ended)
		return 0;
	return nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR) == 0
	           ? 0
	           : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct h2_conn *c = arg;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		c->ping_free = true;
		if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
			return sent_end(c, frame->hd.stream_id);
		return 0;
	case NGHTTP2_RST_STREAM:
		c->resets_free += c->resets_free < UINT32_MAX;
		/* Not those that its user asked for, nor sent_end's. */
		if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
		    nghttp2_session_get_stream_user_data(session, frame->hd.stream_id) !=
		        h2_stream_gone(c) &&
		    h2_limits_reset(c, "bad frames") < 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		return 0;
	case NGHTTP2_GOAWAY:
		c->goaway_sent = frame->goaway.error_code;
		if (frame->goaway.error_code != NGHTTP2_NO_ERROR)
			h2_fail(c, frame->goaway.error_code, TX_EPROTO,
			    "the peer broke HTTP/2: %.*s", (int)frame->goaway.opaque_data_len,
			    (const char *)frame->goaway.opaque_data);
		return 0;
	default:
		return 0;
	}
}

/*
 * A request that the peer's GOAWAY came before was not seen by it. Other headers of ours that
 * nghttp2 will not send leave a stream that could never end.
 */
static int on_frame_not_send(
    nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
	struct h2_stream *s = h2_stream_find(arg, frame->hd.stream_id);

	(void)error;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		nghttp2_submit_rst_stream(
		    session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
	else if (s != NULL)
		h2_stream_doom(s, H2_REFUSED_STREAM);
	return 0;
}

/* ---- the session ---- */

static nghttp2_session_callbacks *callbacks_new(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_output_send_data);
	nghttp2_session_callbacks_set_data_source_read_length_callback(cb, h2_output_read_length);
	return cb;
}

static nghttp2_option *options_new(void)
{
	nghttp2_option *o;

	if (nghttp2_option_new(&o) != 0)
		return NULL;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_max_reserved_remote_streams(o, 0);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_settings(o, 32);
#ifdef HAVE_NGHTTP2_OPTION_SET_STREAM_RESET_RATE_LIMIT
	/* Ours knows which resets are honest (h2_limits.c). */
	nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);
#endif
	return o;
}

static int submit_settings(struct h2_conn *c)
{
	const struct h2_limits *l = &c->limits;
	nghttp2_settings_entry entries[] = {
	    {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->stream_window},
	    {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, l->max_frame},
	    {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->header_bytes},
	    {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->max_streams},
	};

	if (!c->server)
		entries[3] = (nghttp2_settings_entry){NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, entries, 4) != 0)
		return TX_ENOMEM;
	if (nghttp2_session_set_local_window_size(
	        c->session, NGHTTP2_FLAG_NONE, 0, (int32_t)l->connection_window) != 0)
		return TX_ENOMEM;
	return 0;
}

/* So that our allocations and nghttp2's are made in one place, where tests let them fail. */
static void *session_malloc(size_t size, void *arg)
{
	(void)arg;
	return malloc(size);
}

static void session_free(void *p, void *arg)
{
	(void)arg;
	free(p);
}

static void *session_calloc(size_t n, size_t size, void *arg)
{
	(void)arg;
	return calloc(n, size);
}

static void *session_realloc(void *p, size_t size, void *arg)
{
	(void)arg;
	return realloc(p, size);
}

int h2_session_new(struct h2_conn *c, struct err *e)
{
	nghttp2_session_callbacks *cb = callbacks_new();
	nghttp2_option *o = options_new();
	nghttp2_mem mem = {NULL, session_malloc, session_free, session_calloc, session_realloc};
	int r = -1;

	if (cb != NULL && o != NULL && c->server)
		r = nghttp2_session_server_new3(&c->session, cb, c, o, &mem);
	else if (cb != NULL && o != NULL)
		r = nghttp2_session_client_new3(&c->session, cb, c, o, &mem);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(o);
	if (r != 0 || submit_settings(c) < 0)
		return err_set(e, TX_ENOMEM, "out of memory");
	return 0;
}

static void receive_failed(struct h2_conn *c, int error)
{
	switch (error) {
	case NGHTTP2_ERR_CALLBACK_FAILURE: /* a reason that is there stays */
	case NGHTTP2_ERR_NOMEM:
		h2_fail(c, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
		break;
	case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
		h2_fail(c, H2_PROTOCOL_ERROR, TX_EPROTO, "the peer does not speak HTTP/2");
		break;
	case NGHTTP2_ERR_FLOODED:
		h2_fail(c, H2_ENHANCE_YOUR_CALM, TX_ELIMIT,
		    "the peer does not read the answers to its PING and SETTINGS frames");
		break;
	default:
		h2_fail(c, H2_PROTOCOL_ERROR, TX_EPROTO, "the peer broke HTTP/2: %s",
		    nghttp2_strerror(error));
	}
}

void h2_session_feed(struct h2_conn *c, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (h2_limits_scan(c, data, len) < 0)
		return;
	n = nghttp2_session_mem_recv(c->session, data, len);
	if (n < 0)
		receive_failed(c, (int)n);
}
