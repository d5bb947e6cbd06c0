/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/inotify.h>

#include "agent/watch/watch_engine.h"

static struct watch_tree *tree_of_id(struct watcher *w, watch_id id)
{
	struct watch_view v;

	return watch_store_view(w->store, id, &v) ? tree_of(w, v.tree) : NULL;
}

/* ---- the kernel has ended a watch ---- */

static void ended(struct watcher *w, uint32_t watch)
{
	struct folder_ids all;

	folder_ids(&all, w, watch);
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		if (t->parent_watch == watch) {
			t->parent_watch = 0;
			t->root_suspect = true;
		}
		/* Its file system is unmounted, and its cover is gone with it. */
		if (t->own_watch == watch) {
			t->own_watch = 0;
			watch_store_note(w->store, tree_root(t))->flags |= NODE_LOST;
			t->root_suspect = true;
		}
	}
	for (size_t i = 0; i < all.n; i++) {
		struct watch_tree *t = tree_of_id(w, all.ids[i]);

		if (!folder_is_watched_by(w, all.ids[i], watch))
			continue;
		folder_detach(w, all.ids[i]);
		folder_forget(w, all.ids[i]);
		watch_store_note(w->store, all.ids[i])->flags |= NODE_LOST;
		if (t != NULL)
			look_again(t, all.ids[i], 0);
	}
	folder_ids_clear(&all);
	if ((watch & WATCH_WIDE) != 0)
		watch_source_remove(w->source, watch);
}

/* ---- something has happened ---- */

static void tell_roots(struct watcher *w, const struct watch_event *e)
{
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		const char *name;

		if (t->parent_watch != e->watch)
			continue;
		name = strrchr(t->path, '/') + 1;
		if (e->name == NULL ||
		    (strlen(name) == e->len && memcmp(name, e->name, e->len) == 0))
			t->root_suspect = true;
	}
}

static void look_everywhere(struct watcher *w, const struct watch_event *e)
{
	struct folder_ids all;

	folder_ids(&all, w, e->watch);
	for (size_t i = 0; i < all.n; i++) {
		struct watch_tree *t = tree_of_id(w, all.ids[i]);

		if (t == NULL || !folder_is_watched_by(w, all.ids[i], e->watch))
			continue;
		if (e->name != NULL)
			look_at(t, all.ids[i], e->name, e->len, e->mask);
		else if (all.ids[i] == tree_root(t))
			root_event(t, e->mask);
		else if ((e->mask & WATCH_SELF) != 0)
			look_again(t, all.ids[i], e->mask);
	}
	folder_ids_clear(&all);
}

/* A departure, whose arrival may not have been queued yet. */
static bool depart(struct watcher *w, const struct watch_event *e)
{
	struct watch_event to;

	if (watch_source_partner(w->source, &to)) {
		move_both(w, e, &to);
		w->hold_until = 0;
		return true;
	}
	if (e->cookie != 0 && watch_source_is_last(w->source)) {
		if (w->hold_until == 0)
			w->hold_until = w->now + 2 * MS;
		if (w->now < w->hold_until)
			return false;
	}
	w->hold_until = 0;
	look_everywhere(w, e);
	return true;
}

bool event_work(struct watcher *w, const struct watch_event *e)
{
	if ((e->mask & IN_Q_OVERFLOW) != 0) {
		rescan_overflow(w, e->watch == WATCH_WIDE);
		return true;
	}
	if ((e->mask & IN_IGNORED) != 0) {
		ended(w, e->watch);
		return true;
	}
	tell_roots(w, e);
	if ((e->mask & IN_MOVED_FROM) != 0)
		return depart(w, e);
	look_everywhere(w, e);
	return true;
}
