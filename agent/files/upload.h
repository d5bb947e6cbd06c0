/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file that is being written by a Write call: into a temporary file beside its target, which it
 * replaces when it is whole (common/temp_file.h), or behind what is there (append).
 *
 * What fails fills *status and returns a negative TX_E…. Then, and when all is done, upload_free.
 */
#ifndef TX_FILES_UPLOAD_H
#define TX_FILES_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/files/call.h"
#include "common/digest.h"
#include "telex/v1/file.pb-c.h"

struct upload;

/* `begin` is the caller's, and stays as long. */
int upload_begin(struct upload **out, struct call *c, const Telex__V1__WriteBegin *begin,
    struct rpc_status *status);
/* The next bytes. */
int upload_put(
    struct upload *u, uint64_t offset, const void *data, size_t len, struct rpc_status *status);
/* It is whole: checks it, and puts it in its place. sha256: may be empty. */
int upload_end(struct upload *u, const ProtobufCBinaryData *sha256, struct rpc_status *status);
/* After upload_end. */
uint64_t upload_size(const struct upload *u);
const uint8_t *upload_digest(const struct upload *u);
/* cut: the call was cut: what has come stays for whoever goes on with it. Else nothing stays that
 * is not whole. */
void upload_free(struct upload *u, bool cut);

#endif
