/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace without any network: for the workers, whose sockets come from the keeper and
 * are of the namespace in which they were made.
 */
#ifndef TX_KEEPER_EMPTY_NETWORK_H
#define TX_KEEPER_EMPTY_NETWORK_H

#include "common/err.h"

/* Makes one; *fd is the caller's. It is there as long as the descriptor or a process in it is.
 * TX_ESYS: this process may not (CAP_SYS_ADMIN), or the kernel has none. */
int empty_network_new(int *fd, struct err *e);

#endif
