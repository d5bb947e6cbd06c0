/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder of bodies, and gzip by zlib. What a peer announces is compared with limits and never
 * allocated on its word: a buffer is at most four times what has arrived of its message, or what
 * arrived of the last one, and decompression stops at its limit.
 */
#include "common/grpc_codec.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PIECE_MIN   1024   /* the least that a buffer begins with */
#define GZIP_WINDOW 31     /* 15 bits of window, and the gzip format */
#define GZIP_CHUNK  65536u /* of output, to begin with */

void grpc_codec_prefix(uint8_t out[GRPC_PREFIX_SIZE], bool compressed, uint32_t len)
{
	out[0] = compressed;
	out[1] = (uint8_t)(len >> 24);
	out[2] = (uint8_t)(len >> 16);
	out[3] = (uint8_t)(len >> 8);
	out[4] = (uint8_t)len;
}

bool grpc_codec_partial(const struct grpc_decoder *d)
{
	return d->prefix_have > 0;
}

void grpc_codec_clear(struct grpc_decoder *d)
{
	free(d->buf);
	d->buf = NULL;
	d->have = d->cap = d->last = 0;
	d->prefix_have = 0;
}

/* 1: the prefix is there and good; 0: more is needed. */
static int take_prefix(struct grpc_decoder *d, const uint8_t **data, size_t *len)
{
	size_t n = GRPC_PREFIX_SIZE - d->prefix_have;

	if (n == 0)
		return 1;
	if (n > *len)
		n = *len;
	memcpy(d->prefix + d->prefix_have, *data, n);
	d->prefix_have += n;
	*data += n;
	*len -= n;
	if (d->prefix[0] > 1)
		return TX_EPROTO;
	if (d->prefix_have < GRPC_PREFIX_SIZE)
		return 0;
	d->size = (size_t)d->prefix[1] << 24 | (size_t)d->prefix[2] << 16 |
	          (size_t)d->prefix[3] << 8 | d->prefix[4];
	return d->size > d->max ? TX_ETOOBIG : 1;
}

/* Room for n more bytes of the message; four times what is there, or what its predecessor had, so
 * that large ones are seldom moved. */
static int reserve(struct grpc_decoder *d, size_t n)
{
	size_t need = d->have + n, cap = need * 4;
	uint8_t *buf;

	if (need <= d->cap)
		return 0;
	if (cap < d->last)
		cap = d->last;
	if (cap < PIECE_MIN)
		cap = PIECE_MIN;
	if (cap > d->size)
		cap = d->size;
	buf = realloc(d->buf, cap);
	if (buf == NULL)
		return TX_ENOMEM;
	d->buf = buf;
	d->cap = cap;
	return 0;
}

int grpc_codec_step(
    struct grpc_decoder *d, const uint8_t **data, size_t *len, struct grpc_frame *out)
{
	int r = take_prefix(d, data, len);
	size_t n;

	if (r <= 0)
		return r;
	n = d->size - d->have;
	if (d->have == 0 && n <= *len) {
		*out = (struct grpc_frame){*data, n, d->prefix[0] == 1, NULL};
	} else {
		if (n > *len)
			n = *len;
		if (n == 0)
			return 0;
		if (reserve(d, n) < 0)
			return TX_ENOMEM;
		memcpy(d->buf + d->have, *data, n);
		d->have += n;
		if (d->have == d->size)
			*out = (struct grpc_frame){d->buf, d->size, d->prefix[0] == 1, d->buf};
	}
	*data += n;
	*len -= n;
	if (d->have > 0 && d->have < d->size)
		return 0;
	d->last = d->have;
	d->buf = NULL;
	d->have = d->cap = 0;
	d->prefix_have = 0;
	return 1;
}

/* Runs inflate to the end of the stream. *out may be replaced and is the caller's in any case. */
static int inflate_all(z_stream *z, size_t max, uint8_t **out, size_t *out_len)
{
	size_t cap = 0;

	for (;;) {
		int r;

		if (z->avail_out == 0) {
			size_t used = cap;
			uint8_t *grown;

			/* One byte beyond the limit tells "just fits" from "too big". */
			if (cap == max + 1)
				return TX_ETOOBIG;
			cap = cap == 0 ? GZIP_CHUNK : cap * 2;
			if (cap > max + 1)
				cap = max + 1;
			grown = realloc(*out, cap);
			if (grown == NULL)
				return TX_ENOMEM;
			*out = grown;
			z->next_out = grown + used;
			z->avail_out = (uInt)(cap - used);
		}
		r = inflate(z, Z_NO_FLUSH);
		if (r == Z_STREAM_END) {
			*out_len = cap - z->avail_out;
			return *out_len > max ? TX_ETOOBIG : 0;
		}
		if (r == Z_MEM_ERROR)
			return TX_ENOMEM;
		if (r != Z_OK || (z->avail_in == 0 && z->avail_out > 0))
			return TX_EPROTO;
	}
}

int grpc_codec_gunzip(const uint8_t *in, size_t len, size_t max, uint8_t **out, size_t *out_len)
{
	z_stream z = {0};
	uint8_t *text = NULL;
	size_t text_len = 0;
	int r;

	if (len > UINT32_MAX || max > UINT32_MAX)
		return TX_ETOOBIG;
	z.next_in = (Bytef *)in;
	z.avail_in = (uInt)len;
	if (inflateInit2(&z, GZIP_WINDOW) != Z_OK)
		return TX_ENOMEM;
	r = inflate_all(&z, max, &text, &text_len);
	if (r == 0 && z.avail_in > 0)
		r = TX_EPROTO;
	inflateEnd(&z);
	if (r < 0) {
		free(text);
		return r;
	}
	*out = text;
	*out_len = text_len;
	return 0;
}

/* The length of `in` compressed into to[size], or 0: it does not fit. */
static size_t deflate_into(uint8_t *to, size_t size, const uint8_t *in, size_t len)
{
	z_stream z = {0};
	size_t n = 0;

	if (size == 0 || deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, 8,
	                     Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	z.next_in = (Bytef *)in;
	z.avail_in = (uInt)len;
	z.next_out = to;
	z.avail_out = (uInt)size;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END)
		n = size - z.avail_out;
	deflateEnd(&z);
	return n;
}

int grpc_codec_gzip(struct evbuffer *out, const uint8_t *in, size_t len)
{
	struct evbuffer_iovec v;
	uint8_t *to;
	size_t n;

	if (len > UINT32_MAX)
		return TX_ETOOBIG;
	if (evbuffer_reserve_space(out, (ev_ssize_t)(GRPC_PREFIX_SIZE + len), &v, 1) < 1)
		return TX_ENOMEM;
	to = (uint8_t *)v.iov_base + GRPC_PREFIX_SIZE;
	/* Room for less than the message itself: what would not be smaller does not fit. */
	n = deflate_into(to, len > 0 ? len - 1 : 0, in, len);
	grpc_codec_prefix(v.iov_base, n > 0, (uint32_t)(n > 0 ? n : len));
	if (n == 0 && len > 0) {
		memcpy(to, in, len);
		n = len;
	}
	v.iov_len = GRPC_PREFIX_SIZE + n;
	return evbuffer_commit_space(out, &v, 1) < 0 ? TX_ENOMEM : 0;
}
