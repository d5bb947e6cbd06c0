/* SPDX-License-Identifier: Apache-2.0 */
/* How many calls each identity makes, a second and at once, on this worker. Only those that have a
 * limit are counted. */
#ifndef TX_AGENT_WORKER_RATES_H
#define TX_AGENT_WORKER_RATES_H

#include "common/policy.h"
#include "common/rpc_status.h"

struct rates;

struct rates *rates_new(void);
void rates_free(struct rates *r);

/* One more call, of an identity with these limits: 0, or TX_ELIMIT with *refuse. */
int rates_begin(
    struct rates *r, const char *identity, struct policy_rates limits, struct rpc_status *refuse);
/* One that was begun is over. */
void rates_end(struct rates *r, const char *identity);

#endif
