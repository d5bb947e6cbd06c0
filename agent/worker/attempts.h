/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often each source may ask an authority in vain: a token bucket a source (an IPv4 address, or
 * the /64 of an IPv6 one), which holds a minute's attempts. What succeeded is given back, so that a
 * hundred machines behind one address are all served, and who guesses is not.
 */
#ifndef TX_AGENT_WORKER_ATTEMPTS_H
#define TX_AGENT_WORKER_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

#define ATTEMPTS_PER_MINUTE 60u
#define ATTEMPTS_SOURCES    1024u /* further ones share a bucket while these are in use */

struct attempts;

struct attempts *attempts_new(uint32_t per_minute); /* 0: ATTEMPTS_PER_MINUTE */
void attempts_free(struct attempts *a);             /* NULL is allowed */

/* One more, of `peer` ("192.0.2.1:50000"). False: it has had all of its; *wait_ns: when there is
 * one again. */
bool attempts_take(struct attempts *a, const char *peer, int64_t now_ns, int64_t *wait_ns);
void attempts_give_back(struct attempts *a, const char *peer);

#endif
