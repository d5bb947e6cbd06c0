/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor (`sent`) for each output runs after its ring's head, as fast as the call takes data;
 * large pieces go by reference to the ring's memory. They stay valid: the keeper reuses nothing
 * that this attachment has not acknowledged (it makes a new ring where it must), and a client that
 * acknowledges what it has not read harms its own data alone. An attachment that the keeper does
 * not protect so copies, and looks afterwards whether the bytes were still there.
 *
 * What is before the ring's tail is read from the spool, likewise with a look afterwards. A spool
 * or a new ring that is announced but not here yet is waited for.
 */
#include "agent/worker/run_output.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/process_spec.h"
#include "common/mem.h"
#include "common/pb_splice.h"
#include "common/ring.h"

#define COPY_MAX   ((size_t)4096) /* below, a copy is cheaper than a reference */
#define FIELD_DATA 4              /* the number of Output.data */

struct stream {
	struct ring *ring; /* NULL: nothing was written yet */
	uint64_t sent, acked;
	uint64_t told_acked, told_seen; /* as the last KM_RELEASE said */
	bool armed; /* the keeper will wake us when there is more than told_seen */
	bool final; /* the head will not move */
	bool eof_sent;
	bool unwanted;
	bool waiting;   /* for a ring or a spool that is under way */
	uint64_t until; /* UINT64_MAX: its end */
	int spool;      /* -1: none */
	int broken;     /* the errno of a spool that cannot be read */
	uint64_t spool_base;
};

struct run_output {
	struct rpc_call *call;
	struct keeper_attachment *att; /* NULL: not yet */
	struct evbuffer *message;      /* that is being put together */
	unsigned field;
	bool copies;
	struct stream streams[2]; /* stdout, stderr */
	int turn;                 /* whose the next chunk is */
};

static struct stream *stream_of(struct run_output *o, enum km_stream stream)
{
	return &o->streams[stream - KM_STDOUT];
}

static enum km_stream number_of(const struct run_output *o, const struct stream *s)
{
	return s == &o->streams[0] ? KM_STDOUT : KM_STDERR;
}

struct run_output *run_output_new(struct rpc_call *call, unsigned field)
{
	struct run_output *o = xcalloc(1, sizeof(*o));

	o->call = call;
	o->field = field;
	for (int i = 0; i < 2; i++) {
		o->streams[i].spool = -1;
		o->streams[i].until = UINT64_MAX;
	}
	o->message = evbuffer_new();
	if (o->message == NULL)
		abort();
	return o;
}

void run_output_free(struct run_output *o)
{
	if (o == NULL)
		return;
	for (int i = 0; i < 2; i++) {
		ring_unref(o->streams[i].ring);
		if (o->streams[i].spool >= 0)
			close(o->streams[i].spool);
	}
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

void run_output_copy(struct run_output *o)
{
	o->copies = true;
}

void run_output_only(struct run_output *o, enum km_stream stream)
{
	o->streams[stream == KM_STDOUT ? 1 : 0].unwanted = true;
}

void run_output_until(struct run_output *o, const uint64_t offset[3])
{
	for (int i = 0; i < 2; i++)
		o->streams[i].until = offset[KM_STDOUT + i];
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
	stream_of(o, m->stream)->waiting = false;
	return 0;
}

int run_output_spool(
    struct run_output *o, const struct km_spool *m, int fd, struct rpc_status *fail)
{
	struct stream *s;
	int own;

	if (m->stream != KM_STDOUT && m->stream != KM_STDERR)
		return rpc_status_set(fail, RPC_INTERNAL, "SYSTEM", "a spool of no stream"),
		       TX_EPROTO;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return rpc_status_set(fail, RPC_RESOURCE_EXHAUSTED, "LIMIT", "too many open files"),
		       TX_ESYS;
	s = stream_of(o, m->stream);
	if (s->spool >= 0)
		close(s->spool);
	s->spool = own;
	s->spool_base = m->base;
	s->waiting = false;
	return 0;
}

void run_output_wake(struct run_output *o, uint32_t eof)
{
	for (int i = 0; i < 2; i++) {
		struct stream *s = &o->streams[i];

		s->waiting = false;
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
	if (s->armed || s->final || s->ring == NULL || s->waiting || s->unwanted ||
	    s->sent < ring_head(s->ring))
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

/* ---- what is held ---- */

static bool is_lost(const struct stream *s)
{
	return s->ring != NULL && (s->sent < ring_oldest(s->ring) || s->sent > ring_head(s->ring));
}

/* What we have not read may be gone: see OutputAck. */
static int check_held(const struct run_output *o, const struct stream *s, struct rpc_status *fail)
{
	uint64_t oldest, newest;

	if (s->unwanted || s->sent >= s->until || !is_lost(s))
		return 0;
	oldest = ring_oldest(s->ring);
	newest = ring_head(s->ring);
	rpc_status_set(fail, RPC_OUT_OF_RANGE, s->sent < oldest ? "OFFSET_DROPPED" : "OFFSET_AHEAD",
	    "%s from offset %" PRIu64 " on is no longer held; the oldest byte held is %" PRIu64,
	    number_of(o, s) == KM_STDERR ? "stderr" : "stdout", s->sent, oldest);
	rpc_status_meta(fail, "stream", "%s", number_of(o, s) == KM_STDERR ? "stderr" : "stdout");
	rpc_status_meta(fail, "oldest", "%" PRIu64, oldest);
	rpc_status_meta(fail, "newest", "%" PRIu64, newest);
	return TX_ENOENT;
}

/* ---- sending ---- */

/* What became of a chunk. */
enum chunk { CHUNK_SENT, CHUNK_AGAIN, CHUNK_WAITS, CHUNK_LOST, CHUNK_OVER, CHUNK_BROKEN };

static void unref_ring(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	ring_unref(arg);
}

/* Up to where the stream can be sent now. */
static uint64_t end_of(const struct stream *s)
{
	uint64_t head = s->ring != NULL ? ring_head(s->ring) : s->sent;

	return head < s->until ? head : s->until;
}

static bool has_more(const struct stream *s)
{
	if (s->unwanted || s->waiting)
		return false;
	if (s->sent < end_of(s))
		return true;
	return s->final && !s->eof_sent && s->until == UINT64_MAX;
}

static void add_head(struct run_output *o, struct stream *s, size_t len)
{
	Telex__V1__Output output = TELEX__V1__OUTPUT__INIT;
	uint8_t head[PB_SPLICE_HEAD_MAX];
	int head_len;

	output.stream = (Telex__V1__OutputStream)number_of(o, s);
	output.offset = s->sent;
	output.eof = s->final && s->until == UINT64_MAX && s->sent + len == end_of(s);
	s->eof_sent = output.eof;
	head_len = pb_splice_head(head, o->field, &output.base, FIELD_DATA, len);
	if (head_len < 0)
		abort(); /* three small fields fit */
	if (evbuffer_add(o->message, head, (size_t)head_len) != 0)
		abort();
}

static enum chunk drop_message(struct run_output *o, struct stream *s, enum chunk why)
{
	evbuffer_drain(o->message, evbuffer_get_length(o->message));
	s->eof_sent = false;
	s->waiting = why == CHUNK_WAITS;
	return why;
}

static enum chunk send_message(struct run_output *o, struct stream *s, size_t len)
{
	if (rpc_send_encoded(o->call, o->message) < 0)
		return drop_message(o, s, CHUNK_OVER);
	s->sent += len;
	if (len > 0)
		s->armed = false; /* there was more than told_seen: the wake-up is used up */
	return CHUNK_SENT;
}

/* From the ring: by reference; copied when it is little, or not ours to refer to. */
static enum chunk send_held(struct run_output *o, struct stream *s, size_t len)
{
	const uint8_t *at = NULL;
	size_t available;
	int rc = 0;

	if (s->ring != NULL)
		at = ring_peek(s->ring, s->sent, &available);
	add_head(o, s, len);
	if (len > COPY_MAX && !o->copies)
		rc = evbuffer_add_reference(o->message, at, len, unref_ring, ring_ref(s->ring));
	else if (len > 0)
		rc = evbuffer_add(o->message, at, len);
	if (rc != 0)
		abort();
	if (o->copies && s->ring != NULL) {
		ring_refresh(s->ring);
		if (s->sent < ring_tail(s->ring))
			return drop_message(o, s, is_lost(s) ? CHUNK_LOST : CHUNK_AGAIN);
	}
	return send_message(o, s, len);
}

/* Reads from the file into the message; 0: it is not there (yet); -1 and errno. */
static ssize_t add_spooled(struct run_output *o, struct stream *s, size_t len)
{
	struct evbuffer_iovec v;
	ssize_t n;
	int error;

	if (s->spool < 0 || s->sent < s->spool_base)
		return 0;
	if (evbuffer_reserve_space(o->message, (ev_ssize_t)len, &v, 1) < 1)
		abort();
	do
		n = pread(s->spool, v.iov_base, len, (off_t)(s->sent - s->spool_base));
	while (n < 0 && errno == EINTR);
	error = errno;
	v.iov_len = n > 0 ? (size_t)n : 0;
	if (evbuffer_commit_space(o->message, &v, 1) != 0)
		abort();
	errno = error;
	return n;
}

/* From the spool. Whole, or not at all: the length is in the message before the bytes. */
static enum chunk send_spooled(struct run_output *o, struct stream *s, size_t len)
{
	uint64_t left = ring_tail(s->ring) - s->sent;
	ssize_t n;
	int error;

	if (len > left)
		len = (size_t)left;
	add_head(o, s, len);
	n = add_spooled(o, s, len);
	error = errno;
	ring_refresh(s->ring);
	if (is_lost(s))
		return drop_message(o, s, CHUNK_LOST);
	if (n < 0 && !ring_moved(s->ring)) {
		s->broken = error;
		return drop_message(o, s, CHUNK_BROKEN);
	}
	if (n != (ssize_t)len || ring_moved(s->ring))
		return drop_message(o, s, CHUNK_WAITS);
	return send_message(o, s, len);
}

static int fail_broken(const struct run_output *o, const struct stream *s, struct rpc_status *fail)
{
	const char *name = number_of(o, s) == KM_STDERR ? "stderr" : "stdout";

	rpc_status_set(fail, RPC_DATA_LOSS, "SYSTEM",
	    "%s from offset %" PRIu64 " on cannot be read from the agent's spool: %s", name,
	    s->sent, strerror(s->broken));
	rpc_status_meta(fail, "stream", "%s", name);
	return TX_ESYS;
}

static enum chunk send_chunk(struct run_output *o, struct stream *s)
{
	uint64_t left = end_of(s) - s->sent;
	size_t len = left < RUN_OUTPUT_CHUNK ? (size_t)left : RUN_OUTPUT_CHUNK;

	if (len > 0 && s->sent < ring_tail(s->ring))
		return send_spooled(o, s, len);
	return send_held(o, s, len);
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
		switch (send_chunk(o, s)) {
		case CHUNK_SENT:
			sent = 1;
			break;
		case CHUNK_AGAIN:
		case CHUNK_WAITS:
			break;
		case CHUNK_LOST:
			return check_held(o, s, fail);
		case CHUNK_OVER:
			return sent; /* its end is on the way */
		case CHUNK_BROKEN:
			return fail_broken(o, s, fail);
		}
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

		if (s->unwanted)
			continue;
		if (s->until != UINT64_MAX ? s->sent < s->until
		                           : !s->eof_sent || s->sent < end_of(s))
			return false;
	}
	return true;
}
