/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of the target: a few stay open, as entries come folder by folder. All are opened from the
 * target's own descriptor, and no link is followed on the way.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/tree_receive_internal.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)

static void folder_close(struct tree_folder *f)
{
	free(f->path);
	f->path = NULL;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static dev_t device_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_dev : 0;
}

/* A place in the cache; errno EMFILE when all are in use. */
static struct tree_folder *free_place(struct tree_receiver *r)
{
	struct tree_folder *oldest = NULL;

	for (size_t i = 0; i < TREE_FOLDERS; i++) {
		struct tree_folder *f = &r->folders[i];

		if (f->refs == 0 && (oldest == NULL || f->used < oldest->used))
			oldest = f;
	}
	/* Those that wait to be put in their place hold them. */
	if (oldest == NULL && tree_store_commit(r, false) == 0)
		for (size_t i = 0; i < TREE_FOLDERS && oldest == NULL; i++)
			if (r->folders[i].refs == 0)
				oldest = &r->folders[i];
	if (oldest == NULL) {
		errno = EMFILE;
		return NULL;
	}
	folder_close(oldest);
	return oldest;
}

static struct tree_folder *find(struct tree_receiver *r, const char *path, size_t len)
{
	for (size_t i = 0; i < TREE_FOLDERS; i++) {
		const char *p = r->folders[i].path;

		if (p != NULL && strncmp(p, path, len) == 0 && p[len] == '\0')
			return &r->folders[i];
	}
	return NULL;
}

int tree_folder_target(struct tree_receiver *r)
{
	if (r->target_fd < 0 && r->cfg.parent_fd >= 0)
		r->target_fd = openat(r->cfg.parent_fd, r->cfg.name, FOLDER_FLAGS);
	return r->target_fd;
}

static struct tree_folder *take(struct tree_receiver *r, struct tree_folder *f)
{
	f->refs++;
	f->used = ++r->clock;
	return f;
}

/* The folder of the first `len` bytes of path, below the target. */
static struct tree_folder *folder_at(struct tree_receiver *r, const char *path, size_t len)
{
	struct tree_folder *f = find(r, path, len);
	char *name;
	int fd;

	if (f != NULL)
		return take(r, f);
	name = strndup(path, len);
	if (name == NULL)
		return NULL;
	fd = tree_folder_target(r);
	if (fd >= 0)
		fd = len > 0 ? open_beneath(fd, name, O_RDONLY | O_DIRECTORY)
		             : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	f = fd >= 0 ? free_place(r) : NULL;
	if (f == NULL) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		free(name);
		errno = saved;
		return NULL;
	}
	*f = (struct tree_folder){.path = name, .fd = fd, .dev = device_of(fd)};
	return take(r, f);
}

/* What the target itself lies in. */
static struct tree_folder *parent_folder(struct tree_receiver *r)
{
	static const char mark[] = "/"; /* no path of an entry */
	struct tree_folder *f = find(r, mark, 1);
	int fd;

	if (f != NULL)
		return take(r, f);
	if (r->cfg.parent_fd < 0) {
		errno = EISDIR;
		return NULL;
	}
	/* It may be O_PATH, and this one is read and synced. */
	fd = openat(r->cfg.parent_fd, ".", FOLDER_FLAGS);
	f = fd >= 0 ? free_place(r) : NULL;
	if (f == NULL) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	*f = (struct tree_folder){.path = strdup(mark), .fd = fd, .dev = device_of(fd)};
	if (f->path == NULL) {
		folder_close(f);
		return NULL;
	}
	return take(r, f);
}

struct tree_folder *tree_folder_of(struct tree_receiver *r, const char *path, const char **name)
{
	const char *last;

	if (path[0] == '\0') {
		*name = r->cfg.name;
		return parent_folder(r);
	}
	last = tree_path_name(path);
	*name = last;
	return folder_at(r, path, last > path ? (size_t)(last - path) - 1 : 0);
}

void tree_folder_put(struct tree_receiver *r, struct tree_folder *f)
{
	(void)r;
	if (f != NULL)
		f->refs--;
}

void tree_folder_forget(struct tree_receiver *r)
{
	for (size_t i = 0; i < TREE_FOLDERS; i++)
		if (r->folders[i].refs == 0)
			folder_close(&r->folders[i]);
}

/* ---- removing ---- */

/* The first name in a folder that can be removed no more easily; goes into it. */
struct hole {
	char *name;
	dev_t dev;
	ino_t ino; /* of the folder above */
};

/* Removes what is no folder; the first folder's name into *below (malloc'd), or NULL. */
static int empty_files(int fd, char **below)
{
	int own = openat(fd, ".", FOLDER_FLAGS);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *d;
	int rc = 0;

	*below = NULL;
	if (dir == NULL) {
		if (own >= 0)
			close(own);
		return -1;
	}
	while (rc == 0 && *below == NULL && (errno = 0, d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, d->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if ((errno == EISDIR || errno == EPERM) &&
		    unlinkat(fd, d->d_name, AT_REMOVEDIR) == 0)
			continue;
		if (errno == ENOTEMPTY || errno == EEXIST) {
			*below = strdup(d->d_name);
			rc = *below == NULL ? -1 : 0;
		} else {
			rc = -1;
		}
	}
	if (rc == 0 && *below == NULL && errno != 0)
		rc = -1;
	closedir(dir);
	return rc;
}

/* From `fd` (taken), a folder, empties all below it. The way up is checked against the way down. */
static int empty_folder(int fd)
{
	struct hole *way = NULL;
	size_t depth = 0;
	struct stat top, st;
	int rc = fstat(fd, &top), saved;

	while (rc == 0) {
		char *below;
		int next;

		rc = empty_files(fd, &below);
		if (rc == 0 && below == NULL && depth == 0)
			break;
		if (rc == 0 && below == NULL) {
			depth--;
			next = openat(fd, "..", FOLDER_FLAGS);
			if (next < 0 || fstat(next, &st) != 0 || st.st_ino != way[depth].ino ||
			    st.st_dev != way[depth].dev ||
			    unlinkat(next, way[depth].name, AT_REMOVEDIR) != 0)
				rc = -1;
			free(way[depth].name);
		} else if (rc == 0) {
			struct hole *grown = realloc(way, (depth + 1) * sizeof(*way));

			if (grown != NULL)
				way = grown;
			next = grown != NULL ? openat(fd, below, FOLDER_FLAGS) : -1;
			if (next < 0 || fstat(fd, &st) != 0) {
				free(below);
				rc = -1;
			} else {
				way[depth++] = (struct hole){below, st.st_dev, st.st_ino};
				if (fstat(next, &st) != 0 || st.st_dev != top.st_dev) {
					errno = EXDEV;
					rc = -1;
				}
			}
		} else {
			break;
		}
		saved = errno;
		close(fd);
		fd = next;
		errno = saved;
	}
	saved = errno;
	while (depth > 0)
		free(way[--depth].name);
	free(way);
	if (fd >= 0)
		close(fd);
	errno = saved;
	return rc;
}

int tree_remove(int dir_fd, const char *name)
{
	struct stat above, st;
	int fd;

	if (unlinkat(dir_fd, name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -1;
	fd = openat(dir_fd, name, FOLDER_FLAGS);
	if (fd < 0)
		return -1;
	if (fstat(dir_fd, &above) != 0 || fstat(fd, &st) != 0 || st.st_dev != above.st_dev) {
		close(fd);
		errno = EXDEV;
		return -1;
	}
	if (empty_folder(fd) != 0)
		return -1;
	return unlinkat(dir_fd, name, AT_REMOVEDIR);
}
