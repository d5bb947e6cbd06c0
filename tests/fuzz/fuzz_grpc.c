/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC, with either side as the hostile one. The first byte: bit 0, we are the client; the others
 * say how its user behaves. Bit 7: no connection at all, but the texts of gRPC, a part each.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "common/grpc.h"
#include "common/mem.h"
#include "tests/fuzz/frames.h"
#include "tests/fuzz/fuzz.h"

#define CALLS_MAX 32
#define SMALL     4096 /* max_message, where it is set */

struct scene {
	struct h2_pair pair;
	struct h2_pair_side *side;
	bool echo, hold, finish_early, compress, small;
	struct grpc_call *calls[CALLS_MAX];
	size_t held[CALLS_MAX];
	unsigned open, ends;
};

/* ---- the texts ---- */

static void check_base64(const uint8_t *text, size_t len)
{
	uint8_t *decoded = xmalloc(len + 1);
	int n = grpc_base64_decode(decoded, (const char *)text, len);
	char *encoded;

	if (n >= 0) {
		uint8_t *again = xmalloc((size_t)n + 4);
		int e;

		fuzz_require((size_t)n <= len);
		encoded = xmalloc((size_t)n * 4 / 3 + 4);
		e = grpc_base64_encode(encoded, decoded, (size_t)n);
		fuzz_require(e >= 0 && grpc_base64_decode(again, encoded, (size_t)e) == n);
		fuzz_require(memcmp(again, decoded, (size_t)n) == 0);
		free(again);
		free(encoded);
	}
	free(decoded);
}

static void check_percent(const uint8_t *text, size_t len)
{
	size_t size = 3 * len + 1, encoded_len, n;
	char *encoded = xmalloc(size), *decoded = xmalloc(size), small[8];

	encoded_len = grpc_percent_encode(encoded, size, (const char *)text, len);
	fuzz_require(encoded_len < size && strlen(encoded) == encoded_len);
	n = grpc_percent_decode(decoded, size, encoded, encoded_len);
	fuzz_require(n == len && (len == 0 || memcmp(decoded, text, len) == 0));
	n = grpc_percent_decode(decoded, size, (const char *)text, len);
	fuzz_require(n <= len);
	grpc_percent_encode(small, sizeof(small), (const char *)text, len);
	grpc_percent_decode(small, sizeof(small), (const char *)text, len);
	free(encoded);
	free(decoded);
}

static void check_timeout(const uint8_t *text, size_t len)
{
	char again[16];
	int64_t ns, back;

	if (grpc_timeout_parse((const char *)text, len, &ns) != 0)
		return;
	fuzz_require(ns >= 0 && len <= 9);
	grpc_timeout_format(again, ns);
	/* Rounded up, never down. */
	fuzz_require(grpc_timeout_parse(again, strlen(again), &back) == 0 && back >= ns);
}

static void texts(struct fuzz_input *in)
{
	size_t len;
	const uint8_t *text = fuzz_part(in, &len);

	check_base64(text, len);
	text = fuzz_part(in, &len);
	check_percent(text, len);
	text = fuzz_part(in, &len);
	check_timeout(text, len);
}

/* ---- calls ---- */

static size_t place_of(const struct scene *s, const struct grpc_call *c)
{
	size_t i = 0;

	while (i < CALLS_MAX && s->calls[i] != c)
		i++;
	return i;
}

static void put(struct scene *s, struct grpc_call *c)
{
	size_t i = place_of(s, NULL);

	if (i < CALLS_MAX) {
		s->calls[i] = c;
		s->held[i] = 0;
	}
	s->open++;
}

static void on_message(struct grpc_call *c, const uint8_t *msg, size_t len, void *arg)
{
	static const struct rpc_status ok = {.code = RPC_OK};
	struct scene *s = arg;
	size_t i = place_of(s, c);

	fuzz_require(len <= (s->small ? SMALL : GRPC_MAX_MESSAGE));
	if (s->echo)
		(void)grpc_send(c, msg, len);
	if (s->hold && i < CALLS_MAX)
		s->held[i] += len;
	else
		grpc_credit(c, len);
	if (s->finish_early && h2_is_server(grpc_conn(c)))
		grpc_finish(c, &ok);
	else if (s->finish_early)
		grpc_cancel(c);
}

static void on_half_close(struct grpc_call *c, void *arg)
{
	struct rpc_status status = {0};

	(void)arg;
	fuzz_require(grpc_half_closed(c));
	rpc_status_set(&status, RPC_NOT_FOUND, "NOT_FOUND", "no such %s", "thing\n");
	grpc_finish(c, &status);
}

static void on_writable(struct grpc_call *c, void *arg)
{
	(void)arg;
	fuzz_require(grpc_pending(c) < H2_SEND_LOW);
}

static void on_done(struct grpc_call *c, const struct rpc_status *status, void *arg)
{
	struct scene *s = arg;
	size_t i = place_of(s, c);

	fuzz_require(status->code >= RPC_OK && status->code <= RPC_UNAUTHENTICATED);
	if (i < CALLS_MAX)
		s->calls[i] = NULL;
	fuzz_require(s->open-- > 0);
}

static const struct grpc_ops call_ops = {on_message, on_half_close, on_writable, on_done};

static int on_call(struct grpc_call *c, const char *path, struct rpc_status *refuse, void *arg)
{
	static const char *const names[] = {"a", "a-bin", "user-agent", "grpc-timeout"};
	struct scene *s = arg;
	size_t len;

	fuzz_require(path != NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = grpc_metadata(c, names[i], &len);

		fuzz_require((value != NULL) == (grpc_metadata_count(c, names[i]) > 0));
		fuzz_require(value == NULL || value[len] == '\0');
	}
	fuzz_require(grpc_time_left(c) >= -1);
	if (strcmp(path, "/refused") == 0) {
		rpc_status_set(refuse, RPC_PERMISSION_DENIED, "NO", "%s", path);
		return TX_EPERM;
	}
	put(s, c);
	grpc_call_set(c, &call_ops, s);
	grpc_compress(c, s->compress);
	grpc_respond_with(c, "x", "y");
	return 0;
}

static void on_end(void *arg)
{
	((struct scene *)arg)->ends++;
}

static int on_stream(struct h2_conn *c, struct h2_stream *stream, void *arg)
{
	static const struct grpc_server_ops ops = {.on_call = on_call, .on_end = on_end};
	struct scene *s = arg;

	(void)c;
	return grpc_serve(stream, s->pair.base, s->small ? SMALL : 0, &ops, s);
}

/* ---- the user's own acts ---- */

static void open_call(struct scene *s)
{
	const struct grpc_client_options o = {.authority = "test:1",
	    .path = "/test.v1.Test/Do",
	    .max_message = s->small ? SMALL : 0,
	    .timeout_ns = s->small ? INT64_C(3600000000000) : 0,
	    .gzip = s->compress};
	struct grpc_call *c;

	if (grpc_open(&c, s->side->conn, s->pair.base, &o, &call_ops, s) != 0)
		return;
	put(s, c);
	grpc_compress(c, s->compress);
	(void)grpc_send(c, "hello hello hello hello hello", 29);
}

static void send_buffer(struct grpc_call *c, size_t kib)
{
	static const char text[1024];
	struct evbuffer *b = evbuffer_new();

	fuzz_require(b != NULL);
	for (size_t i = 0; i < kib; i++)
		evbuffer_add(b, text, sizeof(text));
	(void)grpc_send_buffer(c, b);
	evbuffer_free(b);
}

static void act_on(struct scene *s, size_t i, uint8_t what)
{
	static const struct rpc_status ok = {.code = RPC_OK};
	static const char much[100000];
	struct grpc_call *c = s->calls[i];

	switch (what & 7) {
	case 0:
		(void)grpc_send(c, much, sizeof(much));
		break;
	case 1:
		grpc_credit(c, s->held[i]);
		s->held[i] = 0;
		break;
	case 2:
		if (h2_is_server(grpc_conn(c)))
			grpc_finish(c, &ok);
		else
			grpc_half_close(c);
		break;
	case 3:
		grpc_cancel(c);
		break;
	case 4:
		send_buffer(c, what >> 3);
		break;
	default:
		(void)grpc_send(c, "x", 1);
	}
}

static void act(uint8_t what, void *arg)
{
	struct scene *s = arg;

	if (s->side->conn == NULL)
		return;
	if (what < 16 && s->side == &s->pair.client)
		open_call(s);
	else if (what < 32)
		h2_drain(s->side->conn);
	else
		for (size_t i = 0; i < CALLS_MAX; i++)
			if (s->calls[i] != NULL)
				act_on(s, i, what);
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
		open_call(s);
		open_call(s);
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
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_byte(&in);
	struct scene s = {.echo = (how & 2) != 0,
	    .hold = (how & 4) != 0,
	    .finish_early = (how & 8) != 0,
	    .compress = (how & 16) != 0,
	    .small = (how & 32) != 0};

	fuzz_log_nowhere();
	if ((how & 128) != 0) {
		texts(&in);
		return 0;
	}
	h2_pair_init(&s.pair);
	s.side = (how & 1) != 0 ? &s.pair.client : &s.pair.server;
	h2_pair_start(&s.pair, s.side, NULL, &ops, &s);
	play(&s, &in);
	h2_pair_free(&s.pair);
	return 0;
}
