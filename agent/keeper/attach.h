/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attachments: which worker reads which job, how far its client has it, and when to wake it. An
 * attachment is in two lists, its link's and its job's; either's end withdraws it.
 *
 * What is to be told is computed from the state when it is sent, so a slow worker's queue holds at
 * most one round of it. Who is waited for, and for how long: readers.c.
 */
#ifndef TX_KEEPER_ATTACH_H
#define TX_KEEPER_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/keeper_msg.h"

struct attach_table;
struct attachment;
struct event_base;
struct job;
struct store_readers;

/* The attachments of one link. `failed` is called, once, when messages can no longer be sent; not
 * from inside a call. */
int attach_table_new(struct attach_table **out, struct event_base *base, struct km_chan *chan,
    void (*failed)(void *arg), void *arg);
/* Withdraws all: their clients are not gone, their worker is. */
void attach_table_free(struct attach_table *t);
/* The channel has room again. */
void attach_table_writable(struct attach_table *t);

/* NULL: none of that number. */
struct attachment *attach_find(struct attach_table *t, uint32_t att);

/* Whether a job's outputs hold the offsets; else fills why (DROPPED or AHEAD). */
bool attach_offsets_held(const struct job *j, const uint64_t offset[3], struct km_refused *why);

#define ATTACH_MAX 65536 /* a link */

/* How to attach. */
struct attach_want {
	const char *owner;
	uint64_t key;         /* 0: none */
	uint8_t flags;        /* enum km_attach_flag */
	bool starter;         /* with a start */
	bool stdin_too;       /* takes it over from whoever has it */
	uint8_t acknowledged; /* KM_BIT()s: everything before offset[] is */
	uint64_t offset[3];   /* held */
};

/*
 * `att` must be free. One of the same owner and key is withdrawn, and its worker told. Nothing is
 * sent for the new one before attach_flush. TX_ENOMEM; TX_ELIMIT: ATTACH_MAX are there.
 */
int attach_add(struct attachment **out, struct attach_table *t, uint32_t att, struct job *j,
    const struct attach_want *want);
/* The attachment that one with this key would take the place of; NULL: none. */
struct attachment *attach_of_key(const struct job *j, const char *owner, uint64_t key);
bool attach_holds_stdin(const struct attachment *a);
const char *attach_owner(const struct attachment *a); /* who attached */
/* Tells what there is to tell, now or when the channel has room. */
void attach_flush(struct attachment *a);

/* Messages. TX_EPROTO: a violation. */
int attach_release(struct attachment *a, const struct km_release *m);
int attach_input(struct attachment *a, const struct km_input *m);
void attach_detach(struct attachment *a, const struct km_detach *m);

/* Of struct job_ops. */
void attach_on_output(struct job *j, enum km_stream s);
void attach_on_input(struct job *j);
void attach_on_started(struct job *j); /* one that was queued */
void attach_on_ended(struct job *j);
void attach_on_forgotten(struct job *j);
void attach_readers(struct job *j, enum km_stream s, struct store_readers *r);
void attach_on_full(struct job *j, enum km_stream s);
void attach_on_patience(struct job *j);

#endif
