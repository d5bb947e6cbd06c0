/* SPDX-License-Identifier: Apache-2.0 */
/* What an exec log says of the workers' chains: which ones began, how far each was, and what became
 * of their keepers. For audit_verify.c. */
#ifndef TX_COMMON_AUDIT_ANCHOR_H
#define TX_COMMON_AUDIT_ANCHOR_H

#include "common/audit_internal.h"

struct audit_anchor {
	uint64_t writer, seq; /* 0: it began */
	char hash[AUDIT_HEX]; /* of its record; where it began, of the keeper's */
	size_t run;           /* of the keeper that says it */
};

/* A chain of a keeper. */
struct audit_run {
	uint64_t writer;
	bool older;   /* not tied to the one before it */
	bool over;    /* it has an end */
	bool rotated; /* the end is that of its file: the keeper goes on in another */
};

/* Where records of a keeper could not be written: what they would have said is not known. */
struct audit_gap {
	size_t run;
	char before[AUDIT_HEX]; /* the hash of the record before it */
	uint64_t lost;
};

struct audit_anchors {
	struct audit_anchor *list;
	size_t n, room;
	uint64_t *ended; /* writers whose processes the keeper saw end */
	size_t n_ended, room_ended;
	struct audit_run *runs; /* in their order */
	size_t n_runs, room_runs;
	struct audit_gap *gaps; /* in their order */
	size_t n_gaps, room_gaps;
};

enum audit_fate {
	AUDIT_RUNS,      /* nothing says that it has ended */
	AUDIT_ENDED,     /* in order */
	AUDIT_KILLED,    /* it has not, and another came after it */
	AUDIT_ELSEWHERE, /* it goes on in a file that is not here */
};

/* Takes what a record of the exec log says. TX_ENOMEM. */
int audit_anchors_take(struct audit_anchors *as, const struct audit_line *l);
/* By writer and number: before the rest can be asked. */
void audit_anchors_sort(struct audit_anchors *as);
/* The first of this writer's, and how many; with 0 it is nobody's, and may be NULL. */
const struct audit_anchor *audit_anchors_of(
    const struct audit_anchors *as, uint64_t writer, size_t *n);
/* Whether the keeper saw this worker end. */
bool audit_anchors_ended(const struct audit_anchors *as, uint64_t writer);
/* What became of the keeper of this run, which is `*last` in the newest of its files. */
enum audit_fate audit_anchors_fate(
    const struct audit_anchors *as, size_t run, const struct audit_run **last);
/* Whether a record that is missed may be one of those that could not be written: after the one with
 * the hash `before` (NULL: anywhere), by the keepers of the runs from `run` to `last`. Each of them
 * is one record, and is used up. */
bool audit_anchors_lost(struct audit_anchors *as, const char *before, size_t run, size_t last);
void audit_anchors_clear(struct audit_anchors *as);

#endif
