/* SPDX-License-Identifier: Apache-2.0 */
/* Says when a stream has been idle for the interval that its client asked for. */
#ifndef TX_AGENT_WORKER_HEARTBEAT_H
#define TX_AGENT_WORKER_HEARTBEAT_H

#include <stdint.h>

#include "common/rpc.h"

struct heartbeat;

/* interval_ns 0: none, and NULL is returned. beat: send one; not called while messages wait for the
 * client. Aborts on out of memory. */
struct heartbeat *heartbeat_new(
    struct rpc_call *c, int64_t interval_ns, void (*beat)(void *arg), void *arg);
/* Something was sent. NULL is allowed; so below. */
void heartbeat_sent(struct heartbeat *h);
void heartbeat_free(struct heartbeat *h);

#endif
