/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an agent could serve with a configuration: tried out, in a process that is for nothing
 * else. */
#ifndef TX_KEEPER_PREFLIGHT_H
#define TX_KEEPER_PREFLIGHT_H

#include "agent/keeper/config.h"
#include "agent/keeper/listener.h"
#include "common/err.h"

/*
 * Its control group can be used, its addresses can be had (those of `held` are: what counts of them
 * is text and address), and a worker with its certificates comes to serve. Changes c.
 */
int preflight_run(
    struct config *c, const char *worker, const struct listeners *held, struct err *e);

#endif
