/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a tree at its receiver: hard links, what the sender does not have, and last the
 * attributes of folders, the deepest first, as everything before changes their times.
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
#include "common/err.h"
#include "common/tree_receive_internal.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY)

static void path_of(char out[TREE_PATH_MAX + 1], const ProtobufCBinaryData *path)
{
	if (path->len > 0)
		memcpy(out, path->data, path->len);
	out[path->len] = '\0';
}

/* ---- hard links ---- */

static bool same_file(int a_fd, const char *a, int b_fd, const char *b)
{
	struct stat sa, sb;

	return fstatat(a_fd, a, &sa, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(b_fd, b, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sa.st_ino == sb.st_ino &&
	       sa.st_dev == sb.st_dev;
}

static int link_over(
    struct tree_folder *from, const char *old, struct tree_folder *to, const char *name)
{
	char temp[TREE_TEMP_SIZE];
	int saved;

	if (linkat(from->fd, old, to->fd, name, 0) == 0)
		return 0;
	if (errno != EEXIST)
		return -1;
	tree_store_random(temp);
	if (linkat(from->fd, old, to->fd, temp, 0) != 0)
		return -1;
	if (renameat(to->fd, temp, to->fd, name) == 0)
		return 0;
	saved = errno;
	unlinkat(to->fd, temp, 0);
	errno = saved;
	return -1;
}

static int make_link(struct tree_receiver *r, const Telex__V1__TreeEntry *e)
{
	char path[TREE_PATH_MAX + 1], old[TREE_PATH_MAX + 1];
	const char *name, *old_name;
	struct tree_folder *from, *to;
	bool same = false;
	int rc = -1, saved;

	path_of(path, &e->path);
	path_of(old, &e->hard_link);
	if (r->cfg.options->dry_run)
		return tree_answer_done(r, e->index, path, false);
	from = tree_folder_of(r, old, &old_name);
	to = from != NULL ? tree_folder_of(r, path, &name) : NULL;
	if (to != NULL) {
		same = same_file(from->fd, old_name, to->fd, name);
		rc = same ? 0 : link_over(from, old_name, to, name);
	}
	saved = errno;
	tree_folder_put(r, from);
	tree_folder_put(r, to);
	if (rc != 0)
		return tree_answer_errno(r, e->index, path, saved, "make the hard link");
	if (same)
		r->summary.unchanged++;
	return tree_answer_done(r, e->index, path, same);
}

/* ---- what the sender does not have ---- */

static int remove_one(struct tree_receiver *r, int fd, const char *path, const char *name)
{
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return 0;
	/* What the filters leave out is nobody's business, and parts of uploads are in use. */
	if (tree_excluded(r->cfg.options, path, S_ISDIR(st.st_mode)))
		return 0;
	/* Where not all that is below may be written, folders stay, as nobody looks into them. */
	if (r->cfg.allowed != NULL && (S_ISDIR(st.st_mode) || !r->cfg.allowed(path, r->cfg.arg)))
		return tree_answer_errno(r, 0, path, EPERM, "remove");
	if (!r->cfg.options->dry_run && tree_remove(fd, name) != 0)
		return tree_answer_errno(r, 0, path, errno, "remove");
	return tree_answer_removed(r, path);
}

static bool is_part(const char *name)
{
	size_t len = strlen(name);

	return strncmp(name, ".telex-", 7) == 0 && len > 12 && strcmp(name + len - 5, ".part") == 0;
}

static int remove_in(struct tree_receiver *r, int fd, const char *folder)
{
	int own = openat(fd, ".", FOLDER_FLAGS | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	char path[TREE_PATH_MAX + 1];
	struct dirent *d;
	int rc = 0;

	if (dir == NULL) {
		if (own >= 0)
			close(own);
		return tree_answer_errno(r, 0, folder, errno, "read the folder");
	}
	while (rc == 0 && (d = readdir(dir)) != NULL) {
		int n = snprintf(
		    path, sizeof(path), "%s%s%s", folder, folder[0] != '\0' ? "/" : "", d->d_name);

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || n < 0 ||
		    (size_t)n >= sizeof(path) || is_part(d->d_name))
			continue;
		if (!tree_set_has(r->seen, path))
			rc = remove_one(r, fd, path, d->d_name);
	}
	closedir(dir);
	return rc;
}

/* ---- folders ---- */

static int open_folder(struct tree_receiver *r, const char *path)
{
	int target = tree_folder_target(r);

	if (target < 0 || path[0] == '\0')
		return target < 0 ? -1 : openat(target, ".", FOLDER_FLAGS | O_CLOEXEC);
	return open_beneath(target, path, FOLDER_FLAGS);
}

static int each_folder(struct tree_receiver *r,
    int (*each)(struct tree_receiver *r, int fd, const char *path, const Telex__V1__TreeEntry *e))
{
	char path[TREE_PATH_MAX + 1];
	int rc = 0;

	for (size_t i = r->n_made; rc == 0 && i > 0; i--) {
		int fd;

		path_of(path, &r->made[i - 1]->path);
		fd = open_folder(r, path);
		if (fd < 0) {
			if (!r->cfg.options->dry_run)
				rc = tree_answer_errno(
				    r, r->made[i - 1]->index, path, errno, "open the folder");
			continue;
		}
		rc = each(r, fd, path, r->made[i - 1]);
		close(fd);
	}
	return rc;
}

static int clean_folder(
    struct tree_receiver *r, int fd, const char *path, const Telex__V1__TreeEntry *e)
{
	(void)e;
	return remove_in(r, fd, path);
}

static int finish_folder(
    struct tree_receiver *r, int fd, const char *path, const Telex__V1__TreeEntry *e)
{
	struct stat st;
	const char *what;

	if (fstat(fd, &st) == 0 && tree_applied(&r->apply, fd, NULL, &st, e))
		return 0;
	if (tree_apply_fd(&r->apply, fd, e, &what) != 0)
		return tree_answer_errno(r, e->index, path, errno, what);
	return 0;
}

static int sync_target(struct tree_receiver *r)
{
	if (r->cfg.options->dry_run || r->target_fd < 0 || r->n_made + r->n_links == 0)
		return 0;
	if (syncfs(r->target_fd) != 0)
		return tree_answer_errno(r, 0, "", errno, "make durable");
	return 0;
}

/* Another try would be another transfer from here on. */
static void unmark(struct tree_receiver *r)
{
	char mark[TREE_TEMP_SIZE];
	int target = r->cfg.marker != NULL && !r->cfg.options->dry_run ? tree_folder_target(r) : -1;

	if (target < 0)
		return;
	tree_store_marker(mark, r->cfg.marker);
	unlinkat(target, mark, 0);
}

int tree_finish(struct tree_receiver *r)
{
	int rc = tree_store_commit(r, true);

	for (size_t i = 0; rc == 0 && i < r->n_links; i++)
		rc = make_link(r, r->links[i]);
	tree_folder_forget(r);
	if (rc == 0)
		unmark(r);
	if (rc == 0 && r->seen != NULL && !r->sender_errors)
		rc = each_folder(r, clean_folder);
	if (rc == 0 && !r->cfg.options->dry_run)
		rc = each_folder(r, finish_folder);
	if (rc == 0)
		rc = sync_target(r);
	if (rc < 0)
		return rc;
	r->answer.summary = &r->summary;
	rc = tree_answer_flush(r);
	r->answer.summary = NULL;
	r->finished = rc == 0;
	return rc;
}
