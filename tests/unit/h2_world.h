/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of h2: two connected ends, up to WORLD_STREAMS streams between them, each end of a
 * stream remembering what it was told and acting as the test says. Include after cmocka.h.
 */
#ifndef TX_TESTS_UNIT_H2_WORLD_H
#define TX_TESTS_UNIT_H2_WORLD_H

#include <event2/buffer.h>
#include <stdbool.h>

#include "tests/support/h2_pair.h"

#define WORLD_STREAMS 4

enum world_act { ACT_NONE, ACT_RESET, ACT_CLOSE };
enum world_at { AT_STREAM, AT_HEADERS, AT_DATA, AT_END, AT_WRITABLE, AT_CLOSE, AT_COUNT };

struct end {
	struct h2_stream *s; /* NULL: not open, or closed */
	struct evbuffer *body;
	char headers[512]; /* "name: value\n"; each section ends with "--\n" */
	unsigned sections, ends, closes, writables, acted;
	bool closed, ended;
	uint32_t code;
	int why;   /* h2_why at on_close; 1: none */
	bool hold; /* give no credit */
	/* A sender: `left` bytes from `source` in chunks of `chunk`, then h2_end. */
	const uint8_t *source;
	size_t left, chunk, max_pending;
	bool sends, by_reference, sent_end;
	enum world_act act; /* to do in the callback `at` */
	enum world_at at;
};

struct world {
	struct h2_pair p;
	struct end client[WORLD_STREAMS], server[WORLD_STREAMS];
	int accepted;
	bool refuse;
};

extern const struct h2_field world_request[5];
extern const struct h2_field world_response[2];
extern const struct h2_field world_trailers[2];

struct world *world_new(
    const struct h2_limits *client_limits, const struct h2_limits *server_limits);
/* The server's end is the test's to write by hand. */
struct world *world_new_raw_server(const struct h2_limits *client_limits);
/* Closes what is open. Asserts that no callback came twice that must come once. */
void world_free(struct world *w);
/* A client's stream; nothing is sent before the loop runs. */
struct end *world_open(struct world *w, int i, bool end);
/* One that the server has, both halves open. Streams are numbered in order. */
void world_establish(struct world *w, int i);
void world_send_text(struct h2_stream *s, const char *text);
/* Starts a sender. */
void world_send(struct end *e, const uint8_t *data, size_t len, size_t chunk, bool by_reference);
void world_assert_body(struct end *e, const void *want, size_t len);
/* Bytes that do not repeat soon; the caller's to free. */
uint8_t *world_pattern(size_t len);

#endif
