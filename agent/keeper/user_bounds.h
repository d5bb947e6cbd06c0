/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent's ceiling says to a user that was looked up. */
#ifndef TX_KEEPER_USER_BOUNDS_H
#define TX_KEEPER_USER_BOUNDS_H

#include "agent/keeper/user.h"
#include "common/ceiling.h"
#include "common/err.h"

/* What uid the name has turned out to have, and what gid its group, against a ceiling (NULL: there
 * is none): 0, or TX_EPERM. */
int user_bounds(const struct ceiling *c, const struct user *u, struct err *e);

#endif
