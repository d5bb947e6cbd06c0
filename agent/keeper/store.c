/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See store.h. oldest <= ring's tail <= head. A spool holds [its oldest, ring's tail) without a
 * gap: it is written before the tail passes, and goes as a whole once the tail passes what needs no
 * spooling.
 */
#include "agent/keeper/store.h"

#include <stdlib.h>
#include <unistd.h>

#include "agent/keeper/spool.h"
#include "agent/keeper/state_io.h"
#include "common/log.h"
#include "common/ring.h"

#define STEP_LEAST ((size_t)64 * 1024)

struct store {
	struct store_config c;
	struct ring *ring;
	struct spool *spool;
	unsigned ring_number, spool_number;
	uint64_t length;   /* when there is no ring */
	uint64_t released; /* what nobody needs any more, when nobody counts */
	uint64_t kept;     /* memory that is not written again, from here on; UINT64_MAX: none */
	bool disk_told;
};

int store_new(struct store **out, const struct store_config *c)
{
	struct store *st = calloc(1, sizeof(*st));

	if (st == NULL)
		return TX_ENOMEM;
	st->c = *c;
	st->kept = UINT64_MAX;
	*out = st;
	return 0;
}

void store_free(struct store *st)
{
	if (st == NULL)
		return;
	spool_free(st->spool);
	ring_unref(st->ring);
	free(st);
}

int store_open(struct store *st, struct err *e)
{
	int rc;

	if (st->ring != NULL)
		return 0;
	rc = ring_create_at(&st->ring, RING_OUTPUT, st->c.ring_size, st->length, e);
	if (rc == 0)
		st->ring_number++;
	return rc;
}

void store_forget(struct store *st)
{
	if (st->ring == NULL)
		return;
	st->length = ring_head(st->ring);
	spool_free(st->spool);
	st->spool = NULL;
	ring_unref(st->ring);
	st->ring = NULL;
}

int store_release(struct store *st, uint64_t offset)
{
	if (offset > store_head(st))
		return TX_EPROTO;
	if (st != NULL && offset > st->released)
		st->released = offset;
	return 0;
}

void store_keep_memory(struct store *st, uint64_t offset)
{
	if (st != NULL && offset < store_head(st) && offset < st->kept)
		st->kept = offset;
}

/* ---- the spool ---- */

/* Nobody is to read what the file holds from here on. */
static void end_spool(struct store *st)
{
	if (st->spool == NULL)
		return;
	ring_set_oldest(st->ring, ring_tail(st->ring));
	spool_free(st->spool);
	st->spool = NULL;
}

static void tell_disk(struct store *st, const struct err *e)
{
	if (!st->disk_told)
		log_warn("job %s: its output's spool counts as full: %s", st->c.job, e->message);
	st->disk_told = true;
}

/* Makes room for `want` more bytes under the cap; returns for how many there is. */
static size_t make_cap_room(struct store *st, size_t want, bool drop)
{
	struct err e;
	uint64_t live = spool_end(st->spool) - spool_oldest(st->spool), over;

	if (want > st->c.spool)
		want = (size_t)st->c.spool;
	if (live + want <= st->c.spool)
		return want;
	if (!drop)
		return (size_t)(st->c.spool - live);
	over = live + want - st->c.spool;
	ring_set_oldest(st->ring, spool_oldest(st->spool) + over);
	if (spool_drop(st->spool, spool_oldest(st->spool) + over, &e) == 0)
		return want;
	log_warn("job %s: its output's spool begins anew: %s", st->c.job, e.message);
	end_spool(st);
	return 0;
}

/* One try to write [tail, most), or what is missing of it; returns up to where the spool goes. */
static uint64_t write_spool(struct store *st, uint64_t most, bool drop, struct err *e)
{
	uint64_t tail = ring_tail(st->ring), from;
	size_t len, want;
	const uint8_t *at;

	if (st->spool == NULL) {
		if (spool_new(&st->spool, st->c.spool_folder, tail, e) != 0)
			return tail;
		st->spool_number++;
	}
	from = spool_end(st->spool);
	if (from >= most)
		return from;
	want = make_cap_room(st, (size_t)(most - from), drop);
	if (st->spool == NULL || want == 0)
		return from;
	at = ring_peek(st->ring, from, &len);
	(void)spool_append(st->spool, at, want < len ? want : len, e);
	return spool_end(st->spool);
}

/* Spools from the tail on, to `most` at best; returns up to where that went: the tail when it did
 * not. */
static uint64_t to_spool(struct store *st, uint64_t most, bool drop, bool *disk_full)
{
	uint64_t tail = ring_tail(st->ring);

	if (st->c.spool == 0 || st->c.spool_folder < 0)
		return tail;
	/* The second try: what the spool held before is gone by then. */
	for (int tries = drop ? 2 : 1; tries > 0; tries--) {
		struct err e = {0};
		uint64_t end = write_spool(st, most, drop, &e);

		if (e.code != 0) {
			tell_disk(st, &e);
			*disk_full = true;
		}
		if (end > tail)
			return end;
		if (st->spool != NULL && (drop || spool_end(st->spool) == spool_base(st->spool)))
			end_spool(st);
	}
	return tail;
}

/* ---- room ---- */

/* At once, so that there is a stretch to read into; not all, for the sake of latecomers. */
static uint64_t step_end(const struct store *st)
{
	size_t size = ring_size(st->ring), step = size / 4;
	uint64_t end;

	if (step < STEP_LEAST)
		step = STEP_LEAST < size / 2 ? STEP_LEAST : size / 2;
	end = ring_tail(st->ring) + step;
	return end < ring_head(st->ring) ? end : ring_head(st->ring);
}

/* Moves the ring's tail; in a new ring where somebody may refer to what goes. */
static int pass(struct store *st, uint64_t to, uint64_t guard, struct err *e)
{
	uint64_t oldest = st->spool != NULL ? spool_oldest(st->spool) : to;
	struct ring *fresh;
	int rc;

	if (guard >= to && st->kept >= to) {
		ring_set_oldest(st->ring, oldest);
		return ring_release(st->ring, to);
	}
	rc = ring_replace(&fresh, st->ring, to, oldest, e);
	if (rc != 0)
		return rc;
	ring_unref(st->ring);
	st->ring = fresh;
	st->ring_number++;
	st->kept = UINT64_MAX;
	return 0;
}

enum store_room store_make_room(struct store *st, const struct store_readers *r, struct err *e)
{
	uint64_t tail = ring_tail(st->ring), most = step_end(st), to;
	uint64_t limit = r->hold != UINT64_MAX ? r->hold : st->released;
	bool drop = st->c.drop_oldest || r->unwaited;
	bool disk_full = false;

	if (r->hold != UINT64_MAX)
		(void)store_release(st, r->hold);
	if (limit > tail) {
		end_spool(st);
		to = limit < most ? limit : most;
	} else {
		to = to_spool(st, most, drop, &disk_full);
		if (to == tail && drop) {
			/* One that was there before an upgrade, and goes on nowhere: no gap. */
			end_spool(st);
			to = most;
		}
	}
	if (to == tail)
		return disk_full ? STORE_DISK_FULL : STORE_FULL;
	return pass(st, to, r->guard, e) == 0 ? STORE_ROOM : STORE_NO_MEMORY;
}

/* ---- looks ---- */

struct ring *store_ring(const struct store *st)
{
	return st != NULL ? st->ring : NULL;
}

struct spool *store_spool(const struct store *st)
{
	return st != NULL ? st->spool : NULL;
}

unsigned store_ring_number(const struct store *st)
{
	return st != NULL ? st->ring_number : 0;
}

unsigned store_spool_number(const struct store *st)
{
	return st != NULL ? st->spool_number : 0;
}

uint64_t store_oldest(const struct store *st)
{
	if (st == NULL || st->ring == NULL)
		return store_head(st);
	return st->spool != NULL ? spool_oldest(st->spool) : ring_tail(st->ring);
}

uint64_t store_head(const struct store *st)
{
	if (st == NULL)
		return 0;
	return st->ring != NULL ? ring_head(st->ring) : st->length;
}

uint64_t store_released(const struct store *st)
{
	return st != NULL ? st->released : 0;
}

size_t store_memory(const struct store *st)
{
	if (st == NULL || st->ring == NULL)
		return 0;
	/* Of a ring that never was full only the beginning was touched. */
	return ring_head(st->ring) < ring_size(st->ring) ? (size_t)ring_head(st->ring)
	                                                 : ring_size(st->ring);
}

unsigned store_descriptors(const struct store *st)
{
	if (st == NULL || st->ring == NULL)
		return 0;
	return st->spool != NULL ? 3 : 1;
}

/* ---- over an upgrade ---- */

void store_save(struct state_out *o, const struct store *st)
{
	state_put_fd(o, st->ring != NULL ? ring_fd(st->ring) : -1);
	state_put(o, st->ring != NULL ? ring_size(st->ring) : st->c.ring_size);
	state_put(o, st->ring != NULL ? ring_tail(st->ring) : st->length);
	state_put(o, store_head(st));
	state_put(o, st->released);
	state_put(o, st->spool != NULL);
	if (st->spool != NULL)
		spool_save(o, st->spool);
}

void store_load(struct state_in *in, struct store_saved *s)
{
	s->ring_fd = state_get_fd(in);
	s->size = state_get_most(in, RING_SIZE_MAX);
	s->tail = state_get(in);
	s->head = state_get(in);
	s->released = state_get_most(in, s->head);
	s->has_spool = state_get_bool(in);
	if (s->has_spool)
		spool_load(in, &s->spool);
	if (s->tail > s->head || s->head - s->tail > s->size ||
	    (s->ring_fd < 0 && (s->tail != s->head || s->has_spool)) ||
	    (s->has_spool && (s->spool.oldest > s->tail || s->spool.end < s->tail)))
		state_bad(in);
}

int store_restore(
    struct store **out, const struct store_config *c, const struct store_saved *s, struct err *e)
{
	const struct ring_span span = {.size = s->size,
	    .oldest = s->has_spool ? s->spool.oldest : s->tail,
	    .tail = s->tail,
	    .head = s->head};
	struct store *st;
	int rc = store_new(&st, c);

	if (rc != 0)
		return err_set(e, rc, "out of memory");
	st->c.ring_size = (size_t)s->size;
	st->length = s->head;
	st->released = s->released;
	if (s->ring_fd >= 0)
		rc = ring_copy(&st->ring, s->ring_fd, RING_OUTPUT, &span, e);
	if (rc == 0 && s->has_spool && spool_restore(&st->spool, &s->spool) != 0)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc != 0) {
		store_free(st);
		return rc;
	}
	st->ring_number = st->ring != NULL;
	st->spool_number = st->spool != NULL;
	if (s->ring_fd >= 0)
		close(s->ring_fd);
	*out = st;
	return 0;
}
