/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who was cut off for abuse and comes back at once: a handshake costs us more than it costs them,
 * so those of such a source (an IPv4 address, or the /64 of an IPv6 one) begin one after the other,
 * with a pause between them, which is twice as long each time that one of them is cut off again.
 * Nobody waits longer than PENALTY_MOST_NS, since others may be behind the same address.
 */
#ifndef TX_AGENT_WORKER_PENALTIES_H
#define TX_AGENT_WORKER_PENALTIES_H

#include <stdint.h>

#define PENALTY_SOURCES    64u               /* the newest */
#define PENALTY_PAUSE_NS   INT64_C(50000000) /* the first */
#define PENALTY_LONGEST_NS INT64_C(400000000)
#define PENALTY_MOST_NS    INT64_C(1000000000)
#define PENALTY_FOR_NS     INT64_C(10000000000) /* since the last one that was cut off */

struct penalties;

struct penalties *penalties_new(void);
void penalties_free(struct penalties *p); /* NULL is allowed */

/* A connection of `peer` ("192.0.2.1:50000") was cut off. */
void penalties_add(struct penalties *p, const char *peer, int64_t now_ns);
/* How long one that was just accepted has to wait; 0: not at all. */
int64_t penalties_wait(struct penalties *p, const char *peer, int64_t now_ns);

#endif
