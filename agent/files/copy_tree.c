/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of the copy is made before what is in it, open to its owner alone, and gets its
 * attributes when all is there. Two ways lead down side by side: the walk of the source, and the
 * folders of the copy.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/copy_internal.h"
#include "agent/files/failure.h"
#include "agent/files/roots.h"
#include "common/beneath.h"
#include "common/deep.h"
#include "common/walk.h"

#define PATH_SIZE 4096
#define READ      "read the folder"
#define MAKE      "make the folder"
#define ASK_EVERY 16 /* entries, whether the worker is gone */

/* Of a folder of the source: it was made anew in the copy. */
enum { NOTE_MADE = 1 };

struct tree {
	struct copy *copy;
	struct copy_place place;
	struct walk *walk;
	struct deep made; /* the copy */
};

/* A folder in the copy. 0 or an errno. */
static int make_folder(const struct copy *c, int dir_fd, const char *name, bool *made)
{
	*made = mkdirat(dir_fd, name, 0700) == 0;
	if (*made)
		return 0;
	return errno == EEXIST && !c->never ? 0 : errno;
}

static void finish_folder(struct copy *c, int from, int to, bool made, const char *below)
{
	struct stat st;
	int error;

	/* What was there before keeps what it has, unless all is to be kept. */
	if (!made && !c->preserve)
		return;
	error = fstat(from, &st) != 0 ? errno : copy_attributes(c, from, &st, to);
	if (error != 0)
		copy_failed(c, error, true, MAKE, below);
}

static void refuse(struct copy *c, const char *below, const char *why)
{
	struct rpc_status status;
	char path[PATH_SIZE];

	c->tally.top = c->place->source;
	(void)tally_path(&c->tally, below, path, sizeof(path));
	failure_outside(&status, path, why);
	tally_status(&c->tally, &status);
}

/* ---- folders ---- */

static bool is_target(const struct copy *c, const struct stat *st)
{
	return st->st_dev == c->target_dev && st->st_ino == c->target_ino;
}

static void enter(struct tree *t, const struct walk_entry *e, const struct stat *st)
{
	struct copy *c = t->copy;
	bool made = false;
	int error;

	/* The copy lies in what is copied: it ends there. */
	if (is_target(c, st)) {
		copy_failed(c, EINVAL, false, "copy into itself", e->path);
		return;
	}
	error = c->copied != NULL ? copied_add(c->copied, st) : 0;
	if (error == 0)
		error = make_folder(c, deep_last(&t->made)->fd, e->name, &made);
	if (error == 0 && deep_append(&t->made, e->name) == NULL)
		error = ENAMETOOLONG;
	if (error == 0)
		error = deep_down(&t->made);
	if (error != 0) {
		copy_failed(c, error, true, MAKE, e->path);
		return;
	}
	error = walk_enter(t->walk, !c->moving);
	if (error == 0) {
		*walk_note(t->walk) = made ? NOTE_MADE : 0;
		return;
	}
	(void)deep_up(&t->made);
	if (made)
		(void)unlinkat(deep_last(&t->made)->fd, e->name, AT_REMOVEDIR);
	copy_failed(c, error == EXDEV ? EBUSY : error, false, READ, e->path);
}

static void leave(struct tree *t, const struct walk_entry *e)
{
	struct copy *c = t->copy;
	int error, from = -1;

	if (e->error == 0)
		from = open_beneath(e->dir_fd, e->name, O_PATH | O_NOFOLLOW);
	if (from >= 0) {
		finish_folder(
		    c, from, deep_last(&t->made)->fd, (e->note & NOTE_MADE) != 0, e->path);
		close(from);
	} else if (e->error == 0) {
		copy_failed(c, errno, false, READ, e->path);
	}
	error = deep_up(&t->made);
	if (error == 0)
		return;
	/* Somebody took the copy away. */
	copy_failed(c, error, true, MAKE, e->path);
	c->stopped = true;
}

/* ---- links that are followed ---- */

static bool goes_round(const struct tree *t, const struct stat *st)
{
	for (const struct copy_place *p = &t->place; p != NULL; p = p->above)
		if (walk_is_in(p->walk, st->st_dev, st->st_ino))
			return true;
	return false;
}

/* A tree in the tree. */
static void copy_linked_tree(struct tree *t, int fd, const struct walk_entry *e, const char *path)
{
	char target[PATH_SIZE], prefix[PATH_SIZE];
	const struct scope scope = t->copy->scope;
	const struct copy_place place = {
	    .source = path, .target = target, .prefix = prefix, .above = &t->place};

	if (snprintf(target, sizeof(target), "%s/%s", t->place.target, e->path) >= PATH_SIZE ||
	    snprintf(prefix, sizeof(prefix), "%s%s/", t->place.prefix, e->path) >= PATH_SIZE) {
		copy_failed(t->copy, ENAMETOOLONG, false, "follow", e->path);
		return;
	}
	t->copy->place = &place;
	t->copy->scope.top = path;
	t->copy->scope.whole = roots_allow_tree(scope.roots, scope.access, fd, NULL);
	copy_tree(t->copy, fd, deep_last(&t->made)->fd, e->name);
	t->copy->scope = scope;
	t->copy->place = &t->place;
}

/* What the link leads to, as far as the roots go. */
static void follow(struct tree *t, const struct walk_entry *e)
{
	struct copy *c = t->copy;
	struct rpc_status status;
	char path[PATH_SIZE];
	struct stat st;
	int fd;

	c->tally.top = t->place.source;
	if (!tally_path(&c->tally, e->path, path, sizeof(path))) {
		copy_failed(c, ENAMETOOLONG, false, "follow", e->path);
		return;
	}
	fd = roots_open(c->scope.roots, c->scope.access, path, O_PATH, &status);
	if (fd < 0) {
		tally_status(&c->tally, &status);
		return;
	}
	if (fstat(fd, &st) != 0)
		copy_failed(c, errno, false, "follow", e->path);
	else if (!S_ISDIR(st.st_mode))
		copy_entry(c, fd, &st, deep_last(&t->made)->fd, e->name, e->path);
	else if (goes_round(t, &st) || is_target(c, &st))
		copy_failed(c, ELOOP, false, "follow", e->path);
	else
		copy_linked_tree(t, fd, e, path);
	close(fd);
}

/* ---- all of it ---- */

static void take(struct tree *t, const struct walk_entry *e)
{
	struct copy *c = t->copy;
	struct stat st;
	int fd;

	if (!scope_allows(&c->scope, e->dir_fd, e->name, e->path)) {
		refuse(c, e->path, "may not be read");
		return;
	}
	fd = open_beneath(e->dir_fd, e->name, O_PATH | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) != 0) {
		/* It was removed since. */
		if (errno != ENOENT || c->moving)
			copy_failed(c, errno, false, "copy", e->path);
	} else if (S_ISDIR(st.st_mode)) {
		enter(t, e, &st);
	} else if (S_ISLNK(st.st_mode) && c->follow) {
		follow(t, e);
	} else {
		copy_entry(c, fd, &st, deep_last(&t->made)->fd, e->name, e->path);
	}
	if (fd >= 0)
		close(fd);
}

static void walk_all(struct tree *t)
{
	struct copy *c = t->copy;
	struct walk_entry e;
	unsigned long seen = 0;
	int more = 0;

	while (!c->stopped && (more = walk_next(t->walk, &e)) > 0) {
		if (seen++ % ASK_EVERY == 0 && call_gone(c->call))
			c->stopped = true;
		else if (e.error != 0)
			copy_failed(c, e.error, false, READ, e.path);
		else if (!e.leaving)
			take(t, &e);
		if (e.leaving)
			leave(t, &e);
	}
	if (more < 0)
		copy_failed(c, ENOMEM, false, READ, "");
}

/* 0 or an errno; *writing: of the copy. */
static int open_both(struct tree *t, int fd, int made_fd, bool *writing)
{
	int from = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY);
	int unread = from < 0 ? errno : 0;
	int error = deep_init(&t->made, made_fd, O_PATH);

	*writing = error != 0;
	if (error == 0 && unread == 0)
		return walk_new(&t->walk, from);
	if (from >= 0)
		close(from);
	return error != 0 ? error : unread;
}

/* The outermost folder: where hard links are looked up, and what is not copied again. */
static int begin_links(struct copy *c, int made_fd)
{
	struct stat st;

	if (c->links_fd >= 0)
		return 0;
	if (fstat(made_fd, &st) != 0)
		return errno;
	c->target_dev = st.st_dev;
	c->target_ino = st.st_ino;
	c->links_fd = fcntl(made_fd, F_DUPFD_CLOEXEC, 0);
	return c->links_fd >= 0 ? 0 : errno;
}

void copy_tree(struct copy *c, int fd, int dir_fd, const char *name)
{
	const struct copy_place *above = c->place;
	struct tree t = {.copy = c, .place = *above, .made.top.fd = -1};
	bool made, writing = true;
	int error = make_folder(c, dir_fd, name, &made), made_fd = -1;

	if (error == 0) {
		made_fd = open_beneath(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
		error = made_fd < 0 ? errno : begin_links(c, made_fd);
	}
	if (error == 0) {
		error = open_both(&t, fd, made_fd, &writing);
	} else if (made_fd >= 0) {
		close(made_fd);
	}
	if (error != 0) {
		copy_failed(c, error, writing, writing ? MAKE : READ, "");
		if (made)
			(void)unlinkat(dir_fd, name, AT_REMOVEDIR);
	} else {
		t.place.walk = t.walk;
		/* cppcheck-suppress autoVariables ; for as long as it is there */
		c->place = &t.place;
		walk_all(&t);
		if (!c->stopped)
			finish_folder(c, fd, t.made.top.fd, made, "");
		c->place = above;
	}
	walk_free(t.walk);
	deep_free(&t.made);
}
