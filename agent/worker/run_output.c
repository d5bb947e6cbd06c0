/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor (`sent`) for each output runs after its ring's head, as fast as the call takes data;
 * large pieces go by reference to the ring's memory. They stay valid: the keeper reuses nothing
 * that this attachment has not acknowledged, and a client that acknowledges what it has not read
 * harms its own data alone.
 *
 * acked <= sent <= head, and tail <= sent as long as the output waits for its readers.
 */
#include "agent/worker/run_output.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>

#include "agent/worker/process_spec.h"
#include "common/mem.h"
#include "common/pb_splice.h"
#include "common/ring.h"

#define COPY_MAX ((size_t)4096) /* below, a copy is cheaper than a reference */
/* Field numbers of RunResponse.output and Output.data. */
#define FIELD_OUTPUT 2
#define FIELD_DATA   4

struct stream {
	struct ring *ring; /* NULL: nothing was written yet */
	uint64_t sent, acked;
	uint64_t told_acked, told_seen; /* as the last KM_RELEASE said */
	bool armed; /* the keeper will wake us when there is more than told_seen */
	bool final; /* the head will not move */
	bool eof_sent;
};

struct run_output {
	struct rpc_call *call;
	struct keeper_attachment *att; /* NULL: not yet */
	struct evbuffer *message;      /* that is being put together */
	struct stream streams[2];      /* stdout, stderr */
	int turn;                      /* whose the next chunk is */
};

static struct stream *stream_of(struct run_output *o, enum km_stream stream)
{
	return &o->streams[stream - KM_STDOUT];
}

static enum km_stream number_of(const struct run_output *o, const struct stream *s)
{
	return s == &o->streams[0] ? KM_STDOUT : KM_STDERR;
}

struct run_output *run_output_new(struct rpc_call *call)
{
	struct run_output *o = xcalloc(1, sizeof(*o));

	o->call = call;
	o->message = evbuffer_new();
	if (o->message == NULL)
		abort();
	return o;
}

void run_output_free(struct run_output *o)
{
	if (o == NULL)
		return;
	for (int i = 0; i < 2; i++)
		ring_unref(o->streams[i].ring);
	evbuffer_free(o->message);
	free(o);
}

void run_output_seek(struct run_output *o, const uint64_t offset[3])
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &o->streams[i];

		s->sent = s->acked = s->told_acked = offset[KM_STDOUT + i];
	}
}

void run_output_start(struct run_output *o, struct keeper_attachment *att)
{
	o->att = att;
}

int run_output_map(struct run_output *o, const struct km_ring *m, int fd, struct rpc_status *fail)
{
	struct ring *ring = NULL;
	struct err e;

	if (m->stream != KM_STDOUT && m->stream != KM_STDERR)
		return rpc_status_set(fail, RPC_INTERNAL, "SYSTEM", "a ring of no stream"),
		       TX_EPROTO;
	if (ring_map(&ring, fd, RING_OUTPUT, &e) < 0)
		return rpc_status_set(fail, RPC_RESOURCE_EXHAUSTED, "LIMIT", "%s", e.message),
		       e.code;
	ring_unref(stream_of(o, m->stream)->ring);
	stream_of(o, m->stream)->ring = ring;
	return 0;
}

void run_output_wake(struct run_output *o, uint32_t eof)
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &o->streams[i];

		if ((eof & KM_BIT(KM_STDOUT + i)) != 0)
			s->final = true;
		if (s->ring == NULL)
			continue;
		/* The other output may be the one that the keeper woke us for. */
		ring_refresh(s->ring);
		if (ring_head(s->ring) > s->told_seen)
			s->armed = false;
	}
}

/* ---- telling the keeper ---- */

static void tell(struct run_output *o, struct stream *s)
{
	s->told_acked = s->acked;
	keeper_release(o->att, number_of(o, s), s->acked, s->armed ? s->told_seen : UINT64_MAX);
}

/* The output is read to its head: to be woken when there is more. */
static void arm(struct run_output *o, struct stream *s)
{
	if (s->armed || s->final || s->ring == NULL)
		return;
	s->armed = true;
	s->told_seen = s->sent;
	tell(o, s);
}

int run_output_ack(
    struct run_output *o, Telex__V1__OutputStream stream, uint64_t offset, struct rpc_status *fail)
{
	struct stream *s;

	if (stream == TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT)
		s = &o->streams[0];
	else if (stream == TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR)
		s = &o->streams[1];
	else
		return process_bad_field(fail, "ack.stream", "unknown value %d", (int)stream);
	if (offset > s->sent)
		return process_bad_field(fail, "ack.offset",
		    "%" PRIu64 " was never sent, only %" PRIu64, offset, s->sent);
	if (offset <= s->acked)
		return 0;
	s->acked = offset;
	/* A message to the keeper for what is worth one. */
	if (s->ring != NULL &&
	    (s->acked == s->sent || s->acked - s->told_acked >= ring_size(s->ring) / 4))
		tell(o, s);
	return 0;
}

/* ---- sending ---- */

static void unref_ring(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	ring_unref(arg);
}

static bool has_more(const struct stream *s)
{
	if (s->ring != NULL && s->sent < ring_head(s->ring))
		return true;
	return s->final && !s->eof_sent;
}

/* The bytes themselves: copied when they are few, else by reference. */
static void add_data(struct run_output *o, struct ring *ring, const uint8_t *at, size_t len)
{
	int rc;

	if (len <= COPY_MAX)
		rc = evbuffer_add(o->message, at, len);
	else
		rc = evbuffer_add_reference(o->message, at, len, unref_ring, ring_ref(ring));
	if (rc != 0)
		abort();
}

static int send_chunk(struct run_output *o, struct stream *s)
{
	Telex__V1__Output output = TELEX__V1__OUTPUT__INIT;
	uint8_t head[PB_SPLICE_HEAD_MAX];
	const uint8_t *at = NULL;
	size_t available = 0, len;
	int head_len, rc;

	if (s->ring != NULL)
		at = ring_peek(s->ring, s->sent, &available);
	len = available < RUN_OUTPUT_CHUNK ? available : RUN_OUTPUT_CHUNK;
	output.stream = (Telex__V1__OutputStream)number_of(o, s);
	output.offset = s->sent;
	output.eof = s->final && len == available;
	head_len = pb_splice_head(head, FIELD_OUTPUT, &output.base, FIELD_DATA, len);
	if (head_len < 0)
		abort(); /* three small fields fit */
	if (evbuffer_add(o->message, head, (size_t)head_len) != 0)
		abort();
	if (len > 0)
		add_data(o, s->ring, at, len);
	rc = rpc_send_encoded(o->call, o->message);
	if (rc < 0) {
		evbuffer_drain(o->message, evbuffer_get_length(o->message));
		return rc;
	}
	s->sent += len;
	s->eof_sent = output.eof;
	if (len > 0)
		s->armed = false; /* there was more than told_seen: the wake-up is used up */
	return 0;
}

/* Only an output that does not wait for its readers can have lost what we have not read. */
static int check_held(const struct run_output *o, const struct stream *s, struct rpc_status *fail)
{
	uint64_t oldest, newest;

	if (s->ring == NULL)
		return 0;
	oldest = ring_tail(s->ring);
	newest = ring_head(s->ring);
	if (s->sent >= oldest && s->sent <= newest)
		return 0;
	rpc_status_set(fail, RPC_OUT_OF_RANGE, s->sent < oldest ? "OFFSET_DROPPED" : "OFFSET_AHEAD",
	    "offset %" PRIu64 " of the output is not held", s->sent);
	rpc_status_meta(fail, "stream", "%s", number_of(o, s) == KM_STDERR ? "stderr" : "stdout");
	rpc_status_meta(fail, "oldest", "%" PRIu64, oldest);
	rpc_status_meta(fail, "newest", "%" PRIu64, newest);
	return TX_ENOENT;
}

static int refresh(struct run_output *o, struct rpc_status *fail)
{
	int rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++) {
		if (o->streams[i].ring != NULL)
			ring_refresh(o->streams[i].ring);
		rc = check_held(o, &o->streams[i], fail);
	}
	return rc;
}

/* The one whose turn it is, if it has more; else the other; NULL: neither has. */
static struct stream *next_stream(struct run_output *o)
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &o->streams[o->turn];

		o->turn ^= 1;
		if (has_more(s))
			return s;
	}
	return NULL;
}

int run_output_pump(struct run_output *o, struct rpc_status *fail)
{
	struct stream *s = NULL;
	int sent = 0, rc;

	if (o->att == NULL)
		return 0;
	rc = refresh(o, fail);
	if (rc < 0)
		return rc;
	while (rpc_pending(o->call) < H2_SEND_HIGH && (s = next_stream(o)) != NULL) {
		if (send_chunk(o, s) < 0)
			return sent; /* the call is over: its end is on the way */
		sent = 1;
	}
	for (int i = 0; i < 2; i++)
		if (!has_more(&o->streams[i]))
			arm(o, &o->streams[i]);
	return sent;
}

bool run_output_done(const struct run_output *o)
{
	for (int i = 0; i < 2; i++) {
		const struct stream *s = &o->streams[i];

		if (!s->eof_sent || (s->ring != NULL && s->sent < ring_head(s->ring)))
			return false;
	}
	return true;
}
