/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an address to an authenticated TLS connection: look up the name, connect, shake hands, check
 * who the agent is; all under one deadline. The addresses of a name are tried in order: the next
 * one as soon as one fails, or when it has not answered within 250 ms; the first connection wins.
 * What TLS says then is the answer; but one that hangs up in the handshake without a word is tried
 * three times more.
 */
#ifndef TX_LIB_DIAL_H
#define TX_LIB_DIAL_H

#include <stdint.h>

#include "lib/address.h"
#include "lib/telex.h"

struct bufferevent;
struct dial;
struct event_base;
struct tls_ctx;

/* What is pointed to must live as long as the dial. */
struct dial_target {
	const struct address *address;
	const char *tls_name; /* to be found in the agent's certificate */
	struct tls_ctx *tls;
	int64_t timeout_ns;
};

/*
 * The end, from the event loop, once: bev (now the receiver's, to be freed with tls_free) and the
 * agent's identity; or error. The dial is freed after it returns.
 */
typedef void dial_done(
    struct bufferevent *bev, const char *identity, const struct telex_error *error, void *arg);

int dial_start(struct dial **out, struct event_base *base, const struct dial_target *target,
    dial_done *done, void *arg, struct telex_error *error);

/* Gives up; no done. Not from inside done. NULL is allowed. */
void dial_free(struct dial *d);

#endif
