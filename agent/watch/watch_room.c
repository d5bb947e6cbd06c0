/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store has room for so many trees and paths. Trees that nobody asks for are kept for a while,
 * for those who come back with a clock, but not at the cost of those that somebody does ask for;
 * and so are tombstones. What had no room is looked for again when there is some.
 */
#include <stdint.h>
#include <stdio.h>

#include "agent/watch/watch_engine.h"

#define LINGER   (600000 * MS)
#define HEAL     (1000 * MS) /* between two attempts, twice as long after each that was in vain */
#define HEAL_MAX (600000 * MS)
#define SHARE    64 /* of the room: so much is free before it is tried */

/* Whether nobody asks for it; or it was left by a predecessor, and nobody has asked for it yet. */
static bool is_idle(const struct watcher *w, unsigned number, int64_t *since)
{
	const struct watch_tree *t = tree_of(w, number);

	if (watch_store_root(w->store, number) == WATCH_NO_ID || (t != NULL && t->clients > 0))
		return false;
	*since = t != NULL ? t->idle_since : w->began;
	return true;
}

static void drop(struct watcher *w, unsigned number)
{
	struct watch_tree *t = tree_of(w, number);

	if (t != NULL)
		root_let_go(t);
	watch_store_drop(w->store, number);
	if (t != NULL)
		tree_free(t);
}

/* The one that is idle for longest; WATCH_TREES_MAX: there is none. */
static unsigned oldest_idle(const struct watcher *w, int64_t *since)
{
	unsigned oldest = WATCH_TREES_MAX;
	int64_t its;

	*since = INT64_MAX;
	for (unsigned i = 0; i < WATCH_TREES_MAX; i++) {
		if (!is_idle(w, i, &its) || its >= *since)
			continue;
		oldest = i;
		*since = its;
	}
	return oldest;
}

bool room_can_be_made(const struct watcher *w)
{
	int64_t since;

	return oldest_idle(w, &since) != WATCH_TREES_MAX;
}

bool room_make(struct watcher *w)
{
	int64_t since;
	unsigned number = oldest_idle(w, &since);

	if (number == WATCH_TREES_MAX)
		return false;
	drop(w, number);
	return true;
}

bool room_is_left(const struct watch_tree *t)
{
	size_t all = 0, trees = 0;

	if (!watch_store_is_short(t->w->store))
		return true;
	for (const struct watch_tree *o = t->w->trees; o != NULL; o = o->next) {
		if (o->clients == 0)
			continue;
		all += watch_store_living(t->w->store, o->number);
		trees++;
	}
	return watch_store_living(t->w->store, t->number) * trees < all;
}

const char *room_limit(const struct watcher *w, char out[ROOM_LIMIT_SIZE])
{
	out[0] = '\0';
	if (w->memory_limit != 0 && watch_store_is_short(w->store))
		snprintf(out, ROOM_LIMIT_SIZE,
		    " (max_watch_memory of telexd.conf: all that this identity watches takes "
		    "%.1f MiB at most)",
		    (double)w->memory_limit / (1 << 20));
	return out;
}

static bool is_due(const struct watcher *w, const struct watch_tree *t)
{
	return t->full && t->clients > 0 && watch_store_left(w->store) > 0 &&
	       watch_store_left(w->store) >= watch_store_most(w->store) / SHARE;
}

static void heal(struct watch_tree *t)
{
	t->full = false;
	t->heal_wait = t->heal_wait == 0 ? HEAL : 2 * t->heal_wait;
	if (t->heal_wait > HEAL_MAX)
		t->heal_wait = HEAL_MAX;
	t->heal_due = t->w->now + t->heal_wait;
	if (t->there && t->folder)
		tree_enqueue(t, tree_root(t), NODE_DEEP);
}

/* What is there was met, and had room. */
static void be_healed(struct watch_tree *t)
{
	t->heal_wait = 0;
	if (!t->full_told)
		return;
	t->full_told = false;
	tree_unwarn_of_all(t, "TOO_MANY_ENTRIES");
}

static void drop_old(struct watcher *w)
{
	int64_t since;
	unsigned number;

	while (w->now >= w->idle_due) {
		number = oldest_idle(w, &since);
		w->idle_due = w->now + HEAL;
		if (number == WATCH_TREES_MAX || w->now - since < LINGER)
			continue;
		drop(w, number);
		w->idle_due = w->now;
	}
}

static bool is_wanted(const struct watcher *w)
{
	for (const struct watch_tree *t = w->trees; t != NULL; t = t->next)
		if (t->full && t->clients > 0 && !is_due(w, t))
			return true;
	return false;
}

bool room_turn(struct watcher *w)
{
	bool heals = false;

	drop_old(w);
	if (is_wanted(w))
		watch_store_forget_told(w->store);
	while (is_wanted(w) && room_make(w))
		;
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		if (scan_pending(t))
			continue;
		if (!t->full)
			be_healed(t);
		else if (is_due(w, t) && w->now >= t->heal_due) {
			heal(t);
			heals = true;
		}
	}
	return heals;
}

int64_t room_due(const struct watch_tree *t)
{
	return is_due(t->w, t) && !scan_pending(t) ? t->heal_due : NEVER_DUE;
}
