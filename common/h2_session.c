/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nghttp2 session of a connection: its options and SETTINGS, what it tells of what was sent and
 * closed. nghttp2 holds the protocol's state and makes the checks of RFC 9113.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/h2_internal.h"
#include "config.h"

struct h2_stream *h2_stream_find(struct h2_conn *c, int32_t id)
{
	void *data = nghttp2_session_get_stream_user_data(c->session, id);

	return data == h2_stream_gone(c) ? NULL : data;
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

	if (!c->server || s == NULL || s->remote_ended)
		return 0;
	return h2_linger_add(s) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
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
		return nghttp2_submit_rst_stream(
		    session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
	if (s != NULL)
		h2_stream_doom(s, H2_REFUSED_STREAM);
	return 0;
}

/* ---- the session ---- */

static nghttp2_session_callbacks *callbacks_new(void)
{
	nghttp2_session_callbacks *cb;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return NULL;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_receive_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback2(cb, h2_receive_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_receive_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_receive_data);
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

/*
 * So that our allocations and nghttp2's are made in one place, where tests let them fail.
 *
 * nghttp2's first large block is the buffer for what it sends, a whole frame; an idle connection
 * has used little of it. It comes from the system itself, which has it take no memory where it was
 * never written.
 */
static void *session_malloc(size_t size, void *arg)
{
	struct h2_conn *c = arg;
	void *p;

	if (size < H2_LAZY_MIN || c->lazy != NULL)
		return malloc(size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return malloc(size);
	c->lazy = p;
	c->lazy_size = size;
	return p;
}

static void session_free(void *p, void *arg)
{
	struct h2_conn *c = arg;

	if (p == NULL || p != c->lazy) {
		free(p);
		return;
	}
	munmap(c->lazy, c->lazy_size);
	c->lazy = NULL;
}

static void *session_calloc(size_t n, size_t size, void *arg)
{
	(void)arg;
	return calloc(n, size);
}

static void *session_realloc(void *p, size_t size, void *arg)
{
	struct h2_conn *c = arg;
	void *other;

	if (p == NULL)
		return session_malloc(size, arg);
	if (p != c->lazy)
		return realloc(p, size);
	other = malloc(size);
	if (other == NULL)
		return NULL;
	memcpy(other, p, size < c->lazy_size ? size : c->lazy_size);
	session_free(p, arg);
	return other;
}

int h2_session_new(struct h2_conn *c, struct err *e)
{
	nghttp2_session_callbacks *cb = callbacks_new();
	nghttp2_option *o = options_new();
	nghttp2_mem mem = {c, session_malloc, session_free, session_calloc, session_realloc};
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

size_t h2_session_feed(struct h2_conn *c, const uint8_t *data, size_t len)
{
	size_t taken = 0;
	ssize_t n;

	if (h2_limits_scan(c, data, len, &taken) < 0)
		return len;
	n = nghttp2_session_mem_recv(c->session, data, taken);
	if (n < 0)
		receive_failed(c, (int)n);
	return taken;
}
