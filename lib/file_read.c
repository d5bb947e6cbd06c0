/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read: the bytes of a file. Chunks go to the caller as they are in the packed message, and each
 * holds its window credit until the caller has dealt with it. Where the connection is lost, the
 * same is asked for again, from the next byte on, and goes on when the file is what it was. The
 * agent's digest is of all of it, also of what came before.
 *
 * The reader is freed by its call's end; a callback may cancel it, so whoever calls one holds
 * `busy`.
 */
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/duration.h"
#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/client.h"
#include "lib/credit.h"
#include "lib/error.h"
#include "lib/file_info.h"
#include "lib/retry.h"
#include "lib/watchdog.h"

#define FIELD_CHUNK      1  /* of ReadResponse */
#define FIELD_CHUNK_DATA 2  /* of FileChunk */
#define DEATHS_MAX       20 /* of who serves us, with no byte between: it dies of what we ask */

/* What a file is known by: while all of it is the same, its content is. */
struct state {
	uint64_t inode, size;
	uint32_t device_major, device_minor;
	int64_t modified_ns, changed_ns;
};

struct telex_file_reader {
	struct call call;
	void (*output)(struct telex_file_reader *reader, uint64_t offset, const void *data,
	    size_t len, void *arg);
	void (*end)(const struct telex_file *file, bool changed, void *arg);
	telex_done *done;
	void *arg;
	Telex__V1__ReadRequest request; /* with its own copies */
	uint64_t next;                  /* offset of the next byte */
	struct credit credit;           /* in bytes */
	struct digest *digest;          /* of what came */
	struct watchdog *watchdog;
	struct state state; /* of the file, as it was at first */
	bool known;         /* that is */
	bool same;          /* this call's file is that */
	bool opened;        /* once */
	bool ended;         /* `end` has come */
	int64_t lost_ns;    /* since when; 0: it is not lost */
	unsigned deaths;    /* since a byte came */
	bool busy, cancelled, over;
};

static struct telex_file_reader *reader_of(struct call *c)
{
	return (struct telex_file_reader *)c; /* call is the first */
}

static void reader_free(struct telex_file_reader *r)
{
	watchdog_free(r->watchdog);
	digest_free(r->digest);
	free(r->request.path.data);
	free(r->request.user);
	free(r);
}

/* ---- the call ---- */

static void on_opened(struct call *c)
{
	struct telex_file_reader *r = reader_of(c);
	struct rpc_call *rpc = call_rpc(c);
	struct telex_error error;
	int rc;

	r->opened = true;
	r->same = !r->known;
	r->request.resume_at = r->next;
	watchdog_start(r->watchdog);
	rc = rpc_send(rpc, &r->request.base);
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

static void fail(struct telex_file_reader *r, int code, const char *reason, const char *what)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS, "%s: %s", (const char *)r->request.path.data, what);
	error.code = code;
	memcpy(error.reason, reason, strlen(reason) + 1);
	call_fail(&r->call, &error);
}

static struct state state_of(const struct telex_file *f)
{
	return (struct state){.inode = f->inode,
	    .size = f->size,
	    .device_major = f->device_major,
	    .device_minor = f->device_minor,
	    .modified_ns = f->modified_ns,
	    .changed_ns = f->changed_ns};
}

static bool is_same(const struct state *a, const struct state *b)
{
	return a->inode == b->inode && a->size == b->size && a->device_major == b->device_major &&
	       a->device_minor == b->device_minor && a->modified_ns == b->modified_ns &&
	       a->changed_ns == b->changed_ns;
}

/* The file is open at the agent. */
static void take_begin(struct telex_file_reader *r, const Telex__V1__ReadBegin *begin)
{
	struct telex_error error;
	struct file_info info;
	struct state now;
	int rc = file_info(&info, begin->file);

	now = state_of(&info.file);
	file_info_free(&info);
	if (rc < 0) {
		error_no_memory(&error);
		call_fail(&r->call, &error);
		return;
	}
	if (!r->known)
		r->state = now;
	r->same = is_same(&r->state, &now);
	r->known = true;
	if (!r->same)
		fail(r, RPC_ABORTED, "CHANGED",
		    "it was changed while the connection was lost; what has come of it is of what "
		    "it was");
}

static bool is_whole(struct telex_file_reader *r, const Telex__V1__ReadEnd *end)
{
	uint8_t digest[DIGEST_SIZE];

	return end->sha256.len == DIGEST_SIZE && digest_end(r->digest, digest) == 0 &&
	       memcmp(end->sha256.data, digest, DIGEST_SIZE) == 0;
}

static void give_end(struct telex_file_reader *r, const Telex__V1__ReadEnd *end)
{
	struct telex_error error;
	struct file_info info;
	int rc = file_info(&info, end->file);

	r->ended = true;
	if (!is_whole(r, end)) {
		fail(r, RPC_DATA_LOSS, "CHECKSUM",
		    "what came has another SHA-256 than what the agent has read");
	} else if (rc < 0) {
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

/* What is no chunk: the begin, the end, a heartbeat, or what a later agent has. */
static void on_other(struct telex_file_reader *r, const uint8_t *msg, size_t len)
{
	struct rpc_call *rpc = call_rpc(&r->call);
	Telex__V1__ReadResponse *response = telex__v1__read_response__unpack(NULL, len, msg);

	if (response == NULL) {
		broken(&r->call, "a message cannot be read");
		return;
	}
	rpc_credit(rpc, rpc_message_size(rpc));
	if (response->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_BEGIN)
		take_begin(r, response->begin);
	else if (response->response_case == TELEX__V1__READ_RESPONSE__RESPONSE_END && r->same)
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

	if (rc < 0) {
		broken(c, "a message cannot be read");
		return;
	}
	if (rc == 0) {
		on_other(r, msg, len);
		return;
	}
	if (offset[0] != r->next || r->next > UINT64_MAX - span.data_len || r->ended || !r->same) {
		broken(c, "bytes of a file are not in order");
		return;
	}
	if (r->request.length != 0 &&
	    span.data_len > r->request.length - (r->next - r->request.offset)) {
		broken(c, "more comes of a file than was asked for");
		return;
	}
	if (span.data_len == 0) {
		rpc_credit(rpc, rpc_message_size(rpc));
		return;
	}
	if (digest_add(r->digest, span.data, span.data_len) < 0) {
		broken(c, "its bytes cannot be checked");
		return;
	}
	r->lost_ns = c->give_up_ns = 0;
	r->deaths = c->tries = 0;
	r->next += span.data_len;
	credit_give(&r->credit, span.data_len, rpc_message_size(rpc));
	r->busy = true;
	r->output(r, offset[0], span.data, span.data_len, r->arg);
	r->busy = false;
	if (r->cancelled)
		reader_free(r);
}

/* A connection that never was is no loss, and what has come must be known by its state. */
static bool may_come_back(struct telex_file_reader *r, const struct telex_error *error)
{
	const int64_t reconnect_ns = r->call.client->reconnect_ns, now = clock_monotonic_ns();
	const bool busy = retry_busy(error);

	if (!r->opened || r->ended || reconnect_ns < 0 || (!retry_may_pass(error) && !busy) ||
	    (r->next > r->request.offset && !r->known) || (busy && ++r->deaths > DEATHS_MAX))
		return false;
	if (r->lost_ns == 0)
		r->lost_ns = now;
	r->call.give_up_ns = r->lost_ns + reconnect_ns;
	credit_lost(&r->credit);
	return now < r->call.give_up_ns;
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_file_reader *r = reader_of(c);
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
    struct event_base *base, const struct telex_file_read *read)
{
	struct telex_file_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	telex__v1__read_request__init(&r->request);
	r->request.user = strdup(read->user != NULL ? read->user : "");
	r->request.path.data = (uint8_t *)strdup(read->path);
	r->request.path.len = strlen(read->path);
	r->request.offset = r->next = read->offset;
	r->request.length = read->length;
	r->request.checksum = r->request.tell_begin = true;
	r->digest = digest_new();
	r->watchdog = watchdog_new(base, &r->call);
	if (r->request.user != NULL && r->request.path.data != NULL && r->digest != NULL &&
	    r->watchdog != NULL)
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
	struct telex_file_reader *r;
	ProtobufCBinaryData path;

	if (file_info_path(&path, "path", read->path, error) < 0)
		return -1;
	if (output == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "reading a file needs output");
	r = reader_new(client->base, read);
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
	size_t credit = credit_take(&r->credit, n);

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
