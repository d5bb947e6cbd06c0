/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 (RFC 9113) by nghttp2 on a bufferevent, either side. Knows nothing of gRPC and telex; any
 * bufferevent does (TLS, plain socket, bufferevent_pair in tests).
 *
 * Back-pressure. Sending: h2_send moves an evbuffer's content to the stream without copying it
 * where it is large; the sender stops at h2_pending(s) >= H2_SEND_HIGH and goes on at on_writable.
 * Receiving: credit for a stream's window is returned only by h2_credit, after the sink took the
 * bytes; the connection's window is credited at receipt, so that one slow stream does not stop the
 * others, and what a peer can make us hold is (stream window) x (streams). There is no automatic
 * window update.
 *
 * Lifetime. All callbacks come from the event loop, never from inside a call into this module (but
 * for h2_abort); what the calls of one turn of the loop queue goes out together. h2_close and
 * h2_reset may be called from anywhere, callbacks too: what is torn down is finished on the way
 * out, never inside nghttp2. on_close of a stream is its last callback; on_closed of a connection
 * is its last, after every stream's; the h2_conn is freed after it returns.
 *
 * libtelex links this: no abort, TX_ENOMEM instead.
 */
#ifndef TX_COMMON_H2_H
#define TX_COMMON_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct bufferevent;
struct evbuffer;
struct event_base;
struct h2_conn;
struct h2_stream;

#define H2_SEND_HIGH ((size_t)512 * 1024) /* a sender holds back at this */
#define H2_SEND_LOW  ((size_t)128 * 1024) /* and is called on_writable below this */

/* HTTP/2 error codes that callers name (RFC 9113, section 7). */
#define H2_NO_ERROR          0x0u
#define H2_PROTOCOL_ERROR    0x1u
#define H2_INTERNAL_ERROR    0x2u
#define H2_REFUSED_STREAM    0x7u
#define H2_CANCEL            0x8u
#define H2_ENHANCE_YOUR_CALM 0xbu

/* A header field; neither string is NUL-terminated by contract, but received ones are. */
struct h2_field {
	const char *name, *value;
	size_t name_len, value_len;
};
/* clang-format off */
#define H2_FIELD(n, v) {(n), (v), sizeof(n) - 1, sizeof(v) - 1}
/* clang-format on */

/* The limits of a connection; 0 takes the default. */
struct h2_limits {
	uint32_t max_streams;       /* that the peer may have open: 256 */
	uint32_t stream_window;     /* bytes that a peer may send a stream unread: 1 MiB */
	uint32_t connection_window; /* 16 MiB */
	uint32_t max_frame;         /* SETTINGS_MAX_FRAME_SIZE that we offer: 256 KiB */
	uint32_t header_bytes;      /* of one field section, names + values + 32 each: 64 KiB */
	uint32_t header_fields;     /* 128 */
	uint32_t linger_ms; /* server: how long a request may outlast its whole response: 5000 */
	/*
	 * Budgets a connection: a token bucket of `burst`, refilled at `rate` a second; empty:
	 * GOAWAY ENHANCE_YOUR_CALM.
	 *
	 * Resets: RST_STREAM received for streams that we still serve, and resets we had to send
	 * because of bad frames: 1000, 200.
	 */
	uint32_t reset_burst, reset_rate;
	/*
	 * PING, SETTINGS, PRIORITY, GOAWAY, empty DATA and unknown frames: 1000, 100. A PING after
	 * each time that we sent HEADERS or DATA is free (bandwidth probes of stock clients).
	 */
	uint32_t ping_burst, ping_rate;
};

struct h2_conn_ops {
	/*
	 * Server: a request's header section is complete. Give it ops with h2_stream_set, or return
	 * negative: the stream is reset with REFUSED_STREAM. Its fields follow in on_headers. May
	 * be NULL for a client.
	 */
	int (*on_stream)(struct h2_conn *c, struct h2_stream *s, void *arg);
	/*
	 * The peer sent GOAWAY: no new streams on this connection; those with an id up to
	 * `last_stream` go on. Comes twice when a server drains (first with 2^31 - 1). May be NULL.
	 */
	void (*on_goaway)(struct h2_conn *c, int32_t last_stream, uint32_t code, void *arg);
	/*
	 * The connection is over. why->code: TX_OK (h2_close, or a drained GOAWAY), TX_ECLOSED (the
	 * peer hung up), TX_EPROTO, TX_ELIMIT (a budget), TX_ETLS, TX_ECERT, TX_ESYS. The
	 * bufferevent is still there for the time of the call, for tls_failure.
	 */
	void (*on_closed)(struct h2_conn *c, const struct err *why, void *arg);
};

struct h2_stream_ops {
	/* Request headers, response headers (also 1xx), or trailers. fields[] live during the call.
	 * `end`: END_STREAM came with them. */
	void (*on_headers)(
	    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg);
	/* Body bytes; live during the call. Give back their credit with h2_credit when they are
	 * dealt with. */
	void (*on_data)(struct h2_stream *s, const uint8_t *data, size_t len, void *arg);
	/* The peer's half is closed (after on_headers with `end`, too). */
	void (*on_end)(struct h2_stream *s, void *arg);
	/* Pending output fell below H2_SEND_LOW after an h2_send that left it at or above that. May
	 * be NULL. */
	void (*on_writable)(struct h2_stream *s, void *arg);
	/*
	 * The stream is gone, s is freed after this. code: HTTP/2 error; H2_NO_ERROR: both halves
	 * ended. On a server whose response is whole that means that the client has seen it; one
	 * that does not end its half within linger_ms is reset with NO_ERROR, and the code here is
	 * CANCEL.
	 */
	void (*on_close)(struct h2_stream *s, uint32_t code, void *arg);
};

/*
 * Takes bev (freed with the connection by `free_bev`, or bufferevent_free when that is NULL) and
 * its callbacks. bev must be established. Sends the preface and SETTINGS at once. `limits` may be
 * NULL. On failure (TX_ENOMEM) bev stays the caller's, untouched.
 */
int h2_conn_new(struct h2_conn **out, struct event_base *base, struct bufferevent *bev, bool server,
    const struct h2_limits *limits, const struct h2_conn_ops *ops, void *arg,
    void (*free_bev)(struct bufferevent *), struct err *e);

struct bufferevent *h2_bufferevent(struct h2_conn *c);
void *h2_conn_arg(struct h2_conn *c);
bool h2_is_server(const struct h2_conn *c);
size_t h2_stream_count(const struct h2_conn *c);
/* Why the connection is ending, as on_closed will tell; NULL while it is not. For on_close of a
 * stream. */
const struct err *h2_why(const struct h2_conn *c);
/* The bufferevent's event (BEV_EVENT_EOF, BEV_EVENT_ERROR, ...) that ended the connection, for
 * tls_failure in on_closed; or 0. */
short h2_transport_event(const struct h2_conn *c);

/* Hands what is queued to the bufferevent, for an owner that may not see another turn of the loop,
 * as far as the peer's windows go. No callback comes. */
void h2_push(struct h2_conn *c);
/* GOAWAY with no error: streams that are open go on; the connection closes when the last has ended.
 */
void h2_drain(struct h2_conn *c);
/* Ends all streams (on_close with `code`) and the connection (on_closed); GOAWAY with `code` is
 * tried. Idempotent. */
void h2_close(struct h2_conn *c, uint32_t code);
/*
 * The same, at once and without a GOAWAY, for an owner that may not see another turn of the loop:
 * every on_close and on_closed come from inside this call. Not from inside a callback of this
 * connection.
 */
void h2_abort(struct h2_conn *c);

/* Client: opens a stream with request headers. TX_ELIMIT: the peer allows no more at once.
 * TX_ECLOSED: draining or closed. */
int h2_open(struct h2_conn *c, struct h2_stream **out, const struct h2_field *fields, size_t n,
    bool end, const struct h2_stream_ops *ops, void *arg);

/* Server: from on_stream. */
void h2_stream_set(struct h2_stream *s, const struct h2_stream_ops *ops, void *arg);
struct h2_conn *h2_stream_conn(struct h2_stream *s);
int32_t h2_stream_id(const struct h2_stream *s);

/* Server: response headers. With `end` the response is complete. Once. */
int h2_respond(struct h2_stream *s, const struct h2_field *fields, size_t n, bool end);
/* Queues all of `data` (moved out of it; references stay references). TX_ESTATE after the end;
 * TX_ECLOSED when the stream is closing. */
int h2_send(struct h2_stream *s, struct evbuffer *data);
/* Ends our half after what is queued: plain END_STREAM, or with trailers (n > 0; the fields are
 * copied). Once. */
int h2_end(struct h2_stream *s, const struct h2_field *trailers, size_t n);
/* Bytes queued on the stream, not yet handed to the connection's output. */
size_t h2_pending(const struct h2_stream *s);
/* Returns n bytes of receive window to the peer. More than was received is an error of ours
 * (asserted). */
void h2_credit(struct h2_stream *s, size_t n);
/* RST_STREAM; on_close follows (not from inside this call). Idempotent. */
void h2_reset(struct h2_stream *s, uint32_t code);

/* Sends a PING; on_pong once when it is answered. One at a time (TX_ESTATE). */
int h2_ping(struct h2_conn *c, void (*on_pong)(struct h2_conn *c, void *arg));

#endif
