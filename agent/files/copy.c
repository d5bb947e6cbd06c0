/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/attributes.h"
#include "agent/files/copy_data.h"
#include "agent/files/copy_internal.h"
#include "agent/files/open_file.h"
#include "common/beneath.h"
#include "common/escape.h"
#include "common/temp_file.h"

#define COPY      "copy"
#define UMASK     022u
#define PATH_SIZE 4096

void copy_init(struct copy *c)
{
	c->links = (struct copy_links){0};
	c->links_fd = -1;
	tally_init(&c->tally, c->scope.top);
}

void copy_clear(struct copy *c)
{
	copy_links_clear(&c->links);
	if (c->links_fd >= 0)
		close(c->links_fd);
	c->links_fd = -1;
}

void copy_failed(struct copy *c, int sys_errno, bool writing, const char *what, const char *below)
{
	/* Nobody is there to be told. */
	if (sys_errno == ECANCELED) {
		c->stopped = true;
		return;
	}
	c->tally.top = writing ? c->place->target : c->place->source;
	tally_errno(&c->tally, sys_errno, what, below);
	/* Smaller files may yet fit, but what is moved goes whole or not at all. */
	if (c->moving && writing && (sys_errno == ENOSPC || sys_errno == EDQUOT))
		c->stopped = true;
}

/* ---- attributes ---- */

int copy_attributes(const struct copy *c, int from, const struct stat *st, int to)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	bool kept, link = S_ISLNK(st->st_mode);
	int error;

	if (!c->preserve)
		return link ? 0 : attributes_mode(to, st->st_mode & 0777 & ~UMASK);
	error = attributes_keep_owner(st, to, &kept);
	if (error == 0)
		error = c->xattrs ? attributes_copy(from, to) : attributes_copy_acls(from, to);
	/* Set-user-ID would be another user's. */
	if (error == 0 && !link)
		error = attributes_mode(to, st->st_mode & (kept ? 07777 : 0777));
	return error != 0 ? error : attributes_times(to, times);
}

/* ---- names ---- */

/* What must not be replaced by a file. */
static bool is_in_the_way(const struct copy *c, int dir_fd, const char *name, bool *replaces)
{
	struct stat st;

	*replaces = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return *replaces &&
	       (c->never || (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode)));
}

/* From its temporary name to its own. 0 or an errno; the temporary one is gone. */
static int give_name(const struct copy *c, int dir_fd, const char *temp, const char *name)
{
	bool replaces;
	int error = 0;

	if (is_in_the_way(c, dir_fd, name, &replaces))
		error = EEXIST;
	else if (c->never)
		error = renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) == 0 ? 0 : errno;
	else
		error = renameat(dir_fd, temp, dir_fd, name) == 0 ? 0 : errno;
	/* Also where both are names of one file, and rename(2) left both. */
	(void)unlinkat(dir_fd, temp, 0);
	return error;
}

static int temp_name(char out[TEMP_FILE_NAME_SIZE])
{
	char id[TEMP_FILE_ID_SIZE];
	int error = temp_file_id_make(id);

	if (error == 0)
		temp_file_name(out, id);
	return error;
}

/* ---- regular files ---- */

static bool has_changed(int fd, const struct stat *st)
{
	struct stat now;

	return fstat(fd, &now) != 0 || now.st_size != st->st_size ||
	       memcmp(&now.st_mtim, &st->st_mtim, sizeof(now.st_mtim)) != 0 ||
	       memcmp(&now.st_ctim, &st->st_ctim, sizeof(now.st_ctim)) != 0;
}

/* Fills the temporary file, and gives it its place. 0 or an errno. */
static int fill(struct copy *c, int from, const struct stat *st, struct temp_file *t,
    const char *name, struct copy_data *data)
{
	bool replaces = false, kept = false;
	int error = copy_data(from, t->fd, c->call, data);

	if (error != 0)
		return error;
	if (c->moving && has_changed(from, st))
		return ESTALE;
	data->writing = true;
	if (!c->preserve)
		error = attributes_of_replaced(t->dir_fd, name, t->fd, &kept);
	if (error == 0 && !kept)
		error = copy_attributes(c, from, st, t->fd);
	if (error == 0 && is_in_the_way(c, t->dir_fd, name, &replaces))
		error = EEXIST;
	if (error == 0)
		error = temp_file_commit(t, name,
		    (c->never ? TEMP_FILE_NEVER : 0) |
		        (c->durable || replaces ? TEMP_FILE_DURABLE : 0));
	return error;
}

static int copy_file(struct copy *c, int fd, const struct stat *st, int dir_fd, const char *name,
    struct copy_data *data)
{
	struct temp_file t = TEMP_FILE_INIT;
	char id[TEMP_FILE_ID_SIZE];
	uint64_t size;
	int from = roots_reopen(fd, O_RDONLY), error;

	if (from < 0)
		return errno;
	data->writing = true;
	error = temp_file_id_make(id);
	if (error == 0)
		error = temp_file_open(&t, dir_fd, id, &size);
	if (error == 0) {
		error = fill(c, from, st, &t, name, data);
		temp_file_drop(&t);
	}
	close(from);
	return error;
}

/* ---- links and special files ---- */

static int make_link(int fd, int dir_fd, const char *temp)
{
	char target[PATH_SIZE];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n < 0)
		return errno;
	target[n] = '\0';
	return symlinkat(target, dir_fd, temp) == 0 ? 0 : errno;
}

static int make_special(const struct stat *st, int dir_fd, const char *temp)
{
	return mknodat(dir_fd, temp, (st->st_mode & S_IFMT) | 0600, st->st_rdev) == 0 ? 0 : errno;
}

/* Whether it is what was just made, and nothing that somebody who may write to the folder has put
 * there instead, to be given its attributes. */
static bool is_ours(int fd, const struct stat *st)
{
	struct stat now;

	return fstat(fd, &now) == 0 && (now.st_mode & S_IFMT) == (st->st_mode & S_IFMT) &&
	       now.st_uid == geteuid() && now.st_nlink == 1;
}

static int copy_node(struct copy *c, int fd, const struct stat *st, int dir_fd, const char *name)
{
	char temp[TEMP_FILE_NAME_SIZE];
	int error = temp_name(temp), made;

	if (error == 0)
		error = S_ISLNK(st->st_mode) ? make_link(fd, dir_fd, temp)
		                             : make_special(st, dir_fd, temp);
	if (error != 0)
		return error;
	made = open_beneath(dir_fd, temp, O_PATH | O_NOFOLLOW);
	error = made < 0 ? errno : 0;
	if (error == 0 && !is_ours(made, st))
		error = ESTALE;
	if (error == 0)
		error = copy_attributes(c, fd, st, made);
	if (made >= 0)
		close(made);
	if (error == 0)
		return give_name(c, dir_fd, temp, name);
	(void)unlinkat(dir_fd, temp, 0);
	return error;
}

/* ---- names of one file ---- */

/* Where links are followed, one name may be come to by several ways. */
static bool has_more_names(const struct copy *c, const struct stat *st)
{
	return c->hard_links && c->links_fd >= 0 && (st->st_nlink > 1 || c->follow);
}

/* As another name of what was copied before. False: it is to be copied. */
static bool link_again(struct copy *c, const struct stat *st, int dir_fd, const char *name)
{
	const char *before = copy_links_find(&c->links, st);
	char temp[TEMP_FILE_NAME_SIZE], from[40];
	bool done = false;
	int fd;

	if (before == NULL || temp_name(temp) != 0)
		return false;
	fd = open_beneath(c->links_fd, before, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return false;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, from, dir_fd, temp, AT_SYMLINK_FOLLOW) == 0)
		done = give_name(c, dir_fd, temp, name) == 0;
	close(fd);
	return done;
}

static void remember(struct copy *c, const struct stat *st, const char *below)
{
	char path[PATH_SIZE];
	int n = snprintf(path, sizeof(path), "%s%s", c->place->prefix, below);

	/* A longer one could not be opened at once; it is copied anew. */
	if (n > 0 && n < PATH_SIZE)
		copy_links_add(&c->links, st, path);
}

/* ---- all of them ---- */

static void refuse(struct copy *c, const struct stat *st, const char *below)
{
	struct rpc_status status;
	char path[PATH_SIZE];

	c->tally.top = c->place->source;
	(void)tally_path(&c->tally, below, path, sizeof(path));
	open_file_refuse(&status, st->st_mode, COPY, path);
	tally_status(&c->tally, &status);
}

void copy_entry(
    struct copy *c, int fd, const struct stat *st, int dir_fd, const char *name, const char *below)
{
	struct copy_data data = {.writing = true};
	int error = 0;

	if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode) && !c->recursive && !c->preserve) {
		refuse(c, st, below);
		return;
	}
	if (!has_more_names(c, st) || !link_again(c, st, dir_fd, name)) {
		if (S_ISREG(st->st_mode)) {
			data.writing = false;
			error = copy_file(c, fd, st, dir_fd, name, &data);
		} else {
			error = copy_node(c, fd, st, dir_fd, name);
		}
		if (error == 0 && has_more_names(c, st))
			remember(c, st, below);
	}
	if (error != 0) {
		copy_failed(c, error, data.writing, data.writing ? "write the copy" : COPY, below);
		return;
	}
	if (c->copied != NULL && copied_add(c->copied, st) != 0) {
		copy_failed(c, ENOMEM, false, COPY, below);
		return;
	}
	c->tally.done++;
	c->bytes += data.bytes;
	c->shared += data.shared;
}

void copy_any(struct copy *c, int fd, int dir_fd, const char *name)
{
	const struct copy_place place = {.source = c->scope.top, .target = c->target, .prefix = ""};
	struct stat st;

	c->place = &place;
	if (fstat(fd, &st) != 0)
		copy_failed(c, errno, false, COPY, "");
	else if (!S_ISDIR(st.st_mode))
		copy_entry(c, fd, &st, dir_fd, name, "");
	else if (!c->recursive)
		copy_failed(c, EISDIR, false, COPY, "");
	else
		copy_tree(c, fd, dir_fd, name);
	c->place = NULL;
}
