/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls. The rpc layer keeps an rpc_call until its own end; what it points to is a call_link, so
 * that a call can be taken out at any moment: the link then points to nothing and is freed at the
 * rpc_call's end.
 */
#include "lib/client.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"
#include "lib/error.h"
#include "lib/retry.h"

struct call_link {
	TAILQ_ENTRY(call_link) entry;
	struct conn *conn; /* NULL: it went first */
	struct call *call; /* NULL: taken out */
	struct rpc_call *rpc;
	bool left; /* counted in conn->left */
};

/* ---- what the rpc layer tells ---- */

static void on_message(struct rpc_call *rpc, const ProtobufCMessage *msg, void *data)
{
	struct call_link *link = data;

	(void)rpc;
	if (link->call != NULL)
		link->call->ops->message(link->call, msg);
}

static void on_raw(struct rpc_call *rpc, const uint8_t *msg, size_t len, void *data)
{
	struct call_link *link = data;

	if (link->call != NULL)
		link->call->ops->raw(link->call, msg, len);
	else
		rpc_credit(rpc, rpc_message_size(rpc));
}

static void on_writable(struct rpc_call *rpc, void *data)
{
	struct call_link *link = data;

	(void)rpc;
	if (link->call != NULL && link->call->ops->writable != NULL)
		link->call->ops->writable(link->call);
}

/* Takes c off its connection's list; the rpc_call is not touched. */
static struct conn *unlink_open(struct call *c)
{
	struct conn *conn = c->conn;

	TAILQ_REMOVE(&conn->calls, c, entry);
	c->link->call = NULL;
	c->link = NULL;
	c->conn = NULL;
	c->status = NULL;
	c->state = CALL_IDLE;
	return conn;
}

static void finish(struct call *c, struct conn *conn, const struct rpc_status *status)
{
	const struct telex_error *lost = NULL;
	struct telex_error error;

	unlink_open(c);
	if (status->code == RPC_OK) {
		c->ops->done(c, NULL);
		return;
	}
	/* A lost connection looks like this; the connection knows better. */
	if (status->code == RPC_UNAVAILABLE && status->reason[0] == '\0')
		lost = conn_lost(conn);
	error_from_status(&error, status);
	if (retry_elsewhere(&error))
		conn_retire(conn);
	c->status = status;
	c->ops->done(c, lost != NULL ? lost : &error);
}

static void on_done(struct rpc_call *rpc, const struct rpc_status *status, void *data)
{
	struct call_link *link = data;
	struct conn *conn = link->conn;

	(void)rpc;
	if (link->call != NULL)
		finish(link->call, conn, status);
	if (conn != NULL) {
		TAILQ_REMOVE(&conn->links, link, entry);
		conn->left -= link->left;
		conn_released(conn);
	}
	free(link);
}

void call_forget_conn(struct conn *conn)
{
	struct call_link *link;

	while ((link = TAILQ_FIRST(&conn->links)) != NULL) {
		TAILQ_REMOVE(&conn->links, link, entry);
		link->conn = NULL;
	}
}

static const struct rpc_client_ops message_ops = {
    .message = on_message, .writable = on_writable, .done = on_done};
static const struct rpc_client_ops raw_ops = {
    .raw = on_raw, .writable = on_writable, .done = on_done, .manual_credit = true};

/* ---- opening ---- */

static void stop_timer(struct call *c)
{
	if (c->timer != NULL)
		event_free(c->timer);
	c->timer = NULL;
}

int call_open(struct call *c, struct conn *conn)
{
	struct telex_client *client = c->client;
	struct rpc_client_options o = {
	    .authority = client->address.authority,
	    .service = c->method->service,
	    .method = c->method->method,
	    .response = c->method->response,
	    .server_stream = c->method->server_stream,
	    .max_message = c->method->max_message,
	};
	struct call_link *link = malloc(sizeof(*link));
	int rc = TX_ENOMEM;

	if (c->deadline_ns != 0) {
		o.timeout_ns = c->deadline_ns - clock_monotonic_ns();
		if (o.timeout_ns < 1)
			o.timeout_ns = 1;
	}
	if (link != NULL) {
		link->call = c;
		link->conn = conn;
		link->left = false;
		rc = rpc_open(&link->rpc, conn->h2, client->base, &o,
		    c->ops->raw != NULL ? &raw_ops : &message_ops, link);
	}
	if (rc < 0) {
		free(link);
		if (rc == TX_ELIMIT || rc == TX_ECLOSED)
			return rc;
		error_no_memory(&c->error);
		call_end(c, &c->error);
		return 0;
	}
	stop_timer(c);
	TAILQ_REMOVE(&client->waiting, c, entry);
	TAILQ_INSERT_TAIL(&conn->calls, c, entry);
	TAILQ_INSERT_TAIL(&conn->links, link, entry);
	c->state = CALL_OPEN;
	c->conn = conn;
	c->link = link;
	c->ops->opened(c);
	return 0;
}

static void fail_by_deadline(struct call *c)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS,
	    "the deadline of the call passed before there was a connection to %s",
	    c->client->address.authority);
	error.code = RPC_DEADLINE_EXCEEDED;
	call_end(c, &error);
}

static void begin_waiting(struct call *c);

/* The timer may run out a little early. */
static bool deadline_is_up(const struct call *c)
{
	if (c->deadline_ns == 0)
		return false;
	if (c->state == CALL_WAITING && (c->give_up_ns == 0 || c->deadline_ns <= c->give_up_ns))
		return true; /* what else was it set for */
	return clock_monotonic_ns() >= c->deadline_ns;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct call *c = arg;
	struct telex_error error;

	(void)fd;
	(void)what;
	if (deadline_is_up(c)) {
		fail_by_deadline(c);
	} else if (c->state == CALL_RESTING) {
		begin_waiting(c);
	} else {
		error = c->error; /* why it did not get there */
		call_end(c, &error);
	}
}

/* What comes first: the deadline, the end of the tries, or `at` (0: not). 0 or TX_ENOMEM. */
static int start_timer(struct call *c, int64_t at)
{
	struct timeval tv;

	if (at == 0)
		at = c->give_up_ns;
	if (at == 0 || (c->deadline_ns != 0 && c->deadline_ns < at))
		at = c->deadline_ns;
	if (at == 0)
		return 0;
	if (c->timer == NULL)
		c->timer = evtimer_new(c->client->base, on_timer, c);
	tv = duration_timeval(at - clock_monotonic_ns());
	if (c->timer == NULL || evtimer_add(c->timer, &tv) < 0)
		return TX_ENOMEM;
	return 0;
}

int call_start(struct call *c, struct telex_client *client, const struct call_method *method,
    const struct call_ops *ops, int64_t timeout_ns, struct telex_error *error)
{
	struct telex_error why;

	c->client = client;
	c->method = method;
	c->ops = ops;
	if (timeout_ns > 0)
		c->deadline_ns = clock_monotonic_ns() + timeout_ns;
	if (start_timer(c, 0) < 0) {
		stop_timer(c);
		return error_no_memory(error);
	}
	/* Somebody who asks now is not to wait for the back-off of others. */
	event_del(client->redial);
	TAILQ_INSERT_TAIL(&client->waiting, c, entry);
	c->state = CALL_WAITING;
	if (conn_pump(client, &why) == 0)
		return 0;
	call_cancel(c);
	/* Others that wait learn it too. */
	event_active(client->later, EV_TIMEOUT, 1);
	if (error != NULL)
		*error = why;
	return -1;
}

/* ---- again ---- */

static void begin_waiting(struct call *c)
{
	struct telex_client *client = c->client;
	struct telex_error error;

	TAILQ_REMOVE(&client->resting, c, entry);
	TAILQ_INSERT_TAIL(&client->waiting, c, entry);
	c->state = CALL_WAITING;
	if (start_timer(c, 0) < 0) {
		error_no_memory(&error);
		call_end(c, &error);
		return;
	}
	if (conn_pump(client, &error) < 0)
		call_no_connection(client, &error);
}

void call_park(struct call *c)
{
	TAILQ_INSERT_TAIL(&c->client->resting, c, entry);
	c->state = CALL_RESTING;
}

int call_again(struct call *c, const struct telex_error *why)
{
	int64_t at = clock_monotonic_ns() + retry_delay_ns(c->tries++);

	c->status = NULL;
	c->error = *why;
	if (c->give_up_ns != 0 && at >= c->give_up_ns)
		return TX_ETIMEOUT;
	if (start_timer(c, at) < 0) {
		stop_timer(c);
		return TX_ENOMEM;
	}
	call_park(c);
	return 0;
}

void call_no_connection(struct telex_client *client, const struct telex_error *error)
{
	bool stays = retry_may_pass(error);
	struct timeval tv;
	struct call *c, *next;

	for (c = TAILQ_FIRST(&client->waiting); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (stays && c->give_up_ns != 0)
			c->error = *error;
		else
			call_end(c, error);
	}
	if (TAILQ_EMPTY(&client->waiting))
		return;
	tv = duration_timeval(retry_delay_ns(client->failures++));
	evtimer_add(client->redial, &tv);
}

struct rpc_call *call_rpc(const struct call *c)
{
	return c->state == CALL_OPEN ? c->link->rpc : NULL;
}

/* ---- ending ---- */

/* From any state to IDLE, on no list. An open rpc_call is left to itself; its connection is
 * returned. */
static struct conn *take_out(struct call *c)
{
	struct conn *conn = NULL;

	stop_timer(c);
	if (c->state == CALL_WAITING)
		TAILQ_REMOVE(&c->client->waiting, c, entry);
	else if (c->state == CALL_RESTING)
		TAILQ_REMOVE(&c->client->resting, c, entry);
	else if (c->state == CALL_ENDING)
		TAILQ_REMOVE(&c->client->ending, c, entry);
	else if (c->state == CALL_OPEN)
		conn = unlink_open(c);
	c->state = CALL_IDLE;
	return conn;
}

void call_end(struct call *c, const struct telex_error *error)
{
	take_out(c);
	c->error = *error;
	c->state = CALL_ENDING;
	TAILQ_INSERT_TAIL(&c->client->ending, c, entry);
	event_active(c->client->later, EV_TIMEOUT, 1);
}

void call_cancel(struct call *c)
{
	struct rpc_call *rpc = call_rpc(c);
	struct conn *conn = take_out(c);

	if (conn == NULL)
		return;
	rpc_cancel(rpc);
	conn_released(conn);
}

void call_leave(struct call *c)
{
	struct rpc_call *rpc = call_rpc(c);
	struct call_link *link = c->link;
	struct conn *conn = take_out(c);

	if (conn == NULL)
		return;
	link->left = true;
	conn->left++;
	rpc_half_close(rpc);
	conn_released(conn);
}

void call_fail(struct call *c, const struct telex_error *error)
{
	if (c->state == CALL_IDLE || c->state == CALL_ENDING)
		return;
	call_cancel(c);
	call_end(c, error);
}

void call_deliver(struct telex_client *client)
{
	struct call *c;
	size_t n = 0;

	/* Those that are here now: a callback may start a call that fails at once. */
	TAILQ_FOREACH(c, &client->ending, entry)
	n++;
	for (; n > 0 && (c = TAILQ_FIRST(&client->ending)) != NULL; n--) {
		take_out(c);
		c->status = NULL;
		c->ops->done(c, &c->error);
	}
	if (!TAILQ_EMPTY(&client->ending))
		event_active(client->later, EV_TIMEOUT, 1);
}
