/* SPDX-License-Identifier: Apache-2.0 */
/* File systems that others change without this machine being told. */
#ifndef TX_WATCH_REMOTE_H
#define TX_WATCH_REMOTE_H

#include <stdint.h>

#include "common/rpc_status.h"

/* What fd is on, when it is one of those: "nfs"; else NULL. */
const char *watch_remote(int fd);
/* Fills *status: a root at path, on one of those, is not watched. Negative. */
int watch_remote_refuse(struct rpc_status *status, const char *path, const char *remote);
/* For tests: a type of statfs(2) that is one of those, too; 0: none. */
void watch_remote_add(uint32_t type);

#endif
