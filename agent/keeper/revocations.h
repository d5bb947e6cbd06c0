/* SPDX-License-Identifier: Apache-2.0 */
/* The file of revocation lists (revocation_file.h). The keeper keeps it and gives it to the
 * workers, and knows nothing of what they say but whose each is, and its number. */
#ifndef TX_KEEPER_REVOCATIONS_H
#define TX_KEEPER_REVOCATIONS_H

#include <stddef.h>

#include "agent/keeper/config.h"
#include "common/err.h"
#include "common/revocation_file.h"

/* For reading; *fd -1: there is none. What is there and cannot be opened is an error. */
int revocations_open(int *fd, const struct config *c, struct err *e);
/* In the place of that issuer's. TX_ESTATE: a higher number of it is there. The
 * very list that is there is not written again. */
int revocations_put(const struct config *c, const struct revocation_record *list, struct err *e);

#endif
