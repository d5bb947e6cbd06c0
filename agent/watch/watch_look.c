/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <xxhash.h>

#include "agent/watch/watch_engine.h"

#define ARRIVED (IN_CREATE | IN_MOVED_TO)

void watch_state_of(struct watch_state *out, const struct stat *st)
{
	*out = (struct watch_state){
	    .inode = st->st_ino,
	    .size = (uint64_t)st->st_size,
	    .mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
	    .mark = (uint32_t)XXH3_64bits(&st->st_ctim, sizeof(st->st_ctim)),
	    .mode = (uint16_t)(st->st_mode & 07777),
	    .type = (uint8_t)IFTODT(st->st_mode),
	};
}

static unsigned kinds_of(uint32_t mask)
{
	return ((mask & IN_MODIFY) != 0 ? WATCH_MODIFIED : 0) |
	       ((mask & IN_CLOSE_WRITE) != 0 ? WATCH_CLOSED : 0) |
	       ((mask & IN_ATTRIB) != 0 ? WATCH_ATTRIBUTES : 0);
}

/* A folder's own size and times follow from what is in it. */
static unsigned difference(const struct watch_state *old, const struct watch_state *new)
{
	if (old->mode != new->mode)
		return WATCH_ATTRIBUTES;
	if (new->type == DT_DIR)
		return 0;
	if (old->size != new->size || old->mtime_ns != new->mtime_ns)
		return WATCH_MODIFIED;
	return old->mark != new->mark ? WATCH_ATTRIBUTES : 0;
}

/* Whether what has the name is what had it, as far as that can be told. */
static bool is_same(
    const struct watch_view *v, const struct watch_note *note, const struct watch_state *st)
{
	return v->state.type == st->type && v->state.inode == st->inode &&
	       (note->flags & NODE_LOST) == 0;
}

/* ---- folders ---- */

unsigned look_mount(const struct watch_tree *t, int dir_fd, const struct stat *st)
{
	struct stat above;

	/* What is on the root's file system needs no second look. */
	if (st->st_dev == t->dev)
		return 0;
	return fstat(dir_fd, &above) != 0 || above.st_dev != st->st_dev ? NODE_MOUNT : 0;
}

static void go_into(struct watch_tree *t, watch_id id, unsigned flags)
{
	if (tree_goes_into(t, watch_store_depth(t->w->store, id)))
		tree_enqueue(t, id, flags);
}

/* ---- names ---- */

static void put(struct watch_tree *t, watch_id folder, int dir_fd, const char *name, size_t len,
    const struct watch_state *state, const struct stat *st, uint32_t mask, watch_id *id)
{
	char limit[ROOM_LIMIT_SIZE];
	struct rpc_status status;

	if (room_is_left(t) &&
	    watch_store_put(t->w->store, folder, name, len, state, kinds_of(mask), id) == 0) {
		if (state->type == DT_DIR)
			go_into(t, *id, look_mount(t, dir_fd, st));
		return;
	}
	t->full = true;
	/* Where others have to make way, it is met the next time. */
	if (t->full_told || room_can_be_made(t->w))
		return;
	t->full_told = true;
	rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_ENTRIES",
	    "what is below %s is more than can be remembered%s; watch a part of it, exclude some, "
	    "or end another watch",
	    t->path, room_limit(t->w, limit));
	(void)watch_store_path(t->w->store, folder, t->w->path, WATCH_PATH_MAX);
	tree_warn_of_all(t, t->w->path, &status);
}

static void update(struct watch_tree *t, watch_id id, const struct watch_view *v,
    const struct watch_state *st, uint32_t mask)
{
	struct watch_note *note = watch_store_note(t->w->store, id);
	unsigned kinds = kinds_of(mask) | difference(&v->state, st);

	if (kinds != 0)
		watch_store_touch(t->w->store, id, st, kinds);
	else if (v->state.mark != st->mark)
		watch_store_correct(t->w->store, id, st);
	/* It, or what is below it, may not have been readable before. */
	if (st->type == DT_DIR && (mask & IN_ATTRIB) != 0 &&
	    (note->watch == 0 || (note->flags & NODE_SHUT) != 0))
		go_into(t, id, NODE_DEEP);
}

/* Whether a name is watched at all. `path` is filled where that has to be known. */
static bool is_watched(
    struct watch_tree *t, watch_id folder, int dir_fd, const char *name, size_t len, bool is_folder)
{
	char *path = t->w->path;
	size_t at;

	if (t->scope.whole && t->filters.n_filters == 0)
		return true;
	at = watch_store_path(t->w->store, folder, path, WATCH_PATH_MAX);
	if (at + 1 + len >= WATCH_PATH_MAX)
		return false;
	if (at > 0)
		path[at++] = '/';
	memcpy(path + at, name, len);
	path[at + len] = '\0';
	return !tree_leaves_out(t, path, is_folder) &&
	       scope_allows(&t->scope, dir_fd, path + at, path);
}

static void not_there(
    struct watch_tree *t, watch_id folder, watch_id id, const char *name, size_t len, uint32_t mask)
{
	if (id != WATCH_NO_ID)
		watch_store_delete(t->w->store, id);
	else if ((mask & ARRIVED) != 0)
		(void)watch_store_pass(t->w->store, folder, name, len, kinds_of(mask));
}

watch_id look_put(struct watch_tree *t, watch_id folder, int dir_fd, const char *name, size_t len,
    const struct stat *st, uint32_t mask)
{
	watch_id id = watch_store_find(t->w->store, folder, name, len);
	struct watch_state state;
	struct watch_view v;

	/* Of one that came and went, it can no longer be told whether it was a folder. */
	if (!is_watched(t, folder, dir_fd, name, len,
	        st != NULL ? S_ISDIR(st->st_mode) : (mask & IN_ISDIR) != 0))
		st = NULL, mask = 0;
	if (st == NULL) {
		not_there(t, folder, id, name, len, mask);
		return WATCH_NO_ID;
	}
	watch_state_of(&state, st);
	if (id != WATCH_NO_ID && watch_store_view(t->w->store, id, &v) &&
	    is_same(&v, watch_store_see(t->w->store, id), &state)) {
		update(t, id, &v, &state, mask);
		return id;
	}
	if (id != WATCH_NO_ID)
		watch_store_delete(t->w->store, id);
	id = WATCH_NO_ID;
	put(t, folder, dir_fd, name, len, &state, st, mask, &id);
	return id;
}

void look_at(struct watch_tree *t, watch_id folder, const char *name, size_t len, uint32_t mask)
{
	char text[NAME_MAX + 1];
	struct stat st;
	dev_t dev;
	int fd;

	if (len > NAME_MAX || !watch_store_is(t->w->store, folder))
		return;
	fd = folder_fd(t, folder, &dev);
	if (fd < 0) {
		tree_enqueue(t, folder, 0);
		return;
	}
	memcpy(text, name, len);
	text[len] = '\0';
	if (fstatat(fd, text, &st, AT_SYMLINK_NOFOLLOW) == 0)
		(void)look_put(t, folder, fd, text, len, &st, mask);
	else if (errno == ENOENT)
		(void)look_put(t, folder, fd, text, len, NULL, mask);
	else if (errno == EACCES)
		tree_deny(t, folder, errno);
	else
		tree_warn_errno(t, folder, errno);
}

void look_again(struct watch_tree *t, watch_id id, uint32_t mask)
{
	watch_id folder = watch_store_parent(t->w->store, id);
	char name[NAME_MAX + 1];
	const char *text;
	size_t len;

	if (folder == WATCH_NO_ID) {
		t->root_suspect = true;
		return;
	}
	text = watch_store_name(t->w->store, id, &len);
	memcpy(name, text, len);
	look_at(t, folder, name, len, mask);
}

void look_at_folder(struct watch_tree *t, watch_id id, int fd)
{
	struct watch_state state;
	struct watch_view v;
	struct stat st;

	if (fstat(fd, &st) != 0 || !watch_store_view(t->w->store, id, &v) ||
	    v.state.inode != st.st_ino)
		return;
	watch_state_of(&state, &st);
	update(t, id, &v, &state, 0);
}
