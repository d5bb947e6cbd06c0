/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call what. Everything that is not allowed here is denied. */
#ifndef TX_AGENT_WORKER_AUTHZ_H
#define TX_AGENT_WORKER_AUTHZ_H

#include "common/rpc_status.h"

/*
 * 0 when `identity` may call service/method; else negative, with *refuse filled (UNAUTHENTICATED
 * NO_IDENTITY, or PERMISSION_DENIED NOT_ALLOWED).
 */
int authz_check(
    const char *identity, const char *service, const char *method, struct rpc_status *refuse);

#endif
