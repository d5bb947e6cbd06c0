/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ends of one TLS connection in one event base. Each end says "x" once it is established; the
 * run is over when each has heard the other's or has failed. What does not end by itself is ended
 * by a guard timer and fails the test.
 */
#ifndef TX_TESTS_TLS_PAIR_H
#define TX_TESTS_TLS_PAIR_H

#include <stdbool.h>

#include "common/tls.h"

struct bufferevent;
struct event_base;
struct tls_pair;

struct tls_end {
	struct tls_pair *pair;
	struct bufferevent *bev; /* NULL once it has failed */
	bool connected;          /* tls_established said yes */
	bool heard;              /* the other's "x" came */
	bool over;
	char identity[TLS_IDENTITY_SIZE]; /* of the other */
	struct err e;                     /* why it failed; code 0: it did not */
};

struct tls_pair {
	struct event_base *base;
	struct tls_end server, client;
	bool timed_out;
};

/* Fills fds with the two ends of a connection over loopback TCP, both non-blocking. Aborts when it
 * cannot. */
void tls_pair_tcp(int fds[2]);

void tls_pair_init(struct tls_pair *pair);
/* One end on fd; the other may be played by the test. */
void tls_pair_serve(struct tls_pair *pair, struct tls_ctx *ctx, int fd);
void tls_pair_connect(struct tls_pair *pair, struct tls_ctx *ctx, int fd, const char *host);
/* Until the ends that were started are over. */
void tls_pair_run(struct tls_pair *pair);
/* All of it: both ends over TCP, to "localhost" when host is NULL. */
void tls_pair_handshake(
    struct tls_pair *pair, struct tls_ctx *server, struct tls_ctx *client, const char *host);
/* Makes an end that is connected run again, until it fails. */
void tls_pair_run_until_failure(struct tls_pair *pair, struct tls_end *end);
void tls_pair_free(struct tls_pair *pair);

#endif
