/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that were taken over from the kernel and wait to be worked off, in the form of
 * inotify(7)'s records, whoever they come from.
 */
#ifndef TX_WATCH_QUEUE_H
#define TX_WATCH_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WATCH_QUEUE_MAX ((size_t)64 << 20) /* more stays in the kernel's queue */

/* Beside inotify's: nobody tells of this folder's attributes but it itself. */
#define WATCH_SELF ((uint32_t)0x00010000)
/* In a watch's number: its file system is watched as a whole. */
#define WATCH_WIDE ((uint32_t)0x80000000)

struct watch_event {
	uint32_t watch;
	uint32_t mask;    /* IN_…, WATCH_SELF */
	uint32_t cookie;  /* of a departure and its arrival; 0: there is no other half */
	const char *name; /* NULL: of the watched itself */
	size_t len;
};

/* Zero is an empty one. */
struct watch_queue {
	uint8_t *bytes;
	size_t from, to, room;
};

void watch_queue_free(struct watch_queue *q);
bool watch_queue_is_empty(const struct watch_queue *q);
bool watch_queue_is_full(const struct watch_queue *q);
void watch_queue_drop(struct watch_queue *q); /* all of it */

/* Room for so many bytes of records at its end; `added` of them were filled. */
uint8_t *watch_queue_room(struct watch_queue *q, size_t size);
void watch_queue_added(struct watch_queue *q, size_t added);
/* One more, of which everything is copied. */
void watch_queue_push(struct watch_queue *q, const struct watch_event *e);

/* The first one; lives until the queue grows. False: there is none. */
bool watch_queue_first(const struct watch_queue *q, struct watch_event *out);
void watch_queue_next(struct watch_queue *q);
bool watch_queue_is_last(const struct watch_queue *q);
/* The arrival that belongs to the first one, a departure. */
bool watch_queue_partner(const struct watch_queue *q, struct watch_event *out);

#endif
