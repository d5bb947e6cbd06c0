/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/question.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/duration.h"
#include "lib/error.h"
#include "lib/retry.h"

#define QUESTION_TIMEOUT_MS     30000
#define QUESTION_TIMEOUT_MAX_MS INT64_C(31536000000) /* a year */
#define QUESTION_TRIES          3
#define GIVEN_BUCKETS           4096
#define GIVEN_MAX               ((size_t)1 << 18) /* names; an agent holds fewer processes */

/* An answer that was given. */
struct given {
	SLIST_ENTRY(given) entry;
	char name[];
};

SLIST_HEAD(given_list, given);

struct question {
	struct call call;
	const struct question_kind *kind;
	struct question_answer to;
	telex_done *done;
	void *arg;
	bool answered;   /* in any call: asking again would give answers twice */
	unsigned tries;  /* again, without an answer */
	int64_t lost_ns; /* since when; 0: it is not lost */
	int64_t heard_ns;
	struct event *watchdog;   /* of kinds that wait or work */
	struct given_list *given; /* GIVEN_BUCKETS; NULL: none yet */
	size_t n_given;
	const struct question_kind *then; /* NULL: nothing follows */
	size_t at, len, then_len;         /* the request that is asked, and what is behind it */
	uint8_t request[];
};

static struct question *question_of(struct call *c)
{
	return (struct question *)((char *)c - offsetof(struct question, call));
}

static void question_free(struct question *q)
{
	struct given *g;

	for (size_t i = 0; i < GIVEN_BUCKETS && q->given != NULL; i++)
		while ((g = SLIST_FIRST(&q->given[i])) != NULL) {
			SLIST_REMOVE_HEAD(&q->given[i], entry);
			free(g);
		}
	free(q->given);
	if (q->watchdog != NULL)
		event_free(q->watchdog);
	free(q);
}

/* ---- is the agent there? ---- */

static void arm_watchdog(struct question *q)
{
	const struct timeval tv = duration_timeval(q->call.client->heartbeat_ms * NS_PER_MS);

	if (q->watchdog != NULL)
		evtimer_add(q->watchdog, &tv);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct question *q = arg;
	struct conn *conn = q->call.conn;
	int64_t now = clock_monotonic_ns(), since = q->heard_ns;
	struct telex_error error;

	(void)fd;
	(void)what;
	if (call_rpc(&q->call) == NULL)
		return;
	if (!q->kind->heartbeats)
		since = conn_ping(conn);
	arm_watchdog(q);
	if (since == 0 || now - since <= q->call.client->heartbeat_ms * NS_PER_MS * 5 / 2)
		return;
	error_set(&error, TELEX_ERROR_LOST, "the agent at %s has been silent for %.3g s",
	    q->call.client->address.authority, (double)(now - since) / (double)NS_PER_S);
	call_fail(&q->call, &error);
	conn_abandon(conn);
}

/* ---- the call ---- */

static void on_opened(struct call *c)
{
	struct question *q = question_of(c);
	struct rpc_call *rpc = call_rpc(c);
	struct evbuffer *message = evbuffer_new();
	struct telex_error error;
	int rc = TX_ENOMEM;

	q->heard_ns = clock_monotonic_ns();
	arm_watchdog(q);
	if (message != NULL &&
	    (q->len == 0 || evbuffer_add(message, q->request + q->at, q->len) == 0))
		rc = rpc_send_encoded(rpc, message);
	if (message != NULL)
		evbuffer_free(message);
	if (rc == TX_ENOMEM) {
		error_no_memory(&error);
		call_fail(c, &error);
	} else if (rc == 0) {
		rpc_half_close(rpc);
	}
}

static struct given_list *bucket_of(struct question *q, const char *name)
{
	uint32_t hash = 2166136261;

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619;
	return &q->given[hash % GIVEN_BUCKETS];
}

/* 1: for the first time; 0: it was given before a connection was lost; TX_ENOMEM or TX_ELIMIT. */
static int note_given(struct question *q, const ProtobufCMessage *msg)
{
	const char *name = q->kind->name != NULL ? q->kind->name(msg) : NULL;
	struct given_list *bucket;
	struct given *g;
	size_t size;

	if (name == NULL)
		return 1;
	if (q->given == NULL)
		q->given = calloc(GIVEN_BUCKETS, sizeof(*q->given));
	if (q->given == NULL)
		return TX_ENOMEM;
	bucket = bucket_of(q, name);
	SLIST_FOREACH(g, bucket, entry)
	if (strcmp(g->name, name) == 0)
		return 0;
	if (q->n_given == GIVEN_MAX)
		return TX_ELIMIT;
	size = strlen(name) + 1;
	g = malloc(sizeof(*g) + size);
	if (g == NULL)
		return TX_ENOMEM;
	memcpy(g->name, name, size);
	SLIST_INSERT_HEAD(bucket, g, entry);
	q->n_given++;
	return 1;
}

static void on_message(struct call *c, const ProtobufCMessage *msg)
{
	struct question *q = question_of(c);
	struct telex_error error;
	int rc;

	q->heard_ns = clock_monotonic_ns();
	q->answered = true;
	q->lost_ns = c->give_up_ns = 0;
	c->tries = 0;
	rc = note_given(q, msg);
	if (rc > 0)
		rc = q->kind->answer(msg, &q->to, q->arg);
	if (rc == 0)
		return;
	if (rc == TX_ENOMEM) {
		error_no_memory(&error);
	} else {
		error_set(&error, TELEX_ERROR_STATUS,
		    rc == TX_ELIMIT ? "the agent names more processes than it can have"
		                    : "the agent's answer is incomplete");
		error.code = RPC_INTERNAL;
	}
	call_fail(c, &error);
}

/* ---- again ---- */

/* One that waits comes back as a run does. */
static bool may_wait_on(struct question *q, const struct telex_error *error)
{
	const int64_t reconnect_ns = q->call.client->reconnect_ns, now = clock_monotonic_ns();

	if (!q->kind->waits || reconnect_ns < 0 || !retry_may_pass(error))
		return false;
	/* A connection that never was is no loss. */
	if (q->lost_ns == 0 && q->heard_ns == 0)
		return false;
	if (q->lost_ns == 0)
		q->lost_ns = now;
	q->call.give_up_ns = q->lost_ns + reconnect_ns;
	return now < q->call.give_up_ns;
}

static bool may_ask_again(struct question *q, const struct telex_error *error)
{
	bool may = retry_undone(error);

	if (q->kind->again)
		may = error->kind == TELEX_ERROR_LOST || retry_elsewhere(error);
	if (!may || q->answered || q->tries >= QUESTION_TRIES)
		return false;
	q->tries++;
	return true;
}

/* Begins what follows. As call_again. */
static int go_on(struct question *q)
{
	struct call *c = &q->call;
	struct telex_error why;

	error_set(&why, TELEX_ERROR_LOST, "there was no time to ask %s", q->then->method.method);
	q->kind = q->then;
	q->then = NULL;
	q->at += q->len;
	q->len = q->then_len;
	q->answered = false;
	q->tries = c->tries = 0;
	q->lost_ns = c->give_up_ns = 0;
	c->method = &q->kind->method;
	c->deadline_ns = clock_monotonic_ns() + QUESTION_TIMEOUT_MS * NS_PER_MS;
	return call_again(c, &why);
}

static bool is_gone(const struct question *q, const struct telex_error *error)
{
	return q->kind->may_be_gone && error->kind == TELEX_ERROR_STATUS &&
	       error->code == RPC_NOT_FOUND;
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct question *q = question_of(c);
	struct telex_error why;
	int rc = TX_ESTATE;

	if (error != NULL && (may_wait_on(q, error) || may_ask_again(q, error)))
		rc = call_again(c, error);
	else if (error == NULL && q->then != NULL && (rc = go_on(q)) != 0)
		error = &c->error;
	if (rc == 0)
		return;
	if (error != NULL && is_gone(q, error))
		error = NULL;
	if (error != NULL) {
		why = *error;
		error = &why;
		if (rc == TX_ENOMEM)
			error_no_memory(&why);
		else if (q->lost_ns != 0 && retry_may_pass(&why))
			error_given_up(&why, clock_monotonic_ns() - q->lost_ns);
	}
	if (q->done != NULL)
		q->done(error, q->arg);
	question_free(q);
}

static void on_drop(struct call *c)
{
	question_free(question_of(c));
}

int question_no_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	(void)msg;
	(void)to;
	(void)arg;
	return 0;
}

static const struct call_ops question_ops = {
    .opened = on_opened, .message = on_message, .done = on_done, .drop = on_drop};

int question_ask_both(struct telex_client *client, const struct question_kind *kind,
    const ProtobufCMessage *request, const struct question_then *then, int64_t timeout_ms,
    const struct question_answer *to, telex_done *done, void *arg, struct telex_error *error)
{
	size_t len = protobuf_c_message_get_packed_size(request);
	size_t then_len = then != NULL ? protobuf_c_message_get_packed_size(then->request) : 0;
	const bool endless = kind->waits || kind->works;
	struct question *q;

	if (timeout_ms < 0 || timeout_ms > QUESTION_TIMEOUT_MAX_MS)
		return error_set(
		    error, TELEX_ERROR_USAGE, "timeout_ms must be between 0 and a year");
	if (timeout_ms == 0 && !endless)
		timeout_ms = QUESTION_TIMEOUT_MS;
	q = calloc(1, sizeof(*q) + len + then_len);
	if (q == NULL)
		return error_no_memory(error);
	q->kind = kind;
	q->to = *to;
	q->done = done;
	q->arg = arg;
	q->len = protobuf_c_message_pack(request, q->request);
	if (then != NULL) {
		q->then = then->kind;
		q->then_len = protobuf_c_message_pack(then->request, q->request + q->len);
	}
	if (endless)
		q->watchdog = evtimer_new(client->base, on_watchdog, q);
	if (endless && q->watchdog == NULL) {
		question_free(q);
		return error_no_memory(error);
	}
	if (call_start(&q->call, client, &kind->method, &question_ops, timeout_ms * NS_PER_MS,
	        error) < 0) {
		question_free(q);
		return -1;
	}
	return 0;
}

int question_ask(struct telex_client *client, const struct question_kind *kind,
    const ProtobufCMessage *request, int64_t timeout_ms, const struct question_answer *to,
    telex_done *done, void *arg, struct telex_error *error)
{
	return question_ask_both(client, kind, request, NULL, timeout_ms, to, done, arg, error);
}
