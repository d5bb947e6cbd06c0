/* SPDX-License-Identifier: Apache-2.0 */
/* FILES_STATUS, from a status. */
#ifndef TX_FILES_FILES_STATUS_H
#define TX_FILES_FILES_STATUS_H

#include "common/rpc_status.h"
#include "telex/internal/v1/files.pb-c.h"

/* Must not move: the message points into it. */
struct files_status {
	Telex__Internal__V1__FilesStatus m;
	Telex__Internal__V1__FilesStatus__MetadataEntry entries[RPC_STATUS_META_MAX];
	Telex__Internal__V1__FilesStatus__MetadataEntry *list[RPC_STATUS_META_MAX];
};

/* Borrows both. */
void files_status_fill(
    struct files_status *out, const struct rpc_status *status, const char *summary);

#endif
