/* SPDX-License-Identifier: Apache-2.0 */
/* What audit_log.c and audit_act.c share; nobody else includes it. */
#ifndef TX_AGENT_WORKER_AUDIT_INTERNAL_H
#define TX_AGENT_WORKER_AUDIT_INTERNAL_H

#include "common/rpc.h"

struct audit;

/* Begins a record of a call: who, from where, and the request's id. */
struct audit *audit_begin_call(struct rpc_call *c, const char *event);
/* Fills *refuse with AUDIT_UNAVAILABLE; negative. */
int audit_unavailable(struct rpc_status *refuse);

#endif
