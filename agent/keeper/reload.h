/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration again while the agent serves. */
#ifndef TX_KEEPER_RELOAD_H
#define TX_KEEPER_RELOAD_H

#include "agent/keeper/config.h"

/*
 * Reads now's file anew and checks it and the files that it names. Every problem is logged. What
 * cannot change while the agent runs stays as it is, and is told. TX_EINVAL, TX_ENOMEM: the file
 * will not do.
 */
int reload_read(struct config **out, const struct config *now);

/* Before the agent's certificate and key are read: a renewal that was cut off is ended. */
void reload_finish_renewal(const struct config *c);

/* RELOADING=1, as service managers want it. */
void reload_notify(void);

#endif
