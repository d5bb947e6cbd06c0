/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a gRPC body: five bytes of prefix (compressed or not, length), then the message; and
 * gzip. Knows no stream and no call. For grpc's own files, its tests and fuzzing.
 */
#ifndef TX_COMMON_GRPC_CODEC_H
#define TX_COMMON_GRPC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/grpc.h"

struct evbuffer;

/* Splits a body into messages. Zero but for `max` is the beginning. */
struct grpc_decoder {
	size_t max;  /* of a message, as it stands in the body */
	size_t size; /* of the message, as its prefix said; valid when prefix_have is
	                GRPC_PREFIX_SIZE */
	uint8_t prefix[GRPC_PREFIX_SIZE];
	size_t prefix_have;
	uint8_t *buf; /* of a message that came in pieces: `have` bytes of it */
	size_t have, cap;
	size_t last; /* the size of the last message, if that came in pieces */
};

/* A message as it stands in the body. */
struct grpc_frame {
	const uint8_t *body;
	size_t len;
	bool compressed;
	uint8_t *owned; /* what the caller frees: the memory that body lies in; or NULL: in the data
	                   that was given */
};

/*
 * Goes on in *data (*len bytes), and moves both past what it took. Returns 1: a message, in *out;
 * 0: all was taken and more is needed; TX_EPROTO (the first byte of a prefix is neither 0 nor 1),
 * TX_ETOOBIG (d->size says how big) or TX_ENOMEM: it cannot go on. A message that lies in *data
 * whole is not copied. Memory grows with what really came, not with what was announced.
 */
int grpc_codec_step(
    struct grpc_decoder *d, const uint8_t **data, size_t *len, struct grpc_frame *out);
/* Whether a message was begun and is not complete. */
bool grpc_codec_partial(const struct grpc_decoder *d);
void grpc_codec_clear(struct grpc_decoder *d);

void grpc_codec_prefix(uint8_t out[GRPC_PREFIX_SIZE], bool compressed, uint32_t len);

/* One whole gzip stream into at most max bytes. *out is the caller's to free. TX_EPROTO, TX_ETOOBIG
 * or TX_ENOMEM. */
int grpc_codec_gunzip(const uint8_t *in, size_t len, size_t max, uint8_t **out, size_t *out_len);
/*
 * Appends prefix and message to `out`: compressed when that is smaller, else as it is. TX_ENOMEM or
 * TX_ETOOBIG: nothing was appended.
 */
int grpc_codec_gzip(struct evbuffer *out, const uint8_t *in, size_t len);

#endif
