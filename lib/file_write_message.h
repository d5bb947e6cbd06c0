/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of an upload: of Write, and of what is asked when a connection was lost under it.
 * What can fail returns 0 or a TX_E… (rpc_send). */
#ifndef TX_LIB_FILE_WRITE_MESSAGE_H
#define TX_LIB_FILE_WRITE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/digest.h"
#include "lib/telex.h"

struct rpc_call;
struct stdin_queue;

/* id: of the upload, "" where it cannot be gone on with. offset: where the first chunk begins. */
int file_write_message_begin(
    struct rpc_call *rpc, const struct telex_file_write *write, const char *id, uint64_t offset);
/* The next unsent bytes, at most a block of the queue. */
int file_write_message_chunk(struct rpc_call *rpc, struct stdin_queue *q);
int file_write_message_end(struct rpc_call *rpc, const uint8_t sha256[DIGEST_SIZE], bool abandoned);
/* GetUpload and Checksum; both end our half of the call. */
int file_write_message_ask(
    struct rpc_call *rpc, const struct telex_file_write *write, const char *id);
int file_write_message_check(struct rpc_call *rpc, const struct telex_file_write *write);

#endif
