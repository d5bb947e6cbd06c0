/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver: folders, links and special files, which are made at once. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/rpc_status.h"
#include "common/tree_receive_internal.h"

int tree_arriving_failed(
    struct tree_receiver *r, const struct tree_arriving *a, int sys_errno, const char *what)
{
	return tree_answer_errno(r, a->e->index, a->path, sys_errno, what);
}

int tree_arriving_refused(struct tree_receiver *r, const struct tree_arriving *a, int code,
    const char *reason, const char *words)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	tree_failure_words(
	    &error, code, reason, "%s %s", tree_answer_shown(r, shown, a->path), words);
	return tree_answer_failed(r, a->e->index, a->path, &error);
}

int tree_arriving_unchanged(struct tree_receiver *r, const struct tree_arriving *a)
{
	struct tree_note note = {.kind = TREE_NOTE_UNCHANGED};

	r->summary.unchanged++;
	note.path = a->path;
	note.size = a->e->size;
	note.folder = a->e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	if (r->cfg.note != NULL)
		r->cfg.note(&note, r->cfg.arg);
	return tree_answer_done(r, a->e->index, a->path, true);
}

int tree_arriving_keep(struct tree_receiver *r, struct tree_kept_list *list,
    const struct tree_arriving *a, const struct stat *is)
{
	Telex__V1__TreeEntry light = *a->e;
	struct tree_kept *k;
	size_t size;

	light.content = light.sha256 = light.link_target = (ProtobufCBinaryData){0};
	if (light.hard_link.len > 0)
		light.n_extended_attributes = 0;
	size = sizeof(*k) + sizeof(light) + telex__v1__tree_entry__get_packed_size(&light);
	if (r->kept_bytes + size > TREE_KEPT_MAX) {
		int rc;

		r->keep_all = true;
		rc = tree_arriving_refused(r, a, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_FILES",
		    "is a folder or hard link too many for one transfer, which can keep 512 MiB "
		    "of their names and attributes; send parts of the tree apart");
		return rc < 0 ? rc : 1;
	}
	if (list->n == list->room) {
		size_t room = list->room == 0 ? 64 : list->room * 2;
		struct tree_kept *grown = realloc(list->all, room * sizeof(*grown));

		if (grown == NULL)
			return TX_ENOMEM;
		list->all = grown;
		list->room = room;
	}
	k = &list->all[list->n];
	*k = (struct tree_kept){.entry = tree_entry_copy(&light)};
	if (k->entry == NULL)
		return TX_ENOMEM;
	if (is != NULL) {
		k->dev = is->st_dev;
		k->ino = is->st_ino;
	}
	list->n++;
	r->kept_bytes += size;
	return 0;
}

/* Files are put into it: as far as we may, it is made so that they can be. */
static int open_up(const struct tree_arriving *a)
{
	int fd;

	if (geteuid() == 0 || (a->there.st_mode & 0300) == 0300)
		return 0;
	fd = openat(a->folder->fd, a->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0; /* what cannot be made in it will be told */
	(void)fchmod(fd, (a->there.st_mode & 07777) | 0700);
	close(fd);
	return 0;
}

/* What is no folder is where one is to be. 0; 1: it was answered, *rc. */
static int clear_way(struct tree_receiver *r, struct tree_arriving *a, int *rc)
{
	int sys_errno = r->cfg.options->delete_extraneous ? 0 : ENOTDIR;

	if (sys_errno == 0 && !r->cfg.options->dry_run && unlinkat(a->folder->fd, a->name, 0) != 0)
		sys_errno = errno;
	if (sys_errno != 0) {
		*rc = tree_arriving_failed(r, a, sys_errno, "make the folder");
		return 1;
	}
	a->is_there = false;
	*rc = tree_answer_removed(r, a->path);
	return *rc < 0;
}

/* A folder that was just made. What somebody else put there meanwhile is not taken for it. */
static int look_at_new(const struct tree_arriving *a, struct stat *st)
{
	if (fstatat(a->folder->fd, a->name, st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (S_ISDIR(st->st_mode) && st->st_uid == geteuid() && (st->st_mode & 0777) == 0700)
		return 0;
	errno = ESTALE;
	return -1;
}

/* 1: it is there by now, made by whom we come back after: a try that was cut off may not have ended
 * yet. errno on -1. */
static int make_folder(const struct tree_receiver *r, struct tree_arriving *a)
{
	const char *marker = a->path[0] == '\0' ? r->cfg.marker : NULL;

	if (tree_store_folder(a->folder->fd, a->name, marker) == 0)
		return look_at_new(a, &a->there);
	if (errno != EEXIST)
		return -1;
	if (fstatat(a->folder->fd, a->name, &a->there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(a->there.st_mode))
		return 1;
	errno = EEXIST;
	return -1;
}

/* A dry run: a folder is where no folder is to be. 0: it would make room. errno on -1. */
static int would_make_room(struct tree_receiver *r, const struct tree_arriving *a)
{
	errno = EISDIR;
	if (!r->cfg.options->delete_extraneous || r->cfg.allowed != NULL ||
	    tree_remove(r, a->folder->fd, a->name, a->path) != 0)
		return -1;
	return tree_answer_removed(r, a->path) < 0 ? -1 : 0;
}

int tree_arriving_would_make(struct tree_receiver *r, const struct tree_arriving *a)
{
	struct tree_note note = {.kind = TREE_NOTE_DONE, .path = a->path, .size = a->e->size};

	note.folder = a->e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	if (!note.folder && a->is_there && S_ISDIR(a->there.st_mode) && would_make_room(r, a) != 0)
		return tree_arriving_failed(r, a, EISDIR, "write");
	r->summary.files += !note.folder;
	r->summary.bytes += note.folder ? 0 : a->e->size;
	if (r->cfg.note != NULL)
		r->cfg.note(&note, r->cfg.arg);
	return tree_answer_done(r, a->e->index, a->path, false);
}

int tree_take_folder(struct tree_receiver *r, struct tree_arriving *a)
{
	const bool dry = r->cfg.options->dry_run;
	int made = 1, rc;

	/* The target that is there already may have been reached through a link. */
	if (a->path[0] == '\0' && r->cfg.target_fd >= 0) {
		rc = tree_arriving_keep(r, &r->made, a, NULL);
		return rc != 0 ? (rc < 0 ? rc : 0) : tree_arriving_unchanged(r, a);
	}
	if (a->is_there && !S_ISDIR(a->there.st_mode) && clear_way(r, a, &rc) != 0)
		return rc;
	if (!a->is_there && dry)
		return tree_arriving_would_make(r, a);
	if (!a->is_there)
		made = make_folder(r, a);
	if (made < 0)
		return tree_arriving_failed(r, a, errno, "make the folder");
	if (made > 0 && !dry)
		open_up(a);
	rc = tree_arriving_keep(r, &r->made, a, &a->there);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return made > 0 ? tree_arriving_unchanged(r, a)
	                : tree_answer_done(r, a->e->index, a->path, false);
}

int tree_arriving_store(struct tree_receiver *r, struct tree_arriving *a, int fd, const char *temp)
{
	struct tree_whole w = {
	    .fd = fd, .index = a->e->index, .size = a->e->size, .fresh = !a->is_there};

	w.name = strdup(a->name);
	w.path = strdup(a->path);
	memcpy(w.temp, temp, sizeof(w.temp));
	w.folder = a->folder;
	if (w.name == NULL || w.path == NULL) {
		w.folder->refs++; /* ours is put by the caller */
		tree_whole_clear(r, &w);
		return TX_ENOMEM;
	}
	w.folder->refs++;
	return tree_store_add(r, &w);
}

int tree_arriving_give_up(struct tree_receiver *r, const struct tree_arriving *a, int fd,
    const char *temp, const char *what)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	if (temp[0] != '\0')
		unlinkat(a->folder->fd, temp, 0);
	return tree_arriving_failed(r, a, saved, what);
}

/* Of what was just made: not of what somebody who may write to the folder puts there instead. */
static int set_attributes(struct tree_receiver *r, const struct tree_arriving *a, const char *temp,
    mode_t kind, const char **what)
{
	int fd = openat(a->folder->fd, temp, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int rc = -1, saved;

	if (fd < 0)
		return -1;
	errno = EAGAIN;
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind && st.st_uid == geteuid() &&
	    st.st_nlink == 1)
		rc = tree_apply_path(&r->apply, fd, a->e, what);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

int tree_take_link(struct tree_receiver *r, struct tree_arriving *a)
{
	char target[TREE_PATH_MAX + 2], temp[TREE_TEMP_SIZE];
	size_t len = a->e->link_target.len;
	const char *what = "make the link";
	ssize_t n;

	if (len == 0 || len > TREE_PATH_MAX || memchr(a->e->link_target.data, 0, len) != NULL)
		return tree_arriving_failed(r, a, len == 0 ? ENOENT : ENAMETOOLONG, what);
	memcpy(target, a->e->link_target.data, len);
	target[len] = '\0';
	if (r->cfg.links_stay && !tree_link_stays(a->path, target))
		return tree_arriving_refused(r, a, RPC_PERMISSION_DENIED, "OUTSIDE_ROOT",
		    "leads out of the tree and was left out");
	if (a->is_there && S_ISLNK(a->there.st_mode) && (size_t)a->there.st_size == len) {
		char old[TREE_PATH_MAX + 2];

		n = readlinkat(a->folder->fd, a->name, old, sizeof(old));
		if (n == (ssize_t)len && memcmp(old, target, len) == 0 &&
		    tree_applied(&r->apply, a->folder->fd, a->name, &a->there, a->e))
			return tree_arriving_unchanged(r, a);
	}
	if (r->cfg.options->dry_run)
		return tree_arriving_would_make(r, a);
	tree_store_random(temp);
	if (symlinkat(target, a->folder->fd, temp) != 0)
		return tree_arriving_failed(r, a, errno, what);
	if (set_attributes(r, a, temp, S_IFLNK, &what) != 0)
		return tree_arriving_give_up(r, a, -1, temp, what);
	return tree_arriving_store(r, a, -1, temp);
}

static mode_t special_mode(Telex__V1__FileType type)
{
	switch (type) {
	case TELEX__V1__FILE_TYPE__FILE_TYPE_FIFO:
		return S_IFIFO;
	case TELEX__V1__FILE_TYPE__FILE_TYPE_SOCKET:
		return S_IFSOCK;
	case TELEX__V1__FILE_TYPE__FILE_TYPE_CHARACTER_DEVICE:
		return S_IFCHR;
	case TELEX__V1__FILE_TYPE__FILE_TYPE_BLOCK_DEVICE:
		return S_IFBLK;
	default:
		return 0;
	}
}

int tree_take_special(struct tree_receiver *r, struct tree_arriving *a)
{
	mode_t mode = special_mode(a->e->type);
	dev_t dev = makedev(a->e->rdev_major, a->e->rdev_minor);
	const char *what = "make the special file";
	char temp[TREE_TEMP_SIZE];

	if (mode == 0 || !r->cfg.options->specials)
		return tree_arriving_refused(r, a, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED",
		    "is a special file and was left out");
	if (a->is_there && (a->there.st_mode & S_IFMT) == mode &&
	    (mode == S_IFIFO || mode == S_IFSOCK || a->there.st_rdev == dev) &&
	    tree_applied(&r->apply, a->folder->fd, a->name, &a->there, a->e))
		return tree_arriving_unchanged(r, a);
	if (r->cfg.options->dry_run)
		return tree_arriving_would_make(r, a);
	tree_store_random(temp);
	if (mknodat(a->folder->fd, temp, mode | 0600, dev) != 0)
		return tree_arriving_failed(r, a, errno, what);
	if (set_attributes(r, a, temp, mode, &what) != 0)
		return tree_arriving_give_up(r, a, -1, temp, what);
	return tree_arriving_store(r, a, -1, temp);
}
