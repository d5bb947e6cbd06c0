/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stdio stream as a ring of shared memory: one producer, one consumer, absolute 64-bit offsets.
 *
 * The memfd holds a header page and a data area; the data area is mapped twice in a row, so that
 * any span of up to `size` bytes is contiguous. Offsets count bytes since the stream began and
 * never wrap in practice. tail <= head <= tail + size;  bytes [tail, head) are held.
 *
 * The keeper owns the truth: `head` and `tail` of its own struct ring are what counts, and it
 * copies them to the header page for the worker to read. It never reads them back. An output ring
 * is sealed with F_SEAL_FUTURE_WRITE after the keeper has mapped it: nobody else can ever write it.
 * An input ring can be written by the worker, which tells the new head in a message; the keeper
 * checks it (ring_accept).
 *
 * Bytes of an output that are before its ring's tail may be held elsewhere: `oldest` says from
 * where on. oldest <= tail.
 *
 * All functions that return int return 0 or a negative TX_E….
 */
#ifndef TX_COMMON_RING_H
#define TX_COMMON_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define RING_SIZE_MIN     ((size_t)4096)
#define RING_SIZE_MAX     ((size_t)1 << 30)
#define RING_SIZE_DEFAULT ((size_t)1 << 20)

enum ring_kind {
	RING_OUTPUT = 1, /* the keeper produces, workers read */
	RING_INPUT = 2,  /* a worker produces, the keeper consumes */
};

struct ring; /* one side's mapping; not thread-safe */

/* ---- the keeper's side ---- */

/* Creates, maps and seals. `size` is rounded up to a power of two of at least a page. */
int ring_create(struct ring **out, enum ring_kind kind, size_t size, struct err *e);
/* The same for a stream of which everything before `offset` has gone by: head, tail and oldest are
 * there. */
int ring_create_at(
    struct ring **out, enum ring_kind kind, size_t size, uint64_t offset, struct err *e);
/*
 * Output: a new ring of the same size that holds the bytes [tail, head) of `old`, which stays as it
 * is for whoever refers to it and is marked as moved. `tail` is between old's tail and head, and
 * `oldest` at most that (asserted). TX_ENOMEM, TX_ESYS; `old` is the caller's in any case.
 */
int ring_replace(
    struct ring **out, struct ring *old, uint64_t tail, uint64_t oldest, struct err *e);
/* Output: publishes the oldest byte that is held anywhere; never less than before, at most tail
 * (else ring_release must follow at once). */
void ring_set_oldest(struct ring *r, uint64_t offset);

/*
 * A ring of an earlier image of this process (an upgrade), of which only the memfd is left: a new
 * one of the same size with its bytes [tail, head) at the same offsets. TX_EPROTO: they do not fit
 * together; TX_ENOMEM, TX_ESYS. fd stays the caller's.
 */
struct ring_span {
	uint64_t size, oldest, tail, head; /* an input's oldest is its tail */
};
int ring_copy(
    struct ring **out, int fd, enum ring_kind kind, const struct ring_span *s, struct err *e);

/* The memfd, to be sent to a worker; it stays the ring's. */
int ring_fd(const struct ring *r);

/* Output: the free span at head; *len may be 0 (full). The pointer is valid until the next
 * ring_commit. */
uint8_t *ring_space(struct ring *r, size_t *len);

/* Output: n bytes were put at ring_space's pointer (n <= its len: asserted); publishes the new
 * head. */
void ring_commit(struct ring *r, size_t n);

/* Input: a worker says that head is now `head`. TX_EPROTO when that is behind head or beyond tail +
 * size; *r unchanged then. */
int ring_accept(struct ring *r, uint64_t head);

/*
 * The consumer is done with everything before `offset`; publishes the new tail. TX_EPROTO when
 * beyond head; an offset behind tail is no error and changes nothing.
 */
int ring_release(struct ring *r, uint64_t offset);

/* ---- the worker's side ---- */

/*
 * Maps a ring from a keeper's memfd; `fd` stays the caller's and may be closed afterwards. Output
 * rings are mapped read-only. Checks size, kind, magic and that the memfd can neither shrink nor
 * grow (TX_EPROTO).
 */
int ring_map(struct ring **out, int fd, enum ring_kind kind, struct err *e);

/* Takes head and tail from the header page (acquire). The consumer of an output ring calls it after
 * a wake-up. */
void ring_refresh(struct ring *r);

/* Output, after ring_refresh: the oldest byte held anywhere, as published. */
uint64_t ring_oldest(const struct ring *r);
/* Output: whether another ring took its place (the message that brings it is under way): what this
 * one says of `oldest` may be out of date. */
bool ring_moved(const struct ring *r);

/* Input: whether the keeper has taken everything that was committed. */
bool ring_input_taken(const struct ring *r);

/* Input: the free span for the worker's own head, and the commit of what was put there (not
 * published: send a message). */
uint8_t *ring_input_space(struct ring *r, size_t *len);
void ring_input_commit(struct ring *r, size_t n);

/* Input, after attaching: go on at `head`, as the keeper said. */
void ring_input_seek(struct ring *r, uint64_t head, uint64_t tail);

/* ---- both ---- */

/* Contiguous bytes from `offset` up to head; *len 0 when there are none. offset must be in [tail,
 * head] (asserted). */
const uint8_t *ring_peek(const struct ring *r, uint64_t offset, size_t *len);

uint64_t ring_head(const struct ring *r);
uint64_t ring_tail(const struct ring *r);
size_t ring_size(const struct ring *r);

/* A mapping may be referenced by queued output: ring_unref unmaps at the last one. NULL is allowed.
 */
struct ring *ring_ref(struct ring *r);
void ring_unref(struct ring *r);

#endif
