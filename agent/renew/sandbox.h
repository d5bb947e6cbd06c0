/* SPDX-License-Identifier: Apache-2.0 */
/* How telex-renew is locked in. What it parses comes from a network, and it holds a private key. */
#ifndef TX_AGENT_RENEW_SANDBOX_H
#define TX_AGENT_RENEW_SANDBOX_H

#include "common/confine.h"
#include "common/err.h"

/* No new privileges, no capabilities, no core, not to be looked into (ptrace, /proc). First of all.
 */
int renew_sandbox_enter(struct confine_report *r, struct err *e);
/*
 * And only the system calls of renew_sandbox_calls: no program can be executed. `address`
 * (HOST:PORT) is looked up once before: what the name service loads for that is code, and none can
 * be loaded afterwards.
 */
int renew_sandbox_close(struct confine_report *r, const char *address, struct err *e);

/* NULL at its end. */
extern const char *const renew_sandbox_calls[];

#endif
