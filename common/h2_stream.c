/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: opening, answering, sending, ending, credit. A stream is live while nghttp2 has it and
 * is doomed, on the list `dead`, from the moment that either side ends it until on_close was made;
 * nghttp2 does not know a doomed one.
 */
#include <assert.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "common/h2_internal.h"

struct h2_stream *h2_stream_new(struct h2_conn *c)
{
	struct h2_stream *s = calloc(1, sizeof(*s));

	if (s != NULL)
		s->conn = c;
	return s;
}

void h2_stream_free(struct h2_stream *s)
{
	if (s == NULL)
		return;
	h2_output_drop(s);
	free(s->trailers);
	free(s);
}

void h2_stream_doom(struct h2_stream *s, uint32_t code)
{
	struct h2_conn *c = s->conn;

	if (s->state != H2_LIVE)
		return;
	s->state = H2_DOOMED;
	s->close_code = code;
	/* Fails where nghttp2 has closed the stream. */
	if (c->session != NULL)
		nghttp2_session_set_stream_user_data(c->session, s->id, h2_stream_gone(c));
	h2_linger_remove(s);
	if (s->due)
		TAILQ_REMOVE(&c->writable, s, due_link);
	s->due = false;
	TAILQ_REMOVE(&c->streams, s, link);
	TAILQ_INSERT_TAIL(&c->dead, s, link);
	c->stream_count--;
	h2_output_drop(s);
	h2_wake(c);
}

bool h2_stream_deliver(struct h2_conn *c)
{
	struct h2_stream *s;
	bool any = false;

	while ((s = TAILQ_FIRST(&c->dead)) != NULL) {
		TAILQ_REMOVE(&c->dead, s, link);
		if (s->ops != NULL)
			s->ops->on_close(s, s->close_code, s->arg);
		h2_stream_free(s);
		any = true;
	}
	while (!c->closing && (s = TAILQ_FIRST(&c->writable)) != NULL) {
		TAILQ_REMOVE(&c->writable, s, due_link);
		s->due = false;
		s->held = false;
		if (s->ops != NULL && s->ops->on_writable != NULL)
			s->ops->on_writable(s, s->arg);
		any = true;
	}
	return any;
}

/* ---- header fields of ours ---- */

/* nghttp2 copies what it is given. The array is the caller's to free. */
static int to_nv(nghttp2_nv **out, const struct h2_field *fields, size_t n)
{
	nghttp2_nv *nv = calloc(n + 1, sizeof(*nv));
	size_t total = 0;

	if (nv == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		nv[i].name = (uint8_t *)(uintptr_t)fields[i].name;
		nv[i].value = (uint8_t *)(uintptr_t)fields[i].value;
		nv[i].namelen = fields[i].name_len;
		nv[i].valuelen = fields[i].value_len;
		if (__builtin_add_overflow(total, fields[i].name_len, &total) ||
		    __builtin_add_overflow(total, fields[i].value_len + 32, &total) ||
		    total > H2_OWN_FIELDS) {
			free(nv);
			return TX_ETOOBIG;
		}
	}
	*out = nv;
	return 0;
}

/* One block: the array, then the strings. */
static int copy_fields(struct h2_field **out, const struct h2_field *fields, size_t n)
{
	size_t size = n * sizeof(*fields);
	struct h2_field *copy;
	char *p;

	for (size_t i = 0; i < n; i++)
		if (__builtin_add_overflow(size, fields[i].name_len, &size) ||
		    __builtin_add_overflow(size, fields[i].value_len, &size) ||
		    size > H2_OWN_FIELDS)
			return TX_ETOOBIG;
	copy = malloc(size);
	if (copy == NULL)
		return TX_ENOMEM;
	p = (char *)(copy + n);
	for (size_t i = 0; i < n; i++) {
		copy[i] = fields[i];
		copy[i].name = memcpy(p, fields[i].name, fields[i].name_len);
		p += fields[i].name_len;
		copy[i].value = memcpy(p, fields[i].value, fields[i].value_len);
		p += fields[i].value_len;
	}
	*out = copy;
	return 0;
}

int h2_stream_submit_trailers(struct h2_stream *s)
{
	nghttp2_nv *nv = NULL;
	int r = to_nv(&nv, s->trailers, s->trailers_n);

	if (r < 0)
		return r;
	if (nghttp2_submit_trailer(s->conn->session, s->id, nv, s->trailers_n) != 0)
		r = TX_ENOMEM;
	free(nv);
	free(s->trailers);
	s->trailers = NULL;
	return r;
}

/* ---- the API ---- */

static int may_open(const struct h2_conn *c)
{
	if (c->closing || c->server || c->draining || c->goaway.received ||
	    nghttp2_session_check_request_allowed(c->session) == 0)
		return TX_ECLOSED;
	if (c->opened >= nghttp2_session_get_remote_settings(
	                     c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
		return TX_ELIMIT;
	return 0;
}

static const nghttp2_data_provider provider = {{.fd = 0}, h2_output_read};

int h2_open(struct h2_conn *c, struct h2_stream **out, const struct h2_field *fields, size_t n,
    bool end, const struct h2_stream_ops *ops, void *arg)
{
	struct h2_stream *s = NULL;
	nghttp2_nv *nv = NULL;
	int r = may_open(c);

	if (r < 0)
		return r;
	r = to_nv(&nv, fields, n);
	if (r < 0)
		return r;
	s = h2_stream_new(c);
	if (s == NULL) {
		free(nv);
		return TX_ENOMEM;
	}
	s->id = nghttp2_submit_request(c->session, NULL, nv, n, end ? NULL : &provider, s);
	free(nv);
	if (s->id < 0) {
		r = s->id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE ? TX_ECLOSED : TX_ENOMEM;
		h2_stream_free(s);
		return r;
	}
	s->ops = ops;
	s->arg = arg;
	s->responded = true;
	s->ended = end;
	TAILQ_INSERT_TAIL(&c->streams, s, link);
	c->stream_count++;
	c->opened++;
	h2_wake(c);
	*out = s;
	return 0;
}

void h2_stream_set(struct h2_stream *s, const struct h2_stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
}

struct h2_conn *h2_stream_conn(struct h2_stream *s)
{
	return s->conn;
}

int32_t h2_stream_id(const struct h2_stream *s)
{
	return s->id;
}

static bool is_over(const struct h2_stream *s)
{
	return s->state != H2_LIVE || s->conn->closing;
}

int h2_respond(struct h2_stream *s, const struct h2_field *fields, size_t n, bool end)
{
	nghttp2_nv *nv = NULL;
	int r;

	if (is_over(s))
		return TX_ECLOSED;
	if (s->responded || (end && s->ended))
		return TX_ESTATE;
	r = to_nv(&nv, fields, n);
	if (r < 0)
		return r;
	r = nghttp2_submit_response(s->conn->session, s->id, nv, n, end ? NULL : &provider);
	free(nv);
	if (r != 0)
		return TX_ENOMEM;
	s->responded = true;
	s->ended |= end;
	h2_wake(s->conn);
	return 0;
}

/* There is something to send; before the response headers nghttp2 has nothing to go on with. */
static void resume(struct h2_stream *s)
{
	if (s->responded && nghttp2_is_fatal(nghttp2_session_resume_data(s->conn->session, s->id)))
		h2_fail(s->conn, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
	h2_wake(s->conn);
}

int h2_send(struct h2_stream *s, struct evbuffer *data)
{
	if (is_over(s))
		return TX_ECLOSED;
	if (s->ended)
		return TX_ESTATE;
	if (s->queue == NULL)
		s->queue = evbuffer_new();
	if (s->queue == NULL || evbuffer_add_buffer(s->queue, data) != 0)
		return TX_ENOMEM;
	if (h2_pending(s) >= H2_SEND_LOW)
		s->held = true;
	resume(s);
	return 0;
}

int h2_end(struct h2_stream *s, const struct h2_field *trailers, size_t n)
{
	int r;

	if (is_over(s))
		return TX_ECLOSED;
	if (s->ended)
		return TX_ESTATE;
	if (n > 0) {
		r = copy_fields(&s->trailers, trailers, n);
		if (r < 0)
			return r;
		s->trailers_n = n;
	}
	s->ended = true;
	resume(s);
	return 0;
}

size_t h2_pending(const struct h2_stream *s)
{
	return s->piece_len + (s->queue != NULL ? evbuffer_get_length(s->queue) : 0);
}

void h2_credit(struct h2_stream *s, size_t n)
{
	assert(n <= s->uncredited);
	s->uncredited -= n;
	if (is_over(s))
		return;
	if (nghttp2_session_consume_stream(s->conn->session, s->id, n) != 0)
		h2_fail(s->conn, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
	else if (nghttp2_session_want_write(s->conn->session) != 0)
		h2_wake(s->conn);
}

void h2_reset(struct h2_stream *s, uint32_t code)
{
	if (is_over(s))
		return;
	if (nghttp2_submit_rst_stream(s->conn->session, NGHTTP2_FLAG_NONE, s->id, code) != 0)
		h2_fail(s->conn, H2_INTERNAL_ERROR, TX_ENOMEM, "out of memory");
	h2_stream_doom(s, code);
}
