/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver: regular files that come with their entry, or need only attributes. */
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

/* Whether the content is the same as far as was asked for. */
static bool same_content(struct tree_receiver *r, const struct tree_arriving *a)
{
	const Telex__V1__TreeOptions *o = r->cfg.options;
	uint8_t digest[32];
	bool same;
	int fd;

	if (!a->is_there || !S_ISREG(a->there.st_mode) || (uint64_t)a->there.st_size != a->e->size)
		return false;
	if (o->check == TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM && a->e->sha256.len == 32) {
		/* Whoever may only write could try out what is in it. */
		if (r->cfg.unreadable)
			return false;
		fd = open_beneath(a->folder->fd, a->name, O_RDONLY | O_NONBLOCK);
		same = fd >= 0 && tree_part_digest(fd, digest) == 0 &&
		       memcmp(digest, a->e->sha256.data, 32) == 0;
		if (fd >= 0)
			close(fd);
		return same;
	}
	if (o->check != TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK && !a->e->unless_same &&
	    (r->cfg.had == NULL || !tree_set_has(r->cfg.had, a->path)))
		return false;
	return tree_mtime_is(a->e, &a->there);
}

/* errno: EAGAIN. */
static bool is_still(int fd, const struct tree_arriving *a)
{
	struct stat st;
	bool same = fstat(fd, &st) == 0 && st.st_ino == a->there.st_ino &&
	            st.st_dev == a->there.st_dev && S_ISREG(st.st_mode);

	errno = EAGAIN;
	return same;
}

/* For its attributes: as who owns it may, be it closed even to him (*opened_up), until it has its
 * mode again. errno on -1. */
static int open_own(const struct tree_arriving *a, bool *opened_up)
{
	int fd = open_beneath(a->folder->fd, a->name, O_RDONLY | O_NONBLOCK), shut, saved;
	char path[40];

	*opened_up = false;
	if (fd >= 0 || errno != EACCES || a->there.st_uid != geteuid())
		return fd;
	shut = open_beneath(a->folder->fd, a->name, O_PATH | O_NOFOLLOW);
	if (shut < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shut);
	if (is_still(shut, a) && chmod(path, (a->there.st_mode & 07777) | 0400) == 0) {
		*opened_up = true;
		fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			(void)chmod(path, a->there.st_mode & 07777);
	}
	saved = errno;
	close(shut);
	errno = saved;
	return fd;
}

/* The content is there; the rest is made so. */
static int only_attributes(struct tree_receiver *r, struct tree_arriving *a)
{
	const char *what = "open";
	bool opened_up;
	int fd, saved;

	if (r->cfg.options->dry_run ||
	    tree_applied(&r->apply, a->folder->fd, a->name, &a->there, a->e))
		return tree_arriving_unchanged(r, a);
	fd = open_own(a, &opened_up);
	if (fd < 0 || !is_still(fd, a) || tree_apply_fd(&r->apply, fd, a->e, &what) != 0) {
		saved = errno;
		if (fd >= 0 && opened_up && is_still(fd, a))
			(void)fchmod(fd, a->there.st_mode & 07777);
		if (fd >= 0)
			close(fd);
		return tree_arriving_failed(r, a, saved, what);
	}
	close(fd);
	return tree_arriving_unchanged(r, a);
}

static int write_content(int fd, const ProtobufCBinaryData *content)
{
	size_t at = 0;

	while (at < content->len) {
		ssize_t n = write(fd, content->data + at, content->len - at);

		if (n < 0 && errno != EINTR)
			return -1;
		at += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int too_large(struct tree_receiver *r, const struct tree_arriving *a)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	tree_failure_limit(&error, tree_answer_shown(r, shown, a->path), r->cfg.max_bytes);
	return tree_answer_failed(r, a->e->index, a->path, &error);
}

static int take_content(struct tree_receiver *r, struct tree_arriving *a)
{
	struct tree_note note = {.kind = TREE_NOTE_BYTES, .bytes = a->e->content.len};
	const char *what = "write";
	char temp[TREE_TEMP_SIZE];
	int fd;

	if (r->cfg.note != NULL && note.bytes > 0)
		r->cfg.note(&note, r->cfg.arg);
	r->total_bytes += a->e->content.len;
	if (r->cfg.max_bytes != 0 && r->total_bytes > r->cfg.max_bytes)
		return too_large(r, a);
	fd = tree_store_open(a->folder, temp);
	if (fd < 0)
		return tree_arriving_failed(r, a, errno, what);
	if (write_content(fd, &a->e->content) != 0 ||
	    tree_apply_fd(&r->apply, fd, a->e, &what) != 0)
		return tree_arriving_give_up(r, a, fd, temp, what);
	return tree_arriving_store(r, a, fd, temp);
}

int tree_take_file(struct tree_receiver *r, struct tree_arriving *a)
{
	if (a->e->size > INT64_MAX)
		return tree_arriving_failed(r, a, EFBIG, "write");
	if (same_content(r, a))
		return only_attributes(r, a);
	if (a->is_there && S_ISDIR(a->there.st_mode) && !r->cfg.options->delete_extraneous)
		return tree_arriving_failed(r, a, EISDIR, "write");
	if (r->cfg.options->dry_run)
		return tree_arriving_would_make(r, a);
	if (a->e->has_content || a->e->size == 0)
		return take_content(r, a);
	return tree_content_want(r, a->e, a->path);
}
