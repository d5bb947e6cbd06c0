/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of the keeper's state between two images of it (an upgrade): a sealed memfd with a magic
 * number, a version, a length, a checksum, the descriptors that go along, and records. A record is
 * a tag and fields in a fixed order, which the reader takes in that order.
 *
 * Versions. A new field goes to the end of its record, and STATE_VERSION up by one. Of an older
 * version's record the fields that it did not have are read as 0 and empty. A newer version is
 * refused.
 *
 * Writing never fails in between: out of memory is told by state_seal. Nor does reading: what is
 * not there reads as 0, and state_record_good tells.
 */
#ifndef TX_KEEPER_STATE_IO_H
#define TX_KEEPER_STATE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define STATE_VERSION 3u

struct state_in;
struct state_out;

enum state_tag {
	STATE_KEEPER = 1,    /* state.c; the first */
	STATE_LISTENER = 2,  /* state.c */
	STATE_WORKER = 3,    /* state.c */
	STATE_GROUP = 4,     /* state.c */
	STATE_JOB = 5,       /* job_save.c */
	STATE_ABANDONED = 6, /* pump_out.c */
	STATE_END = 7,       /* the last; its field: how many jobs */
};

/* ---- writing ---- */

struct state_out *state_out_new(void); /* NULL: no memory */
void state_out_free(struct state_out *o);

void state_begin(struct state_out *o, enum state_tag tag);
void state_end(struct state_out *o);
void state_put(struct state_out *o, uint64_t v); /* every number */
void state_put_signed(struct state_out *o, int64_t v);
void state_put_bytes(struct state_out *o, const void *data, size_t len);
void state_put_text(struct state_out *o, const char *text);
void state_put_fd(struct state_out *o, int fd); /* negative: none */

/* TX_ENOMEM, TX_ESYS. *memfd is the caller's. */
int state_seal(struct state_out *o, int *memfd, struct err *e);
/* The descriptors that were put. */
const int *state_out_fds(const struct state_out *o, size_t *n);

/* ---- reading ---- */

/* Checks everything that surrounds the records, and that they follow each other without a gap.
 * TX_EUNSUPPORTED: of a newer version; TX_EPROTO: not a state, or damaged. memfd stays the
 * caller's. */
int state_open(struct state_in **out, int memfd, struct err *e);
void state_close(struct state_in *in);

/* From the first record again. */
void state_rewind(struct state_in *in);
/* The next record. False: there is none. */
bool state_next(struct state_in *in, enum state_tag *tag);
uint64_t state_get(struct state_in *in);
/* Beyond max is bad, and 0. */
uint64_t state_get_most(struct state_in *in, uint64_t max);
bool state_get_bool(struct state_in *in);
int64_t state_get_signed(struct state_in *in);
const uint8_t *state_get_bytes(struct state_in *in, size_t *len); /* of the state's memory */
void state_get_text(struct state_in *in, char *out, size_t size);
int state_get_fd(struct state_in *in); /* -1: none */
/* What was read is not possible. */
void state_bad(struct state_in *in);
/* Whether all of this record, and no more, was read, and all of it good. */
bool state_record_good(const struct state_in *in);
/* Whether the records read so far have named every descriptor. */
bool state_fds_done(const struct state_in *in);

/* All the descriptors are there: makes them close-on-exec again. TX_EPROTO. */
int state_claim_fds(const struct state_in *in, struct err *e);

#endif
