/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call's inside, for grpc's own files; nobody else includes it.
 *
 * Receive window. Every byte that h2 delivered is counted in `held` until it is credited. What is
 * to stay uncredited is always owed + partial + unseen and settle (grpc_receive.c) credits the
 * difference; it is the only place that credits, so that nothing is credited twice or never. owed
 * of messages that were delivered and whose receiver has not called grpc_credit yet; never more
 * than `unread`, which counts them by the lengths that on_message told partial  of the message that
 * is not complete; 0 (credited at once) while `unread` is at most CALL_LOAN, so that a message
 * larger than the window can complete. What was credited early is paid back by that message's own
 * grpc_credit: owed is then less than unread, and only what brings unread below owed frees window.
 *   unseen   not looked at yet: the rest of a piece, and `backlog`
 * Prefixes are never kept. Where the peer may compress, `backlog` holds messages up while `unread`
 * is `hold` or more, since a small window of compressed bytes can be gigabytes of messages.
 */
#ifndef TX_COMMON_GRPC_CALL_H
#define TX_COMMON_GRPC_CALL_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "common/grpc.h"
#include "common/grpc_codec.h"

#define CALL_LOAN ((size_t)64 * 1024)
#define CALL_HOLD ((size_t)1024 * 1024)

#define CONTENT_TYPE    "application/grpc"
#define ACCEPT_ENCODING "identity,gzip"

enum grpc_encoding { GRPC_IDENTITY, GRPC_GZIP, GRPC_OTHER };

struct grpc_meta {
	const char *name, *value;
	size_t len;
};

struct grpc_call {
	struct h2_stream *stream;
	struct event_base *base;
	const struct grpc_ops *ops; /* NULL: refused, nobody waits for its end */
	void *arg;
	struct event timer;  /* the deadline */
	struct event resume; /* goes on with `backlog` */
	int64_t deadline;    /* on the monotonic clock; 0: none */
	size_t max_message;

	struct grpc_decoder in;
	struct evbuffer *backlog; /* NULL: none */
	size_t held, owed, partial, unseen, unread;
	size_t hold;                 /* CALL_HOLD, and more at the end */
	enum grpc_encoding encoding; /* of what the peer sends compressed */

	struct evbuffer *out; /* one message on its way to h2; empty between calls */
	bool gzip;            /* the peer takes gzip, and was told that it may come */
	bool compress;        /* asked for by grpc_compress */

	bool server;
	bool responded;  /* server: our headers are sent. client: the first headers came */
	bool ended;      /* nothing more from us */
	bool dropping;   /* what comes in is credited and forgotten */
	bool peer_ended; /* the peer's half is closed */
	bool finished;   /* server: the trailers are queued */
	bool has_status; /* `status` is how the call ended */
	struct rpc_status status;

	const struct grpc_server_ops *server_ops;
	void *server_arg;
	const char *extra_name, *extra_value; /* of the response's headers; NULL: none */
	struct grpc_meta *meta;               /* one block, texts behind the array */
	size_t n_meta;
};

/* ---- grpc_call.c ---- */
struct grpc_call *grpc_call_new(struct event_base *base, bool server, size_t max_message);
void grpc_call_free(struct grpc_call *c); /* without on_done */
/* on_done, then frees. */
void grpc_call_done(struct grpc_call *c);
/* Sets how the call ended, unless that is known. */
void grpc_call_set_status(struct grpc_call *c, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The peer broke the rules, or ran into a limit: a server answers so, a client resets. `reason`
 * is ErrorInfo's, in a server's answer. */
void grpc_call_break(struct grpc_call *c, int code, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Starts the clock of the deadline. */
void grpc_call_set_timeout(struct grpc_call *c, int64_t ns);
enum grpc_encoding grpc_call_encoding(const struct h2_field *f);
/* Whether a comma-separated list has the token. */
bool grpc_call_has_token(const struct h2_field *f, const char *token);

/* ---- grpc_receive.c ---- */
void grpc_receive_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg);
void grpc_receive_end(struct h2_stream *s, void *arg);
void grpc_receive_resume(evutil_socket_t fd, short what, void *arg);
/* The stream is gone: what was held up is delivered now, four times the largest message at most. */
void grpc_receive_flush(struct grpc_call *c);
/* From now on what comes in is credited and forgotten. */
void grpc_receive_drop(struct grpc_call *c);

/* ---- grpc_send.c ---- */
void grpc_send_writable(struct h2_stream *s, void *arg);

/* ---- grpc_server.c ---- */
/* Sends the response's headers, when they are not sent yet. */
int grpc_server_respond(struct grpc_call *c);
/* The client has sent its last message, and all were delivered. */
void grpc_server_ended(struct grpc_call *c);

/* ---- grpc_client.c ---- */
void grpc_client_ended(struct grpc_call *c);

#endif
