/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are whole, on their way to their names. They have no name (O_TMPFILE) or a temporary
 * one until all of a batch are durable; then they are put in their places, and that is made
 * durable, too, before any is answered. syncfs(2) does that for many at once, fsync(2) for few.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "common/err.h"
#include "common/parts.h"
#include "common/tree_receive_internal.h"

#define FEW 4u /* files for which fsync is cheaper than syncfs */

void tree_store_random(char temp[TREE_TEMP_SIZE])
{
	uint64_t number[2] = {0, 0};

	while (getrandom(number, sizeof(number), 0) < 0 && errno == EINTR)
		;
	snprintf(temp, TREE_TEMP_SIZE, ".telex-%016llx%016llx.part", (unsigned long long)number[0],
	    (unsigned long long)number[1]);
}

int tree_store_open(struct tree_folder *f, char temp[TREE_TEMP_SIZE])
{
	int fd = openat(f->fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	temp[0] = '\0';
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL &&
	                   errno != ENOENT && errno != EACCES))
		return fd;
	/* This file system has none such. */
	tree_store_random(temp);
	fd = openat(f->fd, temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		temp[0] = '\0';
	return fd;
}

void tree_store_marker(char name[TREE_TEMP_SIZE], const char *id)
{
	snprintf(name, TREE_TEMP_SIZE, ".telex-%.32s.part", id);
}

/* Whoever may write to a folder can set the attribute: it is believed where nobody else may. */
static bool is_remembered(int folder_fd, const char *id)
{
	char value[TREE_ID_SIZE];
	struct stat st;
	ssize_t len;

	if (fstat(folder_fd, &st) != 0 || (st.st_mode & 022) != 0 ||
	    (geteuid() != 0 && st.st_uid != geteuid()))
		return false;
	len = fgetxattr(folder_fd, TREE_MARK_XATTR, value, sizeof(value));
	return len > 0 && (size_t)len == strlen(id) && memcmp(value, id, (size_t)len) == 0;
}

bool tree_marked(int folder_fd, const char *id)
{
	char name[TREE_TEMP_SIZE];
	struct stat st;

	if (is_remembered(folder_fd, id))
		return true;
	tree_store_marker(name, id);
	return fstatat(folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_uid == geteuid();
}

void tree_store_remember(int folder_fd, const char *id, bool failed)
{
	/* A folder that was there before is no try's. */
	if (!failed)
		(void)fremovexattr(folder_fd, TREE_MARK_XATTR);
	else if (tree_marked(folder_fd, id))
		(void)fsetxattr(folder_fd, TREE_MARK_XATTR, id, strlen(id), 0);
}

int tree_store_folder(int dir_fd, const char *name, const char *marker)
{
	char temp[TREE_TEMP_SIZE], mark[TREE_TEMP_SIZE];
	int fd, made = -1, saved;

	if (marker == NULL)
		return mkdirat(dir_fd, name, 0700);
	tree_store_random(temp);
	tree_store_marker(mark, marker);
	if (mkdirat(dir_fd, temp, 0700) != 0)
		return -1;
	fd = openat(dir_fd, temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0)
		made = openat(fd, mark, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (made >= 0 && renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) == 0) {
		close(made);
		close(fd);
		return 0;
	}
	saved = errno;
	if (made >= 0)
		unlinkat(fd, mark, 0);
	if (made >= 0)
		close(made);
	if (fd >= 0)
		close(fd);
	unlinkat(dir_fd, temp, AT_REMOVEDIR);
	/* A file system that cannot rename so: without a mark. */
	if (saved == EINVAL || saved == ENOSYS)
		return mkdirat(dir_fd, name, 0700);
	errno = saved;
	return -1;
}

/* Removes it, unless somebody writes it. */
static void reap(int dir_fd, const char *name, int64_t life_s)
{
	struct stat st;
	int fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(st.st_mode) ||
	    st.st_uid != geteuid() || st.st_ctim.tv_sec >= time(NULL) - life_s)
		return;
	/* Nobody writes a link or a special file. */
	if (!S_ISREG(st.st_mode)) {
		unlinkat(dir_fd, name, 0);
		return;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(dir_fd, name, 0);
	close(fd);
}

void tree_reap_parts(int dir_fd, int64_t life_s)
{
	int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	struct dirent *d;

	if (dir == NULL) {
		if (own >= 0)
			close(own);
		return;
	}
	while ((d = readdir(dir)) != NULL)
		if (parts_is_name(d->d_name))
			reap(dir_fd, d->d_name, life_s);
	closedir(dir);
}

void tree_whole_clear(struct tree_receiver *r, struct tree_whole *w)
{
	if (w->fd >= 0)
		close(w->fd);
	if (w->temp[0] != '\0')
		unlinkat(w->folder->fd, w->temp, 0);
	tree_folder_put(r, w->folder);
	free(w->name);
	free(w->path);
	*w = (struct tree_whole){.fd = -1};
}

static int link_fd(int fd, int dir_fd, const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, dir_fd, name, AT_SYMLINK_FOLLOW);
}

/* Gives it its own name. errno on -1. */
static int place(struct tree_whole *w)
{
	if (w->temp[0] == '\0') {
		if (w->fresh && link_fd(w->fd, w->folder->fd, w->name) == 0)
			return 0;
		tree_store_random(w->temp);
		if (link_fd(w->fd, w->folder->fd, w->temp) != 0) {
			w->temp[0] = '\0';
			return -1;
		}
	}
	if (renameat(w->folder->fd, w->temp, w->folder->fd, w->name) != 0)
		return -1;
	w->temp[0] = '\0';
	return 0;
}

/* Makes room where what is there keeps a file from its name, but must not: with
 * delete_extraneous. */
static int make_room(struct tree_receiver *r, struct tree_whole *w)
{
	if (!r->cfg.options->delete_extraneous || r->cfg.allowed != NULL ||
	    tree_remove(r, w->folder->fd, w->name, w->path) != 0)
		return -1;
	tree_folder_forget(r);
	return tree_answer_removed(r, w->path);
}

/* ---- durable ---- */

/* What the process may have open, as tree_more_files set it: in a sandbox it cannot be asked. */
static rlim_t open_max;

int tree_store_begin(struct tree_receiver *r)
{
	struct rlimit limit = {.rlim_cur = open_max};

	/* Descriptors are the process's, and others need some. */
	r->batch_max = TREE_BATCH_MIN;
	if ((open_max != 0 || getrlimit(RLIMIT_NOFILE, &limit) == 0) &&
	    limit.rlim_cur / 4 > TREE_BATCH_MIN)
		r->batch_max =
		    limit.rlim_cur / 4 < TREE_BATCH_MAX ? limit.rlim_cur / 4 : TREE_BATCH_MAX;
	r->batch = calloc(r->batch_max, sizeof(*r->batch));
	r->placed = calloc(r->batch_max, sizeof(*r->placed));
	return r->batch != NULL && r->placed != NULL ? 0 : TX_ENOMEM;
}

void tree_more_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max < TREE_BATCH_MAX * 4 ? limit.rlim_max : TREE_BATCH_MAX * 4;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
		open_max = limit.rlim_cur;
}

static void forget_placed(struct tree_receiver *r)
{
	for (size_t i = 0; i < r->n_placed; i++)
		free(r->placed[i].path);
	r->n_placed = 0;
	if (r->placed_fd >= 0)
		close(r->placed_fd);
	r->placed_fd = -1;
}

void tree_store_end(struct tree_receiver *r)
{
	if (r->batch != NULL && r->placed != NULL)
		(void)tree_store_commit(r, true);
	for (size_t i = 0; i < r->n_batch; i++)
		tree_whole_clear(r, &r->batch[i]);
	forget_placed(r);
	free(r->batch);
	free(r->placed);
}

/* The batch before, whose names are durable by now, or not for this errno. */
static int answer_placed(struct tree_receiver *r, int sys_errno)
{
	int rc = 0;

	for (size_t i = 0; i < r->n_placed; i++) {
		struct tree_placed *p = &r->placed[i];
		int said;

		if (sys_errno != 0) {
			said = tree_answer_errno(r, p->index, p->path, sys_errno, "make durable");
		} else {
			r->summary.files++;
			r->summary.bytes += p->size;
			tree_note(r, TREE_NOTE_DONE, p->path, p->size);
			said = tree_answer_done(r, p->index, p->path, false);
		}
		if (rc == 0)
			rc = said;
	}
	forget_placed(r);
	return rc;
}

/* The names of the batch before. */
static int settle(struct tree_receiver *r)
{
	return answer_placed(r, syncfs(r->placed_fd) != 0 ? errno : 0);
}

static bool one_device(const struct tree_receiver *r)
{
	for (size_t i = 1; i < r->n_batch; i++)
		if (r->batch[i].folder->dev != r->batch[0].folder->dev)
			return false;
	return true;
}

/* The contents of the batch, and with them the names of the one before, where they are on the same
 * file system. errno's. */
static int sync_contents(struct tree_receiver *r, bool each)
{
	for (size_t i = 0; each && i < r->n_batch; i++)
		if (r->batch[i].fd >= 0 && fsync(r->batch[i].fd) != 0)
			return errno;
	if (!each && r->n_batch > 0 && syncfs(r->batch[0].folder->fd) != 0)
		return errno;
	return 0;
}

static int sync_folders(struct tree_receiver *r)
{
	struct tree_folder *last = NULL;

	for (size_t i = 0; i < r->n_batch; i++) {
		if (r->batch[i].folder != last && fsync(r->batch[i].folder->fd) != 0)
			return errno;
		last = r->batch[i].folder;
	}
	return 0;
}

static void place_one(struct tree_receiver *r, struct tree_whole *w)
{
	w->in_place = place(w) == 0;
	if (w->in_place)
		return;
	w->sys_errno = errno;
	if ((errno == EISDIR || errno == ENOTEMPTY) && make_room(r, w) == 0 && place(w) == 0) {
		w->sys_errno = 0;
		w->in_place = true;
	}
}

/* What has its name now goes to the placed ones, the others are answered. */
static int hand_over(struct tree_receiver *r)
{
	int rc = 0;

	if (r->n_batch > 0) {
		r->placed_fd = fcntl(r->batch[0].folder->fd, F_DUPFD_CLOEXEC, 0);
		r->placed_dev = r->batch[0].folder->dev;
	}
	for (size_t i = 0; i < r->n_batch; i++) {
		struct tree_whole *w = &r->batch[i];
		const struct tree_placed p = {w->index, w->size, w->path};
		const int failed = w->sys_errno;
		int said = 0;

		/* Before it is told what is left. */
		w->path = NULL;
		tree_whole_clear(r, w);
		if (failed != 0) {
			said = tree_answer_errno(r, p.index, p.path, failed, "write");
			free(p.path);
		} else {
			r->placed[r->n_placed++] = p;
		}
		if (rc == 0)
			rc = said;
	}
	r->n_batch = 0;
	r->batch_size = 0;
	return rc;
}

int tree_store_commit(struct tree_receiver *r, bool all)
{
	bool same = one_device(r);
	/* syncfs for many, fsync for few, and where there are several file systems. */
	bool each = !same || (r->n_batch <= FEW && r->n_placed == 0);
	int rc = 0, failed;

	if (r->n_placed > 0 &&
	    (!same || r->n_batch == 0 || r->batch[0].folder->dev != r->placed_dev))
		rc = settle(r);
	if (rc < 0 || r->n_batch == 0)
		return rc;
	failed = sync_contents(r, each);
	if (r->n_placed > 0)
		rc = answer_placed(r, failed);
	for (size_t i = 0; i < r->n_batch; i++) {
		if (r->batch[i].sys_errno == 0)
			r->batch[i].sys_errno = failed;
		if (r->batch[i].sys_errno == 0 && !r->batch[i].in_place)
			place_one(r, &r->batch[i]);
	}
	if (each) {
		int folders = failed == 0 ? sync_folders(r) : 0;
		int over = hand_over(r);

		rc = rc < 0 ? rc : over;
		over = answer_placed(r, folders);
		return rc < 0 ? rc : over;
	}
	failed = hand_over(r);
	if (rc == 0)
		rc = failed;
	if (rc == 0 && (all || r->placed_fd < 0) && r->n_placed > 0)
		rc = r->placed_fd < 0 ? answer_placed(r, EMFILE) : settle(r);
	return rc;
}

uint64_t tree_store_oldest(const struct tree_receiver *r)
{
	if (r->n_placed > 0)
		return r->placed[0].index;
	return r->n_batch > 0 ? r->batch[0].index : 0;
}

int tree_store_add(struct tree_receiver *r, const struct tree_whole *w)
{
	struct tree_whole *own = &r->batch[r->n_batch++];

	*own = *w;
	r->batch_size += w->size;
	/* It has no content that must be durable first: under a temporary name it would only be
	 * left behind when this process dies. */
	if (own->fd < 0)
		place_one(r, own);
	if (r->n_batch == r->batch_max || r->batch_size >= TREE_BATCH_SIZE)
		return tree_store_commit(r, false);
	return 0;
}
