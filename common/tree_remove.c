/* SPDX-License-Identifier: Apache-2.0 */
/* What the sender does not have goes, but what is kept, and the folders that hold it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/deep.h"
#include "common/tree_receive_internal.h"
#include "common/walk.h"

/* Of a folder that is gone through. */
enum {
	NOTE_KEPT = 1,     /* something in it is to stay, and so does it */
	NOTE_PROGRESS = 2, /* something was removed from it */
};

struct removal {
	struct tree_receiver *receiver;
	const char *path; /* in the tree, of what is removed */
	bool filtered;    /* some of it may be left out */
	bool dry;         /* nothing is removed */
	struct walk *walk;
	int error; /* the first */
	/* What went, or would, below folders of which all went so far: paths below `path`. Where
	 * one of these stays, they are told one by one, and else the folder is. */
	char **gone;
	size_t n_gone, room;
};

/* ---- what is told ---- */

static void tell(struct removal *r, const char *below)
{
	char path[TREE_PATH_MAX + 1];
	int n = snprintf(path, sizeof(path), "%s/%s", r->path, below);

	if (n > 0 && (size_t)n < sizeof(path) && tree_answer_removed(r->receiver, path) < 0 &&
	    r->error == 0)
		r->error = ENOMEM;
}

static void tell_gone(struct removal *r)
{
	for (size_t i = 0; i < r->n_gone; i++) {
		tell(r, r->gone[i]);
		free(r->gone[i]);
	}
	r->n_gone = 0;
}

static void forget_gone(struct removal *r)
{
	for (size_t i = 0; i < r->n_gone; i++)
		free(r->gone[i]);
	free(r->gone);
	r->gone = NULL;
	r->n_gone = r->room = 0;
}

/* It went with its folder, which is told of. */
static void forget_below(struct removal *r, const char *folder)
{
	size_t len = strlen(folder);

	while (r->n_gone > 0 && strncmp(r->gone[r->n_gone - 1], folder, len) == 0 &&
	       r->gone[r->n_gone - 1][len] == '/')
		free(r->gone[--r->n_gone]);
}

static bool room_for_one(struct removal *r)
{
	size_t room = r->room == 0 ? 64 : r->room * 2;
	char **grown;

	if (r->n_gone < r->room)
		return true;
	grown = realloc(r->gone, room * sizeof(*grown));
	if (grown == NULL)
		return false;
	r->gone = grown;
	r->room = room;
	return true;
}

/* It went, from the folder that the walk is in. */
static void note_gone(struct removal *r, const char *below)
{
	char *own;

	*walk_note(r->walk) |= NOTE_PROGRESS;
	if (!r->filtered)
		return;
	own = (*walk_note(r->walk) & NOTE_KEPT) == 0 && room_for_one(r) ? strdup(below) : NULL;
	if (own != NULL)
		r->gone[r->n_gone++] = own;
	else
		tell(r, below);
}

/* All folders on the way to it stay. */
static void note_kept(struct removal *r)
{
	*walk_note(r->walk) |= NOTE_KEPT;
	tell_gone(r);
}

/* ---- what goes ---- */

/* What the filters leave out is nobody's business, at any depth. */
static bool is_left_out(const struct removal *r, const char *below, bool folder)
{
	char path[TREE_PATH_MAX + 1];
	int n;

	if (!r->filtered)
		return false;
	n = snprintf(path, sizeof(path), "%s/%s", r->path, below);
	/* Too long to have a path: no filter is about it. */
	return n >= 0 && (size_t)n < sizeof(path) &&
	       tree_excluded(r->receiver->cfg.options, path, folder);
}

static void fail(struct removal *r, int sys_errno)
{
	if (r->error == 0)
		r->error = sys_errno;
	note_kept(r);
}

static void enter(struct removal *r)
{
	int error = walk_enter(r->walk, false);

	if (error != 0 && error != ENOENT)
		fail(r, error == EXDEV ? EBUSY : error);
}

/* DT_DIR, or any other. */
static bool is_folder(const struct walk_entry *e)
{
	struct stat st;

	if (e->type != DT_UNKNOWN)
		return e->type == DT_DIR;
	return fstatat(e->dir_fd, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void take(struct removal *r, const struct walk_entry *e)
{
	bool folder = is_folder(e);

	if (is_left_out(r, e->path, folder))
		note_kept(r);
	else if (folder)
		enter(r);
	else if (r->dry || unlinkat(e->dir_fd, e->name, 0) == 0)
		note_gone(r, e->path);
	else if (errno != ENOENT)
		fail(r, errno);
}

/* A folder that was gone through. 1: it is to be gone through again, as some file systems pass over
 * entries when others are removed; 0: it is gone; -1: it stays, with errno or 0. */
static int finish(const struct removal *r, int dir_fd, const char *name, uint64_t note)
{
	errno = 0;
	if ((note & NOTE_KEPT) != 0)
		return -1;
	if (r->dry || unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return (errno == ENOTEMPTY || errno == EEXIST) && (note & NOTE_PROGRESS) != 0 ? 1 : -1;
}

static void leave(struct removal *r, const struct walk_entry *e)
{
	int rc = finish(r, e->dir_fd, e->name, e->note);

	if (rc > 0) {
		enter(r);
	} else if (rc == 0) {
		forget_below(r, e->path);
		note_gone(r, e->path);
	} else if (errno != 0) {
		fail(r, errno);
	} else {
		note_kept(r);
	}
}

/* All below `fd` (taken). 0, with the top's note; -1 when memory is short. */
static int empty(struct removal *r, int fd, uint64_t *note)
{
	struct walk_entry e;
	int more = walk_new(&r->walk, fd);

	if (more != 0) {
		errno = more;
		return -1;
	}
	while ((more = walk_next(r->walk, &e)) > 0) {
		if (e.error != 0)
			fail(r, e.error);
		else if (e.leaving)
			leave(r, &e);
		else
			take(r, &e);
	}
	*note = *walk_note(r->walk);
	walk_free(r->walk);
	errno = ENOMEM;
	return more;
}

static int remove_folder(struct removal *r, int dir_fd, const char *name)
{
	uint64_t note = 0;
	int rc;

	do {
		int fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

		/* One that may not be read may be empty. */
		if (fd < 0)
			return r->dry ? -1 : unlinkat(dir_fd, name, AT_REMOVEDIR);
		if (deep_is_mount(dir_fd, fd)) {
			close(fd);
			errno = EBUSY;
			return -1;
		}
		if (empty(r, fd, &note) != 0)
			return -1;
		rc = finish(r, dir_fd, name, note);
	} while (rc > 0);
	if (rc < 0 && errno == 0 && r->error != 0) {
		errno = r->error;
		return -1;
	}
	return rc < 0 && errno == 0 ? 1 : rc;
}

/* Without looking below, where nothing is left out. */
static int look(const struct removal *r, int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (!S_ISDIR(st.st_mode) || !r->filtered)
		return 0;
	errno = EISDIR;
	return -1;
}

int tree_remove(struct tree_receiver *r, int dir_fd, const char *name, const char *path)
{
	struct removal removal = {.receiver = r,
	    .path = path,
	    .filtered = r->cfg.options->n_filters > 0,
	    .dry = r->cfg.options->dry_run};
	int refused, rc;

	if ((removal.dry ? look(&removal, dir_fd, name) : unlinkat(dir_fd, name, 0)) == 0)
		return 0;
	/* EPERM: a folder, by POSIX; or a file that is immutable, or another's with a sticky bit.
	 */
	refused = errno;
	if (refused != EISDIR && refused != EPERM)
		return -1;
	rc = remove_folder(&removal, dir_fd, name);
	refused = rc < 0 && errno == ENOTDIR ? refused : errno;
	if (rc != 0)
		tell_gone(&removal);
	forget_gone(&removal);
	errno = refused;
	return rc;
}
