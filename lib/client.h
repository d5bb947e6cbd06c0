/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a client: its connections and its calls. For lib/ only; telex.h is the API.
 *
 * A call is embedded in what it is for (a run, a question). It waits in client->waiting until there
 * is a connection with room, is then on that connection's list, and ends through client->ending,
 * from where its `done` is called. `done` or `drop` is the last use of it. A connection is dialled
 * when a call waits and there is no current one; one that has got a GOAWAY, or that a watchdog gave
 * up, is retired: its calls go on, new ones get another connection.
 */
#ifndef TX_LIB_CLIENT_H
#define TX_LIB_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/rpc.h"
#include "common/tls.h"
#include "lib/address.h"
#include "lib/telex.h"

struct call;
struct call_link;
struct conn;
struct dial;
struct event;

TAILQ_HEAD(call_list, call);
TAILQ_HEAD(call_link_list, call_link);
TAILQ_HEAD(conn_list, conn);

struct telex_client {
	struct event_base *base;
	struct tls_ctx *tls;
	struct address address;
	char tls_name[ADDRESS_HOST_SIZE];
	char agent[TLS_IDENTITY_SIZE]; /* "" until the first connection */
	int64_t connect_timeout_ns;
	struct conn *current;
	struct conn_list conns; /* all, also those that are over but not freed yet */
	struct call_list waiting, ending;
	struct event *later; /* delivers client->ending, frees connections that are over, pumps */
};

/* ---- connections (conn.c) ---- */

#define CONN_STREAM_WINDOW ((uint32_t)4 << 20)

struct conn {
	TAILQ_ENTRY(conn) entry;
	struct telex_client *client;
	struct dial *dial;  /* until it is connected */
	struct h2_conn *h2; /* from then on */
	struct call_list calls;
	struct call_link_list links; /* of all its rpc_calls, also those that nobody waits for */
	bool retired, over;
	struct telex_error lost; /* why it ended, once that was asked */
};

/* Gives the calls that wait to the current connection, or dials one. 0, or -1: dialling could not
 * even begin. */
int conn_pump(struct telex_client *client, struct telex_error *error);
/* No new calls; closed when its last has ended. */
void conn_retire(struct conn *conn);
/* A call has left the connection, or one that nobody waits for has ended. */
void conn_released(struct conn *conn);
/* Why it ended or is ending. NULL: it is not. */
const struct telex_error *conn_lost(struct conn *conn);
/* Closes and frees; its calls are gone already. */
void conn_free(struct conn *conn);
/* The turn of client->later: frees connections that are over, and pumps. */
void conn_tidy(struct telex_client *client);

/* ---- calls (call.c) ---- */

enum call_state { CALL_IDLE, CALL_WAITING, CALL_OPEN, CALL_ENDING };

struct call_method {
	const char *service, *method;
	const ProtobufCMessageDescriptor *response;
	bool server_stream;
};

struct call_ops {
	/* The call is open: send what there is to send. Calls nobody back. */
	void (*opened)(struct call *c);
	/* One answer. With raw it comes packed, and its credit is the receiver's to return. */
	void (*message)(struct call *c, const ProtobufCMessage *msg);
	void (*raw)(struct call *c, const uint8_t *msg, size_t len);
	/* The last; error NULL: the agent ended the call with OK. Frees what holds the call. */
	void (*done)(struct call *c, const struct telex_error *error);
	/* The client is being freed: as done, but without a word to the caller. */
	void (*drop)(struct call *c);
};

struct call {
	TAILQ_ENTRY(call) entry;
	struct telex_client *client;
	struct conn *conn; /* of an open call */
	struct call_link *link;
	const struct call_method *method;
	const struct call_ops *ops;
	struct event *timer; /* the deadline while it waits */
	int64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	enum call_state state;
	struct telex_error error; /* how it ended */
};

/* c is zeroed. timeout_ns 0: none. 0, or -1 with *error and without any callback. */
int call_start(struct call *c, struct telex_client *client, const struct call_method *method,
    const struct call_ops *ops, int64_t timeout_ns, struct telex_error *error);
/* NULL unless it is open. */
struct rpc_call *call_rpc(const struct call *c);
/* Ends it with this error: cancelled at the agent, `done` from the event loop. Nothing when it is
 * ending already. */
void call_fail(struct call *c, const struct telex_error *error);
/* Takes it out, cancelled at the agent; no callback any more. Any state. */
void call_cancel(struct call *c);
/* As call_cancel, but the agent is left to end the call by itself. */
void call_leave(struct call *c);

/* For conn.c: opens a waiting call. TX_ELIMIT, TX_ECLOSED: it still waits; else it is open or
 * ending. */
int call_open(struct call *c, struct conn *conn);
/* For conn.c: a call that waits or ended with its connection gets this error; `done` from the event
 * loop. */
void call_end(struct call *c, const struct telex_error *error);
/* For conn.c: the connection goes before what is left of its calls. */
void call_forget_conn(struct conn *conn);
/* Delivers client->ending. */
void call_deliver(struct telex_client *client);

#endif
