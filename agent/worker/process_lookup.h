/* SPDX-License-Identifier: Apache-2.0 */
/* One process of the keeper's table, by its id. */
#ifndef TX_AGENT_WORKER_PROCESS_LOOKUP_H
#define TX_AGENT_WORKER_PROCESS_LOOKUP_H

#include <stdbool.h>

#include "agent/worker/keeper_client.h"
#include "common/job_record.h"
#include "common/rpc_status.h"

/* Asks for a process of `owner` (with `any`: or of anybody), with `usage` for what it uses, too; as
 * keeper_call. */
int process_lookup(struct keeper_client *k, const char *id, const char *owner, uint8_t any,
    bool usage, keeper_answer *answer, void *arg, struct keeper_call **out);

/*
 * Reads the answer (msg and fd as keeper_answer got them) to a KM_LIST, and calls each() for every
 * record. 0; or negative with *refuse filled, also for the keeper's death.
 */
int process_lookup_read(const union km_any *msg, int fd,
    void (*each)(const struct job_record *r, void *arg), void *arg, struct rpc_status *refuse);

#endif
