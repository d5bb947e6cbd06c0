/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rename of which both names are watched. What is known moves along, with its watches, when it is
 * what the new name leads to now; otherwise each name is looked at for itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_engine.h"
#include "common/mem.h"

struct place {
	struct watch_tree *tree;
	watch_id folder;
	const struct watch_event *e;
};

static struct watch_tree *tree_at(struct watcher *w, watch_id id)
{
	struct watch_view v;

	return watch_store_view(w->store, id, &v) && v.exists ? tree_of(w, v.tree) : NULL;
}

static void look_there(const struct place *p)
{
	look_at(p->tree, p->folder, p->e->name, p->e->len, p->e->mask);
}

/* What is known under that name. */
static watch_id known(const struct place *p)
{
	return watch_store_find(p->tree->w->store, p->folder, p->e->name, p->e->len);
}

static bool stat_there(const struct place *p, struct stat *st)
{
	char name[NAME_MAX + 1];
	dev_t dev;
	int fd = folder_fd(p->tree, p->folder, &dev);

	if (fd < 0 || p->e->len > NAME_MAX)
		return false;
	memcpy(name, p->e->name, p->e->len);
	name[p->e->len] = '\0';
	return fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_what(struct watcher *w, watch_id id, const struct stat *st)
{
	struct watch_view v;

	return watch_store_view(w->store, id, &v) && v.exists && v.state.inode == st->st_ino &&
	       v.state.type == IFTODT(st->st_mode);
}

/* Which of its names are watched may change with its place. */
static bool is_all_the_same(const struct watch_tree *t)
{
	return t->options.depth == 0 && t->options.recursive && t->filters.n_filters == 0 &&
	       t->scope.whole;
}

/* The rename has changed its ctime; what else may have changed, is told by itself. */
static void correct(struct watcher *w, watch_id id, const struct stat *st)
{
	struct watch_state state;
	struct watch_view v;

	watch_state_of(&state, st);
	if (watch_store_view(w->store, id, &v) && v.state.size == state.size &&
	    v.state.mtime_ns == state.mtime_ns && v.state.mode == state.mode)
		watch_store_correct(w->store, id, &state);
}

static bool is_below(struct watcher *w, watch_id id, watch_id top)
{
	for (; id != WATCH_NO_ID; id = watch_store_parent(w->store, id))
		if (id == top)
			return true;
	return false;
}

/* False: it must be looked at. */
static bool move_along(const struct place *from, const struct place *to, watch_id id)
{
	struct watcher *w = from->tree->w;
	watch_id there = known(to), old;
	struct stat st;
	char *path;
	size_t len;

	if (from->tree != to->tree || !is_all_the_same(to->tree) || is_below(w, to->folder, id) ||
	    !stat_there(to, &st) || !is_what(w, id, &st))
		return false;
	/* A scan has met it there already; or what is known there is a folder that it was in, whose
	 * own departure was lost. */
	if (there != WATCH_NO_ID && (is_what(w, there, &st) || is_below(w, id, there)))
		return false;
	if (there != WATCH_NO_ID)
		watch_store_delete(w->store, there);
	path = xmalloc(WATCH_PATH_MAX);
	len = watch_store_path(w->store, id, path, WATCH_PATH_MAX);
	if (watch_store_rename(w->store, id, to->folder, to->e->name, to->e->len, &old) == 0) {
		if (len < WATCH_PATH_MAX)
			watch_store_moved(w->store, id, tree_root(from->tree), path, len);
		len = watch_store_path(w->store, id, path, WATCH_PATH_MAX);
		if (len < WATCH_PATH_MAX)
			watch_store_moved(w->store, old, tree_root(to->tree), path, len);
		correct(w, id, &st);
		tree_rename_warnings(to->tree, id);
	}
	free(path);
	return true;
}

/* Both were looked at: what is there came from where it is not any more. */
static void join(const struct place *from, const struct place *to, watch_id was, uint64_t inode)
{
	struct watcher *w = from->tree->w;
	watch_id is = known(to);
	struct watch_view now, then;
	char *path;
	size_t len;

	if (is == WATCH_NO_ID || is == was || !watch_store_view(w->store, is, &now) ||
	    !watch_store_view(w->store, was, &then) || then.exists || now.state.inode != inode ||
	    now.moved != NULL)
		return;
	path = xmalloc(WATCH_PATH_MAX);
	len = watch_store_path(w->store, was, path, WATCH_PATH_MAX);
	if (len < WATCH_PATH_MAX)
		watch_store_moved(w->store, is, tree_root(from->tree), path, len);
	len = watch_store_path(w->store, is, path, WATCH_PATH_MAX);
	if (len < WATCH_PATH_MAX)
		watch_store_moved(w->store, was, tree_root(to->tree), path, len);
	free(path);
}

static void move_one(struct watcher *w, const struct place *from, const struct watch_event *e)
{
	watch_id id = known(from);
	struct watch_view v;
	struct place to = {NULL, WATCH_NO_ID, e};

	/* Where there are several, each is looked at when its own turn comes. */
	for (watch_id at = watch_map_get(&w->map, e->watch);
	     at != WATCH_NO_ID && to.tree != from->tree; at = watch_store_see(w->store, at)->next) {
		to.tree = tree_at(w, at);
		to.folder = at;
	}
	if (id == WATCH_NO_ID || to.tree == NULL || !watch_store_view(w->store, id, &v)) {
		look_there(from);
		return;
	}
	if (move_along(from, &to, id))
		look_there(from);
	else {
		look_there(from);
		look_there(&to);
		join(from, &to, id, v.state.inode);
	}
}

void move_both(struct watcher *w, const struct watch_event *from, const struct watch_event *to)
{
	struct folder_ids all;

	folder_ids(&all, w, from->watch);
	for (size_t i = 0; i < all.n; i++) {
		struct place p = {tree_at(w, all.ids[i]), all.ids[i], from};

		if (p.tree != NULL && folder_is_watched_by(w, all.ids[i], from->watch))
			move_one(w, &p, to);
	}
	folder_ids_clear(&all);
}
