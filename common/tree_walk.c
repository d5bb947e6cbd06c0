/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack of folders. Each holds the names that are left in it, read at once; its descriptor may be
 * closed while the walk is far below, and is opened again by its path from the source.
 */
#include "common/tree_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/err.h"
#include "common/tree.h"

#define OPEN_MAX_LEVELS 32 /* folders held open, the deepest ones */

struct level {
	int fd;    /* -1: closed for now */
	dev_t dev; /* which folder it is */
	ino_t ino;
	char *names; /* each with its NUL */
	size_t names_len, at;
	size_t path_len; /* of the walk's path, for this folder */
	size_t below_len;
};

struct tree_walk {
	const struct tree_source *sources;
	size_t n_sources, source;
	const Telex__V1__TreeOptions *options;
	struct level *levels;
	size_t n_levels, levels_room;
	char path[TREE_PATH_MAX + 1];
	char below[TREE_PATH_MAX + 1];
	struct tree_name name;
	bool enter; /* the name that came last is a folder to go into */
	bool begun; /* the source's own name has come */
};

int tree_walk_new(struct tree_walk **out, const struct tree_source *sources, size_t n,
    const Telex__V1__TreeOptions *options)
{
	struct tree_walk *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return TX_ENOMEM;
	w->sources = sources;
	w->n_sources = n;
	w->options = options;
	*out = w;
	return 0;
}

static void level_close(struct level *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static void pop(struct tree_walk *w)
{
	struct level *l = &w->levels[--w->n_levels];

	level_close(l);
	free(l->names);
}

void tree_walk_free(struct tree_walk *w)
{
	if (w == NULL)
		return;
	while (w->n_levels > 0)
		pop(w);
	free(w->levels);
	free(w);
}

void tree_walk_skip(struct tree_walk *w)
{
	w->enter = false;
}

/* ---- folders ---- */

static int open_folder(int dir_fd, const char *name, bool follow)
{
	return open_below(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK, follow);
}

/* All names of a folder but "." and "..". errno on -1. */
static int read_names(int fd, char **out, size_t *out_len)
{
	int own = dup(fd);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	size_t len = 0, room = 0;
	char *names = NULL;
	struct dirent *d;
	int failed = 0;

	if (dir == NULL) {
		failed = errno;
		if (own >= 0)
			close(own);
		errno = failed;
		return -1;
	}
	while (errno = 0, (d = readdir(dir)) != NULL) {
		size_t n = strlen(d->d_name) + 1;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (len + n > room) {
			size_t larger = room == 0 ? 4096 : room * 2;
			char *grown = realloc(names, larger);

			if (grown == NULL) {
				errno = ENOMEM;
				break;
			}
			names = grown;
			room = larger;
		}
		memcpy(names + len, d->d_name, n);
		len += n;
	}
	failed = errno;
	closedir(dir);
	if (failed != 0) {
		free(names);
		errno = failed;
		return -1;
	}
	*out = names;
	*out_len = len;
	return 0;
}

static int push(struct tree_walk *w, int fd, const struct stat *st, char *names, size_t len)
{
	if (w->n_levels == w->levels_room) {
		size_t room = w->levels_room == 0 ? 32 : w->levels_room * 2;
		struct level *grown = realloc(w->levels, room * sizeof(*grown));

		if (grown == NULL)
			return TX_ENOMEM;
		w->levels = grown;
		w->levels_room = room;
	}
	if (w->n_levels >= OPEN_MAX_LEVELS)
		level_close(&w->levels[w->n_levels - OPEN_MAX_LEVELS]);
	w->levels[w->n_levels++] = (struct level){.fd = fd,
	    .dev = st->st_dev,
	    .ino = st->st_ino,
	    .names = names,
	    .names_len = len,
	    .path_len = strlen(w->path),
	    .below_len = strlen(w->below)};
	return 0;
}

/* Says what was wrong with the folder that the walk was to go into. */
static int trouble(struct tree_walk *w, int sys_errno, const struct tree_name **out)
{
	w->name.sys_errno = sys_errno;
	w->name.what = "read the folder";
	*out = &w->name;
	return 1;
}

/* Goes into the folder that came last. 0, or 1 with *out when it cannot be read. */
static int enter(struct tree_walk *w, const struct tree_name **out)
{
	int fd = open_folder(w->name.dir_fd, w->name.name, w->options->follow);
	char *names = NULL;
	size_t len = 0;
	struct stat st;
	int rc;

	w->enter = false;
	if (fd < 0)
		return trouble(w, errno, out);
	/* It may be another one by now: then it is not what was told of. */
	if (fstat(fd, &st) != 0 || st.st_ino != w->name.st.st_ino ||
	    st.st_dev != w->name.st.st_dev) {
		close(fd);
		return trouble(w, ENOENT, out);
	}
	if (read_names(fd, &names, &len) != 0) {
		rc = errno;
		close(fd);
		return rc == ENOMEM ? TX_ENOMEM : trouble(w, rc, out);
	}
	rc = push(w, fd, &st, names, len);
	if (rc < 0) {
		close(fd);
		free(names);
	}
	return rc;
}

/* The folder's descriptor, which may have been closed. errno on -1. */
static int level_fd(struct tree_walk *w, struct level *l)
{
	const struct tree_source *s = &w->sources[w->source];
	int fd;

	if (l->fd >= 0)
		return l->fd;
	fd = open_folder(s->dir_fd, s->name, w->options->follow);
	if (fd < 0)
		return -1;
	l->fd = fd;
	if (l->below_len > 0) {
		w->below[l->below_len] = '\0';
		l->fd = open_folder(fd, w->below, w->options->follow);
		close(fd);
	}
	return l->fd;
}

/* ---- names ---- */

static bool join(char path[TREE_PATH_MAX + 1], size_t at, const char *name)
{
	size_t len = strlen(name), slash = at > 0 ? 1 : 0;

	if (at + slash + len > TREE_PATH_MAX)
		return false;
	if (slash != 0)
		path[at] = '/';
	memcpy(path + at + slash, name, len + 1);
	return true;
}

/* Fills w->name for `name` in dir_fd. 1: it is to be told; 0: left out. */
static int look(struct tree_walk *w, int dir_fd, const char *name, bool follow)
{
	struct tree_name *n = &w->name;

	*n = (struct tree_name){.path = w->path,
	    .name = name,
	    .dir_fd = dir_fd,
	    .source = &w->sources[w->source],
	    .below = w->below};
	if (fstatat(dir_fd, name, &n->st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0 &&
	    (!follow || fstatat(dir_fd, name, &n->st, AT_SYMLINK_NOFOLLOW) != 0)) {
		/* What was removed since the folder was read is not there. */
		if (errno == ENOENT && w->n_levels > 0)
			return 0;
		n->sys_errno = errno;
		n->what = "read";
		return 1;
	}
	if (w->path[0] != '\0' && tree_excluded(w->options, w->path, S_ISDIR(n->st.st_mode)))
		return 0;
	w->enter = S_ISDIR(n->st.st_mode);
	return 1;
}

/* Whether going into it would go round in a circle of links. */
static bool is_above(struct tree_walk *w)
{
	const struct stat *st = &w->name.st;

	if (!w->options->follow)
		return false;
	for (size_t i = 0; i < w->n_levels; i++)
		if (w->levels[i].ino == st->st_ino && w->levels[i].dev == st->st_dev)
			return true;
	return false;
}

static int next_in(struct tree_walk *w, struct level *l)
{
	const char *name = l->names + l->at;
	int fd = level_fd(w, l);
	int rc;

	l->at += strlen(name) + 1;
	if (fd < 0 || !join(w->path, l->path_len, name) || !join(w->below, l->below_len, name)) {
		int sys_errno = fd < 0 ? errno : ENAMETOOLONG;

		w->path[l->path_len] = '\0';
		w->below[l->below_len] = '\0';
		w->name = (struct tree_name){.path = w->path,
		    .name = name,
		    .dir_fd = fd,
		    .source = &w->sources[w->source],
		    .below = w->below,
		    .sys_errno = sys_errno,
		    .what = fd < 0 ? "read the folder" : "read what is below"};
		if (fd < 0)
			l->at = l->names_len;
		return 1;
	}
	rc = look(w, fd, name, w->options->follow);
	if (rc == 1 && w->enter && is_above(w)) {
		w->enter = false;
		w->name.sys_errno = ELOOP;
		w->name.what = "follow";
	}
	return rc;
}

static int begin_source(struct tree_walk *w)
{
	const struct tree_source *s = &w->sources[w->source];
	size_t len = strlen(s->path);

	w->begun = true;
	if (len > TREE_PATH_MAX)
		return 0;
	memcpy(w->path, s->path, len + 1);
	w->below[0] = '\0';
	if (s->sys_errno == 0)
		return look(w, s->dir_fd, s->name, w->options->follow);
	w->name = (struct tree_name){.path = w->path,
	    .name = s->name,
	    .dir_fd = -1,
	    .source = s,
	    .below = w->below,
	    .sys_errno = s->sys_errno,
	    .what = "read"};
	return 1;
}

int tree_walk_next(struct tree_walk *w, const struct tree_name **out)
{
	int rc;

	while (w->source < w->n_sources) {
		struct level *l;

		if (w->enter) {
			rc = enter(w, out);
			if (rc != 0)
				return rc;
		}
		l = w->n_levels > 0 ? &w->levels[w->n_levels - 1] : NULL;
		if (!w->begun) {
			rc = begin_source(w);
		} else if (l == NULL) {
			w->source++;
			w->begun = false;
			continue;
		} else if (l->at >= l->names_len) {
			pop(w);
			continue;
		} else {
			rc = next_in(w, l);
		}
		if (rc < 0)
			return rc;
		if (rc > 0) {
			*out = &w->name;
			return 1;
		}
	}
	return 0;
}
