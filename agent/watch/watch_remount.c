/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mounted has changed (watch_mounts.h). A root is looked at as its path is now. Below one,
 * what has the name of the place is another one, whatever its inode's number: it is looked at anew
 * and gone into, or not, as when it was found. Where mounts come and go all the time, they are
 * looked at less often, unless a barrier waits for it.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch/watch_engine.h"
#include "agent/watch/watch_remote.h"
#include "common/mem.h"

#define SOON     (10000 * MS) /* after the last one: there are many */
#define WAIT     (100 * MS)
#define WAIT_MAX (5000 * MS)

/* What leads from a folder to a path below it; NULL: it is not below it. */
static const char *below(const char *folder, const char *path)
{
	const size_t len = strcmp(folder, "/") == 0 ? 0 : strlen(folder);

	return strncmp(folder, path, len) == 0 && path[len] == '/' && path[len + 1] != '\0'
	           ? path + len + 1
	           : NULL;
}

/* What the kernel calls the root: its path may have led through links. NULL: it is no folder, or
 * not there. */
static char *name_of_root(struct watch_tree *t)
{
	char link[40], name[PATH_MAX];
	ssize_t n;

	if (!t->folder || root_fd(t) < 0)
		return NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", t->fd);
	n = readlink(link, name, sizeof(name) - 1);
	if (n <= 0)
		return NULL;
	name[n] = '\0';
	return xstrdup(name);
}

/* WATCH_NO_ID: it is not known. */
static watch_id find(const struct watch_tree *t, const char *path)
{
	watch_id id = tree_root(t);

	while (id != WATCH_NO_ID && *path != '\0') {
		const size_t len = strcspn(path, "/");

		id = watch_store_find(t->w->store, id, path, len);
		path += len + (path[len] == '/');
	}
	return id;
}

/* What others may change may be gone, or not: all of it says so once more. */
static void ask_for_remote(struct watch_tree *t)
{
	if (!t->remote || root_fd(t) < 0 || watch_remote(t->fd) != NULL)
		return;
	t->remote = false;
	tree_enqueue(t, tree_root(t), NODE_DEEP);
}

/* changed: it is another one; else it may be, and that is seen. */
static void look_there(struct watch_tree *t, watch_id id, bool changed)
{
	const uint64_t before = watch_store_newest(t->w->store, t->number);

	if (changed)
		watch_store_note(t->w->store, id)->flags |= NODE_LOST;
	look_again(t, id, 0);
	if (!changed && watch_store_newest(t->w->store, t->number) == before)
		return;
	ask_for_remote(t);
	t->mount_number++;
}

static void look_below(struct watch_tree *t, const char *name, const char *point, bool changed)
{
	const char *path = name != NULL ? below(name, point) : NULL;
	const watch_id id = path != NULL ? find(t, path) : WATCH_NO_ID;

	if (id != WATCH_NO_ID)
		look_there(t, id, changed);
}

/* Mounts that were met and not gone into, of whose end nobody tells. */
static void look_at_refused(struct watch_tree *t)
{
	for (size_t i = 0; i < t->n_warnings; i++) {
		const watch_id id = t->warnings[i].id;

		if (id != WATCH_NO_ID &&
		    (watch_store_see(t->w->store, id)->flags & NODE_MOUNT) != 0)
			look_there(t, id, false);
	}
}

struct look {
	struct watcher *w;
	char *names[WATCH_TREES_MAX]; /* of the roots */
};

static void look(const char *point, bool changed, void *arg)
{
	const struct look *l = arg;

	for (struct watch_tree *t = l->w->trees; t != NULL; t = t->next)
		look_below(t, l->names[t->number], point, changed);
}

/* One that went and came, or came and went, while others were not looked at, is the same in the
 * table, and what was seen meanwhile is not: so whatever is mounted is looked at once more. */
static void look_at_all(struct watcher *w)
{
	struct look l = {.w = w};

	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		t->root_suspect = true;
		l.names[t->number] = name_of_root(t);
	}
	watch_mounts_read(w->mounts, look, &l);
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
		look_at_refused(t);
	for (size_t i = 0; i < WATCH_TREES_MAX; i++)
		free(l.names[i]);
}

/* ---- when ---- */

static void want(struct watcher *w)
{
	struct watch_remount *m = &w->remount;
	int64_t wait;

	if (m->read == 0 || w->now - m->read > SOON)
		m->level = 0;
	wait = m->level == 0 ? 0 : WAIT << (m->level - 1);
	m->due = w->now + (wait < WAIT_MAX ? wait : WAIT_MAX);
	m->level += m->level < 8;
	m->wanted = true;
}

void remount_turn(struct watcher *w)
{
	struct watch_remount *m = &w->remount;

	if (w->mounts == NULL)
		return;
	if (watch_mounts_changed(w->mounts) && !m->wanted)
		want(w);
	if (!m->wanted || (w->now < m->due && !rescan_is_waited_for(w)))
		return;
	m->wanted = false;
	m->read = w->now;
	look_at_all(w);
}

int64_t remount_due(const struct watcher *w)
{
	return w->remount.wanted ? w->remount.due : NEVER_DUE;
}
