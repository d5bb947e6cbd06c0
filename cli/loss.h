/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said of a connection that is lost, and when. One that is back within a second is nobody's
 * trouble: a reload or an upgrade of the agent's, or a worker that another takes over for. With -v
 * it is said at once.
 */
#ifndef TX_CLI_LOSS_H
#define TX_CLI_LOSS_H

#include <stdbool.h>

#include "cli/session.h"
#include "lib/telex.h"

struct loss;

/* session and meanwhile live as long as it does; meanwhile: "the process goes on", which is said,
 * too. */
struct loss *loss_new(const struct session *session, const char *meanwhile);
/* NULL is allowed. Nothing is said any more. */
void loss_free(struct loss *l);
/* From telex_run_ops.interrupted. */
void loss_begins(struct loss *l, const struct telex_error *why);
/* From telex_run_ops.resumed. Whether the loss had been said; then, that it is back, too. */
bool loss_ends(struct loss *l);
/* Whether the connection is lost now. */
bool loss_now(const struct loss *l);

#endif
