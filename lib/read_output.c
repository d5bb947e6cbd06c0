/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ReadOutput: what is held of a process's outputs now. Chunks go to the caller as they are in the
 * packed message, and each holds its window credit until the caller has dealt with it.
 *
 * The reader is freed by its call's end; a callback may cancel it, so whoever calls one holds
 * `busy`.
 */
#include <event2/buffer.h>
#include <stdlib.h>

#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/client.h"
#include "lib/error.h"
#include "lib/request.h"

#define FIELD_OUTPUT      1 /* of ReadOutputResponse */
#define FIELD_OUTPUT_DATA 4 /* of Output */

struct telex_reader {
	struct call call;
	void (*output)(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
	    const void *data, size_t len, void *arg);
	telex_done *done;
	void *arg;
	size_t held; /* bytes given and not consumed */
	size_t owed; /* the window credit that they hold */
	bool busy, cancelled;
	size_t len;
	uint8_t request[];
};

static struct telex_reader *reader_of(struct call *c)
{
	return (struct telex_reader *)((char *)c - offsetof(struct telex_reader, call));
}

static void on_opened(struct call *c)
{
	struct telex_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	struct evbuffer *message = evbuffer_new();
	struct telex_error error;
	int rc = TX_ENOMEM;

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

static void give(struct telex_reader *r, enum telex_stream stream, uint64_t offset,
    const struct pb_span *span, size_t size)
{
	r->held += span->data_len;
	r->owed += size;
	r->busy = true;
	r->output(r, stream, offset, span->data, span->data_len, r->arg);
	r->busy = false;
	if (r->cancelled)
		free(r);
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	const size_t size = rpc_message_size(rpc);
	uint64_t varints[3] = {0};
	struct telex_error error;
	struct pb_span span;
	int rc = pb_splice_find(msg, len, FIELD_OUTPUT, FIELD_OUTPUT_DATA, &span, varints, 3);

	if (rc < 0) {
		error_set(&error, TELEX_ERROR_STATUS,
		    "the agent broke the protocol: a message cannot be read");
		error.code = RPC_INTERNAL;
		call_fail(c, &error);
		return;
	}
	/* A heartbeat, an end, or what a later agent has. */
	if (rc == 0 || span.data_len == 0 ||
	    (varints[0] != TELEX_STDOUT && varints[0] != TELEX_STDERR)) {
		rpc_credit(rpc, size);
		return;
	}
	give(r, (enum telex_stream)varints[0], varints[1], &span, size);
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_reader *r = reader_of(c);

	if (r->done != NULL)
		r->done(error, r->arg);
	free(r);
}

static void on_drop(struct call *c)
{
	free(reader_of(c));
}

static const struct call_ops reader_ops = {
    .opened = on_opened, .raw = on_raw, .done = on_done, .drop = on_drop};

static const struct call_method read_method = {
    .service = "telex.v1.ProcessService",
    .method = "ReadOutput",
    .response = &telex__v1__read_output_response__descriptor,
    .server_stream = true,
};

static struct telex_reader *reader_new(const struct telex_read *read)
{
	Telex__V1__ReadOutputRequest request = TELEX__V1__READ_OUTPUT_REQUEST__INIT;
	Telex__V1__Resume from = TELEX__V1__RESUME__INIT;
	struct telex_reader *r;
	size_t len;

	request.process_id = request_text(read->process_id);
	request.stream = (Telex__V1__OutputStream)read->stream;
	from.stdout_offset = read->stdout_offset;
	from.stderr_offset = read->stderr_offset;
	if (read->from == TELEX_FROM_OFFSET)
		request.from = &from;
	len = protobuf_c_message_get_packed_size(&request.base);
	r = calloc(1, sizeof(*r) + len);
	if (r != NULL)
		r->len = protobuf_c_message_pack(&request.base, r->request);
	return r;
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
	r = reader_new(read);
	if (r == NULL)
		return error_no_memory(error);
	r->output = output;
	r->done = done;
	r->arg = arg;
	if (call_start(&r->call, client, &read_method, &reader_ops, 0, error) < 0) {
		free(r);
		return -1;
	}
	*out = r;
	return 0;
}

void telex_reader_consumed(struct telex_reader *r, size_t n)
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
	if (rpc != NULL)
		rpc_credit(rpc, credit);
}

void telex_reader_cancel(struct telex_reader *r)
{
	if (r == NULL || r->cancelled)
		return;
	r->cancelled = true;
	call_cancel(&r->call);
	if (!r->busy)
		free(r);
}
