/* SPDX-License-Identifier: Apache-2.0 */
/* How telex-ca is locked in, in two steps: before it reads the key, and when it holds all it needs.
 */
#ifndef TX_AGENT_CA_SANDBOX_H
#define TX_AGENT_CA_SANDBOX_H

#include "common/confine.h"
#include "common/err.h"

/* No capabilities, none to be had again, no core, not to be looked into (ptrace, /proc). A folder
 * of root's makes this process root's: without capabilities that is a user like others. */
int ca_sandbox_enter(struct confine_report *r, struct err *e);

/* Of the file system the working folder alone, no sockets but those it is given, and only the
 * system calls of ca_sandbox_calls. */
int ca_sandbox_close(struct confine_report *r, struct err *e);

/* NULL at its end. */
extern const char *const ca_sandbox_calls[];

#endif
