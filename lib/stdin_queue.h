/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes for a process's stdin, from when the caller gives them until the agent says that they
 * are written; or for a file, until they need not be sent again.
 *
 *     acked <= sent <= end       absolute offsets in the stream; [acked, end) is held, at most as
 *                                many bytes as there is room for
 *
 * What is sent is kept, so that a connection that takes over can send it again
 * (stdin_queue_rewind). Bytes are copied once, on the way in; messages refer to them.
 */
#ifndef TX_LIB_STDIN_QUEUE_H
#define TX_LIB_STDIN_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STDIN_QUEUE_ROOM ((size_t)1 << 20)

struct evbuffer;
struct stdin_queue;

struct stdin_queue *stdin_queue_new(size_t room); /* NULL: out of memory */
void stdin_queue_free(struct stdin_queue *q);

/* Takes what there is room for. TX_ENOMEM: out of memory; *taken bytes were taken all the same. */
int stdin_queue_put(struct stdin_queue *q, const void *data, size_t len, size_t *taken);
/* Moves the next unsent bytes, at most max and at most a block, to the end of out, by reference.
 * Their number, 0 when there are none, or TX_ENOMEM. */
int stdin_queue_take(struct stdin_queue *q, size_t max, struct evbuffer *out);
/* All before offset is written: it goes. TX_EPROTO: that was never sent. */
int stdin_queue_ack(struct stdin_queue *q, uint64_t offset);
/* The bytes from offset on are to be sent again. TX_EPROTO: they are not held. */
int stdin_queue_rewind(struct stdin_queue *q, uint64_t offset);
/* Nothing more is wanted: drops all, and stdin_queue_put takes and drops. */
void stdin_queue_close(struct stdin_queue *q);

uint64_t stdin_queue_sent(const struct stdin_queue *q);
size_t stdin_queue_unsent(const struct stdin_queue *q);
size_t stdin_queue_held(const struct stdin_queue *q);
bool stdin_queue_closed(const struct stdin_queue *q);

#endif
