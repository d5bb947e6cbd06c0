/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side: what a request must be, the response's headers and trailers. A request that is
 * not gRPC is answered in HTTP, one that is not acceptable in gRPC without a body (trailers-only);
 * on_call sees neither.
 *
 * When the response is whole and the request is not, h2 gives the client time to end it: a call
 * that is done with OK has been seen to its end by the client.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/grpc_call.h"

#define MESSAGE_MAX (3 * sizeof(((struct rpc_status *)0)->message)) /* each byte escaped */

/* ---- the request ---- */

static bool ends_with_bin(const struct h2_field *f)
{
	return f->name_len > 4 && memcmp(f->name + f->name_len - 4, "-bin", 4) == 0;
}

static bool is_pseudo(const struct h2_field *f)
{
	return f->name_len > 0 && f->name[0] == ':';
}

/* Copies a text with a NUL behind it to *at, which it moves. */
static const char *keep(char **at, const char *text, size_t len)
{
	char *to = *at;

	memcpy(to, text, len);
	to[len] = '\0';
	*at += len + 1;
	return to;
}

/* False: a "-bin" value that is no base64. Where there are several in one field, the first one
 * counts. */
static bool keep_field(struct grpc_meta *m, char **at, const struct h2_field *f)
{
	const char *comma = memchr(f->value, ',', f->value_len);
	size_t len = comma != NULL ? (size_t)(comma - f->value) : f->value_len;
	int n;

	m->name = keep(at, f->name, f->name_len);
	if (!ends_with_bin(f)) {
		m->value = keep(at, f->value, f->value_len);
		m->len = f->value_len;
		return true;
	}
	n = grpc_base64_decode((uint8_t *)*at, f->value, len);
	if (n < 0)
		return false;
	m->value = *at;
	m->len = (size_t)n;
	(*at)[n] = '\0';
	*at += n + 1;
	return true;
}

/* Keeps the request's fields in one block. */
static int keep_metadata(struct grpc_call *c, const struct h2_field *fields, size_t n)
{
	size_t size = n * sizeof(*c->meta);
	char *at;

	for (size_t i = 0; i < n; i++)
		size += fields[i].name_len + fields[i].value_len + 2;
	c->meta = malloc(size > 0 ? size : 1);
	if (c->meta == NULL)
		return TX_ENOMEM;
	at = (char *)(c->meta + n);
	for (size_t i = 0; i < n; i++)
		if (!is_pseudo(&fields[i]) && keep_field(&c->meta[c->n_meta], &at, &fields[i]))
			c->n_meta++;
	return 0;
}

const char *grpc_metadata(struct grpc_call *c, const char *name, size_t *len)
{
	for (size_t i = 0; i < c->n_meta; i++) {
		if (strcmp(c->meta[i].name, name) != 0)
			continue;
		if (len != NULL)
			*len = c->meta[i].len;
		return c->meta[i].value;
	}
	return NULL;
}

size_t grpc_metadata_count(const struct grpc_call *c, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_meta; i++)
		n += strcmp(c->meta[i].name, name) == 0;
	return n;
}

/* What a request says about itself; NULL: nothing. */
struct request {
	const struct h2_field *method, *path, *content_type, *timeout, *encoding, *accept;
};

#define NAME(text) (text), sizeof(text) - 1

static void read_request(struct request *q, const struct h2_field *fields, size_t n)
{
	const struct {
		const char *name;
		size_t len;
		const struct h2_field **to;
	} known[] = {
	    {NAME(":method"), &q->method},
	    {NAME(":path"), &q->path},
	    {NAME("content-type"), &q->content_type},
	    {NAME("grpc-timeout"), &q->timeout},
	    {NAME("grpc-encoding"), &q->encoding},
	    {NAME("grpc-accept-encoding"), &q->accept},
	};

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			if (fields[i].name_len == known[k].len && *known[k].to == NULL &&
			    memcmp(fields[i].name, known[k].name, known[k].len) == 0)
				*known[k].to = &fields[i];
}

/* "application/grpc" or "application/grpc+proto", and parameters. */
static bool is_grpc(const struct h2_field *f)
{
	static const char plain[] = CONTENT_TYPE, proto[] = CONTENT_TYPE "+proto";
	size_t n = sizeof(plain) - 1;

	if (f == NULL || f->value_len < n || memcmp(f->value, plain, n) != 0)
		return false;
	if (f->value_len >= sizeof(proto) - 1 && memcmp(f->value, proto, sizeof(proto) - 1) == 0)
		n = sizeof(proto) - 1;
	while (n < f->value_len && f->value[n] == ' ')
		n++;
	return n == f->value_len || f->value[n] == ';';
}

static void refuse_http(struct grpc_call *c, const struct h2_field *fields, size_t n)
{
	c->ended = true;
	grpc_receive_drop(c);
	if (h2_respond(c->stream, fields, n, true) < 0)
		h2_reset(c->stream, H2_INTERNAL_ERROR);
}

static int check_timeout(struct grpc_call *c, const struct h2_field *f)
{
	int64_t ns;

	if (f == NULL)
		return 0;
	if (grpc_timeout_parse(f->value, f->value_len, &ns) < 0)
		return TX_EINVAL;
	grpc_call_set_timeout(c, ns);
	return 0;
}

/* Asks on_call. */
static void begin(struct grpc_call *c, const char *path)
{
	struct rpc_status refuse;

	refuse.code = RPC_OK;
	refuse.message[0] = refuse.reason[0] = refuse.domain[0] = '\0';
	refuse.n_meta = 0;
	if (c->server_ops->on_call(c, path, &refuse, c->server_arg) == 0) {
		assert(c->ops != NULL);
		return;
	}
	c->ops = NULL;
	if (refuse.code == RPC_OK)
		rpc_status_set(&refuse, RPC_UNIMPLEMENTED, NULL, "not served");
	grpc_finish(c, &refuse);
}

static void on_request(struct grpc_call *c, const struct h2_field *fields, size_t n)
{
	static const struct h2_field not_allowed[] = {
	    H2_FIELD(":status", "405"), H2_FIELD("allow", "POST")};
	static const struct h2_field unsupported[] = {H2_FIELD(":status", "415")};
	struct request q = {0};

	read_request(&q, fields, n);
	if (q.method == NULL || q.method->value_len != 4 || memcmp(q.method->value, "POST", 4) != 0)
		refuse_http(c, not_allowed, 2);
	else if (!is_grpc(q.content_type))
		refuse_http(c, unsupported, 1);
	else if (q.encoding != NULL && grpc_call_encoding(q.encoding) == GRPC_OTHER)
		grpc_call_break(c, RPC_UNIMPLEMENTED, "BAD_REQUEST",
		    "grpc-encoding \"%.*s\" is not supported",
		    (int)(q.encoding->value_len < 64 ? q.encoding->value_len : 64),
		    q.encoding->value);
	else if (keep_metadata(c, fields, n) < 0)
		grpc_call_break(c, RPC_RESOURCE_EXHAUSTED, "LIMIT", "out of memory");
	else if (check_timeout(c, q.timeout) < 0)
		grpc_call_break(c, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "grpc-timeout is not 1 to 8 digits and one of H, M, S, m, u, n");
	if (c->ended)
		return;
	if (q.encoding != NULL)
		c->encoding = grpc_call_encoding(q.encoding);
	c->gzip = q.accept != NULL && grpc_call_has_token(q.accept, "gzip");
	begin(c, q.path != NULL ? q.path->value : "");
}

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct grpc_call *c = arg;

	(void)s;
	(void)end;
	/* gRPC clients send no trailers; where one does, they mean nothing. */
	if (c->meta == NULL && !c->ended)
		on_request(c, fields, n);
}

void grpc_server_ended(struct grpc_call *c)
{
	if (c->dropping)
		return;
	if (grpc_codec_partial(&c->in))
		grpc_call_break(
		    c, RPC_INTERNAL, "BAD_REQUEST", "the request ends inside a message");
	else if (c->ops->on_half_close != NULL)
		c->ops->on_half_close(c, c->arg);
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	struct grpc_call *c = arg;
	bool handed = c->finished && code == H2_NO_ERROR && h2_why(h2_stream_conn(s)) == NULL;

	if (!handed)
		grpc_call_set_status(c, RPC_CANCELLED, "the client went away");
	c->has_status = true;
	grpc_call_done(c);
}

int grpc_serve(struct h2_stream *s, struct event_base *base, size_t max_message,
    const struct grpc_server_ops *ops, void *arg)
{
	static const struct h2_stream_ops stream_ops = {
	    .on_headers = on_headers,
	    .on_data = grpc_receive_data,
	    .on_end = grpc_receive_end,
	    .on_writable = grpc_send_writable,
	    .on_close = on_close,
	};
	struct grpc_call *c = grpc_call_new(base, true, max_message);

	if (c == NULL)
		return TX_ENOMEM;
	c->stream = s;
	c->server_ops = ops;
	c->server_arg = arg;
	h2_stream_set(s, &stream_ops, c);
	return 0;
}

void grpc_call_set(struct grpc_call *c, const struct grpc_ops *ops, void *arg)
{
	c->ops = ops;
	c->arg = arg;
}

void grpc_respond_with(struct grpc_call *c, const char *name, const char *value)
{
	c->extra_name = name;
	c->extra_value = value;
}

bool grpc_half_closed(const struct grpc_call *c)
{
	return c->peer_ended;
}

/* ---- the response ---- */

static const struct h2_field response_fields[] = {
    H2_FIELD(":status", "200"),
    H2_FIELD("content-type", CONTENT_TYPE),
    H2_FIELD("grpc-accept-encoding", ACCEPT_ENCODING),
    H2_FIELD("grpc-encoding", "gzip"),
};
#define N_RESPONSE_FIELDS 3 /* without the last */

/* Fills f with the fields of the response's headers; returns how many. */
static size_t fill_response(const struct grpc_call *c, struct h2_field *f, bool gzip)
{
	size_t n = N_RESPONSE_FIELDS + gzip;

	memcpy(f, response_fields, n * sizeof(f[0]));
	if (c->extra_name != NULL)
		f[n++] = (struct h2_field){
		    c->extra_name, c->extra_value, strlen(c->extra_name), strlen(c->extra_value)};
	return n;
}

int grpc_server_respond(struct grpc_call *c)
{
	struct h2_field f[N_RESPONSE_FIELDS + 2];
	int r;

	if (c->responded)
		return 0;
	c->gzip = c->gzip && c->compress;
	r = h2_respond(c->stream, f, fill_response(c, f, c->gzip), false);
	if (r < 0)
		return r;
	c->responded = true;
	return 0;
}

/* The text of grpc-status-details-bin, the caller's to free; NULL: none. */
static char *details_text(const struct rpc_status *status, size_t *len)
{
	uint8_t *packed = NULL;
	size_t size = 0;
	char *text = NULL;

	if (status->reason[0] == '\0' || rpc_status_pack(status, &packed, &size) < 0)
		return NULL;
	text = malloc(size * 4 / 3 + 4);
	if (text != NULL)
		*len = (size_t)grpc_base64_encode(text, packed, size);
	free(packed);
	return text;
}

/* The digits of a code; returns how many. What is no code is UNKNOWN. */
static size_t put_code(char out[2], int code)
{
	size_t n = 0;

	if (code < RPC_OK || code > RPC_UNAUTHENTICATED)
		code = RPC_UNKNOWN;
	if (code >= 10)
		out[n++] = '1';
	out[n++] = (char)('0' + code % 10);
	return n;
}

/* Sends the trailers; without headers before them they are headers and trailers in one. */
static int send_trailers(struct grpc_call *c, const struct rpc_status *status)
{
	struct h2_field f[N_RESPONSE_FIELDS + 5];
	char code[2], message[MESSAGE_MAX], *details;
	size_t n = 0, len = 0;
	int r;

	if (!c->responded)
		n = fill_response(c, f, false);
	f[n++] = (struct h2_field){
	    "grpc-status", code, sizeof("grpc-status") - 1, put_code(code, status->code)};
	if (status->message[0] != '\0') {
		grpc_percent_encode(
		    message, sizeof(message), status->message, strlen(status->message));
		f[n++] = (struct h2_field){
		    "grpc-message", message, sizeof("grpc-message") - 1, strlen(message)};
	}
	details = details_text(status, &len);
	if (details != NULL)
		f[n++] = (struct h2_field){
		    "grpc-status-details-bin", details, sizeof("grpc-status-details-bin") - 1, len};
	r = c->responded ? h2_end(c->stream, f, n) : h2_respond(c->stream, f, n, true);
	free(details);
	return r;
}

void grpc_finish(struct grpc_call *c, const struct rpc_status *status)
{
	if (c->finished || c->ended)
		return;
	c->finished = true;
	c->ended = true;
	if (!c->has_status)
		c->status = *status; /* has_status once it is handed over */
	grpc_receive_drop(c);
	if (send_trailers(c, status) < 0)
		h2_reset(c->stream, H2_INTERNAL_ERROR);
}
