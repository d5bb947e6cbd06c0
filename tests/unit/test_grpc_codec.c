/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "common/grpc_codec.h"

#define MAX 100000

/* A body and the messages in it. */
struct body {
	struct evbuffer *buf;
	size_t sizes[64];
	size_t n;
};

static void add_message(struct body *b, size_t len)
{
	uint8_t prefix[GRPC_PREFIX_SIZE], *msg = malloc(len + 1);

	assert_non_null(msg);
	memset(msg, (int)('a' + b->n), len);
	grpc_codec_prefix(prefix, false, (uint32_t)len);
	evbuffer_add(b->buf, prefix, sizeof(prefix));
	evbuffer_add(b->buf, msg, len);
	free(msg);
	b->sizes[b->n++] = len;
}

static void check_frame(const struct body *b, size_t i, const struct grpc_frame *f)
{
	assert_true(i < b->n);
	assert_int_equal(f->len, b->sizes[i]);
	assert_false(f->compressed);
	for (size_t k = 0; k < f->len; k++)
		assert_int_equal(f->body[k], 'a' + i);
}

/* Feeds the body in pieces of `piece` bytes, each in memory of exactly that size. */
static void decode_in_pieces(const struct body *b, size_t piece)
{
	struct grpc_decoder d = {.max = MAX};
	const uint8_t *all = evbuffer_pullup(b->buf, -1);
	size_t total = evbuffer_get_length(b->buf), got = 0;

	for (size_t at = 0; at < total; at += piece) {
		size_t n = total - at < piece ? total - at : piece, len = n;
		uint8_t *exact = malloc(n);
		const uint8_t *p = exact;
		struct grpc_frame f;
		int r = 1;

		assert_non_null(exact);
		memcpy(exact, all + at, n);
		while (len > 0) {
			r = grpc_codec_step(&d, &p, &len, &f);
			assert_in_range(r, 0, 1);
			if (r == 0)
				break;
			check_frame(b, got++, &f);
			free(f.owned);
		}
		assert_int_equal(len, 0);
		free(exact);
	}
	assert_int_equal(got, b->n);
	assert_false(grpc_codec_partial(&d));
	grpc_codec_clear(&d);
}

static void bodies_are_split_wherever_they_are_cut(void **state)
{
	static const size_t sizes[] = {0, 1, 5, 0, 0, 1023, 1024, 1025, 4096, 0, 70000, 3};
	static const size_t pieces[] = {1, 2, 3, 4, 5, 6, 7, 64, 1000, 4096, 16384, 200000};
	struct body b = {.buf = evbuffer_new()};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		add_message(&b, sizes[i]);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
		decode_in_pieces(&b, pieces[i]);
	evbuffer_free(b.buf);
}

static void a_whole_message_is_not_copied(void **state)
{
	static const uint8_t body[] = {0, 0, 0, 0, 2, 'h', 'i', 1, 0, 0, 0, 1, 'x', 0, 0};
	struct grpc_decoder d = {.max = MAX};
	const uint8_t *p = body;
	size_t len = sizeof(body);
	struct grpc_frame f;

	(void)state;
	assert_int_equal(grpc_codec_step(&d, &p, &len, &f), 1);
	assert_ptr_equal(f.body, body + 5);
	assert_null(f.owned);
	assert_false(f.compressed);
	assert_int_equal(grpc_codec_step(&d, &p, &len, &f), 1);
	assert_ptr_equal(f.body, body + 12);
	assert_true(f.compressed);
	assert_int_equal(grpc_codec_step(&d, &p, &len, &f), 0);
	assert_int_equal(len, 0);
	assert_true(grpc_codec_partial(&d));
	grpc_codec_clear(&d);
	assert_false(grpc_codec_partial(&d));
}

static void limits_are_checked_before_memory_is_taken(void **state)
{
	static const uint8_t at_limit[] = {0, 0, 1, 0x86, 0xa0, 'x'}; /* 100000 */
	static const uint8_t over[] = {0, 0, 1, 0x86, 0xa1};
	static const uint8_t huge[] = {0, 0xff, 0xff, 0xff, 0xff};
	struct grpc_decoder d = {.max = MAX};
	const uint8_t *p = at_limit;
	size_t len = sizeof(at_limit);
	struct grpc_frame f;

	(void)state;
	assert_int_equal(grpc_codec_step(&d, &p, &len, &f), 0);
	/* One byte came: not a hundred thousand are allocated. */
	assert_true(d.cap <= 4096);
	grpc_codec_clear(&d);
	p = over;
	len = sizeof(over);
	assert_int_equal(grpc_codec_step(&d, &p, &len, &f), TX_ETOOBIG);
	assert_int_equal(d.size, 100001);
	assert_int_equal(d.cap, 0);
	grpc_codec_clear(&d);
	p = huge;
	len = sizeof(huge);
	assert_int_equal(grpc_codec_step(&d, &p, &len, &f), TX_ETOOBIG);
	assert_int_equal(d.size, UINT32_MAX);
	grpc_codec_clear(&d);
}

/* Begins a message of `size` bytes, of which `len` came; returns what was allocated for it. */
static size_t cap_after(struct grpc_decoder *d, size_t size, size_t len)
{
	uint8_t *body = calloc(1, GRPC_PREFIX_SIZE + len);
	const uint8_t *at = body;
	size_t left = GRPC_PREFIX_SIZE + len;
	struct grpc_frame f;

	grpc_codec_prefix(body, false, (uint32_t)size);
	assert_int_equal(grpc_codec_step(d, &at, &left, &f), 0);
	free(body);
	return d->cap;
}

static void a_message_has_at_once_the_memory_that_the_last_one_had(void **state)
{
	static const uint8_t rest[100000 - 1000];
	struct grpc_decoder d = {.max = 1 << 20};
	const uint8_t *at = rest;
	size_t left = sizeof(rest);
	struct grpc_frame f;

	(void)state;
	assert_int_equal(cap_after(&d, 100000, 1000), 4000);
	assert_int_equal(grpc_codec_step(&d, &at, &left, &f), 1);
	free(f.owned);
	assert_int_equal(cap_after(&d, 1 << 20, 1000), 100000);
	grpc_codec_clear(&d);
	assert_int_equal(cap_after(&d, 1 << 20, 1000), 4000);
	grpc_codec_clear(&d);
}

static void the_first_byte_is_a_flag(void **state)
{
	(void)state;
	for (int flag = 2; flag < 256; flag++) {
		uint8_t byte = (uint8_t)flag;
		const uint8_t *p = &byte;
		size_t len = 1;
		struct grpc_decoder d = {.max = MAX};
		struct grpc_frame f;

		assert_int_equal(grpc_codec_step(&d, &p, &len, &f), TX_EPROTO);
	}
}

/* What grpc_codec_gzip wrote, read back; the caller frees it. */
static uint8_t *read_back(struct evbuffer *b, bool compressed, size_t max, size_t *len)
{
	struct grpc_decoder d = {.max = SIZE_MAX};
	const uint8_t *p = evbuffer_pullup(b, -1);
	size_t left = evbuffer_get_length(b);
	struct grpc_frame f;
	uint8_t *out = NULL;

	assert_int_equal(grpc_codec_step(&d, &p, &left, &f), 1);
	assert_int_equal(left, 0);
	assert_int_equal(f.compressed, compressed);
	if (compressed) {
		assert_int_equal(grpc_codec_gunzip(f.body, f.len, max, &out, len), 0);
	} else {
		out = malloc(f.len + 1);
		assert_non_null(out);
		memcpy(out, f.body, f.len);
		*len = f.len;
	}
	evbuffer_drain(b, evbuffer_get_length(b));
	return out;
}

static void gzip_goes_there_and_back(void **state)
{
	static const size_t sizes[] = {100, 1000, 65535, 65536, 65537, 1 << 20};
	struct evbuffer *b = evbuffer_new();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *in = malloc(sizes[i]), *out;
		size_t len = 0;

		assert_non_null(in);
		for (size_t k = 0; k < sizes[i]; k++)
			in[k] = (uint8_t)(k / 50);
		assert_int_equal(grpc_codec_gzip(b, in, sizes[i]), 0);
		assert_true(evbuffer_get_length(b) < sizes[i]);
		out = read_back(b, true, sizes[i], &len); /* the limit is exactly what is needed */
		assert_int_equal(len, sizes[i]);
		assert_memory_equal(out, in, len);
		free(out);
		free(in);
	}
	evbuffer_free(b);
}

static void what_gzip_does_not_shrink_is_sent_plain(void **state)
{
	static const char *const texts[] = {"", "x", "short"};
	struct evbuffer *b = evbuffer_new();
	uint8_t noise[1000], *out;
	uint32_t x = 1;
	size_t len;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		len = 99;
		assert_int_equal(
		    grpc_codec_gzip(b, (const uint8_t *)texts[i], strlen(texts[i])), 0);
		out = read_back(b, false, MAX, &len);
		assert_int_equal(len, strlen(texts[i]));
		assert_memory_equal(out, texts[i], len);
		free(out);
	}
	for (size_t i = 0; i < sizeof(noise); i++) {
		x = x * 1664525u + 1013904223u;
		noise[i] = (uint8_t)(x >> 24);
	}
	assert_int_equal(grpc_codec_gzip(b, noise, sizeof(noise)), 0);
	out = read_back(b, false, MAX, &len);
	assert_int_equal(len, sizeof(noise));
	assert_memory_equal(out, noise, len);
	free(out);
	evbuffer_free(b);
}

/* Compresses `size` zero bytes; returns the length. */
static size_t zeros(uint8_t *to, size_t room, size_t size)
{
	z_stream z = {0};
	uint8_t *in = calloc(1, size);
	size_t n;

	assert_non_null(in);
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = in;
	z.avail_in = (uInt)size;
	z.next_out = to;
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = room - z.avail_out;
	deflateEnd(&z);
	free(in);
	return n;
}

static void a_bomb_stops_at_the_limit(void **state)
{
	uint8_t bomb[20000], *out = NULL;
	size_t n = zeros(bomb, sizeof(bomb), 10 << 20), len = 77;

	(void)state;
	assert_int_equal(grpc_codec_gunzip(bomb, n, 1 << 20, &out, &len), TX_ETOOBIG);
	assert_int_equal(grpc_codec_gunzip(bomb, n, (10 << 20) - 1, &out, &len), TX_ETOOBIG);
	assert_int_equal(grpc_codec_gunzip(bomb, n, 0, &out, &len), TX_ETOOBIG);
	assert_null(out);
	assert_int_equal(len, 77);
	assert_int_equal(grpc_codec_gunzip(bomb, n, 10 << 20, &out, &len), 0);
	assert_int_equal(len, 10 << 20);
	free(out);
}

static void bad_gzip_is_refused(void **state)
{
	uint8_t good[2000], *out = NULL;
	size_t n = zeros(good, sizeof(good) - 1, 5000), len;

	(void)state;
	/* cut short, at every length */
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *exact = malloc(cut + 1);

		assert_non_null(exact);
		memcpy(exact, good, cut);
		assert_int_equal(grpc_codec_gunzip(exact, cut, MAX, &out, &len), TX_EPROTO);
		free(exact);
	}
	/* something behind it */
	good[n] = 0;
	assert_int_equal(grpc_codec_gunzip(good, n + 1, MAX, &out, &len), TX_EPROTO);
	/* the checksum */
	good[n - 5] ^= 1;
	assert_int_equal(grpc_codec_gunzip(good, n, MAX, &out, &len), TX_EPROTO);
	assert_int_equal(
	    grpc_codec_gunzip((const uint8_t *)"plain text", 10, MAX, &out, &len), TX_EPROTO);
	assert_null(out);
}

static void an_empty_gzip_is_an_empty_message(void **state)
{
	uint8_t gz[100], *out = NULL;
	size_t n = zeros(gz, sizeof(gz), 0), len = 77;

	(void)state;
	assert_int_equal(grpc_codec_gunzip(gz, n, 0, &out, &len), 0);
	assert_int_equal(len, 0);
	free(out);
}

/* Any bytes in any pieces: no message is over the limit, and nothing is read or written outside. */
static void mutated_bodies_do_no_harm(void **state)
{
	unsigned int seed = 7;
	size_t frames = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		uint8_t body[512];
		struct grpc_decoder d = {.max = 300};
		size_t at = 0;
		int r = 0;

		for (size_t i = 0; i < sizeof(body); i++)
			body[i] = rand_r(&seed) % 4 == 0 ? (uint8_t)rand_r(&seed) : 0;
		while (at < sizeof(body) && r >= 0) {
			size_t n = 1 + (size_t)rand_r(&seed) % 40, len;
			uint8_t *exact;
			const uint8_t *p;

			if (n > sizeof(body) - at)
				n = sizeof(body) - at;
			exact = malloc(n);
			assert_non_null(exact);
			memcpy(exact, body + at, n);
			at += n;
			p = exact;
			len = n;
			while (len > 0 && r >= 0) {
				struct grpc_frame f = {0};

				r = grpc_codec_step(&d, &p, &len, &f);
				if (r == 0)
					break;
				if (r > 0) {
					assert_true(f.len <= 300);
					frames++;
				}
				free(f.owned);
			}
			free(exact);
		}
		grpc_codec_clear(&d);
	}
	assert_true(frames > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bodies_are_split_wherever_they_are_cut),
	    cmocka_unit_test(a_whole_message_is_not_copied),
	    cmocka_unit_test(limits_are_checked_before_memory_is_taken),
	    cmocka_unit_test(a_message_has_at_once_the_memory_that_the_last_one_had),
	    cmocka_unit_test(the_first_byte_is_a_flag),
	    cmocka_unit_test(gzip_goes_there_and_back),
	    cmocka_unit_test(what_gzip_does_not_shrink_is_sent_plain),
	    cmocka_unit_test(a_bomb_stops_at_the_limit),
	    cmocka_unit_test(bad_gzip_is_refused),
	    cmocka_unit_test(an_empty_gzip_is_an_empty_message),
	    cmocka_unit_test(mutated_bodies_do_no_harm),
	};

	return cmocka_run_group_tests_name("grpc_codec", tests, NULL, NULL);
}
