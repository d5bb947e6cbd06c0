/* SPDX-License-Identifier: Apache-2.0 */
/* The revocation list as a file. The keeper keeps it and gives it to the workers, and knows nothing
 * of what it says. */
#ifndef TX_KEEPER_REVOCATIONS_H
#define TX_KEEPER_REVOCATIONS_H

#include <stddef.h>

#include "agent/keeper/config.h"
#include "common/err.h"

#define REVOCATIONS_MAX ((size_t)8 << 20)

/* For reading; -1: there is none. */
int revocations_open(const struct config *c);
int revocations_put(const struct config *c, const void *pem, size_t len, struct err *e);

#endif
