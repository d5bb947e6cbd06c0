/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is held of one output: its ring and, before the ring's tail, its spool. Bytes stay until
 * their room is needed, whether or not somebody acknowledged them, so that one who comes late finds
 * what there is.
 *
 * Two promises: what a reader who counts has not acknowledged goes only when the policy says so
 * (nothing is said of those who do not count); and what a reader may refer to in the ring's memory
 * is never overwritten: where the tail must pass it, a new ring takes the place of the old one.
 */
#ifndef TX_KEEPER_STORE_H
#define TX_KEEPER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/keeper/spool.h"
#include "common/err.h"

struct ring;
struct state_in;
struct state_out;
struct store;

struct store_config {
	size_t ring_size;
	bool drop_oldest; /* else what is full waits for its readers */
	uint64_t spool;   /* bytes beyond the ring that may go to a file; 0: none */
	int spool_folder; /* where files are made; -1: nowhere */
	const char *job;  /* whose, for the log; lives as long as the store */
};

/* What the readers need, at this moment. */
struct store_readers {
	uint64_t hold;  /* the least that one who counts has not acknowledged; UINT64_MAX: nobody */
	uint64_t guard; /* the same of all who may refer to the ring; UINT64_MAX: nobody does */
	bool unwaited;  /* there are readers, but none that is waited for */
};

int store_new(struct store **out, const struct store_config *c); /* TX_ENOMEM */
void store_free(struct store *st);                               /* NULL is allowed */

/* The ring, made if need be at the length so far. TX_ENOMEM, TX_ESYS. */
int store_open(struct store *st, struct err *e);

enum store_room {
	STORE_ROOM,      /* the ring has some */
	STORE_FULL,      /* it waits for its readers */
	STORE_DISK_FULL, /* the same, but the disk may have room later */
	STORE_NO_MEMORY, /* try again later: *e says why */
};
/* Makes room at the head of a ring that has none. */
enum store_room store_make_room(struct store *st, const struct store_readers *r, struct err *e);

/* Everything before `offset` may go when nobody counts. TX_EPROTO: beyond the head. */
int store_release(struct store *st, uint64_t offset);
/* One who may refer to the ring's memory from `offset` on is gone, but what it sent may not be: the
 * memory is not written again. */
void store_keep_memory(struct store *st, uint64_t offset);
/* Lets go of all; its length stays known. */
void store_forget(struct store *st);

/* For all of these NULL is an output that never was. */
struct ring *store_ring(const struct store *st);   /* NULL: none yet, or forgotten */
struct spool *store_spool(const struct store *st); /* NULL: none */
/* Counts: another number is another ring, another file; 0: none was there. */
unsigned store_ring_number(const struct store *st);
unsigned store_spool_number(const struct store *st);
uint64_t store_oldest(const struct store *st);
uint64_t store_head(const struct store *st);
uint64_t store_released(const struct store *st);
unsigned store_descriptors(const struct store *st); /* that it keeps open */
size_t store_memory(const struct store *st);        /* bytes that its ring takes */

/* Over an upgrade. The descriptors are the caller's until store_restore has succeeded. */
struct store_saved {
	int ring_fd;                   /* -1: none */
	uint64_t size;                 /* the ring's, or of the one to make */
	uint64_t tail, head, released; /* without a ring tail and head are the length */
	bool has_spool;
	struct spool_saved spool;
};
void store_save(struct state_out *o, const struct store *st);
void store_load(struct state_in *in, struct store_saved *s);
/* c->ring_size is not looked at. TX_ENOMEM, TX_ESYS, TX_EPROTO. */
int store_restore(
    struct store **out, const struct store_config *c, const struct store_saved *s, struct err *e);

#endif
