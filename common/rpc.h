/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf services on gRPC: tables of methods, and calls in both directions. Knows nothing of
 * telex.
 *
 * A service is a const table; a method says what its messages are and has up to six functions. On
 * the server:
 *   open        the call begins; may set rpc_call_data
 *   message     one request, unpacked; freed after return. Its credit is returned after it unless
 *               `manual_credit`
 *   raw         instead of message, of a client's stream: one request as it came; lives during the
 *               call. rpc_unpack unpacks it
 *   half_close  the client has sent its last
 *   writable    room to send again
 *   closed      the last: release what open made
 * A unary request (client_stream false) is checked here: none or two messages are answered with
 * INVALID_ARGUMENT before the method sees them (it gets its one when the client has ended its
 * half), and `half_close` need not be given. For a unary or client-stream method the response is
 * rpc_send, then rpc_finish.
 *
 * Answered here: UNIMPLEMENTED (NO_SUCH_METHOD), INVALID_ARGUMENT (BAD_REQUEST: no protobuf),
 * RESOURCE_EXHAUSTED (TOO_LARGE: a message that takes far more memory than bytes).
 */
#ifndef TX_COMMON_RPC_H
#define TX_COMMON_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/grpc.h"
#include "common/rpc_status.h"

struct evbuffer;
struct event_base;
struct rpc_call;
struct rpc_server;

#define RPC_ID_SIZE 33

struct rpc_method {
	const char *name; /* "Run" */
	const ProtobufCMessageDescriptor *request, *response;
	bool client_stream, server_stream;
	bool manual_credit;               /* the method calls rpc_credit itself */
	size_t max_message;               /* of a request; 0: the server's */
	void (*open)(struct rpc_call *c); /* may be NULL */
	void (*message)(struct rpc_call *c, const ProtobufCMessage *msg);
	void (*raw)(struct rpc_call *c, const uint8_t *msg, size_t len); /* may be NULL */
	void (*half_close)(struct rpc_call *c);                          /* may be NULL */
	void (*writable)(struct rpc_call *c);                            /* may be NULL */
	void (*closed)(struct rpc_call *c);                              /* may be NULL */
};

struct rpc_service {
	const char *name; /* "telex.v1.ProcessService" */
	const struct rpc_method *methods;
	size_t n_methods;
};

struct rpc_server_config {
	const struct rpc_service *const *services;
	size_t n_services;
	size_t max_message; /* 0: GRPC_MAX_MESSAGE */
	/*
	 * Asked for every call to a method that exists, before open: 0, or negative with *refuse
	 * filled. The call has its peer and its request's metadata by then, no more.
	 */
	int (*authorize)(struct rpc_call *c, const struct rpc_service *s,
	    const struct rpc_method *m, struct rpc_status *refuse);
	/* Each call's end, for the log; of one that is refused before it is answered. May be NULL.
	 */
	void (*finished)(struct rpc_call *c, const char *path, const struct rpc_status *status);
	/* Said after "there is no service …": what else this is. May be NULL. */
	const char *hint;
	/* What rpc_server_context gives the methods. */
	void *context;
};

int rpc_server_new(
    struct rpc_server **out, struct event_base *base, const struct rpc_server_config *cfg);
void rpc_server_free(struct rpc_server *s); /* after its connections are gone */
const struct rpc_server_config *rpc_server_config(const struct rpc_server *s);
/* From h2's on_stream. `peer` lives at least as long as the connection. */
int rpc_server_stream(struct rpc_server *s, struct h2_stream *stream, void *peer);

/* ---- a call, on the server ---- */

void *rpc_call_context(struct rpc_call *c); /* config.context */
struct rpc_server *rpc_call_server(struct rpc_call *c);
void *rpc_call_peer(struct rpc_call *c);
/* From `authorize`: another peer for this call, who lives as long as its connection. */
void rpc_call_set_peer(struct rpc_call *c, void *peer);
/* The request's metadata of this name (lower case) and how many there are of it; NULL: none. */
const char *rpc_call_metadata(struct rpc_call *c, const char *name, size_t *len,
    size_t *count); /* as rpc_server_stream was given it */
/* The call's own id, "" until it is set: in authorize or finished, once. It goes to the client as
 * the header field `header` (whose text must last), and as "request_id" with an error's details. */
void rpc_call_set_id(struct rpc_call *c, const char *header, const char *id);
const char *rpc_call_id(const struct rpc_call *c);
/* What the server has finished it with, also when that did not reach the client any more: a code,
 * and *reason ("": none); -1: nothing. */
int rpc_call_answer(const struct rpc_call *c, const char **reason);
/* Whether it was authorized, and its method opened. */
bool rpc_call_accepted(const struct rpc_call *c);
void rpc_call_set_data(struct rpc_call *c, void *data);
const struct rpc_method *rpc_call_method(struct rpc_call *c); /* NULL: there is none such */
/* "/telex.v1.ProcessService/Run"; of a call that was accepted. */
const char *rpc_call_path(const struct rpc_call *c);

/* A request that `raw` was given, unpacked; it lives until raw returns. NULL: it is none, and the
 * call was answered so. */
const ProtobufCMessage *rpc_unpack(struct rpc_call *c, const uint8_t *msg, size_t len);

/* Whether the client has ended its half by now. One that ends it only after the last message was
 * sent, in a call that `finished` then gets with OK, has seen that message. */
bool rpc_half_closed(const struct rpc_call *c);
/* Ends the call. status NULL: OK. Once; later ones are ignored. `closed` follows, not from inside
 * this call. */
void rpc_finish(struct rpc_call *c, const struct rpc_status *status);
/* rpc_status_set and rpc_finish in one. */
void rpc_fail(struct rpc_call *c, int code, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- a call, on the client ---- */

struct rpc_client_ops {
	/* One response, unpacked; freed after return. When raw is given instead, the bytes go there
	 * and are not unpacked. */
	void (*message)(struct rpc_call *c, const ProtobufCMessage *msg, void *data);
	void (*raw)(struct rpc_call *c, const uint8_t *msg, size_t len, void *data);
	void (*writable)(struct rpc_call *c, void *data); /* may be NULL */
	/* The last: a unary call that ended OK without a message comes as INTERNAL. */
	void (*done)(struct rpc_call *c, const struct rpc_status *status, void *data);
	bool manual_credit;
};

/* "telex.v1.ProcessService", "Run"; timeout_ns 0: none. *out is valid until done returns. */
struct rpc_client_options {
	const char *authority, *service, *method;
	const ProtobufCMessageDescriptor *response;
	bool server_stream; /* false: exactly one response */
	int64_t timeout_ns;
	size_t max_message;
};
int rpc_open(struct rpc_call **out, struct h2_conn *h2, struct event_base *base,
    const struct rpc_client_options *o, const struct rpc_client_ops *ops, void *data);
void rpc_half_close(struct rpc_call *c);

/* ---- both ---- */

void *rpc_call_data(struct rpc_call *c);
struct event_base *rpc_call_base(struct rpc_call *c);
struct h2_conn *rpc_call_conn(struct rpc_call *c);
int rpc_send(struct rpc_call *c, const ProtobufCMessage *msg);
/* Sends one message that is packed already (pb_splice.h): moves all of `encoded`; references stay
 * references. */
int rpc_send_encoded(struct rpc_call *c, struct evbuffer *encoded);
/* Server: gzip what is sent from now on, where the client takes it. Best in open: after the first
 * message it is too late. */
void rpc_compress(struct rpc_call *c, bool on);
size_t rpc_pending(const struct rpc_call *c);
void rpc_credit(struct rpc_call *c, size_t n);
/* The length of the message that is being delivered: what rpc_credit wants. Only inside message and
 * raw. */
size_t rpc_message_size(const struct rpc_call *c);
void rpc_cancel(struct rpc_call *c);

#endif
