/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a gRPC call over an h2_pair. Each end counts what it is told, keeps the last message,
 * gives credit at once unless told not to, and may do something of the test's at an event. An end
 * may also stay plain HTTP/2 (grpc_pair_h2), so that a test sends what gRPC would not.
 */
#ifndef TX_TESTS_SUPPORT_GRPC_PAIR_H
#define TX_TESTS_SUPPORT_GRPC_PAIR_H

#include "common/grpc.h"
#include "tests/support/h2_pair.h"

enum grpc_event { ON_NOTHING, ON_CALL, ON_MESSAGE, ON_HALF_CLOSE, ON_WRITABLE, ON_DONE };

struct grpc_end {
	struct grpc_call *call; /* NULL: not there yet, or over */
	unsigned messages, half_closes, writables, dones;
	size_t bytes;  /* of all messages */
	uint8_t *last; /* the last message */
	size_t last_len;
	struct rpc_status status; /* of on_done */
	bool hold;                /* credit is the test's to give */
	enum grpc_event at;       /* then `act` is called, each time */
	void (*act)(struct grpc_end *e);
	void *arg; /* act's */
};

/* A plain HTTP/2 stream that records what comes. */
struct h2_end {
	struct h2_stream *stream; /* NULL: not there yet, or closed */
	char headers[2048];       /* "name: value\n" of all sections */
	uint8_t data[4096];
	size_t data_len, bytes;
	bool deaf; /* gives no credit */
	bool ended, closed;
	uint32_t code;
};

struct grpc_pair {
	struct h2_pair h2;
	struct grpc_end client, server;
	struct h2_end plain;
	char path[128];                /* of the last call that the server saw */
	char meta_name[32], meta[128]; /* set the name: ON_CALL copies that field's value */
	size_t meta_len;
	size_t max_message;       /* the server's; 0: the default */
	struct rpc_status refuse; /* with a code: on_call refuses with it */
	bool plain_server;        /* streams of the client go to `plain` */
	unsigned ends;            /* calls of the server's on_end */
};

/* Both connections. window: of each stream, both ways; 0: the default. */
void grpc_pair_init(struct grpc_pair *p, uint32_t window);
void grpc_pair_free(struct grpc_pair *p);
/* Opens a call of the client end; NULL: plain options. */
void grpc_pair_open(struct grpc_pair *p, const struct grpc_client_options *o);
/* Opens `plain` as a client's stream. fields NULL: a good gRPC request. */
void grpc_pair_h2(struct grpc_pair *p, const struct h2_field *fields, size_t n);
void grpc_pair_h2_send(struct grpc_pair *p, const void *data, size_t len);
/* A message's prefix and bytes. */
void grpc_pair_h2_message(struct grpc_pair *p, bool compressed, const void *data, size_t len);
/* n bytes that differ from place to place and from seed to seed; the caller frees them. */
uint8_t *grpc_pair_bytes(size_t n, unsigned seed);

#endif
