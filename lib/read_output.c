/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReadOutput: what is held of a process's outputs now. Chunks go to the caller as they are in the
 * packed message, and each holds its window credit until the caller has dealt with it. A reader
 * whose connection is lost, or whose agent answers no PING, goes on with the next byte over another
 * one, for as long as a run tries to come back.
 *
 * The reader is freed by its call's end; a callback may cancel it, so whoever calls one holds
 * `busy`.
 */
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/client.h"
#include "lib/credit.h"
#include "lib/error.h"
#include "lib/request.h"
#include "lib/retry.h"
#include "lib/watchdog.h"

#define FIELD_OUTPUT      1 /* of ReadOutputResponse */
#define FIELD_OUTPUT_DATA 4 /* of Output */

struct telex_reader {
	struct call call;
	void (*output)(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
	    const void *data, size_t len, void *arg);
	telex_done *done;
	void *arg;
	char process_id[REQUEST_ID_SIZE];
	enum telex_stream stream; /* 0: both */
	uint64_t next[2];         /* offset of the next byte wanted, by telex_stream - 1 */
	bool known[2];            /* that is; else: from the oldest */
	struct credit credit;     /* in bytes */
	struct watchdog *watchdog;
	bool opened;     /* once */
	int64_t lost_ns; /* since when; 0: it is not lost */
	bool busy, cancelled, over;
};

static struct telex_reader *reader_of(struct call *c)
{
	return (struct telex_reader *)((char *)c - offsetof(struct telex_reader, call));
}

static void reader_free(struct telex_reader *r)
{
	watchdog_free(r->watchdog);
	free(r);
}

/* ---- the call ---- */

static void on_opened(struct call *c)
{
	Telex__V1__ReadOutputRequest request = TELEX__V1__READ_OUTPUT_REQUEST__INIT;
	Telex__V1__Resume from = TELEX__V1__RESUME__INIT;
	struct telex_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	struct telex_error error;
	int rc;

	r->opened = true;
	watchdog_start(r->watchdog);
	request.process_id = r->process_id;
	request.stream = (Telex__V1__OutputStream)r->stream;
	from.stdout_offset = r->known[0] ? r->next[0] : UINT64_MAX;
	from.stderr_offset = r->known[1] ? r->next[1] : UINT64_MAX;
	if (r->known[0] || r->known[1])
		request.from = &from;
	rc = rpc_send(rpc, &request.base);
	if (rc == TX_ENOMEM) {
		error_no_memory(&error);
		call_fail(c, &error);
	} else if (rc == 0) {
		rpc_half_close(rpc);
	}
}

static void give(struct telex_reader *r, enum telex_stream stream, uint64_t offset,
    const struct pb_span *span, size_t size)
{
	r->next[stream - 1] = offset + span->data_len;
	r->known[stream - 1] = true;
	credit_give(&r->credit, span->data_len, size);
	r->busy = true;
	r->output(r, stream, offset, span->data, span->data_len, r->arg);
	r->busy = false;
	if (r->cancelled)
		reader_free(r);
}

static void broken(struct call *c, const char *what)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS, "the agent broke the protocol: %s", what);
	error.code = RPC_INTERNAL;
	call_fail(c, &error);
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	const size_t size = rpc_message_size(rpc);
	uint64_t varints[3] = {0};
	struct pb_span span;
	int rc = pb_splice_find(msg, len, FIELD_OUTPUT, FIELD_OUTPUT_DATA, &span, varints, 3);

	r->lost_ns = c->give_up_ns = 0;
	c->tries = 0;
	if (rc < 0) {
		broken(c, "a message cannot be read");
		return;
	}
	/* A heartbeat, an end, or what a later agent has. */
	if (rc == 0 || span.data_len == 0 ||
	    (varints[0] != TELEX_STDOUT && varints[0] != TELEX_STDERR)) {
		rpc_credit(rpc, size);
		return;
	}
	if (varints[1] > UINT64_MAX - span.data_len) {
		broken(c, "an offset is out of range");
		return;
	}
	give(r, (enum telex_stream)varints[0], varints[1], &span, size);
}

/* A connection that never was is no loss. */
static bool may_come_back(struct telex_reader *r, const struct telex_error *error)
{
	const int64_t reconnect_ns = r->call.client->reconnect_ns, now = clock_monotonic_ns();

	if (!r->opened || reconnect_ns < 0 || !retry_may_pass(error))
		return false;
	if (r->lost_ns == 0)
		r->lost_ns = now;
	r->call.give_up_ns = r->lost_ns + reconnect_ns;
	credit_lost(&r->credit);
	return now < r->call.give_up_ns;
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_reader *r = reader_of(c);
	struct telex_error why;
	int rc = TX_ETIMEOUT;

	if (error != NULL) {
		why = *error;
		error = &why;
		if (may_come_back(r, &why))
			rc = call_again(c, &why);
		if (rc == 0)
			return;
		if (rc == TX_ENOMEM)
			error_no_memory(&why);
		else if (r->lost_ns != 0 && retry_may_pass(&why))
			error_given_up(&why, clock_monotonic_ns() - r->lost_ns);
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
    .service = "telex.v1.ProcessService",
    .method = "ReadOutput",
    .response = &telex__v1__read_output_response__descriptor,
    .server_stream = true,
};

static struct telex_reader *reader_new(struct event_base *base, const struct telex_read *read)
{
	struct telex_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	memcpy(r->process_id, read->process_id, strlen(read->process_id) + 1);
	r->stream = read->stream;
	r->next[0] = read->stdout_offset;
	r->next[1] = read->stderr_offset;
	r->known[0] = r->known[1] = read->from == TELEX_FROM_OFFSET;
	r->watchdog = watchdog_new(base, &r->call);
	if (r->watchdog != NULL)
		return r;
	reader_free(r);
	return NULL;
}

int telex_read_output(struct telex_client *client, struct telex_reader **out,
    const struct telex_read *read,
    void (*output)(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
        const void *data, size_t len, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	struct telex_reader *r;

	if (request_check_id("process id", read->process_id, error) < 0)
		return -1;
	if (output == NULL || (unsigned)read->stream > TELEX_STDERR ||
	    (read->from != TELEX_FROM_OLDEST && read->from != TELEX_FROM_OFFSET))
		return error_set(error, TELEX_ERROR_USAGE,
		    "reading needs output, a stream or none, and from the oldest or an offset");
	r = reader_new(client->base, read);
	if (r == NULL)
		return error_no_memory(error);
	r->output = output;
	r->done = done;
	r->arg = arg;
	if (call_start(&r->call, client, &read_method, &reader_ops, 0, error) < 0) {
		reader_free(r);
		return -1;
	}
	*out = r;
	return 0;
}

void telex_reader_consumed(struct telex_reader *r, size_t n)
{
	struct rpc_call *rpc = call_rpc(&r->call);
	size_t credit = credit_take(&r->credit, n);

	if (rpc != NULL && credit > 0)
		rpc_credit(rpc, credit);
}

void telex_reader_cancel(struct telex_reader *r)
{
	if (r == NULL || r->cancelled || r->over)
		return;
	r->cancelled = true;
	call_cancel(&r->call);
	if (!r->busy)
		reader_free(r);
}
