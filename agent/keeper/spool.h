/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of an output that its ring has no room for, in a file without a name: [oldest, end), the
 * byte at `offset` of the stream at offset - base of the file. The keeper appends; workers have a
 * descriptor that can only read.
 */
#ifndef TX_KEEPER_SPOOL_H
#define TX_KEEPER_SPOOL_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct spool;
struct state_in;
struct state_out;

/* A new file in `folder`, for what comes from `base` on. TX_ENOMEM, TX_ESYS. */
int spool_new(struct spool **out, int folder, uint64_t base, struct err *e);
/* Gives the room on the disk back at once, whoever still holds the file. NULL is allowed. */
void spool_free(struct spool *sp);

/* Appends what the disk takes; returns how much that was. Less than len: *e says why. */
size_t spool_append(struct spool *sp, const uint8_t *data, size_t len, struct err *e);
/* Forgets what is before `offset`, and gives its room back. TX_ESYS: the file system cannot; oldest
 * is as before. */
int spool_drop(struct spool *sp, uint64_t offset, struct err *e);

int spool_fd(const struct spool *sp); /* the one that can only read; stays the spool's */
uint64_t spool_base(const struct spool *sp);
uint64_t spool_oldest(const struct spool *sp);
uint64_t spool_end(const struct spool *sp);

/* Over an upgrade. The descriptors are the caller's until spool_restore has succeeded. */
struct spool_saved {
	int fd, reader;
	uint64_t base, oldest, end;
};
void spool_save(struct state_out *o, const struct spool *sp);
void spool_load(struct state_in *in, struct spool_saved *s);
int spool_restore(struct spool **out, const struct spool_saved *s); /* TX_ENOMEM */

#endif
