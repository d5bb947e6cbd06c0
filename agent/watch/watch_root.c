/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree's root is what its path means. The folder that it is in is watched for that, where that
 * can be; and as anything above could be renamed, too, it is looked at now and then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/watch/watch_engine.h"
#include "agent/watch/watch_remote.h"
#include "common/log.h"

#define CHECK         (2000 * MS)
#define CHECK_BLINDLY (500 * MS)

int root_open(struct watch_tree *t, int *fd, struct stat *st, struct rpc_status *status)
{
	*fd = roots_open(t->roots, ROOTS_WATCH, t->path, O_PATH, status);
	if (*fd < 0)
		return TX_ESYS;
	if (fstat(*fd, st) == 0)
		return 0;
	failure_errno(status, errno, "watch", t->path);
	close(*fd);
	return TX_ESYS;
}

static uint32_t add_parent(struct watch_tree *t)
{
	struct rpc_status status;
	const char *name;
	int64_t watch;
	int fd = roots_parent(t->roots, ROOTS_WATCH, t->path, &name, &status);

	if (fd < 0)
		return 0;
	watch = watch_source_add(t->w->source, fd, WATCH_PARENT_MASK, true, NULL);
	t->w->wandered = true;
	close(fd);
	return watch > 0 ? (uint32_t)watch : 0;
}

/* The folder that its path leads through may be another one than the last time. */
static void watch_parent(struct watch_tree *t)
{
	const uint32_t had = t->parent_watch;

	if (t->path[1] == '\0')
		return;
	t->parent_watch = add_parent(t);
	if (t->parent_watch != had)
		folder_end_watch(t->w, had);
}

/* Of one that is a file. Where that cannot be, it is compared at intervals. */
static void watch_file(struct watch_tree *t, int fd)
{
	const int error = folder_watch(t, tree_root(t), fd, WATCH_FILE_MASK);

	if (error != 0)
		tree_add_unwatched(t, tree_root(t), error);
	else
		tree_limit_is_over(t);
}

static bool is_watched(const struct watch_tree *t)
{
	if (t->parent_watch == 0 && t->path[1] != '\0')
		return false;
	return t->folder || !t->there || watch_store_see(t->w->store, tree_root(t))->watch != 0;
}

/* ---- what it is ---- */

static void update(struct watch_tree *t, const struct stat *st, unsigned kinds)
{
	struct watch_state state;
	struct watch_view v;

	watch_state_of(&state, st);
	if (!watch_store_view(t->w->store, tree_root(t), &v))
		return;
	if (!t->folder && (v.state.size != state.size || v.state.mtime_ns != state.mtime_ns))
		kinds |= WATCH_MODIFIED;
	if (v.state.mode != state.mode)
		kinds |= WATCH_ATTRIBUTES;
	if (kinds != 0)
		watch_store_touch(t->w->store, tree_root(t), &state, kinds);
	if (t->folder && (kinds & WATCH_ATTRIBUTES) != 0 &&
	    (watch_store_see(t->w->store, tree_root(t))->flags & NODE_SHUT) != 0)
		tree_enqueue(t, tree_root(t), NODE_DEEP);
}

static void watch_itself(struct watch_tree *t)
{
	const int64_t watch = watch_source_add(t->w->source, t->fd, IN_DELETE_SELF, true, NULL);

	t->w->wandered = true;
	t->own_watch = watch > 0 ? (uint32_t)watch : 0;
	t->rests = watch > 0;
}

/* All of it, to any depth: what is on the file system and not in the tree costs something, too. And
 * a folder whose entries are not watched would not tell of its own attributes. */
static void cover(struct watch_tree *t)
{
	if (!t->folder || !t->options.recursive || t->options.depth != 0)
		return;
	if (!watch_source_cover(t->w->source, t->fd, &t->cover))
		return;
	log_debug("%s: its file system is watched as a whole", t->path);
	/* The kernel does not say that its mark is gone with an unmounted file system. */
	if (t->rests)
		watch_itself(t);
}

/* What the kernel's own root is on is never unmounted. */
static bool can_be_unmounted(int fd)
{
	struct statx its, top;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &its) != 0 ||
	    statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS | STATX_MNT_ID, &top) != 0)
		return false;
	if ((its.stx_mask & top.stx_mask & STATX_MNT_ID) != 0)
		return its.stx_mnt_id != top.stx_mnt_id;
	return its.stx_dev_major != top.stx_dev_major || its.stx_dev_minor != top.stx_dev_minor;
}

static void enter(struct watch_tree *t, int fd, const struct stat *st)
{
	watch_id root = tree_root(t);
	struct watch_note *note = watch_store_note(t->w->store, root);
	struct watch_state state;
	struct watch_view v;

	t->there = true;
	t->fd = fd;
	t->dev = st->st_dev;
	t->folder = S_ISDIR(st->st_mode);
	t->rests = can_be_unmounted(fd);
	t->scope.whole = roots_allow_tree(t->roots, ROOTS_WATCH, fd, NULL);
	tree_unwarn(t, root);
	note->flags = 0;
	watch_state_of(&state, st);
	/* What a predecessor has left may be of another one. */
	if (watch_store_view(t->w->store, root, &v) && v.exists &&
	    (v.state.inode != state.inode || v.state.type != state.type)) {
		watch_store_delete(t->w->store, root);
		v.exists = false;
	}
	if (!v.exists)
		watch_store_touch(t->w->store, root, &state, WATCH_CREATED);
	else
		update(t, st, 0);
	t->remote = false;
	if (watch_remote(fd) != NULL)
		tree_warn_remote(t, root);
	if (t->armed && t->folder)
		t->back_tick = watch_store_tick(t->w->store);
	cover(t);
	if (t->folder)
		tree_enqueue(t, root, NODE_DEEP);
	else
		watch_file(t, fd);
}

/* ---- its descriptor ---- */

static bool is_same(const struct watch_tree *t, const struct stat *st)
{
	struct watch_view v;

	return t->there && st->st_dev == t->dev &&
	       watch_store_view(t->w->store, tree_root(t), &v) && v.state.inode == st->st_ino &&
	       (watch_store_see(t->w->store, tree_root(t))->flags & NODE_LOST) == 0;
}

int root_fd(struct watch_tree *t)
{
	struct rpc_status status;
	struct stat st;
	int fd;

	if (t->fd >= 0 || !t->there) {
		errno = ENOENT;
		return t->fd;
	}
	if (root_open(t, &fd, &st, &status) == 0) {
		if (is_same(t, &st)) {
			t->fd = fd;
			return fd;
		}
		close(fd);
	}
	t->root_suspect = true;
	errno = ESTALE;
	return -1;
}

static void close_it(struct watch_tree *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* Something that is on its file system; -1: there is nothing at hand. */
static int open_beside(struct watch_tree *t)
{
	struct rpc_status status;
	const char *name;
	struct stat st;
	int fd;

	if (root_open(t, &fd, &st, &status) == 0) {
		if (st.st_dev == t->dev)
			return fd;
		close(fd);
	}
	fd = roots_parent(t->roots, ROOTS_WATCH, t->path, &name, &status);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == t->dev)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

void root_let_go(struct watch_tree *t)
{
	const uint32_t own = t->own_watch;

	if (t->cover.number != 0 && t->fd < 0)
		t->fd = open_beside(t);
	watch_source_uncover(t->w->source, t->fd, &t->cover);
	close_it(t);
	t->own_watch = 0;
	folder_end_watch(t->w, own);
}

void root_rest(struct watch_tree *t)
{
	if (t->rests)
		close_it(t);
}

void root_leave(struct watch_tree *t)
{
	struct watch_view v;

	scan_abort(t);
	root_let_go(t);
	t->there = false;
	if (watch_store_view(t->w->store, tree_root(t), &v) && v.exists)
		watch_store_delete(t->w->store, tree_root(t));
}

/* It is another one than before. */
static void replace(struct watch_tree *t, int fd, const struct stat *st)
{
	if (t->there)
		root_leave(t);
	t->refused = t->options.allow_remote ? NULL : watch_remote(fd);
	if (t->refused == NULL) {
		enter(t, fd, st);
		return;
	}
	/* Of what a predecessor has left, too. */
	root_leave(t);
	close(fd);
}

void root_check(struct watch_tree *t)
{
	struct rpc_status status;
	struct stat st;
	int fd;

	t->root_suspect = false;
	t->refused = NULL;
	/* First its name is watched, and then looked at. */
	watch_parent(t);
	if (root_open(t, &fd, &st, &status) < 0) {
		if (t->there || watch_store_is(t->w->store, tree_root(t)))
			root_leave(t);
	} else if (is_same(t, &st)) {
		if (!is_watched(t) && !t->folder)
			watch_file(t, fd);
		close(fd);
		update(t, &st, 0);
	} else {
		replace(t, fd, &st);
	}
	t->check_due = t->w->now + (is_watched(t) ? CHECK : CHECK_BLINDLY);
}

void root_event(struct watch_tree *t, uint32_t mask)
{
	struct stat st;
	unsigned kinds = ((mask & IN_MODIFY) != 0 ? WATCH_MODIFIED : 0) |
	                 ((mask & IN_CLOSE_WRITE) != 0 ? WATCH_CLOSED : 0) |
	                 ((mask & IN_ATTRIB) != 0 ? WATCH_ATTRIBUTES : 0);

	if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0)
		t->root_suspect = true;
	if (root_fd(t) < 0 || fstat(t->fd, &st) != 0)
		return;
	/* Its last name was removed. */
	if (st.st_nlink == 0)
		t->root_suspect = true;
	else if (kinds != 0)
		update(t, &st, kinds);
}
