/* SPDX-License-Identifier: Apache-2.0 */
/* What requests have in common. */
#ifndef TX_FILES_REQUEST_H
#define TX_FILES_REQUEST_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "common/rpc_status.h"

#define REQUEST_PATH_SIZE 4096

/* A path of a request, with its NUL. The worker has made it absolute and plain; one that is not is
 * refused here, too (INVALID_ARGUMENT, BAD_REQUEST). */
bool request_path(
    char out[REQUEST_PATH_SIZE], const ProtobufCBinaryData *path, struct rpc_status *status);

#endif
