/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that come through a trusted proxy: its certificate's identity is trusted_proxy of the
 * configuration, and each call of its is made for the identity that its header x-telex-identity
 * names. Of anybody else that header counts for nothing.
 */
#ifndef TX_AGENT_WORKER_PROXIED_H
#define TX_AGENT_WORKER_PROXIED_H

#include "agent/worker/worker.h"
#include "common/rpc.h"

#define PROXIED_HEADER "x-telex-identity"
#define PROXIED_MAX    4096 /* identities on one connection */

/* Makes the call's peer the one it is made for (rpc_call_set_peer). Negative with *refuse
 * (UNAUTHENTICATED NO_IDENTITY): the proxy names nobody, or no identity of a user. */
int proxied_identify(struct rpc_call *c, struct rpc_status *refuse);
/* At the connection's end. */
void proxied_free(struct peer *proxy);

#endif
