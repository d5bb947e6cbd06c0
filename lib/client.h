/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a client: its connections and its calls. For lib/ only; telex.h is the API.
 *
 * A call is embedded in what it is for (a run, a question). It waits in client->waiting until there
 * is a connection with room, is then on that connection's list, and ends through client->ending,
 * from where its `done` is called. After `drop`, or after a `done` that did not begin it again, it
 * is not touched any more. A connection is dialled when a call waits and there is no current one;
 * one that has got a GOAWAY, or that a watchdog gave up, is retired: its calls go on, new ones get
 * another connection.
 *
 * A call that has ended may be begun again (call_again): it rests in client->resting for a random
 * while, then waits as at first; but a connection that fails does not end it until its time is
 * over.
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
struct client_files;
struct client_revoked;
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
	struct client_revoked *revoked; /* NULL: no lists; for tls, which is freed before */
	struct client_files *files;     /* what tls was made from; NULL: not from files */
	struct address address;
	char tls_name[ADDRESS_HOST_SIZE];
	char agent[TLS_IDENTITY_SIZE]; /* "" until the first connection */
	int64_t connect_timeout_ns;
	int64_t reconnect_ns; /* for how long a run tries to come back; negative: not at all */
	int64_t heartbeat_ms; /* of questions that wait */
	struct conn *current;
	struct event *redial;   /* pending: the last dial failed, and calls still wait */
	unsigned failures;      /* dials that failed since one went well */
	struct conn_list conns; /* all, also those that are over but not freed yet */
	struct call_list waiting, resting, ending;
	struct event *later; /* delivers client->ending, frees connections that are over, pumps */
};

/* As telex_client_new; `tls` (NULL: from the options' files) is taken when this is 0. */
int client_new(struct telex_client **out, struct event_base *base,
    const struct telex_options *options, struct tls_ctx *tls, struct telex_error *error);

/* How often the agent is to say that it is still there, where a question asks that. */
#define QUESTION_HEARTBEAT_MS 15000

/* Before a dial: what a renewal has put into our files since is used from now on. What cannot be
 * used leaves all as it was. */
void client_refresh(struct telex_client *client);

/* ---- connections (conn.c) ---- */

#define CONN_STREAM_WINDOW ((uint32_t)4 << 20)

struct conn {
	TAILQ_ENTRY(conn) entry;
	struct telex_client *client;
	struct dial *dial;  /* until it is connected */
	struct h2_conn *h2; /* from then on */
	struct call_list calls;
	struct call_link_list links; /* of all its rpc_calls, also those that nobody waits for */
	size_t left;                 /* calls that were left and are not over at the agent */
	int64_t ping_ns;             /* when the PING went that is not answered; 0: none */
	bool retired, abandoned, over;
	struct telex_error lost; /* why it ended, once that was asked */
};

/* Gives the calls that wait to the current connection, or dials one. 0, or -1: dialling could not
 * even begin. */
int conn_pump(struct telex_client *client, struct telex_error *error);
/* No new calls; closed when its last has ended. */
void conn_retire(struct conn *conn);
/* The same, and what was left on it is not waited for: nobody answers there. */
void conn_abandon(struct conn *conn);
/* Asks whether the other side is there, unless that is being asked; since when it has not answered,
 * CLOCK_MONOTONIC, or 0. */
int64_t conn_ping(struct conn *conn);
/* A call has left the connection, or one that nobody waits for has ended. */
void conn_released(struct conn *conn);
/* Why it ended or is ending. NULL: it is not. */
const struct telex_error *conn_lost(struct conn *conn);
/* Closes and frees; its calls are gone already. What those that were left had to say goes out
 * before, if that takes no more than a second. */
void conn_free(struct conn *conn);
/* The turn of client->later: frees connections that are over, and pumps. */
void conn_tidy(struct telex_client *client);

/* ---- calls (call.c) ---- */

enum call_state { CALL_IDLE, CALL_WAITING, CALL_OPEN, CALL_ENDING, CALL_RESTING };

struct call_method {
	const char *service, *method;
	const ProtobufCMessageDescriptor *response;
	bool server_stream;
	size_t max_message; /* of an answer; 0: GRPC_MAX_MESSAGE */
};

struct call_ops {
	/* The call is open: send what there is to send. Calls nobody back. */
	void (*opened)(struct call *c);
	/* One answer. With raw it comes packed, and its credit is the receiver's to return. */
	void (*message)(struct call *c, const ProtobufCMessage *msg);
	void (*raw)(struct call *c, const uint8_t *msg, size_t len);
	/* What was to be sent has gone down below H2_SEND_LOW, after it was above H2_SEND_HIGH. May
	 * be NULL. */
	void (*writable)(struct call *c);
	/* error NULL: the agent ended the call with OK. Frees what holds the call, or begins it
	 * again. c->status is what the agent said, if it did. */
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
	struct event *timer; /* the deadline while it waits, or the end of its rest */
	int64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	int64_t give_up_ns;  /* until then it waits for a connection; 0: only for this one */
	unsigned tries;      /* of call_again, since it got anywhere */
	const struct rpc_status *status;
	enum call_state state;
	struct telex_error error; /* how it ended */
};

/* c is zeroed. timeout_ns 0: none. 0, or -1 with *error and without any callback. */
int call_start(struct call *c, struct telex_client *client, const struct call_method *method,
    const struct call_ops *ops, int64_t timeout_ns, struct telex_error *error);
/* Begins one again that is idle, after a rest; from c's `done`. *why is its error if it gets
 * nowhere. TX_ETIMEOUT: give_up_ns comes first. TX_ENOMEM. */
int call_again(struct call *c, const struct telex_error *why);
/* Keeps an idle one where `drop` finds it; it does nothing. */
void call_park(struct call *c);
/* NULL unless it is open. */
struct rpc_call *call_rpc(const struct call *c);
/* Ends it with this error: cancelled at the agent, `done` from the event loop. Nothing when it is
 * ending already. */
void call_fail(struct call *c, const struct telex_error *error);
/* Takes it out, cancelled at the agent; no callback any more. Any state. */
void call_cancel(struct call *c);
/* As call_cancel, but the agent is left to end the call by itself, and what was sent gets there. */
void call_leave(struct call *c);

/* For conn.c: opens a waiting call. TX_ELIMIT, TX_ECLOSED: it still waits; else it is open or
 * ending. */
int call_open(struct call *c, struct conn *conn);
/* For conn.c: a call that waits or ended with its connection gets this error; `done` from the event
 * loop. */
void call_end(struct call *c, const struct telex_error *error);
/* For conn.c: it could not be had. Ends those that wait, but for those that wait for another. */
void call_no_connection(struct telex_client *client, const struct telex_error *error);
/* For conn.c: the connection goes before what is left of its calls. */
void call_forget_conn(struct conn *conn);
/* Delivers client->ending. */
void call_deliver(struct telex_client *client);

#endif
