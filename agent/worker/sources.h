/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections each source has: an IPv4 address, or the /64 of an IPv6 one. */
#ifndef TX_AGENT_WORKER_SOURCES_H
#define TX_AGENT_WORKER_SOURCES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct sources;
struct source;

/* max 0: any number, and nothing is counted. */
struct sources *sources_new(uint32_t max);
void sources_free(struct sources *ss); /* after the last source_leave; NULL is allowed */

/* One connection more from there. False: it has as many as it may. *out may be NULL then and when
 * nothing is counted. */
bool sources_enter(struct sources *ss, const struct sockaddr *from, struct source **out);
void sources_leave(struct sources *ss, struct source *s); /* NULL is allowed */

/* Whether a refusal is to be told now: at most one a second is, with how many were not (*untold).
 */
bool sources_tell(struct sources *ss, int64_t now_ns, uint64_t *untold);

#endif
