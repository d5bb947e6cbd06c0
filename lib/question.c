/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/question.h"

#include <event2/buffer.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/duration.h"
#include "lib/error.h"

#define QUESTION_TIMEOUT_MS     30000
#define QUESTION_TIMEOUT_MAX_MS INT64_C(31536000000) /* a year */

struct question {
	struct call call;
	const struct question_kind *kind;
	struct question_answer to;
	telex_done *done;
	void *arg;
	size_t len;
	uint8_t request[];
};

static struct question *question_of(struct call *c)
{
	return (struct question *)((char *)c - offsetof(struct question, call));
}

static void on_opened(struct call *c)
{
	struct question *q = question_of(c);
	struct rpc_call *rpc = call_rpc(c);
	struct evbuffer *message = evbuffer_new();
	struct telex_error error;
	int rc = TX_ENOMEM;

	if (message != NULL && (q->len == 0 || evbuffer_add(message, q->request, q->len) == 0))
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

static void on_message(struct call *c, const ProtobufCMessage *msg)
{
	struct question *q = question_of(c);
	struct telex_error error;
	int rc = q->kind->answer(msg, &q->to, q->arg);

	if (rc == 0)
		return;
	if (rc == TX_ENOMEM) {
		error_no_memory(&error);
	} else {
		error_set(&error, TELEX_ERROR_STATUS, "the agent's answer is incomplete");
		error.code = RPC_INTERNAL;
	}
	call_fail(c, &error);
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct question *q = question_of(c);

	if (q->done != NULL)
		q->done(error, q->arg);
	free(q);
}

static void on_drop(struct call *c)
{
	free(question_of(c));
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

int question_ask(struct telex_client *client, const struct question_kind *kind,
    const ProtobufCMessage *request, int64_t timeout_ms, const struct question_answer *to,
    telex_done *done, void *arg, struct telex_error *error)
{
	size_t len = protobuf_c_message_get_packed_size(request);
	struct question *q;

	if (timeout_ms < 0 || timeout_ms > QUESTION_TIMEOUT_MAX_MS)
		return error_set(
		    error, TELEX_ERROR_USAGE, "timeout_ms must be between 0 and a year");
	if (timeout_ms == 0 && !kind->waits)
		timeout_ms = QUESTION_TIMEOUT_MS;
	q = calloc(1, sizeof(*q) + len);
	if (q == NULL)
		return error_no_memory(error);
	q->kind = kind;
	q->to = *to;
	q->done = done;
	q->arg = arg;
	q->len = protobuf_c_message_pack(request, q->request);
	if (call_start(&q->call, client, &kind->method, &question_ops, timeout_ms * NS_PER_MS,
	        error) < 0) {
		free(q);
		return -1;
	}
	return 0;
}
