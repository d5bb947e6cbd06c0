/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One inode has one watch, however many paths lead to it (a tree within a tree, a bind mount, a
 * folder that was renamed and is known under both names for a moment): a watch has a chain of
 * folders.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch/watch_engine.h"
#include "common/beneath.h"
#include "common/mem.h"

/* ---- watches ---- */

void folder_attach(struct watcher *w, watch_id id, uint32_t watch)
{
	struct watch_note *note = watch_store_note(w->store, id);

	if (note->watch == watch)
		return;
	if (note->watch != 0)
		folder_detach(w, id);
	w->watched[watch_store_tree_of(w->store, id)]++;
	note->watch = watch;
	note->next = watch_map_get(&w->map, watch);
	watch_map_set(&w->map, watch, id);
}

void folder_detach(struct watcher *w, watch_id id)
{
	struct watch_note *note = watch_store_note(w->store, id);
	watch_id at = watch_map_get(&w->map, note->watch);

	if (at == id) {
		watch_map_set(&w->map, note->watch, note->next);
	} else {
		while (watch_store_see(w->store, at)->next != id)
			at = watch_store_see(w->store, at)->next;
		watch_store_note(w->store, at)->next = note->next;
	}
	note->watch = note->next = 0;
	w->watched[watch_store_tree_of(w->store, id)]--;
}

void folder_ids(struct folder_ids *out, struct watcher *w, uint32_t watch)
{
	const watch_id first = watch_map_get(&w->map, watch);
	size_t n = 0;

	for (watch_id id = first; id != WATCH_NO_ID; id = watch_store_see(w->store, id)->next)
		n++;
	out->ids =
	    n <= sizeof(out->few) / sizeof(out->few[0]) ? out->few : xcalloc(n, sizeof(*out->ids));
	out->n = 0;
	for (watch_id id = first; id != WATCH_NO_ID; id = watch_store_see(w->store, id)->next)
		out->ids[out->n++] = id;
}

void folder_ids_clear(struct folder_ids *all)
{
	if (all->ids != all->few)
		free(all->ids);
}

bool folder_is_watched_by(struct watcher *w, watch_id id, uint32_t watch)
{
	return watch_store_is(w->store, id) && watch_store_see(w->store, id)->watch == watch;
}

void folder_end_watch(struct watcher *w, uint32_t watch)
{
	if (watch == 0 || watch_map_get(&w->map, watch) != 0)
		return;
	for (const struct watch_tree *t = w->trees; t != NULL; t = t->next)
		if (t->parent_watch == watch || t->own_watch == watch)
			return;
	watch_source_remove(w->source, watch);
}

int folder_watch(struct watch_tree *t, watch_id id, int fd, uint32_t mask)
{
	struct watcher *w = t->w;
	uint32_t had = watch_store_see(w->store, id)->watch;
	int64_t watch = had == 0 && w->map.n >= w->watch_limit
	                    ? -ENOSPC
	                    : watch_source_add(w->source, fd, mask, t->folder, &t->cover);

	w->wandered = true;
	if (watch < 0)
		return (int)-watch;
	folder_attach(w, id, (uint32_t)watch);
	if (had != 0 && had != (uint32_t)watch)
		folder_end_watch(w, had);
	return 0;
}

static void forget_warning(struct watcher *w, watch_id id)
{
	struct watch_tree *t = tree_of(w, watch_store_tree_of(w->store, id));

	if (t != NULL)
		tree_unwarn(t, id);
}

void folder_gone(watch_id id, struct watch_note *note, void *arg)
{
	struct watcher *w = arg;
	uint32_t watch = note->watch;

	if ((note->flags & NODE_WARNED) != 0)
		forget_warning(w, id);
	folder_forget(w, id);
	if (watch == 0)
		return;
	folder_detach(w, id);
	folder_end_watch(w, watch);
}

/* ---- descriptors ---- */

/* As much of a path as the kernel takes at once, at a slash. */
static size_t piece(const char *path, size_t len)
{
	size_t n = len < PATH_MAX ? len : PATH_MAX - 1;

	while (n < len && path[n] != '/')
		n--;
	return n;
}

static int open_path(int top, char *path, size_t len, int flags)
{
	int dir = top, fd;

	for (;;) {
		size_t n = piece(path, len);
		bool last = n == len;
		int saved;

		path[n] = '\0';
		fd = open_beneath(dir, path, last ? flags : O_PATH | O_DIRECTORY);
		saved = errno;
		if (dir != top)
			close(dir);
		errno = saved;
		if (fd < 0 || last)
			return fd;
		dir = fd;
		path += n + 1;
		len -= n + 1;
	}
}

int folder_open(struct watch_tree *t, watch_id id, int flags)
{
	char *path = t->w->path;
	const int top = root_fd(t);
	size_t len;

	if (top < 0)
		return -1;
	len = watch_store_path(t->w->store, id, path, WATCH_PATH_MAX);
	if (len >= WATCH_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (len == 0)
		return open_beneath(top, ".", flags);
	return open_path(top, path, len, flags);
}

static struct watch_cached *cached(struct watcher *w, watch_id id)
{
	return &w->cache[id % CACHE_SIZE];
}

static void close_cached(struct watch_cached *c)
{
	if (c->id != WATCH_NO_ID)
		close(c->fd);
	c->id = WATCH_NO_ID;
}

void folder_forget(struct watcher *w, watch_id id)
{
	if (cached(w, id)->id == id)
		close_cached(cached(w, id));
}

void folder_forget_all(struct watcher *w)
{
	for (size_t i = 0; i < CACHE_SIZE; i++)
		close_cached(&w->cache[i]);
}

int folder_fd(struct watch_tree *t, watch_id id, dev_t *dev)
{
	struct watch_cached *c = cached(t->w, id);
	struct watch_view v;
	struct stat st;
	int fd;

	if (c->id == id) {
		*dev = c->dev;
		return c->fd;
	}
	fd = folder_open(t, id, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return -1;
	if (!watch_store_view(t->w->store, id, &v) || fstat(fd, &st) != 0 ||
	    st.st_ino != v.state.inode) {
		close(fd);
		return -1;
	}
	close_cached(c);
	*c = (struct watch_cached){id, fd, st.st_dev};
	*dev = st.st_dev;
	return fd;
}
