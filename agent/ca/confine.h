/* SPDX-License-Identifier: Apache-2.0 */
/* What telex-ca gives up before it reads the key. */
#ifndef TX_AGENT_CA_CONFINE_H
#define TX_AGENT_CA_CONFINE_H

#include "common/err.h"

/* No capabilities, none to be had again, no core, not to be looked into (ptrace, /proc). */
int confine_enter(struct err *e);

#endif
