/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: two ends of HTTP/2 in one process, joined by a bufferevent_pair. Either end may stay
 * raw, so that a test writes its frames by hand. The fixture keeps what on_closed and on_goaway
 * tell and forwards all to the test's ops. What cannot be set up aborts.
 */
#ifndef TX_TESTS_SUPPORT_H2_PAIR_H
#define TX_TESTS_SUPPORT_H2_PAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/h2.h"

struct evbuffer;

struct h2_pair_side {
	struct h2_conn *conn;          /* NULL: raw, or closed */
	struct bufferevent *bev;       /* NULL once closed */
	const struct h2_conn_ops *ops; /* the test's; may be NULL */
	void *arg;
	struct err why;   /* as on_closed told */
	bool closed;      /* on_closed was called; a second time aborts */
	unsigned goaways; /* calls of on_goaway */
	uint32_t goaway_code;
};

struct h2_pair {
	struct event_base *base;
	struct h2_pair_side client, server;
};

/* The base and two raw ends. */
void h2_pair_init(struct h2_pair *p);
/* Makes a raw end an h2 connection. ops (may be NULL): the test's on_stream, on_goaway, on_closed,
 * each may be NULL. */
void h2_pair_start(struct h2_pair *p, struct h2_pair_side *side, const struct h2_limits *limits,
    const struct h2_conn_ops *ops, void *arg);
/* Runs the loop until nothing more happens. */
void h2_pair_settle(struct h2_pair *p);
/* Runs the loop until *flag; false when that did not come in a minute. */
bool h2_pair_run(struct h2_pair *p, const bool *flag);
/* Frees one end as if its process had died: no GOAWAY, the other end sees EOF. Only a raw one. */
void h2_pair_cut(struct h2_pair *p, struct h2_pair_side *side);
/* Closes what is open and frees all. */
void h2_pair_free(struct h2_pair *p);

/* ---- frames by hand, for raw ends ---- */

void h2_raw_write(struct h2_pair_side *side, const void *data, size_t len);
void h2_raw_preface(struct h2_pair_side *side); /* a client's, with empty SETTINGS */
void h2_raw_frame(struct h2_pair_side *side, uint8_t type, uint8_t flags, uint32_t stream,
    const void *payload, size_t len);
/* HEADERS of a plain request: POST, https, "/x", "a"; not Huffman-coded, not indexed. */
void h2_raw_request(struct h2_pair_side *side, uint32_t stream, bool end);
/*
 * Takes the next whole frame that came in; false: none. The payload lives until the next call. The
 * client's preface, when the raw side is the server, is the test's to drain.
 */
struct h2_raw_frame {
	uint32_t len, stream;
	uint8_t type, flags;
	const uint8_t *payload;
};
bool h2_raw_read(struct h2_pair_side *side, struct h2_raw_frame *f);
/* Throws frames away up to the first of `type`. */
bool h2_raw_find(struct h2_pair_side *side, uint8_t type, struct h2_raw_frame *f);

#endif
