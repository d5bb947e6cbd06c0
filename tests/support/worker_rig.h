/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the worker's services: a client on an in-memory connection, the services as the
 * worker serves them, a fake keeper behind them. What cannot be set up aborts.
 */
#ifndef TX_TESTS_SUPPORT_WORKER_RIG_H
#define TX_TESTS_SUPPORT_WORKER_RIG_H

#include <stdbool.h>

#include "agent/worker/keeper_client.h"
#include "agent/worker/worker.h"
#include "common/rpc.h"
#include "tests/support/fake_keeper.h"
#include "tests/support/h2_pair.h"

#define RIG_USER         "spiffe://test.internal/user/alice"
#define RIG_DEFAULT_USER "rig"

struct worker_rig {
	struct h2_pair pair;
	struct worker worker;
	struct peer peer; /* RIG_USER */
	struct rpc_server *server;
	struct fake_keeper *keeper;
	bool keeper_lost; /* the worker was told so */
};

void worker_rig_init(struct worker_rig *rig);
/* Another policy from now on. At first RIG_USER may do everything. NULL: that again. */
void worker_rig_policy(struct worker_rig *rig, const char *text);
/* Closes the connection first, so that every call lets go of what it holds. */
void worker_rig_free(struct worker_rig *rig);
/* Runs the loop until nothing more happens. */
void worker_rig_settle(struct worker_rig *rig);

#endif
