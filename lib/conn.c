/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of a client. h2 may report the end of a connection from inside any call into it; so
 * that end only marks the connection, and client->later does the rest.
 */
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/h2.h"
#include "common/tls.h"
#include "lib/client.h"
#include "lib/dial.h"
#include "lib/error.h"

#define CONN_LAST_WORDS_NS NS_PER_S

static void later(struct telex_client *client)
{
	event_active(client->later, EV_TIMEOUT, 1);
}

/* The last words of those that were left: nobody turns the loop for them any more. */
static void say_last_words(struct conn *conn)
{
	if (conn->left == 0 || conn->over || conn->abandoned)
		return;
	h2_push(conn->h2);
	tls_flush(h2_bufferevent(conn->h2), CONN_LAST_WORDS_NS);
}

void conn_free(struct conn *conn)
{
	struct telex_client *client = conn->client;

	if (client->current == conn)
		client->current = NULL;
	dial_free(conn->dial);
	conn->dial = NULL;
	if (conn->h2 != NULL) {
		say_last_words(conn);
		h2_abort(conn->h2);
	}
	call_forget_conn(conn);
	TAILQ_REMOVE(&client->conns, conn, entry);
	free(conn);
}

/* ---- what h2 tells ---- */

/* What h2 says, or TLS where TLS knows more than that the other side is gone. */
static void describe_end(const struct conn *conn, const struct err *why, struct err *e)
{
	short event = h2_transport_event(conn->h2);

	*e = *why;
	if (event != 0 && why->code != TX_OK) {
		tls_failure(h2_bufferevent(conn->h2), event, e);
		if (e->code == TX_ECLOSED && why->code == TX_ECLOSED)
			*e = *why;
	}
	if (e->code == TX_OK)
		err_set(e, TX_ECLOSED, "the agent closed it");
	if (e->code == TX_EINVAL)
		e->code = TX_EPROTO;
	/* In TLS 1.3 the agent refuses us after our side of the handshake is over. */
	err_wrap(e, e->code == TX_ECERT ? "cannot connect to %s" : "the connection to %s is lost",
	    conn->client->address.authority);
}

const struct telex_error *conn_lost(struct conn *conn)
{
	const struct err *why;
	struct err e;

	/* Once: TLS tells its reasons only once. */
	if (conn->lost.kind != TELEX_OK)
		return &conn->lost;
	why = conn->h2 != NULL ? h2_why(conn->h2) : NULL;
	if (why == NULL)
		return NULL;
	describe_end(conn, why, &e);
	error_from_err(&conn->lost, TELEX_ERROR_LOST, &e);
	error_certificate_hint(&conn->lost,
	    "ours must come from an authority that the agent trusts and be valid today");
	return &conn->lost;
}

static void on_closed(struct h2_conn *h2, const struct err *why, void *arg)
{
	struct conn *conn = arg;
	struct telex_client *client = conn->client;

	(void)h2;
	(void)why;
	/* Calls may still be held up in grpc, with messages that came before the end. */
	(void)conn_lost(conn);
	conn->h2 = NULL;
	conn->over = true;
	if (client->current == conn)
		client->current = NULL;
	later(client);
}

static void on_goaway(struct h2_conn *h2, int32_t last_stream, uint32_t code, void *arg)
{
	(void)h2;
	(void)last_stream;
	(void)code;
	conn_retire(arg);
}

static const struct h2_conn_ops conn_ops = {.on_goaway = on_goaway, .on_closed = on_closed};

/* ---- connecting ---- */

static void on_dialed(
    struct bufferevent *bev, const char *identity, const struct telex_error *error, void *arg)
{
	static const struct h2_limits limits = {
	    .stream_window = CONN_STREAM_WINDOW,
	    .connection_window = (uint32_t)64 << 20,
	    .max_frame = 256 * 1024,
	};
	struct conn *conn = arg;
	struct telex_client *client = conn->client;
	struct telex_error why;
	struct err e;

	conn->dial = NULL;
	if (error != NULL) {
		call_no_connection(client, error);
		conn_free(conn);
		return;
	}
	if (h2_conn_new(
	        &conn->h2, client->base, bev, false, &limits, &conn_ops, conn, tls_free, &e) < 0) {
		conn->h2 = NULL;
		tls_free(bev);
		error_from_err(&why, TELEX_ERROR_CONNECT, &e);
		call_no_connection(client, &why);
		conn_free(conn);
		return;
	}
	client->failures = 0;
	memcpy(client->agent, identity, strlen(identity) + 1);
	if (conn_pump(client, &why) < 0)
		call_no_connection(client, &why);
}

static int conn_dial(struct telex_client *client, struct telex_error *error)
{
	struct dial_target target = {
	    .address = &client->address,
	    .tls_name = client->tls_name,
	    .timeout_ns = client->connect_timeout_ns,
	};
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return error_no_memory(error);
	client_refresh(client);
	target.tls = client->tls;
	conn->client = client;
	TAILQ_INIT(&conn->calls);
	TAILQ_INIT(&conn->links);
	if (dial_start(&conn->dial, client->base, &target, on_dialed, conn, error) < 0) {
		free(conn);
		return -1;
	}
	TAILQ_INSERT_TAIL(&client->conns, conn, entry);
	client->current = conn;
	return 0;
}

/* The agent allows no more calls at once: they wait until one ends, but not for ever. */
static void wait_for_room(struct telex_client *client)
{
	struct telex_error error;

	if (!TAILQ_EMPTY(&client->current->links))
		return;
	error_set(&error, TELEX_ERROR_STATUS, "the agent at %s allows no calls at all",
	    client->address.authority);
	error.code = RPC_RESOURCE_EXHAUSTED;
	call_no_connection(client, &error);
}

int conn_pump(struct telex_client *client, struct telex_error *error)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&client->waiting)) != NULL) {
		struct conn *conn = client->current;
		int rc;

		if (conn == NULL && evtimer_pending(client->redial, NULL))
			return 0;
		if (conn == NULL)
			return conn_dial(client, error);
		if (conn->h2 == NULL)
			return 0;
		rc = call_open(c, conn);
		if (rc == TX_ELIMIT) {
			wait_for_room(client);
			return 0;
		}
		if (rc == TX_ECLOSED)
			conn_retire(conn);
	}
	return 0;
}

/* ---- is it there? ---- */

static void on_pong(struct h2_conn *h2, void *arg)
{
	struct conn *conn = arg;

	(void)h2;
	conn->ping_ns = 0;
}

int64_t conn_ping(struct conn *conn)
{
	if (!conn->over && conn->ping_ns == 0 && h2_ping(conn->h2, on_pong) == 0)
		conn->ping_ns = clock_monotonic_ns();
	return conn->ping_ns;
}

/* ---- the end ---- */

void conn_retire(struct conn *conn)
{
	conn->retired = true;
	if (conn->client->current == conn)
		conn->client->current = NULL;
	conn_released(conn);
}

void conn_abandon(struct conn *conn)
{
	conn->abandoned = true;
	conn_retire(conn);
}

static bool is_unused(const struct conn *conn)
{
	return TAILQ_EMPTY(&conn->calls) && (conn->left == 0 || conn->abandoned);
}

void conn_released(struct conn *conn)
{
	if (conn->retired && !conn->over && is_unused(conn))
		h2_close(conn->h2, H2_NO_ERROR);
	if (conn->over || !TAILQ_EMPTY(&conn->client->waiting))
		later(conn->client);
}

void conn_tidy(struct telex_client *client)
{
	struct telex_error error;
	struct conn *conn, *next;

	for (conn = TAILQ_FIRST(&client->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, entry);
		if (conn->over && TAILQ_EMPTY(&conn->calls))
			conn_free(conn);
	}
	if (conn_pump(client, &error) < 0)
		call_no_connection(client, &error);
}
