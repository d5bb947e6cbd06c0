/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of h2 against hostile peers: one end is ours, the other is written by hand. Include
 * after cmocka.h.
 */
#ifndef TX_TESTS_UNIT_H2_SCENE_H
#define TX_TESTS_UNIT_H2_SCENE_H

#include <stdbool.h>

#include "tests/support/h2_pair.h"

enum {
	DATA,
	HEADERS,
	PRIORITY,
	RST_STREAM,
	SETTINGS,
	PUSH_PROMISE,
	PING,
	GOAWAY,
	WINDOW_UPDATE,
	CONTINUATION
};
#define END_STREAM  0x1
#define ACK         0x1
#define END_HEADERS 0x4

/* What the streams of our end came to. */
struct scene {
	struct h2_pair p;
	struct h2_pair_side *victim, *peer;
	unsigned opened, closed, headers, ended;
	size_t bytes, fields;
	bool hold;          /* give no credit */
	int64_t open_takes; /* ns that a stream's beginning costs */
	struct h2_stream *last;
	uint32_t last_code;
};

extern const struct h2_stream_ops scene_stream_ops;
extern const struct h2_field scene_request[4];

/* A server of ours, before the client's preface. */
void scene_bare(struct scene *x, const struct h2_limits *limits);
/* The same with prefaces and SETTINGS exchanged. */
void scene_server(struct scene *x, const struct h2_limits *limits);
/* A client of ours with one request open; its preface is read. */
void scene_client(struct scene *x, const struct h2_limits *limits);
void scene_free(struct scene *x);

/* The connection ended for `code`, its streams before it, and the peer was told `h2_code`. */
void scene_assert_ended(struct scene *x, int code, uint32_t h2_code);
void scene_assert_reset(struct scene *x, uint32_t stream, uint32_t code);
/* An honest request is served as before. */
void scene_assert_serves(struct scene *x, uint32_t stream);

#endif
