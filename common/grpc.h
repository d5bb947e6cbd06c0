/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md), either side of a call: message
 * prefix, headers and trailers, deadlines, gzip, status details. Messages are bytes here; what they
 * mean is rpc's.
 *
 * Back-pressure is h2's: a receiver gives credit for each message with grpc_credit (its length as
 * on_message told), a sender stops at grpc_pending(c) >= H2_SEND_HIGH and goes on at on_writable.
 * At most one message that is not yet complete is held, up to the receiver's max_message; its bytes
 * are credited as they come, so that a message may be larger than the window. A receiver that gives
 * no credit has at most one message and a window of bytes delivered to it; of compressed messages,
 * 1 MiB and one message, and when the stream has ended four of the largest (else the call ends with
 * RESOURCE_EXHAUSTED).
 *
 * on_done is the last callback of a call; the call is freed after it returns. grpc_finish,
 * grpc_cancel and the sends may be called from any callback. libtelex links this: no abort,
 * TX_ENOMEM instead.
 */
#ifndef TX_COMMON_GRPC_H
#define TX_COMMON_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/h2.h"
#include "common/rpc_status.h"

struct evbuffer;
struct event_base;
struct grpc_call;

#define GRPC_MAX_MESSAGE ((size_t)4 << 20) /* default, both directions */
#define GRPC_PREFIX_SIZE 5

struct grpc_ops {
	/* A whole message, decompressed; lives during the call. */
	void (*on_message)(struct grpc_call *c, const uint8_t *msg, size_t len, void *arg);
	/* Server: the client has sent its last message. Client: not called. May be NULL. */
	void (*on_half_close)(struct grpc_call *c, void *arg);
	void (*on_writable)(struct grpc_call *c, void *arg); /* may be NULL */
	/*
	 * The call is over. Client: the status, from the trailers, or made here (UNAVAILABLE:
	 * connection lost; INTERNAL: the peer broke gRPC; DEADLINE_EXCEEDED, CANCELLED by
	 * ourselves). Server: the status of grpc_finish when its trailers were handed to the
	 * connection; CANCELLED when the client went away or DEADLINE_EXCEEDED when the deadline
	 * passed before that; or what grpc itself answered to a bad message.
	 */
	void (*on_done)(struct grpc_call *c, const struct rpc_status *status, void *arg);
};

/* ---- server ---- */

struct grpc_server_ops {
	/*
	 * A call to `path` ("/telex.v1.ProcessService/Run"). Give it ops with grpc_call_set and
	 * return 0; or fill *refuse (code not OK) and return negative: it is answered so
	 * (trailers-only).
	 */
	int (*on_call)(struct grpc_call *c, const char *path, struct rpc_status *refuse, void *arg);
	/* The last of a stream, after on_done where the call was accepted, and also when on_call
	 * was never made: `arg` is free. May be NULL. */
	void (*on_end)(void *arg);
};

/*
 * To be called from h2's on_stream: makes the stream a gRPC call. Bad requests are answered here:
 * not POST: 405; content-type not application/grpc[+proto]: 415; te missing is allowed; bad
 * grpc-timeout: INVALID_ARGUMENT... as the specification says; unknown grpc-encoding: UNIMPLEMENTED
 * with grpc-accept-encoding.
 */
int grpc_serve(struct h2_stream *s, struct event_base *base, size_t max_message,
    const struct grpc_server_ops *ops, void *arg);

void grpc_call_set(struct grpc_call *c, const struct grpc_ops *ops, void *arg);
/* One field more in the response's headers. Both texts must last until the call's end. */
void grpc_respond_with(struct grpc_call *c, const char *name, const char *value);
/* Of this call, in the place of grpc_serve's: from on_call, before anything came. */
void grpc_set_max_message(struct grpc_call *c, size_t max_message);
/* Whether the client has ended its half; it may be a while until on_half_close says so. */
bool grpc_half_closed(const struct grpc_call *c);
/* Ends the call: trailers after what is queued. Messages that come in later are dropped. Once;
 * later calls are ignored. */
void grpc_finish(struct grpc_call *c, const struct rpc_status *status);
/* A request's header field by lower-case name, or NULL; lives until the call's end. Names that end
 * in "-bin" come decoded, *len long. */
const char *grpc_metadata(struct grpc_call *c, const char *name, size_t *len);
/* How many there are of that name. */
size_t grpc_metadata_count(const struct grpc_call *c, const char *name);

/* ---- client ---- */

struct grpc_client_options {
	const char *authority; /* "host:port" */
	const char *path;      /* "/package.Service/Method" */
	int64_t timeout_ns;    /* the deadline from now; 0: none */
	size_t max_message;    /* 0: GRPC_MAX_MESSAGE */
	bool gzip; /* tells the server that gzip may come: without it grpc_compress does nothing */
};

/* Opens a call. *out is valid until on_done returns. TX_ECLOSED, TX_ELIMIT (try later), TX_ENOMEM.
 */
int grpc_open(struct grpc_call **out, struct h2_conn *h2, struct event_base *base,
    const struct grpc_client_options *o, const struct grpc_ops *ops, void *arg);
/* No more messages from us. Once. */
void grpc_half_close(struct grpc_call *c);

/* ---- both ---- */

/* Copies, prefixes, queues. TX_ECLOSED after the end of our half or of the call; TX_ETOOBIG above 4
 * GiB - 1. */
int grpc_send(struct grpc_call *c, const void *msg, size_t len);
/* Moves all of `msg`, one message, already encoded; references stay references. After TX_ENOMEM
 * part of msg may be gone: end the call. */
int grpc_send_buffer(struct grpc_call *c, struct evbuffer *msg);
/* Compress what we send from now on, where the peer accepts gzip and it makes the message smaller.
 * Default: off. */
void grpc_compress(struct grpc_call *c, bool on);
size_t grpc_pending(const struct grpc_call *c);
/*
 * Returns the credit of n bytes of messages that were delivered. A receiver may hold back up to 64
 * KiB for as long as it likes (where the stream's window is 256 KiB or more); above that the rest
 * of a message that is larger than the window waits for it. Never more than was delivered
 * (asserted).
 */
void grpc_credit(struct grpc_call *c, size_t n);
/* RST_STREAM(CANCEL); on_done follows, not from inside this call. */
void grpc_cancel(struct grpc_call *c);
struct h2_conn *grpc_conn(struct grpc_call *c);
/* Nanoseconds left until the deadline (at least 0), or -1: none. */
int64_t grpc_time_left(const struct grpc_call *c);

/* ---- the codec's pieces, for tests and fuzzing ---- */

/* "100m" -> ns. TX_EINVAL unless 1 to 8 digits and one of H M S m u n. */
int grpc_timeout_parse(const char *text, size_t len, int64_t *ns);
/* The smallest unit that fits in 8 digits, rounded up. out[16]. */
char *grpc_timeout_format(char out[16], int64_t ns);
/* Percent-encoding of grpc-message (RFC 3986 with space to tilde but for '%' plain).
 * NUL-terminated; returns the whole's length. */
size_t grpc_percent_encode(char *out, size_t size, const char *in, size_t len);
/* Never fails: what is no escape is kept as it is. */
size_t grpc_percent_decode(char *out, size_t size, const char *in, size_t len);
/* Of a "-bin" value: standard alphabet, padding optional. Lengths or TX_EINVAL. out[len] is enough
 * to decode, out[len * 4 / 3 + 4] to encode. */
int grpc_base64_decode(uint8_t *out, const char *in, size_t len);
int grpc_base64_encode(char *out, const uint8_t *in, size_t len);

#endif
