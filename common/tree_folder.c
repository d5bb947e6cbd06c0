/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of the target: a few stay open, as entries come folder by folder. All are opened from the
 * target's own descriptor, and no link is followed on the way.
 */
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
