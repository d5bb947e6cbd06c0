/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder's copy grows under a hidden name, locked: one that a process which died has left there
 * is removed when another folder is moved there.
 */
#include "agent/files/move_across.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/files/copy.h"
#include "agent/files/failure.h"
#include "agent/files/remove_tree.h"
#include "agent/files/roots.h"
#include "common/beneath.h"
#include "common/parts.h"
#include "common/temp_file.h"
#include "common/walk.h"

#define MOVE      "move"
#define JUST_MADE 600 /* seconds: it may not be locked yet */

struct moving {
	struct call *call;
	const struct move_end *from, *to;
	bool never;
	struct copy copy;
	struct copied *copied;
	struct stat st; /* of the source, before */
};

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* ---- removing trees ---- */

static bool remove_all(struct call *call, const struct roots *roots, const struct move_end *end,
    const char *name, const struct copied *only, struct tally *tally)
{
	struct remove_tree r = {.call = call,
	    .only = only,
	    .scope = {.roots = roots, .access = ROOTS_WRITE, .top = end->path},
	    .tally = tally};

	/* A temporary name is nobody's but ours. */
	r.scope.whole =
	    call == NULL || roots_allow_tree(roots, ROOTS_WRITE, end->dir_fd, end->name);
	tally_init(tally, end->path);
	return remove_tree(&r, end->dir_fd, name);
}

/* A folder of that name that nobody works on any more. */
static bool is_left_over(int dir_fd, const char *name)
{
	int fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	struct stat st;
	bool yes;

	if (fd < 0)
		return false;
	yes = fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
	      (int64_t)time(NULL) - (int64_t)st.st_mtim.tv_sec > JUST_MADE &&
	      flock(fd, LOCK_EX | LOCK_NB) == 0;
	close(fd);
	return yes;
}

static void reap(const struct moving *m)
{
	int fd = open_beneath(m->to->dir_fd, ".", O_RDONLY | O_DIRECTORY);
	struct walk_entry e;
	struct tally tally;
	struct walk *w;

	if (fd < 0 || walk_new(&w, fd) != 0)
		return;
	while (walk_next(w, &e) > 0)
		if (e.error == 0 && e.type == DT_DIR && parts_is_name(e.name) &&
		    is_left_over(e.dir_fd, e.name))
			(void)remove_all(NULL, NULL, m->to, e.name, NULL, &tally);
	walk_free(w);
}

/* ---- before anything is copied ---- */

static bool is_empty(int dir_fd, const char *name)
{
	int fd = open_beneath(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	struct walk_entry e;
	struct walk *w;
	bool empty;

	if (fd < 0 || walk_new(&w, fd) != 0)
		return true;
	empty = walk_next(w, &e) == 0;
	walk_free(w);
	return empty;
}

/* What rename(2) would say to it. 0 or an errno. */
static int check_target(const struct moving *m)
{
	struct stat st;

	if (fstatat(m->to->dir_fd, m->to->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : errno;
	if (m->never)
		return EEXIST;
	if (S_ISDIR(st.st_mode) && !S_ISDIR(m->st.st_mode))
		return EISDIR;
	if (!S_ISDIR(st.st_mode) && S_ISDIR(m->st.st_mode))
		return ENOTDIR;
	return S_ISDIR(st.st_mode) && !is_empty(m->to->dir_fd, m->to->name) ? ENOTEMPTY : 0;
}

static void set_up(struct moving *m)
{
	const struct roots *roots = call_roots(m->call);

	m->copy = (struct copy){.call = m->call,
	    .recursive = true,
	    .preserve = true,
	    .xattrs = true,
	    .hard_links = true,
	    .moving = true,
	    .never = m->never,
	    .durable = !S_ISDIR(m->st.st_mode),
	    .target = m->to->path,
	    .scope = {.roots = roots, .access = ROOTS_WRITE, .top = m->from->path}};
	m->copy.scope.whole = roots_allow_tree(roots, ROOTS_WRITE, m->from->dir_fd, m->from->name);
	copy_init(&m->copy);
}

/* ---- a file ---- */

/* 0 or an errno. The copy has its place. */
static int remove_source(const struct moving *m)
{
	struct stat st;

	if (fstatat(m->from->dir_fd, m->from->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : errno;
	/* Another one, or one that was written to since: it stays. */
	if (!same_file(&st, &m->st) || st.st_size != m->st.st_size ||
	    memcmp(&st.st_mtim, &m->st.st_mtim, sizeof(st.st_mtim)) != 0)
		return ESTALE;
	return unlinkat(m->from->dir_fd, m->from->name, 0) == 0 ? 0 : errno;
}

static void move_file(struct moving *m, int fd, struct rpc_status *status)
{
	int error;

	copy_any(&m->copy, fd, m->to->dir_fd, m->to->name);
	tally_end(&m->copy.tally, "copied", status);
	if (m->copy.tally.failed > 0 || m->copy.stopped)
		return;
	error = temp_file_sync_folder(m->to->dir_fd);
	if (error == 0 || error == EACCES)
		error = remove_source(m);
	if (error != 0)
		failure_errno(status, error, "remove, after it was copied,", m->from->path);
}

/* ---- a folder ---- */

/* Gives the copy its place, for good. 0 or an errno. */
static int put_in_place(const struct moving *m, const char *temp)
{
	const unsigned flags = m->never ? RENAME_NOREPLACE : 0;
	const struct move_end *to = m->to;
	int fd = open_beneath(to->dir_fd, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	int error = 0;

	/* One that its owner may not read is synced by the folder that it is in. */
	if (fd < 0)
		fd = open_beneath(to->dir_fd, ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || syncfs(fd) != 0)
		error = errno;
	if (error == 0 && renameat2(to->dir_fd, temp, to->dir_fd, to->name, flags) != 0)
		error = errno;
	if (error == 0 && syncfs(fd) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

static void drop(const struct moving *m, const char *temp)
{
	struct tally tally;

	(void)remove_all(NULL, NULL, m->to, temp, NULL, &tally);
}

/* The name of the copy in the making, which is locked: *lock. 0 or an errno. */
static int make_temp(const struct moving *m, char temp[TEMP_FILE_NAME_SIZE], int *lock)
{
	char id[TEMP_FILE_ID_SIZE];
	int error = temp_file_id_make(id);

	if (error != 0)
		return error;
	temp_file_name(temp, id);
	if (mkdirat(m->to->dir_fd, temp, 0700) != 0)
		return errno;
	*lock = open_beneath(m->to->dir_fd, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (*lock >= 0)
		(void)flock(*lock, LOCK_EX | LOCK_NB);
	return 0;
}

static void move_folder(struct moving *m, int fd, struct rpc_status *status)
{
	char temp[TEMP_FILE_NAME_SIZE];
	struct tally removing;
	int lock = -1, error;

	reap(m);
	error = copied_new(&m->copied);
	if (error == 0)
		error = copied_add(m->copied, &m->st);
	if (error == 0)
		error = make_temp(m, temp, &lock);
	if (error != 0) {
		failure_errno(status, error, MOVE, m->to->path);
		return;
	}
	/* The folder is there already: it is not what must not be replaced. */
	m->copy.never = false;
	m->copy.copied = m->copied;
	copy_any(&m->copy, fd, m->to->dir_fd, temp);
	tally_end(&m->copy.tally, "copied", status);
	if (m->copy.tally.failed == 0 && !m->copy.stopped) {
		error = put_in_place(m, temp);
		if (error != 0)
			failure_errno(status, error, "write the copy", m->to->path);
	}
	if (lock >= 0)
		close(lock);
	if (m->copy.tally.failed > 0 || m->copy.stopped || error != 0) {
		drop(m, temp);
		return;
	}
	if (remove_all(m->call, call_roots(m->call), m->from, m->from->name, m->copied, &removing))
		tally_end(&removing, "removed", status);
}

void move_across(struct call *c, const struct move_end *from, const struct move_end *to, bool never,
    struct rpc_status *status)
{
	struct moving m = {.call = c, .from = from, .to = to, .never = never};
	int fd = open_beneath(from->dir_fd, from->name, O_PATH | O_NOFOLLOW), error;

	error = fd < 0 || fstat(fd, &m.st) != 0 ? errno : 0;
	if (error != 0) {
		failure_errno(status, error, MOVE, from->path);
	} else if ((error = check_target(&m)) != 0) {
		failure_errno(status, error, MOVE " to", to->path);
	} else if (S_ISDIR(m.st.st_mode) &&
	           !roots_allow_tree(call_roots(c), ROOTS_WRITE, to->dir_fd, to->name)) {
		failure_outside(status, to->path, "may not be written with all that is below it");
	} else {
		set_up(&m);
		if (S_ISDIR(m.st.st_mode))
			move_folder(&m, fd, status);
		else
			move_file(&m, fd, status);
		call_summary(
		    c, "files=%" PRIu64 " bytes=%" PRIu64, m.copy.tally.done, m.copy.bytes);
		copy_clear(&m.copy);
		copied_free(m.copied);
	}
	if (fd >= 0)
		close(fd);
}
