/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read: the bytes of a file. Chunks go to the caller as they are in the packed message, and each
 * holds its window credit until the caller has dealt with it.
 *
 * The reader is freed by its call's end; a callback may cancel it, so whoever calls one holds
 * `busy`.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>

#include "common/duration.h"
#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/client.h"
#include "lib/error.h"
#include "lib/file_info.h"
#include "lib/request.h"
#include "lib/retry.h"

#define FIELD_CHUNK      1 /* of ReadResponse */
#define FIELD_CHUNK_DATA 2 /* of FileChunk */
#define READ_TRIES       3

struct telex_file_reader {
	struct call call;
	void (*output)(struct telex_file_reader *reader, uint64_t offset, const void *data,
	    size_t len, void *arg);
	void (*end)(const struct telex_file *file, bool changed, void *arg);
	telex_done *done;
	void *arg;
	uint64_t next; /* offset of the next byte */
	size_t held;   /* bytes given and not consumed */
	size_t owed;   /* the window credit that they hold */
	struct event *watchdog;
	unsigned tries;
	bool answered, ended; /* something has come; `end` has */
	bool busy, cancelled, over;
	size_t len; /* of the request */
	uint8_t request[];
};

static struct telex_file_reader *reader_of(struct call *c)
{
	return (struct telex_file_reader *)c; /* call is the first */
}

static void reader_free(struct telex_file_reader *r)
{
	if (r->watchdog != NULL)
		event_free(r->watchdog);
	free(r);
}

/* ---- is the agent there? ---- */

static void arm_watchdog(struct telex_file_reader *r)
{
	const struct timeval tv = duration_timeval(r->call.client->heartbeat_ms * NS_PER_MS);

	evtimer_add(r->watchdog, &tv);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct telex_file_reader *r = arg;
	struct conn *conn = r->call.conn;
	const int64_t now = clock_monotonic_ns();
	struct telex_error error;
	int64_t since;

	(void)fd;
	(void)what;
	if (call_rpc(&r->call) == NULL)
		return;
	since = conn_ping(conn);
	arm_watchdog(r);
	if (since == 0 || now - since <= r->call.client->heartbeat_ms * NS_PER_MS * 5 / 2)
		return;
	error_set(&error, TELEX_ERROR_LOST, "the agent at %s has been silent for %.3g s",
	    r->call.client->address.authority, (double)(now - since) / (double)NS_PER_S);
	call_fail(&r->call, &error);
	conn_abandon(conn);
}

/* ---- the call ---- */

static void on_opened(struct call *c)
{
	struct telex_file_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	struct evbuffer *message = evbuffer_new();
	struct telex_error error;
	int rc = TX_ENOMEM;

	arm_watchdog(r);
	if (message != NULL && evbuffer_add(message, r->request, r->len) == 0)
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

static void broken(struct call *c, const char *what)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS, "the agent broke the protocol: %s", what);
	error.code = RPC_INTERNAL;
	call_fail(c, &error);
}

static void give_end(struct telex_file_reader *r, const Telex__V1__ReadEnd *end)
{
	struct telex_error error;
	struct file_info info;
	int rc = file_info(&info, end->file);

	r->ended = true;
	if (rc < 0) {
		error_no_memory(&error);
		call_fail(&r->call, &error);
	} else if (r->end != NULL) {
		r->busy = true;
		r->end(&info.file, end->changed, r->arg);
		r->busy = false;
	}
	file_info_free(&info);
	if (r->cancelled)
		reader_free(r);
}

/* What is no chunk: the end, a heartbeat, or what a later agent has. */
static void on_other(struct telex_file_reader *r, const uint8_t *msg, size_t len)
{
	struct rpc_call *rpc = call_rpc(&r->call);
	Telex__V1__ReadResponse *response = telex__v1__read_response__unpack(NULL, len, msg);

	if (response == NULL) {
		broken(&r->call, "a message cannot be read");
		return;
	}
	rpc_credit(rpc, rpc_message_size(rpc));
	if (response->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_END)
		give_end(r, response->end);
	telex__v1__read_response__free_unpacked(response, NULL);
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_file_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	uint64_t offset[1] = {0};
	struct pb_span span;
	int rc = pb_splice_find(msg, len, FIELD_CHUNK, FIELD_CHUNK_DATA, &span, offset, 1);

	r->answered = true;
	if (rc < 0) {
		broken(c, "a message cannot be read");
		return;
	}
	if (rc == 0) {
		on_other(r, msg, len);
		return;
	}
	if (offset[0] != r->next || r->next > UINT64_MAX - span.data_len || r->ended) {
		broken(c, "bytes of a file are not in order");
		return;
	}
	if (span.data_len == 0) {
		rpc_credit(rpc, rpc_message_size(rpc));
		return;
	}
	r->next += span.data_len;
	r->held += span.data_len;
	r->owed += rpc_message_size(rpc);
	r->busy = true;
	r->output(r, offset[0], span.data, span.data_len, r->arg);
	r->busy = false;
	if (r->cancelled)
		reader_free(r);
}

static bool may_ask_again(struct telex_file_reader *r, const struct telex_error *error)
{
	if (r->answered || r->tries >= READ_TRIES ||
	    (error->kind != TELEX_ERROR_LOST && !retry_elsewhere(error)))
		return false;
	r->tries++;
	return true;
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_file_reader *r = reader_of(c);
	struct telex_error why;

	if (error != NULL) {
		why = *error;
		if (may_ask_again(r, &why) && call_again(c, &why) == 0)
			return;
		error = &why;
	} else if (!r->ended) {
		error_set(&why, TELEX_ERROR_STATUS, "the agent's answer is incomplete");
		why.code = RPC_INTERNAL;
		error = &why;
	}
	r->over = true;
	if (r->done != NULL)
		r->done(error, r->arg);
	reader_free(r);
}

static void on_drop(struct call *c)
{
	reader_free(reader_of(c));
}

static const struct call_ops reader_ops = {
    .opened = on_opened, .raw = on_raw, .done = on_done, .drop = on_drop};

static const struct call_method read_method = {
    .service = FILE_INFO_SERVICE,
    .method = "Read",
    .response = &telex__v1__read_response__descriptor,
    .server_stream = true,
};

static struct telex_file_reader *reader_new(
    struct event_base *base, const Telex__V1__ReadRequest *request)
{
	const size_t len = telex__v1__read_request__get_packed_size(request);
	struct telex_file_reader *r = calloc(1, sizeof(*r) + len);

	if (r == NULL)
		return NULL;
	r->len = telex__v1__read_request__pack(request, r->request);
	r->next = request->offset;
	r->watchdog = evtimer_new(base, on_watchdog, r);
	if (r->watchdog != NULL)
		return r;
	reader_free(r);
	return NULL;
}

int telex_file_read(struct telex_client *client, struct telex_file_reader **out,
    const struct telex_file_read *read,
    void (*output)(
        struct telex_file_reader *reader, uint64_t offset, const void *data, size_t len, void *arg),
    void (*end)(const struct telex_file *file, bool changed, void *arg), telex_done *done,
    void *arg, struct telex_error *error)
{
	Telex__V1__ReadRequest request = TELEX__V1__READ_REQUEST__INIT;
	struct telex_file_reader *r;

	if (file_info_path(&request.path, "path", read->path, error) < 0)
		return -1;
	if (output == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "reading a file needs output");
	request.user = file_info_user(read->user);
	request.offset = read->offset;
	request.length = read->length;
	r = reader_new(client->base, &request);
	if (r == NULL)
		return error_no_memory(error);
	r->output = output;
	r->end = end;
	r->done = done;
	r->arg = arg;
	if (call_start(&r->call, client, &read_method, &reader_ops, 0, error) < 0) {
		reader_free(r);
		return -1;
	}
	*out = r;
	return 0;
}

void telex_file_reader_consumed(struct telex_file_reader *r, size_t n)
{
	struct rpc_call *rpc = call_rpc(&r->call);
	size_t credit;

	if (n > r->held)
		n = r->held;
	if (n == 0)
		return;
	credit = n == r->held ? r->owed : (size_t)((unsigned __int128)r->owed * n / r->held);
	r->held -= n;
	r->owed -= credit;
	if (rpc != NULL && credit > 0)
		rpc_credit(rpc, credit);
}

void telex_file_reader_cancel(struct telex_file_reader *r)
{
	if (r == NULL || r->cancelled || r->over)
		return;
	r->cancelled = true;
	call_cancel(&r->call);
	if (!r->busy)
		reader_free(r);
}
