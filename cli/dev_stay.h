/* SPDX-License-Identifier: Apache-2.0 */
/* `telex dev` in the foreground: what would end it ends the agent. */
#ifndef TX_CLI_DEV_STAY_H
#define TX_CLI_DEV_STAY_H

#include "cli/dev_agent.h"

/* Until the agent has ended: CLI_OK, or CLI_TELEX and it was said how. hears(arg) is called once
 * signals are heard: whoever is told then that the agent serves may send one. */
int dev_stay(struct dev_agent *agent, void (*hears)(void *arg), void *arg);

#endif
