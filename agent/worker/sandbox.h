/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker gives up before it serves, and the checks that it really has no more. */
#ifndef TX_AGENT_WORKER_SANDBOX_H
#define TX_AGENT_WORKER_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/*
 * No new privileges, no core, no ptrace by others of the same uid; then, with `drop`, that this
 * process is uid and gid alone (real, effective, saved; no other group) and holds no capability.
 * Negative: do not serve.
 */
int sandbox_enter(bool drop, uint32_t uid, uint32_t gid, struct err *e);

#endif
