/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes go into the ring at once where they fit. The rest waits in `waiting` with its credit
 * withheld, so that what it can hold is the stream's window and one message. expected = head of the
 * ring + waiting; nothing is ever put in twice.
 */
#include "agent/worker/run_stdin.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/process_spec.h"
#include "common/mem.h"
#include "common/ring.h"

struct run_stdin {
	struct rpc_call *call;
	struct keeper_attachment *att; /* NULL: the keeper has not answered yet */
	struct ring *ring;             /* NULL: not mapped yet */
	struct evbuffer *waiting;
	uint64_t expected; /* the offset of the next byte from the client; before att is set: if
	                      `begun` */
	uint64_t written;  /* everything before is in the pipe */
	bool begun;        /* the client has sent something */
	bool refused;      /* this call does not feed stdin; why, is in `refusal` */
	bool eof, eof_told;
	bool closed; /* the process takes no more: what comes is dropped */
	bool ack_due;
	struct rpc_status refusal;
};

struct run_stdin *run_stdin_new(struct rpc_call *call)
{
	struct run_stdin *in = xcalloc(1, sizeof(*in));

	in->call = call;
	in->waiting = evbuffer_new();
	if (in->waiting == NULL)
		abort();
	return in;
}

void run_stdin_free(struct run_stdin *in)
{
	if (in == NULL)
		return;
	ring_unref(in->ring);
	evbuffer_free(in->waiting);
	free(in);
}

/* ---- into the ring ---- */

/* Copies what fits; returns how much that was. */
static size_t put(struct run_stdin *in, const uint8_t *data, size_t len)
{
	uint8_t *space;
	size_t room;

	if (in->ring == NULL || evbuffer_get_length(in->waiting) > 0)
		return 0;
	ring_refresh(in->ring);
	space = ring_input_space(in->ring, &room);
	if (len > room)
		len = room;
	if (len == 0)
		return 0;
	memcpy(space, data, len);
	ring_input_commit(in->ring, len);
	rpc_credit(in->call, len);
	return len;
}

/* Moves what has waited into the ring. Returns whether anything moved. */
static bool put_waiting(struct run_stdin *in)
{
	size_t room, length = evbuffer_get_length(in->waiting);
	uint8_t *space;

	if (in->ring == NULL || length == 0)
		return false;
	space = ring_input_space(in->ring, &room);
	if (room > length)
		room = length;
	if (room == 0)
		return false;
	evbuffer_remove(in->waiting, space, room);
	ring_input_commit(in->ring, room);
	rpc_credit(in->call, room);
	return true;
}

static void drop_waiting(struct run_stdin *in, size_t n)
{
	if (n == 0)
		return;
	evbuffer_drain(in->waiting, n);
	rpc_credit(in->call, n);
}

/* Tells the keeper of new bytes, and of the end once all before it is in the ring. */
static void tell(struct run_stdin *in, bool more)
{
	bool end = in->eof && !in->eof_told && evbuffer_get_length(in->waiting) == 0;

	if (in->ring == NULL || in->closed || (!more && !end))
		return;
	in->eof_told = in->eof_told || end;
	keeper_input(in->att, ring_head(in->ring), in->eof_told);
}

/* ---- the client ---- */

static int check_chunk(
    const struct run_stdin *in, const Telex__V1__StdinChunk *chunk, struct rpc_status *fail)
{
	uint64_t end;

	if (chunk->data.len > RUN_STDIN_CHUNK)
		return process_bad_field(fail, "stdin.data", "is longer than 1 MiB");
	if (__builtin_add_overflow(chunk->offset, (uint64_t)chunk->data.len, &end))
		return process_bad_field(fail, "stdin.offset", "is out of range");
	if (!in->begun && in->att == NULL)
		return 0; /* what is expected is not known yet */
	if (chunk->offset > in->expected)
		return process_bad_field(fail, "stdin.offset",
		    "begins at %" PRIu64 ", %" PRIu64 " is expected", chunk->offset, in->expected);
	if (in->eof && end > in->expected)
		return process_bad_field(fail, "stdin.data", "goes on after its end");
	if (chunk->eof && end < in->expected)
		return process_bad_field(fail, "stdin.eof", "is before what was sent already");
	return 0;
}

/* Credits the whole message and forgets it. */
static int drop_chunk(struct run_stdin *in, size_t wire)
{
	rpc_credit(in->call, wire);
	return 0;
}

int run_stdin_chunk(
    struct run_stdin *in, const Telex__V1__StdinChunk *chunk, size_t wire, struct rpc_status *fail)
{
	size_t skip = 0, len, done;
	int rc;

	if (in->refused) {
		*fail = in->refusal;
		return TX_ESTATE;
	}
	if (in->closed)
		return drop_chunk(in, wire);
	rc = check_chunk(in, chunk, fail);
	if (rc < 0)
		return rc;
	if (!in->begun && in->att == NULL)
		in->expected = chunk->offset;
	in->begun = true;
	if (chunk->offset < in->expected) {
		uint64_t behind = in->expected - chunk->offset;

		skip = behind < chunk->data.len ? (size_t)behind : chunk->data.len;
	}
	len = chunk->data.len - skip;
	in->expected += len;
	in->eof = in->eof || chunk->eof;
	rpc_credit(in->call, wire - len);
	if (len == 0) {
		tell(in, false);
		return 0;
	}
	done = put(in, chunk->data.data + skip, len);
	if (done < len &&
	    evbuffer_add(in->waiting, chunk->data.data + skip + done, len - done) != 0)
		abort();
	tell(in, done > 0);
	return 0;
}

/* ---- the keeper ---- */

static void refuse(struct run_stdin *in, const struct km_job *job, bool asked)
{
	in->refused = true;
	if (!job->stdin_pipe)
		rpc_status_set(&in->refusal, RPC_FAILED_PRECONDITION, "STDIN_NOT_PIPED",
		    "the process has no stdin to feed");
	else if (!asked)
		process_bad_field(&in->refusal, "attach.stdin", "stdin was not asked for");
	else
		rpc_status_set(&in->refusal, RPC_FAILED_PRECONDITION, "STDIN_HELD",
		    "another client holds stdin");
}

int run_stdin_start(struct run_stdin *in, struct keeper_attachment *att, const struct km_job *job,
    bool asked, struct rpc_status *fail)
{
	uint64_t length = evbuffer_get_length(in->waiting), first = in->expected - length;

	in->att = att;
	in->written = job->stdin_written;
	if (!job->stdin_pipe || !job->stdin_held) {
		refuse(in, job, asked);
		if (!in->begun)
			return 0;
		*fail = in->refusal;
		return TX_ESTATE;
	}
	if (job->stdin_closed) {
		in->closed = in->ack_due = true;
		drop_waiting(in, (size_t)length);
		return 0;
	}
	if (!in->begun) {
		in->expected = job->stdin_head;
		return 0;
	}
	if (first > job->stdin_head)
		return process_bad_field(fail, "stdin.offset",
		    "begins at %" PRIu64 ", %" PRIu64 " is expected", first, job->stdin_head);
	if (job->stdin_head - first <= length) {
		drop_waiting(in, (size_t)(job->stdin_head - first));
		return 0;
	}
	if (in->eof)
		return process_bad_field(fail, "stdin.eof", "is before what was sent already");
	drop_waiting(in, (size_t)length);
	in->expected = job->stdin_head;
	return 0;
}

int run_stdin_map(struct run_stdin *in, int fd, struct rpc_status *fail)
{
	struct err e;

	if (in->refused || in->closed || in->ring != NULL)
		return 0;
	if (ring_map(&in->ring, fd, RING_INPUT, &e) < 0)
		return rpc_status_set(fail, RPC_RESOURCE_EXHAUSTED, "LIMIT", "%s", e.message),
		       e.code;
	if (ring_head(in->ring) != in->expected - evbuffer_get_length(in->waiting))
		return rpc_status_set(fail, RPC_INTERNAL, "SYSTEM",
		           "the agent's stdin is not where it was said to be"),
		       TX_EPROTO;
	tell(in, put_waiting(in));
	return 0;
}

void run_stdin_done(struct run_stdin *in, const struct km_input_done *done)
{
	if (in->refused)
		return;
	if (done->written > in->written) {
		in->written = done->written;
		in->ack_due = true;
	}
	if (done->closed && !in->closed) {
		in->closed = in->ack_due = true;
		drop_waiting(in, evbuffer_get_length(in->waiting));
	}
	if (in->ring != NULL && !in->closed) {
		ring_refresh(in->ring);
		tell(in, put_waiting(in));
	}
}

int run_stdin_ack(struct run_stdin *in, bool last)
{
	Telex__V1__RunResponse r = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__StdinAck ack = TELEX__V1__STDIN_ACK__INIT;

	if (!in->ack_due || (!last && rpc_pending(in->call) >= H2_SEND_HIGH))
		return 0;
	in->ack_due = false;
	ack.offset = in->written;
	ack.closed = in->closed;
	r.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_STDIN_ACK;
	r.stdin_ack = &ack;
	return rpc_send(in->call, &r.base) == 0 ? 1 : 0;
}
