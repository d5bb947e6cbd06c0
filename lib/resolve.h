/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses without blocking the event loop.
 *
 * Addresses and "localhost" are answered at once (RFC 6761: localhost is the loopback, nobody is
 * asked). Every other name goes through getaddrinfo in a thread of its own, so that the answer is
 * nsswitch's: /etc/hosts, DNS, mDNS, whatever the machine is set up for; libevent's evdns would see
 * only DNS. The thread blocks all signals, shares nothing with the caller but the request, and
 * outlives a resolve_cancel by as long as getaddrinfo takes.
 */
#ifndef TX_LIB_RESOLVE_H
#define TX_LIB_RESOLVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/err.h"

struct event_base;
struct resolve;

#define RESOLVE_MAX 16

/* In the order to try them. */
struct resolve_list {
	size_t n;
	struct resolve_address {
		struct sockaddr_storage addr;
		socklen_t len;
	} at[RESOLVE_MAX];
};

/* list NULL: it failed, and *why says how. The last use of the request. */
typedef void resolve_done(const struct resolve_list *list, const struct err *why, void *arg);

/* 0 when host is one that needs no asking; else TX_EAGAIN, or TX_ENOMEM. */
int resolve_now(struct resolve_list *out, const char *host, uint16_t port);

/* Asks. done comes from the event loop. TX_ENOMEM, TX_ESYS. */
int resolve_start(struct resolve **out, struct event_base *base, const char *host, uint16_t port,
    resolve_done *done, void *arg, struct err *e);

/* No done any more. NULL is allowed. */
void resolve_cancel(struct resolve *r);

#endif
