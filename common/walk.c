/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A level is a folder on the way down: what was read of it and not given out yet. When its
 * descriptor is closed for the time that the walk is far below, its buffer goes, too; the position
 * in the folder (d_off, which file systems keep valid) is where it goes on.
 */
#include "common/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/deep.h"

#define BUFFER ((size_t)32 << 10)

struct level {
	uint8_t *buffer; /* NULL: none yet, or given up */
	size_t len, at;
	off_t position; /* behind the last entry that was given out */
	bool seek;      /* the descriptor is elsewhere */
	bool ended;
	int error;
	uint64_t note;
};

struct walk {
	struct deep way;
	struct level *levels; /* one more than the way's: the top is the first */
	size_t room;
};

static struct level *last(const struct walk *w)
{
	return &w->levels[w->way.n];
}

int walk_new(struct walk **out, int top_fd)
{
	struct walk *w = calloc(1, sizeof(*w));
	int error;

	if (w == NULL) {
		close(top_fd);
		return ENOMEM;
	}
	error = deep_init(&w->way, top_fd, O_RDONLY | O_NONBLOCK);
	w->levels = calloc(1, sizeof(*w->levels));
	w->room = 1;
	if (error == 0 && w->levels == NULL)
		error = ENOMEM;
	if (error != 0)
		walk_free(w);
	else
		*out = w;
	return error;
}

static void give_up_buffer(struct level *l)
{
	free(l->buffer);
	l->buffer = NULL;
	l->len = l->at = 0;
	l->seek = true;
}

void walk_free(struct walk *w)
{
	if (w == NULL)
		return;
	for (size_t i = 0; w->levels != NULL && i <= w->way.n; i++)
		free(w->levels[i].buffer);
	free(w->levels);
	deep_free(&w->way);
	free(w);
}

int walk_fd(const struct walk *w)
{
	return deep_last(&w->way)->fd;
}

bool walk_is_in(const struct walk *w, dev_t dev, ino_t ino)
{
	for (size_t i = 0; i < w->way.n; i++)
		if (w->way.levels[i].dev == dev && w->way.levels[i].ino == ino)
			return true;
	return w->way.top.dev == dev && w->way.top.ino == ino;
}

uint64_t *walk_note(struct walk *w)
{
	return &last(w)->note;
}

/* ---- entries ---- */

/* Reads on. False: there is no more, or it failed. */
static bool fill(struct walk *w, struct level *l)
{
	int fd = walk_fd(w);
	ssize_t n = -1;

	if (l->buffer == NULL)
		l->buffer = malloc(BUFFER);
	errno = ENOMEM;
	if (l->buffer != NULL && (!l->seek || lseek(fd, l->position, SEEK_SET) >= 0)) {
		l->seek = false;
		n = getdents64(fd, l->buffer, BUFFER);
	}
	l->at = 0;
	l->len = n > 0 ? (size_t)n : 0;
	l->ended = n <= 0;
	/* A folder that was removed has no entries. */
	if (n < 0 && errno != ENOENT)
		l->error = errno;
	return n > 0;
}

static bool is_itself(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* The next one of the last folder; NULL: that was all. */
static const struct dirent64 *next_in(struct walk *w)
{
	struct level *l = last(w);

	while (!l->ended && (l->at < l->len || fill(w, l))) {
		const struct dirent64 *d = (const void *)(l->buffer + l->at);

		l->at += d->d_reclen;
		l->position = d->d_off;
		if (!is_itself(d->d_name))
			return d;
	}
	return NULL;
}

static const char *cut_path(struct walk *w)
{
	w->way.path[deep_last(&w->way)->end] = '\0';
	return w->way.path;
}

static void set_names(struct walk *w, struct walk_entry *e)
{
	size_t end = deep_last(&w->way)->end;

	e->path = w->way.path;
	e->name = w->way.path + end + (end > 0 ? 1 : 0);
	e->dir_fd = walk_fd(w);
	e->depth = w->way.n + 1;
}

/* The last folder is done with. */
static int leave(struct walk *w, struct walk_entry *e)
{
	struct level *l = last(w);

	e->leaving = true;
	e->type = DT_DIR;
	e->note = l->note;
	free(l->buffer);
	(void)cut_path(w);
	e->error = deep_up(&w->way);
	/* The one above is not to be had any more: nothing else of it can be told. */
	if (e->error != 0)
		last(w)->ended = true;
	set_names(w, e);
	return 1;
}

int walk_next(struct walk *w, struct walk_entry *e)
{
	struct level *l = last(w);
	const struct dirent64 *d = next_in(w);

	*e = (struct walk_entry){.dir_fd = -1};
	if (d != NULL) {
		if (deep_append(&w->way, d->d_name) == NULL)
			return -1;
		e->type = d->d_type;
		set_names(w, e);
		return 1;
	}
	if (l->error != 0) {
		e->error = l->error;
		e->path = cut_path(w);
		e->name = "";
		e->depth = w->way.n;
		l->error = 0;
		return 1;
	}
	return w->way.n > 0 ? leave(w, e) : 0;
}

/* ---- going down ---- */

static int make_room(struct walk *w)
{
	size_t room = 2 * w->room;
	struct level *more;

	if (w->way.n + 1 < w->room)
		return 0;
	more = reallocarray(w->levels, room, sizeof(*more));
	if (more == NULL)
		return ENOMEM;
	w->levels = more;
	w->room = room;
	return 0;
}

int walk_enter(struct walk *w, bool across)
{
	const struct deep_level before = *deep_last(&w->way);
	const struct deep_level *now;
	int error = make_room(w);

	if (error == 0)
		error = deep_down(&w->way);
	if (error != 0)
		return error;
	*last(w) = (struct level){0};
	/* deep.c has closed that one. */
	if (w->way.n > DEEP_OPEN)
		give_up_buffer(&w->levels[w->way.n - DEEP_OPEN]);
	now = deep_last(&w->way);
	if (!across && (now->dev != before.dev || now->mount != before.mount)) {
		(void)deep_up(&w->way);
		return EXDEV;
	}
	return 0;
}
