/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders are watched first and then read: what is made before is met, what is made after is told.
 * One folder at a time, a buffer of names at a time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/watch/watch_engine.h"
#include "agent/watch/watch_remote.h"
#include "common/mem.h"

#define BUFFER ((size_t)32 << 10)

struct watch_scan {
	watch_id id;
	int fd;
	bool deep;
	bool had;  /* something was known of what is in it */
	bool sure; /* that it is the one that is known */
	_Alignas(struct dirent64) uint8_t buffer[BUFFER];
};

bool scan_pending(const struct watch_tree *t)
{
	return t->n_queue > 0 || t->n_retries > 0 || (t->scan != NULL && t->scan->fd >= 0);
}

static void end(struct watch_tree *t)
{
	if (t->scan == NULL || t->scan->fd < 0)
		return;
	close(t->scan->fd);
	t->scan->fd = -1;
}

void scan_abort(struct watch_tree *t)
{
	end(t);
	free(t->scan);
	t->scan = NULL;
	t->n_queue = t->n_retries = 0;
}

/* ---- beginning ---- */

static void set_seen(struct watch_store *s, watch_id id, bool seen)
{
	struct watch_note *note = watch_store_note(s, id);

	note->flags = (uint16_t)(seen ? note->flags | NODE_SEEN : note->flags & ~NODE_SEEN);
}

static void forget_seen(struct watch_tree *t, watch_id folder)
{
	for (watch_id id = watch_store_child(t->w->store, folder); id != WATCH_NO_ID;
	     id = watch_store_next(t->w->store, id))
		set_seen(t->w->store, id, false);
}

static void refuse(struct watch_tree *t, watch_id id, const char *reason, const char *why)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_FAILED_PRECONDITION, reason, "%s", why);
	tree_warn(t, id, &status);
}

/* Another file system begins here: whether it is gone into. */
static bool goes_across(struct watch_tree *t, watch_id id, int fd)
{
	if (!t->options.across_mounts) {
		refuse(t, id, "OTHER_FILESYSTEM",
		    "another file system is mounted here and is not gone into");
		return false;
	}
	if (watch_remote(fd) == NULL)
		return true;
	if (!t->options.allow_remote) {
		refuse(t, id, "REMOTE_FILESYSTEM",
		    "others may change what is on this file system without this machine being "
		    "told: it is "
		    "not gone into");
		return false;
	}
	tree_warn_remote(t, id);
	return true;
}

static void watch_it(struct watch_tree *t, watch_id id, int fd)
{
	const bool root = id == tree_root(t);
	const uint32_t had = watch_store_see(t->w->store, id)->watch;
	/* NOLINTNEXTLINE(misc-redundant-expression): IN_ATTRIB is in both */
	int error = folder_watch(t, id, fd, root ? WATCH_MASK | WATCH_ROOT_MASK : WATCH_MASK);
	struct watch_note *note = watch_store_note(t->w->store, id);

	if (error == 0)
		note->flags &= (uint16_t) ~(NODE_LOST | NODE_UNWATCHED);
	else
		tree_add_unwatched(t, id, error);
	/* Until now, nobody has told of its own attributes. */
	if ((note->watch & WATCH_WIDE) != 0 && note->watch != had)
		look_at_folder(t, id, fd);
}

/* Nobody else tells when its attributes let it be read. */
static void watch_shut(struct watch_tree *t, watch_id id)
{
	int fd = t->cover.number != 0 ? folder_open(t, id, O_PATH | O_DIRECTORY) : -1;

	if (fd < 0)
		return;
	(void)folder_watch(t, id, fd, IN_ATTRIB);
	close(fd);
}

/* Why it cannot be read. Where its path leads to nothing or to another one, it is looked at from
 * above; if it is still there then, all of this has happened just now, and it is tried again. */
static void cannot(struct watch_tree *t, watch_id id, bool deep, int error)
{
	if (error == EACCES || error == EPERM) {
		tree_deny(t, id, error);
		watch_shut(t, id);
	} else if (error == ENOENT || error == ENOTDIR || error == ELOOP || error == ESTALE) {
		tree_retry(t, id, deep ? NODE_DEEP : 0);
		look_again(t, id, 0);
	} else {
		tree_add_unwatched(t, id, error);
	}
}

/* Whether it is the one that is known; else it is looked at from above. */
static bool is_it(struct watch_tree *t)
{
	struct watch_scan *s = t->scan;
	struct watch_view v;
	struct stat st;

	return watch_store_view(t->w->store, s->id, &v) && fstat(s->fd, &st) == 0 &&
	       st.st_ino == v.state.inode;
}

static void begin(struct watch_tree *t, watch_id id, bool deep)
{
	struct watch_scan *s = t->scan;
	struct watch_note *note = watch_store_note(t->w->store, id);

	note->flags &= (uint16_t)~NODE_HOLDS;
	s->id = id;
	s->deep = deep;
	s->sure = false;
	s->fd = folder_open(t, id, O_RDONLY | O_DIRECTORY | O_NONBLOCK);
	if (s->fd < 0) {
		cannot(t, id, deep, errno);
		return;
	}
	/* What was mounted may be gone again. */
	if ((note->flags & NODE_MOUNT) != 0 && !is_it(t)) {
		end(t);
		cannot(t, id, deep, ESTALE);
		return;
	}
	if ((note->flags & NODE_MOUNT) != 0 && !goes_across(t, id, s->fd)) {
		end(t);
		return;
	}
	if (id == tree_root(t) && watch_remote(s->fd) != NULL)
		tree_warn_remote(t, id);
	watch_it(t, id, s->fd);
	s->had = watch_store_child(t->w->store, id) != WATCH_NO_ID;
	if (s->had)
		forget_seen(t, id);
	note = watch_store_note(t->w->store, id);
	note->flags = (uint16_t)((note->flags & ~(NODE_DENIED | NODE_SHUT)) | NODE_SCANNING);
}

/* ---- reading ---- */

static bool is_itself(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static void meet(struct watch_tree *t, const char *name)
{
	struct watch_scan *s = t->scan;
	struct stat st;
	watch_id id;

	if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == EACCES)
			tree_deny(t, s->id, errno);
		return;
	}
	id = look_put(t, s->id, s->fd, name, strlen(name), &st, 0);
	if (id == WATCH_NO_ID)
		return;
	set_seen(t->w->store, id, true);
	/* Of what a predecessor has left it is not known yet what is a mount. */
	if (s->deep && S_ISDIR(st.st_mode) && tree_goes_into(t, watch_store_depth(t->w->store, id)))
		tree_enqueue(t, id, NODE_DEEP | look_mount(t, s->fd, &st));
}

/* What was known and was not met. */
static void miss(struct watch_tree *t)
{
	struct watch_scan *s = t->scan;
	watch_id next;

	for (watch_id id = watch_store_child(t->w->store, s->id); id != WATCH_NO_ID; id = next) {
		char name[NAME_MAX + 1];
		struct stat st;
		const char *text;
		size_t len;

		next = watch_store_next(t->w->store, id);
		if ((watch_store_see(t->w->store, id)->flags & NODE_SEEN) != 0)
			continue;
		text = watch_store_name(t->w->store, id, &len);
		memcpy(name, text, len);
		name[len] = '\0';
		if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			(void)look_put(t, s->id, s->fd, name, len, &st, 0);
		else if (errno == ENOENT)
			(void)look_put(t, s->id, s->fd, name, len, NULL, 0);
	}
}

/* Most file systems say which one it is in its entry for itself: that saves a call. */
static bool names_itself(struct watch_tree *t, ssize_t n)
{
	struct watch_scan *s = t->scan;
	const struct dirent64 *d = (const void *)s->buffer;
	struct watch_view v;

	return n > 0 && strcmp(d->d_name, ".") == 0 && watch_store_view(t->w->store, s->id, &v) &&
	       v.state.inode == d->d_ino;
}

/* It is not what is known: its watch is somebody else's. */
static void mistake(struct watch_tree *t)
{
	struct watch_scan *s = t->scan;
	struct watch_note *note = watch_store_note(t->w->store, s->id);
	uint32_t watch = note->watch;

	note->flags &= (uint16_t)~NODE_SCANNING;
	if (watch != 0) {
		folder_detach(t->w, s->id);
		folder_end_watch(t->w, watch);
	}
	end(t);
	cannot(t, s->id, s->deep, ESTALE);
}

/* False: that was all. */
static bool read_some(struct watch_tree *t)
{
	struct watch_scan *s = t->scan;
	ssize_t n = getdents64(s->fd, s->buffer, sizeof(s->buffer));

	if (!s->sure && !names_itself(t, n) && !is_it(t)) {
		mistake(t);
		return true;
	}
	s->sure = true;
	for (ssize_t at = 0; at < n;) {
		const struct dirent64 *d = (const void *)(s->buffer + at);

		at += d->d_reclen;
		if (!is_itself(d->d_name))
			meet(t, d->d_name);
	}
	/* One that cannot be read to its end is tried again. */
	if (n < 0 && errno != ENOENT) {
		tree_add_unwatched(t, s->id, errno);
		s->had = false;
	}
	return n > 0;
}

void scan_step(struct watch_tree *t)
{
	struct watch_scan *s = t->scan;
	struct watch_note *note;

	if (s == NULL) {
		s = t->scan = xmalloc(sizeof(*s));
		s->fd = -1;
	}
	if (s->fd < 0) {
		watch_id id = tree_dequeue(t);
		unsigned flags =
		    watch_store_is(t->w->store, id) ? watch_store_see(t->w->store, id)->flags : 0;

		if ((flags & NODE_QUEUED) == 0)
			return;
		note = watch_store_note(t->w->store, id);
		note->flags &= (uint16_t) ~(NODE_QUEUED | NODE_DEEP);
		begin(t, id, (flags & NODE_DEEP) != 0);
		if (s->fd < 0)
			return;
	}
	note = watch_store_note(t->w->store, s->id);
	/* It may have gone meanwhile. */
	if ((note->flags & NODE_SCANNING) == 0) {
		end(t);
		return;
	}
	if (read_some(t))
		return;
	if (s->had)
		miss(t);
	note = watch_store_note(t->w->store, s->id);
	note->flags &= (uint16_t)~NODE_SCANNING;
	if ((note->flags & NODE_HOLDS) == 0)
		tree_unwarn(t, s->id);
	end(t);
}
