/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window credit of what a caller was given and has not dealt with yet. It goes back as the
 * caller says so; what came with a connection that is lost has none any more.
 */
#ifndef TX_LIB_CREDIT_H
#define TX_LIB_CREDIT_H

#include <stddef.h>

/* Zero is none. Units are what the caller counts in: bytes, changes. */
struct credit {
	size_t held;  /* units given and not dealt with */
	size_t stale; /* of these, the first ones: they came with an earlier call */
	size_t owed;  /* the window credit that the others hold */
};

/* n more units were given, with this much window credit. */
void credit_give(struct credit *c, size_t n, size_t owed);
/* The call that they came with is over. */
void credit_lost(struct credit *c);
/* n units, the oldest, are dealt with (more than held: all): the window credit that comes free. */
size_t credit_take(struct credit *c, size_t n);

#endif
