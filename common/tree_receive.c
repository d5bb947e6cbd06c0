/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver: messages, and entries that are dealt with at once. */
#include "common/tree_receive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <zstd.h>

#include "common/beneath.h"
#include "common/rpc_arena.h"
#include "common/rpc_status.h"
#include "common/tree_receive_internal.h"

#define ZEROS ((size_t)65536)

/* An entry on its way: what it is about, for one turn. */
struct arriving {
	const Telex__V1__TreeEntry *e;
	char path[TREE_PATH_MAX + 1];
	struct tree_folder *folder;
	const char *name;
	struct stat there;
	bool is_there;
};

/* ---- beginning and end ---- */

int tree_receiver_new(struct tree_receiver **out, const struct tree_receiver_config *cfg)
{
	struct tree_receiver *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return TX_ENOMEM;
	r->cfg = *cfg;
	r->apply = (struct tree_apply){.options = cfg->options,
	    .root = cfg->any_owner,
	    .umask = cfg->umask,
	    .special = cfg->special};
	r->wanted_end = &r->wanted;
	r->target_fd = -1;
	for (size_t i = 0; i < TREE_FOLDERS; i++)
		r->folders[i].fd = -1;
	telex__v1__tree_receive__init(&r->answer);
	telex__v1__tree_summary__init(&r->summary);
	r->zeros = calloc(1, ZEROS);
	r->unpacked = malloc(TREE_MESSAGE_MAX);
	r->zstd = ZSTD_createDCtx();
	r->placed_fd = -1;
	if (r->zeros == NULL || r->unpacked == NULL || r->zstd == NULL || tree_store_begin(r) < 0 ||
	    (cfg->options->delete_extraneous && tree_set_new(&r->seen) < 0)) {
		tree_receiver_free(r);
		return TX_ENOMEM;
	}
	if (cfg->target_fd >= 0) {
		r->target_fd = openat(cfg->target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (r->target_fd < 0) {
			tree_receiver_free(r);
			return TX_ESYS;
		}
	}
	*out = r;
	return 0;
}

static void free_entries(Telex__V1__TreeEntry **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		telex__v1__tree_entry__free_unpacked(list[i], NULL);
	free(list);
}

void tree_receiver_free(struct tree_receiver *r)
{
	if (r == NULL)
		return;
	r->failing = true; /* nobody hears the answers */
	tree_store_end(r);
	tree_content_free(r);
	for (size_t i = 0; i < TREE_FOLDERS; i++)
		r->folders[i].refs = 0;
	tree_folder_forget(r);
	if (r->target_fd >= 0)
		close(r->target_fd);
	free_entries(r->made, r->n_made);
	free_entries(r->links, r->n_links);
	tree_answer_clear(r);
	free(r->answer.wants);
	free(r->answer.done);
	free(r->answer.failed);
	tree_set_free(r->seen);
	ZSTD_freeDCtx(r->zstd);
	free(r->unpacked);
	free(r->zeros);
	free(r);
}

bool tree_receiver_finished(const struct tree_receiver *r)
{
	return r->finished;
}

const Telex__V1__TreeSummary *tree_receiver_summary(const struct tree_receiver *r)
{
	return &r->summary;
}

int tree_receiver_flush(struct tree_receiver *r)
{
	return tree_answer_flush(r);
}

/* ---- kinds of entries ---- */

static int failed(
    struct tree_receiver *r, const struct arriving *a, int sys_errno, const char *what)
{
	return tree_answer_errno(r, a->e->index, a->path, sys_errno, what);
}

static int refused(struct tree_receiver *r, const struct arriving *a, int code, const char *reason,
    const char *words)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	tree_failure_words(&error, code, reason, "%s %s", tree_shown(shown, a->path), words);
	return tree_answer_failed(r, a->e->index, a->path, &error);
}

static int unchanged(struct tree_receiver *r, const struct arriving *a)
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

static int keep(Telex__V1__TreeEntry ***list, size_t *n, size_t *room, const struct arriving *a)
{
	Telex__V1__TreeEntry *copy = tree_entry_copy(a->e);

	if (copy != NULL && *n == *room) {
		size_t larger = *room == 0 ? 64 : *room * 2;
		Telex__V1__TreeEntry **grown = realloc(*list, larger * sizeof(*grown));

		if (grown != NULL) {
			*list = grown;
			*room = larger;
		}
	}
	if (copy == NULL || *n == *room) {
		if (copy != NULL)
			telex__v1__tree_entry__free_unpacked(copy, NULL);
		return TX_ENOMEM;
	}
	(*list)[(*n)++] = copy;
	return 0;
}

/* Files are put into it: as far as we may, it is made so that they can be. */
static int open_up(const struct arriving *a)
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

/* What is no folder is where one is to be. */
static int clear_way(struct tree_receiver *r, struct arriving *a)
{
	if (!r->cfg.options->delete_extraneous) {
		errno = ENOTDIR;
		return -1;
	}
	if (unlinkat(a->folder->fd, a->name, 0) != 0)
		return -1;
	a->is_there = false;
	return 0;
}

static int take_folder(struct tree_receiver *r, struct arriving *a)
{
	bool was;
	int rc;

	/* The target that is there already may have been reached through a link. */
	if (a->path[0] == '\0' && r->cfg.target_fd >= 0) {
		rc = keep(&r->made, &r->n_made, &r->made_room, a);
		return rc < 0 ? rc : unchanged(r, a);
	}
	if (a->is_there && !S_ISDIR(a->there.st_mode) && clear_way(r, a) != 0)
		return failed(r, a, errno, "make the folder");
	was = a->is_there;
	if (was)
		open_up(a);
	else if (tree_store_folder(
	             a->folder->fd, a->name, a->path[0] == '\0' ? r->cfg.marker : NULL) != 0)
		return failed(r, a, errno, "make the folder");
	rc = keep(&r->made, &r->n_made, &r->made_room, a);
	if (rc < 0)
		return rc;
	return was ? unchanged(r, a) : tree_answer_done(r, a->e->index, a->path, false);
}

/* Hands on what has a temporary name, or none, with its attributes set. */
static int store(struct tree_receiver *r, struct arriving *a, int fd, const char *temp)
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

static int give_up_temp(
    struct tree_receiver *r, const struct arriving *a, int fd, const char *temp, const char *what)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	if (temp[0] != '\0')
		unlinkat(a->folder->fd, temp, 0);
	return failed(r, a, saved, what);
}

static int take_link(struct tree_receiver *r, struct arriving *a)
{
	char target[TREE_PATH_MAX + 2], temp[TREE_TEMP_SIZE];
	size_t len = a->e->link_target.len;
	const char *what = "make the link";
	ssize_t n;

	if (len == 0 || len > TREE_PATH_MAX || memchr(a->e->link_target.data, 0, len) != NULL)
		return failed(r, a, len == 0 ? ENOENT : ENAMETOOLONG, what);
	memcpy(target, a->e->link_target.data, len);
	target[len] = '\0';
	if (r->cfg.links_stay && !tree_link_stays(a->path, target))
		return refused(r, a, RPC_PERMISSION_DENIED, "OUTSIDE_ROOT",
		    "leads out of the tree and was left out");
	if (a->is_there && S_ISLNK(a->there.st_mode) && (size_t)a->there.st_size == len) {
		char old[TREE_PATH_MAX + 2];

		n = readlinkat(a->folder->fd, a->name, old, sizeof(old));
		if (n == (ssize_t)len && memcmp(old, target, len) == 0 &&
		    tree_applied(&r->apply, a->folder->fd, a->name, &a->there, a->e))
			return unchanged(r, a);
	}
	tree_store_random(temp);
	if (symlinkat(target, a->folder->fd, temp) != 0)
		return failed(r, a, errno, what);
	if (tree_apply_name(&r->apply, a->folder->fd, temp, a->e, &what) != 0)
		return give_up_temp(r, a, -1, temp, what);
	return store(r, a, -1, temp);
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

/* Of what was just made: not of what somebody who may write to the folder puts there instead. */
static int set_mode(int dir_fd, const char *name, mode_t kind, mode_t mode)
{
	int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[40];
	struct stat st;
	int rc = -1, saved;

	if (fd < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	errno = EAGAIN;
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind && st.st_uid == geteuid() &&
	    st.st_nlink == 1)
		rc = chmod(path, mode);
	saved = errno;
	close(fd);
	errno = saved;
	return rc;
}

static int take_special(struct tree_receiver *r, struct arriving *a)
{
	mode_t mode = special_mode(a->e->type);
	dev_t dev = makedev(a->e->rdev_major, a->e->rdev_minor);
	const char *what = "make the special file";
	char temp[TREE_TEMP_SIZE];

	if (mode == 0 || !r->cfg.options->specials)
		return refused(r, a, RPC_FAILED_PRECONDITION, "NOT_SUPPORTED",
		    "is a special file and was left out");
	if (a->is_there && (a->there.st_mode & S_IFMT) == mode &&
	    (mode == S_IFIFO || mode == S_IFSOCK || a->there.st_rdev == dev) &&
	    tree_applied(&r->apply, a->folder->fd, a->name, &a->there, a->e))
		return unchanged(r, a);
	tree_store_random(temp);
	if (mknodat(a->folder->fd, temp, mode | 0600, dev) != 0)
		return failed(r, a, errno, what);
	what = "set the mode of";
	if (set_mode(a->folder->fd, temp, mode, tree_mode(&r->apply, a->e)) != 0 ||
	    tree_apply_name(&r->apply, a->folder->fd, temp, a->e, &what) != 0)
		return give_up_temp(r, a, -1, temp, what);
	return store(r, a, -1, temp);
}

/* ---- regular files ---- */

/* Whether the content is the same as far as was asked for. */
static bool same_content(struct tree_receiver *r, const struct arriving *a)
{
	const Telex__V1__TreeOptions *o = r->cfg.options;
	uint8_t digest[32];
	bool same;
	int fd;

	if (!a->is_there || !S_ISREG(a->there.st_mode) || (uint64_t)a->there.st_size != a->e->size)
		return false;
	if (o->check == TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM && a->e->sha256.len == 32) {
		fd = open_beneath(a->folder->fd, a->name, O_RDONLY | O_NONBLOCK);
		same = fd >= 0 && tree_content_digest(fd, digest) == 0 &&
		       memcmp(digest, a->e->sha256.data, 32) == 0;
		if (fd >= 0)
			close(fd);
		return same;
	}
	if (o->check != TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK && !a->e->unless_same &&
	    (r->cfg.had == NULL || !tree_set_has(r->cfg.had, a->path)))
		return false;
	return tree_mtime_ns(&a->there) == a->e->mtime_ns;
}

/* The content is there; the rest is made so. */
static int only_attributes(struct tree_receiver *r, struct arriving *a)
{
	const char *what = "open";
	int fd, saved;

	if (r->cfg.options->dry_run ||
	    tree_applied(&r->apply, a->folder->fd, a->name, &a->there, a->e))
		return unchanged(r, a);
	fd = open_beneath(a->folder->fd, a->name, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || tree_apply_fd(&r->apply, fd, a->e, &what) != 0) {
		saved = errno;
		if (fd >= 0)
			close(fd);
		return failed(r, a, saved, what);
	}
	close(fd);
	return unchanged(r, a);
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

static int take_content(struct tree_receiver *r, struct arriving *a)
{
	struct tree_note note = {.kind = TREE_NOTE_BYTES, .bytes = a->e->content.len};
	const char *what = "write";
	char temp[TREE_TEMP_SIZE];
	int fd;

	if (r->cfg.note != NULL && note.bytes > 0)
		r->cfg.note(&note, r->cfg.arg);
	r->total_bytes += a->e->content.len;
	if (r->cfg.max_bytes != 0 && r->total_bytes > r->cfg.max_bytes)
		return failed(r, a, EFBIG, what);
	fd = tree_store_open(a->folder, temp);
	if (fd < 0)
		return failed(r, a, errno, what);
	if (write_content(fd, &a->e->content) != 0 ||
	    tree_apply_fd(&r->apply, fd, a->e, &what) != 0)
		return give_up_temp(r, a, fd, temp, what);
	return store(r, a, fd, temp);
}

static int take_file(struct tree_receiver *r, struct arriving *a)
{
	if (same_content(r, a))
		return only_attributes(r, a);
	if (a->is_there && S_ISDIR(a->there.st_mode) && !r->cfg.options->delete_extraneous)
		return failed(r, a, EISDIR, "write");
	if (r->cfg.options->dry_run) {
		r->summary.files++;
		r->summary.bytes += a->e->size;
		return tree_answer_done(r, a->e->index, a->path, false);
	}
	if (a->e->has_content || a->e->size == 0)
		return take_content(r, a);
	return tree_content_want(
	    r, a->e, a->path, a->folder, a->name, a->is_there ? &a->there : NULL);
}

/* ---- entries ---- */

static int take_kind(struct tree_receiver *r, struct arriving *a)
{
	switch (a->e->type) {
	case TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR:
		return take_file(r, a);
	case TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY:
		return take_folder(r, a);
	case TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK:
		return take_link(r, a);
	default:
		return take_special(r, a);
	}
}

/* Whether the sender may name it at all. */
static bool is_asked_for(const struct tree_receiver *r, const char *path)
{
	size_t len = strcspn(path, "/");

	if (r->cfg.only == NULL)
		return true;
	for (const char *const *only = r->cfg.only; *only != NULL; only++)
		if (strlen(*only) == len && strncmp(*only, path, len) == 0)
			return true;
	return false;
}

static int check_entry(struct tree_receiver *r, const Telex__V1__TreeEntry *e, struct err *e_out)
{
	if (r->n_wanted >= TREE_UNANSWERED)
		return err_set(
		    e_out, TX_EPROTO, "too many entries at once: their contents are due");
	if (e->index <= r->last_index)
		return err_set(e_out, TX_EPROTO, "entries are not in their order");
	if (!tree_path_valid(e->path.data, e->path.len))
		return err_set(e_out, TX_EPROTO,
		    "the path of an entry is not allowed: absolute, "
		    "too long, or with an empty, '.' or '..' part");
	if (e->has_content && (e->content.len > TREE_INLINE_MAX || e->content.len != e->size))
		return err_set(e_out, TX_EPROTO, "an entry's content has not its size");
	if (e->hard_link.len > 0 && !tree_path_valid(e->hard_link.data, e->hard_link.len))
		return err_set(e_out, TX_EPROTO, "the path of a hard link is not allowed");
	return 0;
}

/* It is made at the end; what it leads to becomes readable by another name. */
static int take_hard_link(struct tree_receiver *r, const struct arriving *a)
{
	char old[TREE_PATH_MAX + 1];

	memcpy(old, a->e->hard_link.data, a->e->hard_link.len);
	old[a->e->hard_link.len] = '\0';
	if (r->cfg.unreadable || (r->cfg.allowed != NULL && !r->cfg.allowed(old, r->cfg.arg)))
		return refused(r, a, RPC_PERMISSION_DENIED, "NOT_ALLOWED",
		    "is a hard link to what may not be read by policy; send it as a file");
	return keep(&r->links, &r->n_links, &r->links_room, a);
}

/* The sender waits when too much is unanswered: what was gathered does not wait for more then. */
static int answer_in_time(struct tree_receiver *r, uint64_t index)
{
	uint64_t oldest = tree_store_oldest(r);

	return oldest != 0 && index > oldest + TREE_UNANSWERED / 4 ? tree_store_commit(r, true) : 0;
}

static int take_entry(struct tree_receiver *r, const Telex__V1__TreeEntry *e, struct err *e_out)
{
	struct arriving a = {.e = e};
	int rc = check_entry(r, e, e_out);

	if (rc < 0)
		return rc;
	rc = answer_in_time(r, e->index);
	if (rc < 0)
		return rc;
	r->last_index = e->index;
	r->summary.entries++;
	if (e->path.len > 0)
		memcpy(a.path, e->path.data, e->path.len);
	a.path[e->path.len] = '\0';
	if (!is_asked_for(r, a.path))
		return err_set(e_out, TX_EPROTO, "the sender named a file that was not asked for");
	if (r->cfg.allowed != NULL && !r->cfg.allowed(a.path, r->cfg.arg))
		return refused(
		    r, &a, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "may not be written by policy");
	if (r->cfg.max_files != 0 && r->summary.entries > r->cfg.max_files)
		return failed(r, &a, EFBIG, "write");
	if (r->seen != NULL && tree_set_add(r->seen, a.path) < 0)
		return TX_ENOMEM;
	if (e->hard_link.len > 0)
		return take_hard_link(r, &a);
	if (a.path[0] == '\0' && r->cfg.target_fd >= 0 &&
	    e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY)
		return take_folder(r, &a);
	a.folder = tree_folder_of(r, a.path, &a.name);
	if (a.folder == NULL)
		return r->cfg.options->dry_run && errno == ENOENT
		           ? tree_answer_done(r, e->index, a.path, false)
		           : failed(r, &a, errno, "write");
	a.is_there = fstatat(a.folder->fd, a.name, &a.there, AT_SYMLINK_NOFOLLOW) == 0;
	if (r->cfg.options->dry_run && e->type != TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR)
		rc = tree_answer_done(r, e->index, a.path, a.is_there);
	else
		rc = take_kind(r, &a);
	tree_folder_put(r, a.folder);
	return rc;
}

/* ---- messages ---- */

static int take_message(
    struct tree_receiver *r, const uint8_t *msg, size_t len, bool packed, struct err *e);

static int take_packed(struct tree_receiver *r, const ProtobufCBinaryData *z, struct err *e)
{
	size_t n = ZSTD_decompressDCtx(r->zstd, r->unpacked, TREE_MESSAGE_MAX, z->data, z->len);
	uint8_t *copy;
	int rc;

	if (ZSTD_isError(n))
		return err_set(e, TX_EPROTO, "a compressed message cannot be read");
	/* r->unpacked is used while it is dealt with. */
	copy = malloc(n + 1);
	if (copy == NULL)
		return TX_ENOMEM;
	memcpy(copy, r->unpacked, n);
	rc = take_message(r, copy, n, true, e);
	free(copy);
	return rc;
}

static int take_parts(struct tree_receiver *r, const Telex__V1__TreeSend *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->n_entries; i++)
		rc = take_entry(r, s->entries[i], e);
	if (rc == 0 && s->data != NULL) {
		struct tree_data d = {
		    s->data->index, s->data->offset, s->data->data.data, s->data->data.len};

		rc = tree_content_data(r, &d, e);
	}
	if (rc == 0 && s->end != NULL)
		rc = tree_content_end(r, s->end, e);
	if (rc == 0 && s->n_failed > 0)
		r->sender_errors = true;
	if (rc == 0 && s->totals != NULL && r->cfg.note != NULL) {
		struct tree_note note = {
		    .kind = TREE_NOTE_TOTALS, .size = s->totals->files, .bytes = s->totals->bytes};

		r->cfg.note(&note, r->cfg.arg);
	}
	return rc;
}

/* What the sender could not read is told here, too. */
static void tell_failed(struct tree_receiver *r, const Telex__V1__TreeSend *s)
{
	for (size_t i = 0; r->cfg.note != NULL && i < s->n_failed; i++) {
		const Telex__V1__TreeFailed *f = s->failed[i];
		char path[TREE_PATH_MAX + 1];
		size_t len = f->path.len < TREE_PATH_MAX ? f->path.len : TREE_PATH_MAX;
		struct tree_note note = {.kind = TREE_NOTE_FAILED, .path = path, .error = f->error};

		if (len > 0)
			memcpy(path, f->path.data, len);
		path[len] = '\0';
		if (f->error != NULL)
			r->cfg.note(&note, r->cfg.arg);
	}
}

static int take_message(
    struct tree_receiver *r, const uint8_t *msg, size_t len, bool packed, struct err *e)
{
	struct rpc_arena arena = {0};
	struct tree_data d;
	const Telex__V1__TreeSend *s;
	int rc;

	if (tree_data_parse(msg, len, &d) == 1)
		return tree_content_data(r, &d, e);
	s = (const Telex__V1__TreeSend *)rpc_arena_unpack(
	    &arena, &telex__v1__tree_send__descriptor, msg, len);
	if (s == NULL) {
		rpc_arena_clear(&arena);
		return err_set(e, TX_EPROTO, "a message cannot be read");
	}
	if (s->zstd.len > 0)
		rc = packed ? err_set(e, TX_EPROTO, "a message is compressed twice")
		            : take_packed(r, &s->zstd, e);
	else
		rc = take_parts(r, s, e);
	tell_failed(r, s);
	if (rc == 0 && s->finish != NULL) {
		r->sender_errors |= s->finish->errors;
		rc = r->wanted != NULL ? err_set(e, TX_EPROTO, "it ends before its contents came")
		                       : tree_finish(r);
	}
	rpc_arena_clear(&arena);
	return rc;
}

int tree_receiver_take(struct tree_receiver *r, const uint8_t *msg, size_t len, struct err *e)
{
	int rc;

	if (r->finished)
		return err_set(e, TX_EPROTO, "there is more after the end");
	if (len > TREE_MESSAGE_MAX)
		return err_set(e, TX_EPROTO, "a message is larger than 1 MiB");
	rc = take_message(r, msg, len, false, e);
	if (rc == TX_ENOMEM)
		err_set(e, rc, "out of memory");
	return rc;
}
