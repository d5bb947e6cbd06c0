/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is mounted has changed (watch_mounts.h). A root is looked at as its path is now. Below one,
 * what has the name of the place is another one, whatever its inode's number: it is looked at anew
 * and gone into, or not, as when it was found. Where mounts come and go all the time, they are
 * looked at less often, unless a barrier waits for it.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/watch/watch_engine.h"
#include "agent/watch/watch_remote.h"

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

/* By what the kernel calls the root: its path may have led through links. */
static const char *below_root(struct watch_tree *t, const char *point)
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
	return below(name, point);
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
	if (!t->remote || watch_remote(t->fd) != NULL)
		return;
	t->remote = false;
	tree_enqueue(t, tree_root(t), NODE_DEEP);
}

static void look_below(struct watch_tree *t, const char *point)
{
	const char *path = below_root(t, point);
	const watch_id id = path != NULL ? find(t, path) : WATCH_NO_ID;

	if (id == WATCH_NO_ID)
		return;
	watch_store_note(t->w->store, id)->flags |= NODE_LOST;
	look_again(t, id, 0);
	ask_for_remote(t);
	t->mount_number++;
}

static void look(const char *point, void *arg)
{
	struct watcher *w = arg;

	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		t->root_suspect = true;
		look_below(t, point);
	}
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
	watch_mounts_read(w->mounts, look, w);
}

int64_t remount_due(const struct watcher *w)
{
	return w->remount.wanted ? w->remount.due : NEVER_DUE;
}
