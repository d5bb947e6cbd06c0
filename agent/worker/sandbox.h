/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's confinement, in two steps: what can be given up before anything of a peer or of a
 * file is looked at, and, when all files are read, everything else. Neither can be undone.
 */
#ifndef TX_AGENT_WORKER_SANDBOX_H
#define TX_AGENT_WORKER_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/confine.h"
#include "common/err.h"

/*
 * No new privileges, no core file, not dumpable; with `drop`, the keeper must have made this
 * process uid:gid, neither of them 0, without groups and capabilities: checked. Negative when one
 * of it is not so: a worker does not serve then.
 */
int sandbox_enter(struct confine_report *r, bool drop, uint32_t uid, uint32_t gid, struct err *e);

/* No path, and only the system calls of sandbox_calls. `network`: whether the keeper has put this
 * process into a network namespace without networks; for the report. audit_fd: to it records can be
 * appended, and nothing else be done. */
int sandbox_close(struct confine_report *r, bool network_is_empty, int audit_fd, struct err *e);

/* The system calls that a worker makes; NULL at its end. */
extern const char *const sandbox_calls[];

#endif
