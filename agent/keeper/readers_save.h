/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of a job over an upgrade: their workers end, so afterwards all of them are away
 * (attach_internal.h). Fields of the job's record. */
#ifndef TX_KEEPER_READERS_SAVE_H
#define TX_KEEPER_READERS_SAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/keeper_msg.h"

struct job;
struct state_in;
struct state_out;

struct reader_saved {
	char owner[KM_IDENTITY_SIZE];
	uint64_t key;
	uint8_t flags; /* enum km_attach_flag */
	bool starter, set_aside;
	uint64_t acked[3];
	int64_t acked_at[3], hindered[3];
};

void readers_save(struct state_out *o, const struct job *j);
/* *out is the caller's to free; NULL: there are none, or no memory, without which they are
 * forgotten. Bad fields are the record's. */
void readers_load(struct state_in *in, struct reader_saved **out, size_t *n);
/* The outputs are there. */
void readers_restore(struct job *j, const struct reader_saved *s, size_t n);

#endif
