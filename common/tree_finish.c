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
#include "common/parts.h"
#include "common/rpc_status.h"
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

/* What has that name is not what was sent. */
static int refuse_link(
    struct tree_receiver *r, const Telex__V1__TreeEntry *e, const char *path, const char *old)
{
	char shown[TREE_SHOWN_SIZE], first[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	tree_failure_words(&error, RPC_FAILED_PRECONDITION, "LINK_FAILED",
	    "cannot make the hard link %s: %s failed", tree_answer_shown(r, shown, path),
	    tree_answer_shown(r, first, old));
	return tree_answer_failed(r, e->index, path, &error);
}

/* A dry run, at one that is not there. The sender does not know its path any more. */
static int would_link(struct tree_receiver *r, uint64_t index, const char *path)
{
	struct tree_note note = {.kind = TREE_NOTE_DONE, .path = path, .link = true};

	if (r->cfg.note != NULL)
		r->cfg.note(&note, r->cfg.arg);
	return tree_answer_link(r, index, path);
}

static int make_link(struct tree_receiver *r, const Telex__V1__TreeEntry *e)
{
	char path[TREE_PATH_MAX + 1], old[TREE_PATH_MAX + 1];
	const char *name, *old_name;
	struct tree_folder *from, *to;
	const bool dry = r->cfg.options->dry_run;
	bool same = false;
	int rc = -1, saved;

	path_of(path, &e->path);
	path_of(old, &e->hard_link);
	if (r->failed != NULL && tree_set_has(r->failed, old))
		return refuse_link(r, e, path, old);
	from = tree_folder_of(r, old, &old_name);
	to = from != NULL ? tree_folder_of(r, path, &name) : NULL;
	if (to != NULL) {
		same = same_file(from->fd, old_name, to->fd, name);
		rc = same || dry ? 0 : link_over(from, old_name, to, name);
	}
	saved = errno;
	tree_folder_put(r, from);
	tree_folder_put(r, to);
	if (dry && !same)
		return would_link(r, e->index, path);
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
	int rc;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : tree_answer_errno(r, 0, path, errno, "remove");
	if (tree_excluded(r->cfg.options, path, S_ISDIR(st.st_mode)))
		return 0;
	/* Where not all that is below may be written, folders stay, as nobody looks into them. */
	if (r->cfg.allowed != NULL && (S_ISDIR(st.st_mode) || !r->cfg.allowed(path, r->cfg.arg)))
		return tree_answer_errno(r, 0, path, EPERM, "remove");
	rc = tree_remove(r, fd, name, path);
	if (rc < 0)
		return tree_answer_errno(r, 0, path, errno, "remove");
	return rc > 0 ? 0 : tree_answer_removed(r, path);
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
	while (rc == 0 && (errno = 0, d = readdir(dir)) != NULL) {
		int n = snprintf(
		    path, sizeof(path), "%s%s%s", folder, folder[0] != '\0' ? "/" : "", d->d_name);

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || n < 0 ||
		    /* Parts of uploads are in use. */
		    (size_t)n >= sizeof(path) || parts_is_name(d->d_name))
			continue;
		if (!tree_set_has(r->seen, path))
			rc = remove_one(r, fd, path, d->d_name);
	}
	if (rc == 0 && errno != 0)
		rc = tree_answer_errno(r, 0, folder, errno, "read the folder");
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

/* It is the one that was made, or there: another one that has its name now is nobody's business. */
static bool is_that(int fd, const struct tree_kept *k)
{
	struct stat st;

	return k->ino == 0 || (fstat(fd, &st) == 0 && st.st_ino == k->ino && st.st_dev == k->dev);
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

/* Told once, by whichever pass could not go into it: the other may find it open. */
static int tell_folder(
    struct tree_receiver *r, struct tree_kept *k, const char *path, int sys_errno)
{
	if (k->told || r->cfg.options->dry_run)
		return 0;
	k->told = true;
	return tree_answer_errno(r, k->entry->index, path, sys_errno, "open the folder");
}

static int each_folder(struct tree_receiver *r,
    int (*each)(struct tree_receiver *r, int fd, const char *path, const Telex__V1__TreeEntry *e))
{
	char path[TREE_PATH_MAX + 1];
	int rc = 0;

	for (size_t i = r->made.n; rc == 0 && i > 0; i--) {
		struct tree_kept *k = &r->made.all[i - 1];
		int fd;

		path_of(path, &k->entry->path);
		fd = open_folder(r, path);
		if (fd < 0 || !is_that(fd, k))
			rc = tell_folder(r, k, path, fd < 0 ? errno : ESTALE);
		else
			rc = each(r, fd, path, k->entry);
		if (fd >= 0)
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

static int sync_target(struct tree_receiver *r)
{
	if (r->cfg.options->dry_run || r->target_fd < 0 || r->made.n + r->links.n == 0)
		return 0;
	if (syncfs(r->target_fd) != 0)
		return tree_answer_errno(r, 0, "", errno, "make durable");
	return 0;
}

/* Another try would be another transfer from here on; but what failed is to be tried again. */
static void unmark(struct tree_receiver *r)
{
	char mark[TREE_TEMP_SIZE];
	int target = r->cfg.marker != NULL && !r->cfg.options->dry_run ? tree_folder_target(r) : -1;

	if (target < 0)
		return;
	tree_store_remember(target, r->cfg.marker, r->summary.failed > 0 || r->sender_errors);
	tree_store_marker(mark, r->cfg.marker);
	unlinkat(target, mark, 0);
}

int tree_finish(struct tree_receiver *r)
{
	int rc = tree_store_commit(r, true), settled = tree_answer_settle(r);

	if (rc == 0)
		rc = settled;
	for (size_t i = 0; rc == 0 && i < r->links.n; i++)
		rc = make_link(r, r->links.all[i].entry);
	tree_folder_forget(r);
	if (rc == 0 && r->seen != NULL && !r->sender_errors && !r->keep_all)
		rc = each_folder(r, clean_folder);
	/* Before the folder that it is in has its times. */
	if (rc == 0)
		unmark(r);
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
