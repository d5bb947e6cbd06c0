/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some file systems pass over entries when others are removed while a folder is read. So a folder
 * that turns out not to be empty is gone through again, as long as that gets anywhere.
 */
#include "agent/files/remove_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "common/beneath.h"
#include "common/deep.h"
#include "common/walk.h"

#define REMOVE    "remove"
#define ASK_EVERY 64 /* entries, whether the worker is gone */

/* Of a folder that is gone through. */
enum {
	NOTE_STUCK = 1,    /* something in it stays, and so does it */
	NOTE_PROGRESS = 2, /* something was removed from it */
};

static void stuck(struct remove_tree *r, struct walk *w, int error, const char *below)
{
	tally_errno(r->tally, error, REMOVE, below);
	*walk_note(w) |= NOTE_STUCK;
}

static void removed(struct remove_tree *r, struct walk *w)
{
	r->tally->done++;
	*walk_note(w) |= NOTE_PROGRESS;
}

static void refuse(struct remove_tree *r, struct walk *w, const char *below)
{
	struct rpc_status status;
	char path[4096];

	(void)tally_path(r->tally, below, path, sizeof(path));
	failure_outside(&status, path, "may not be removed");
	tally_status(r->tally, &status);
	*walk_note(w) |= NOTE_STUCK;
}

static void enter(struct remove_tree *r, struct walk *w, const struct walk_entry *e)
{
	int error = walk_enter(w, r->across);

	if (error == 0 || error == ENOENT)
		return;
	/* One that may not be read may be empty. */
	if (error == EACCES && unlinkat(e->dir_fd, e->name, AT_REMOVEDIR) == 0)
		removed(r, w);
	else
		stuck(r, w, error == EXDEV ? EBUSY : error, e->path);
}

/* It came since, or was changed. */
static bool is_new(const struct remove_tree *r, int dir_fd, const char *name)
{
	struct stat st;

	return r->only != NULL && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       !copied_has(r->only, &st);
}

static void take(struct remove_tree *r, struct walk *w, const struct walk_entry *e)
{
	if (is_new(r, e->dir_fd, e->name)) {
		stuck(r, w, ESTALE, e->path);
		return;
	}
	if (!scope_allows(&r->scope, e->dir_fd, e->name, e->path)) {
		refuse(r, w, e->path);
		return;
	}
	if (e->type == DT_DIR) {
		enter(r, w, e);
		return;
	}
	if (unlinkat(e->dir_fd, e->name, 0) == 0)
		removed(r, w);
	else if (errno == EISDIR)
		enter(r, w, e);
	else if (errno != ENOENT)
		stuck(r, w, errno, e->path);
}

/* A folder that was gone through. True: it is to be gone through again. */
static bool finish(struct remove_tree *r, int dir_fd, const char *name, uint64_t note, int *error)
{
	*error = 0;
	if ((note & NOTE_STUCK) != 0)
		return false;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) {
		r->tally->done++;
		return false;
	}
	if ((errno == ENOTEMPTY || errno == EEXIST) && (note & NOTE_PROGRESS) != 0)
		return true;
	*error = errno == ENOENT ? 0 : errno;
	return false;
}

static void leave(struct remove_tree *r, struct walk *w, const struct walk_entry *e)
{
	int error;

	if (finish(r, e->dir_fd, e->name, e->note, &error))
		enter(r, w, e);
	else if (error != 0)
		stuck(r, w, error, e->path);
	else
		*walk_note(w) |= NOTE_PROGRESS | (e->note & NOTE_STUCK);
}

/* *note: the top's. False: the worker is gone. */
static bool walk_all(struct remove_tree *r, struct walk *w, uint64_t *note)
{
	struct walk_entry e;
	unsigned long seen = 0;
	int more;

	while ((more = walk_next(w, &e)) != 0) {
		if (more < 0) {
			tally_errno(r->tally, ENOMEM, REMOVE, "");
			*note = NOTE_STUCK;
			return true;
		}
		if (r->call != NULL && seen++ % ASK_EVERY == 0 && call_gone(r->call))
			return false;
		if (e.error != 0)
			stuck(r, w, e.error, e.path);
		else if (e.leaving)
			leave(r, w, &e);
		else
			take(r, w, &e);
	}
	*note = *walk_note(w);
	return true;
}

/* 0, or an errno. */
static int open_top(const struct remove_tree *r, int dir_fd, const char *name, struct walk **w)
{
	int fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return errno;
	if (r->only != NULL && (fstat(fd, &st) != 0 || !copied_has(r->only, &st))) {
		close(fd);
		return ESTALE;
	}
	if (!r->across && deep_is_mount(dir_fd, fd)) {
		close(fd);
		return EBUSY;
	}
	return walk_new(w, fd);
}

bool remove_tree(struct remove_tree *r, int dir_fd, const char *name)
{
	bool again = true, there = true;
	uint64_t note = 0;
	struct walk *w = NULL;
	int error;

	while (again && there) {
		error = open_top(r, dir_fd, name, &w);
		if (error == EACCES && unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) {
			r->tally->done++;
			return true;
		}
		if (error != 0) {
			tally_errno(r->tally, error, REMOVE, "");
			return true;
		}
		there = walk_all(r, w, &note);
		walk_free(w);
		again = there && finish(r, dir_fd, name, note, &error);
		if (there && error != 0)
			tally_errno(r->tally, error, REMOVE, "");
	}
	return there;
}
