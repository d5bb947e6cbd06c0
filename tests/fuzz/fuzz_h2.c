/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2, with either side as the hostile one. The first byte: bit 0, the connection is a client;
 * the others say how its user behaves. Then frames (frames.h).
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/fuzz/frames.h"
#include "tests/fuzz/fuzz.h"

#define STREAMS_MAX 64

struct scene {
	struct h2_pair pair;
	struct h2_pair_side *side; /* whose connection it is */
	bool echo, deaf, answer, reset, refuse;
	struct h2_stream *streams[STREAMS_MAX];
	unsigned open, pongs;
};

/* ---- streams ---- */

static void put(struct scene *s, struct h2_stream *stream)
{
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (s->streams[i] == NULL) {
			s->streams[i] = stream;
			break;
		}
	s->open++;
}

static void respond(struct h2_stream *stream, bool end)
{
	static const struct h2_field fields[] = {H2_FIELD(":status", "200"), H2_FIELD("a", "b")};

	if (h2_is_server(h2_stream_conn(stream)))
		(void)h2_respond(stream, fields, 2, end);
}

static void send_bytes(struct h2_stream *stream, const void *data, size_t len)
{
	struct evbuffer *b = evbuffer_new();

	fuzz_require(b != NULL && evbuffer_add(b, data, len) == 0);
	(void)h2_send(stream, b);
	evbuffer_free(b);
}

static void on_headers(
    struct h2_stream *stream, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	struct scene *s = arg;
	size_t total = 0;

	(void)end;
	for (size_t i = 0; i < n; i++) {
		fuzz_require(fields[i].name[fields[i].name_len] == '\0');
		fuzz_require(fields[i].value[fields[i].value_len] == '\0');
		total += fields[i].name_len + fields[i].value_len + 32;
	}
	fuzz_require(n <= 128 && total <= 64 << 10);
	if (s->answer)
		respond(stream, false);
}

static void on_data(struct h2_stream *stream, const uint8_t *data, size_t len, void *arg)
{
	struct scene *s = arg;

	if (s->echo)
		send_bytes(stream, data, len);
	if (!s->deaf)
		h2_credit(stream, len);
	if (s->reset)
		h2_reset(stream, H2_CANCEL);
}

static void on_end(struct h2_stream *stream, void *arg)
{
	static const struct h2_field trailers[] = {H2_FIELD("t", "u")};
	struct scene *s = arg;

	if (s->answer)
		respond(stream, false);
	(void)h2_end(stream, s->echo ? trailers : NULL, s->echo);
}

static void on_close(struct h2_stream *stream, uint32_t code, void *arg)
{
	struct scene *s = arg;

	(void)code;
	for (size_t i = 0; i < STREAMS_MAX; i++)
		if (s->streams[i] == stream)
			s->streams[i] = NULL;
	fuzz_require(s->open-- > 0);
}

static void on_writable(struct h2_stream *stream, void *arg)
{
	(void)arg;
	fuzz_require(h2_pending(stream) < H2_SEND_LOW);
}

static const struct h2_stream_ops stream_ops = {on_headers, on_data, on_end, on_writable, on_close};

static int on_stream(struct h2_conn *c, struct h2_stream *stream, void *arg)
{
	struct scene *s = arg;

	(void)c;
	if (s->refuse && h2_stream_id(stream) % 4 == 1)
		return -1;
	put(s, stream);
	h2_stream_set(stream, &stream_ops, s);
	return 0;
}

/* ---- the user's own acts ---- */

static void open_stream(struct scene *s)
{
	static const struct h2_field fields[] = {H2_FIELD(":method", "POST"),
	    H2_FIELD(":scheme", "https"), H2_FIELD(":path", "/x"), H2_FIELD(":authority", "a")};
	struct h2_stream *stream;

	if (h2_open(s->side->conn, &stream, fields, 4, false, &stream_ops, s) == 0)
		put(s, stream);
}

static void on_pong(struct h2_conn *c, void *arg)
{
	(void)c;
	(void)arg;
}

static void act_on(struct scene *s, struct h2_stream *stream, uint8_t what)
{
	static const char much[1 << 16];

	switch (what & 7) {
	case 0:
		send_bytes(stream, much, sizeof(much));
		break;
	case 1:
		respond(stream, (what & 8) != 0);
		break;
	case 2:
		(void)h2_end(stream, NULL, 0);
		break;
	case 3:
		h2_reset(stream, H2_CANCEL);
		break;
	case 4:
		for (int i = 0; i < 12; i++)
			send_bytes(stream, much, sizeof(much));
		break;
	default:
		s->deaf = !s->deaf;
	}
}

static void act(uint8_t what, void *arg)
{
	struct scene *s = arg;
	struct h2_conn *c = s->side->conn;

	if (c == NULL)
		return;
	switch (what >> 4) {
	case 0:
		open_stream(s);
		break;
	case 1:
		(void)h2_ping(c, on_pong);
		break;
	case 2:
		h2_drain(c);
		break;
	case 3:
		h2_close(c, H2_NO_ERROR);
		break;
	case 4:
		h2_push(c);
		break;
	default:
		for (size_t i = 0; i < STREAMS_MAX; i++)
			if (s->streams[i] != NULL)
				act_on(s, s->streams[i], what);
	}
}

static void turn(void *arg)
{
	frames_settle(&((struct scene *)arg)->pair);
}

static void play(struct scene *s, struct fuzz_input *in)
{
	struct h2_pair_side *raw = s->side == &s->pair.server ? &s->pair.client : &s->pair.server;
	struct frames f = {.pair = &s->pair, .raw = raw, .turn = turn, .act = act, .arg = s};

	if (s->side == &s->pair.server) {
		h2_raw_preface(raw);
	} else {
		h2_raw_frame(raw, 4, 0, 0, NULL, 0);
		open_stream(s);
		open_stream(s);
	}
	frames_play(&f, in);
	h2_pair_cut(&s->pair, raw);
	turn(s);
	if (s->side->conn != NULL)
		h2_abort(s->side->conn);
	fuzz_require(s->side->closed && s->open == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream};
	static const struct h2_limits limits = {.stream_window = 65535,
	    .max_streams = 6,
	    .reset_burst = 10,
	    .ping_burst = 20,
	    .linger_ms = 1};
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_byte(&in);
	struct scene s = {.echo = (how & 2) != 0,
	    .deaf = (how & 4) != 0,
	    .answer = (how & 8) != 0,
	    .reset = (how & 16) != 0,
	    .refuse = (how & 32) != 0};

	fuzz_log_nowhere();
	h2_pair_init(&s.pair);
	s.side = (how & 1) != 0 ? &s.pair.client : &s.pair.server;
	h2_pair_start(&s.pair, s.side, (how & 64) != 0 ? &limits : NULL, &ops, &s);
	play(&s, &in);
	h2_pair_free(&s.pair);
	return 0;
}
