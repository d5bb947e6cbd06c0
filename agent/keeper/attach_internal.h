/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What attach.c (attachments), attach_tell.c (what they are told) and readers.c (what they let go
 * of, and who is waited for) share; nobody else includes it.
 *
 * An attachment counts, so that what it has not acknowledged is kept, unless it is lossy, passive
 * or set aside; one that was overtaken has nothing left to keep. One that was set aside counts
 * again when it is the only one.
 *
 * One whose worker died or is replaced is away: its client is about to come back for what it has
 * not acknowledged. It counts on for READERS_AWAY_NS, with the patience of one that does not read.
 */
#ifndef TX_KEEPER_ATTACH_INTERNAL_H
#define TX_KEEPER_ATTACH_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/keeper_msg.h"

struct attachment;
struct event;
struct job;

#define ATTACH_BUCKETS 256

struct attach_table {
	struct km_chan *chan;
	void (*failed)(void *arg);
	void *arg;
	bool has_failed;
	uint32_t count;
	LIST_HEAD(, attachment) buckets[ATTACH_BUCKETS];
	TAILQ_HEAD(, attachment) dirty;
	struct event *flush; /* at the end of this turn of the loop */
};

/* One output, as an attachment has it. */
struct attach_out {
	uint64_t acked;                 /* the client has everything before */
	uint64_t seen;                  /* what the worker saw */
	bool armed;                     /* a wake is owed when there is more than `seen` */
	unsigned ring_told, spool_told; /* the store's numbers */
	/* readers.c; monotonic */
	int64_t acked_at; /* the last time that acked moved */
	int64_t since;    /* it hinders others since then; 0: it does not */
	int64_t hindered; /* how long it did before, less what it has earned back */
	int64_t calm_at;  /* since when it does not */
};

struct attachment {
	LIST_ENTRY(attachment) in_bucket; /* of its table */
	LIST_ENTRY(attachment) in_job;    /* `attachments`, or `away` */
	TAILQ_ENTRY(attachment) in_dirty; /* when `dirty` */
	struct attach_table *table;
	struct job *job;
	uint32_t att;
	uint8_t flags; /* enum km_attach_flag */
	bool starter;  /* it came with the start */
	bool counts;   /* for the disconnect policy */
	bool set_aside;
	bool running_due; /* it was queued when this one came */
	bool dirty, ended_told, input_told, closed_told;
	struct attach_out out[3];
	uint32_t eof_told; /* KM_BIT()s */
	uint64_t written_told;
	uint64_t key;
	int64_t away_since; /* monotonic; 0: it is attached */
	char owner[KM_IDENTITY_SIZE];
};

/* Tells all that have something to be told, while the channel takes it. */
void attach_tell_all(struct attach_table *t);
/* Messages can no longer be sent. */
void attach_tell_failed(struct attach_table *t);
/* Whether an output has more than the worker saw, or is final. */
bool attach_has_news(const struct attachment *a, int s);

#define READERS_AWAY_NS  (INT64_C(10) * 1000000000)
#define READERS_AWAY_MAX 64 /* a job */

/* Takes one that is in no list any more. */
void readers_go_away(struct attachment *a);
/* One with this key has come: the one that is away has. */
void readers_came_back(struct job *j, const char *owner, uint64_t key);
/* There is nothing to come back for. */
void readers_forget_away(struct job *j);

/* It has come, or has acknowledged something, or is gone: others may go on, or begin to wait. */
void readers_changed(struct job *j);
/* Whether a process may have to wait for it. */
bool readers_waited(const struct attachment *a);
/* The last that was waited for leaves: what it has let go of is remembered. */
void readers_last_leaves(struct attachment *a);
/* Many leave together, whoever goes first: what all of them have let go of is remembered. `round`:
 * a job is looked at once in it. */
void readers_leave_together(struct attachment *a, uint64_t round);

#endif
