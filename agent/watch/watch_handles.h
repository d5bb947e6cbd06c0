/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folders of file systems that are watched as a whole: from a hash of a folder's file handle to
 * its watch, a number. Two folders with one hash would share a watch, as one that has two names
 * does: what happens in one of them would be looked for in both.
 *
 * A number is used again once no event with it can be waiting: watch_handles_settle says when.
 */
#ifndef TX_WATCH_HANDLES_H
#define TX_WATCH_HANDLES_H

#include <stddef.h>
#include <stdint.h>

struct watch_handle {
	uint64_t hash;
	uint32_t mask; /* what it is watched for, IN_…; 0: nobody's number */
	uint32_t next; /* of those that are nobody's */
};

/* Zero is an empty one. */
struct watch_handles {
	struct watch_handle *list; /* by number; that of 0 is not used */
	uint32_t n, room;          /* numbers that were ever used, the 0 among them */
	uint32_t *index;           /* by hash; a power of two; 0: free */
	uint32_t n_index, n_used;
	uint32_t free, removed; /* the first of each; 0: none */
};

void watch_handles_clear(struct watch_handles *h);
/* Its number, from 1; 0: there is none such. */
uint32_t watch_handles_find(const struct watch_handles *h, uint64_t hash);
/* The same, or a new one; mask (not 0) is added to what it is watched for. 0: there are too many.
 */
uint32_t watch_handles_add(struct watch_handles *h, uint64_t hash, uint32_t mask);
/* 0: nobody's. */
uint32_t watch_handles_mask(const struct watch_handles *h, uint32_t number);
void watch_handles_remove(struct watch_handles *h, uint32_t number);
/* No event waits. */
void watch_handles_settle(struct watch_handles *h);
size_t watch_handles_memory(const struct watch_handles *h);

#endif
