/* SPDX-License-Identifier: Apache-2.0 */
/* Looking through all that is known: at once where the kernel's queue was full; at intervals where
 * nothing is told. */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_engine.h"

#define SOON     (10000 * MS) /* after the last one: there are many */
#define WAIT     (500 * MS)
#define WAIT_MAX (30000 * MS)

#define INTERVAL (1000 * MS)
#define SHARE    10 /* of the time is not used for looking */

/* ---- the kernel's queue was full ---- */

void rescan_warn(struct watch_tree *t)
{
	struct rpc_status status;

	if (t->w->rescan.level == 0)
		return;
	rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "OVERFLOWS",
	    "more happens than the kernel's queue takes (sysctl %s); what is looked through again "
	    "is held back",
	    t->w->overflowed);
	tree_warn_of_all(t, "", &status);
}

/* Nothing is held back any more. */
static void calm(struct watcher *w)
{
	w->rescan.level = 0;
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
		tree_unwarn_of_all(t, "OVERFLOWS");
}

static void want(struct watcher *w)
{
	struct watch_rescan_now *r = &w->rescan;

	if (r->number == 0 || w->now - r->ended > SOON)
		calm(w);
	else
		r->level += r->level < 8;
	r->waited = r->level == 0 ? 0 : WAIT << (r->level - 1);
	if (r->waited > WAIT_MAX)
		r->waited = WAIT_MAX;
	r->number++;
	r->due = w->now + r->waited;
	r->state = RESCAN_WAITING;
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
		rescan_warn(t);
}

void rescan_overflow(struct watcher *w, bool wide)
{
	w->overflowed = wide ? "fs.fanotify.max_queued_events" : "fs.inotify.max_queued_events";
	if (w->rescan.state == RESCAN_NONE)
		want(w);
	else if (w->rescan.state == RESCAN_GOING)
		w->rescan.again = true;
}

static void start(struct watcher *w)
{
	w->rescan.state = RESCAN_GOING;
	w->rescan.again = false;
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		t->root_suspect = true;
		if (t->there && t->folder)
			tree_enqueue(t, tree_root(t), NODE_DEEP);
	}
}

static bool is_over(const struct watcher *w)
{
	for (const struct watch_tree *t = w->trees; t != NULL; t = t->next)
		if (t->root_suspect || scan_pending(t))
			return false;
	return w->drained;
}

/* A barrier is not answered before. */
bool rescan_is_waited_for(const struct watcher *w)
{
	for (const struct watch_client *c = w->clients; c != NULL; c = client_next(c))
		if (client_waits(c))
			return true;
	return false;
}

void rescan_turn(struct watcher *w)
{
	struct watch_rescan_now *r = &w->rescan;

	if (r->state == RESCAN_NONE && r->level > 0 && w->now - r->ended > SOON)
		calm(w);
	if (r->state == RESCAN_WAITING && (w->now >= r->due || rescan_is_waited_for(w)))
		start(w);
	else if (r->state == RESCAN_GOING && is_over(w)) {
		r->state = RESCAN_NONE;
		r->done = r->number;
		r->ended = w->now;
		if (r->again)
			want(w);
	}
}

int64_t rescan_due(const struct watcher *w)
{
	const struct watch_rescan_now *r = &w->rescan;

	if (r->state == RESCAN_NONE && r->level > 0)
		return r->ended + SOON + 1;
	return r->state == RESCAN_WAITING ? r->due : NEVER_DUE;
}

/* ---- at intervals ---- */

static bool is_blind(const struct watch_tree *t)
{
	return t->there && t->folder && (t->n_unwatched > 0 || t->remote);
}

static void look_through(struct watch_tree *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n_unwatched; i++) {
		watch_id id = t->unwatched[i];

		if (!watch_store_is(t->w->store, id) ||
		    (watch_store_see(t->w->store, id)->flags & NODE_UNWATCHED) == 0)
			continue;
		t->unwatched[kept++] = id;
		tree_enqueue(t, id, 0);
	}
	t->n_unwatched = kept;
	if (kept == 0)
		tree_limit_is_over(t);
	if (t->remote)
		tree_enqueue(t, tree_root(t), NODE_DEEP);
}

void interval_now(struct watch_tree *t)
{
	if (is_blind(t))
		look_through(t);
}

void interval_turn(struct watch_tree *t)
{
	int64_t took;

	if (!is_blind(t) || scan_pending(t))
		return;
	if (t->interval_began != 0) {
		took = t->w->now - t->interval_began;
		t->interval_began = 0;
		t->interval_due = t->w->now + (took * SHARE > INTERVAL ? took * SHARE : INTERVAL);
	} else if (t->interval_due == 0) {
		t->interval_due = t->w->now + INTERVAL;
	} else if (t->w->now >= t->interval_due) {
		t->interval_began = t->w->now;
		look_through(t);
	}
}

int64_t interval_due(const struct watch_tree *t)
{
	return is_blind(t) && t->interval_began == 0 ? t->interval_due : NEVER_DUE;
}
