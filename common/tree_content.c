/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents that do not come with their entries: wanted, gathered in a temporary file that is named
 * by the upload's id, checked, and handed to the store. A part that is there from an earlier try is
 * gone on with.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/rpc_status.h"
#include "common/tree_receive_internal.h"

#define ZEROS        ((size_t)65536)
#define LOCK_TRIES   100 /* of 50 ms: for one who was cut off to see that */
#define LOCK_WAIT_NS 50000000
#define READ_SIZE    ((size_t)262144)
#define PART_LIFE_S  86400

/* ---- what is there ---- */

bool tree_id_valid(const char *id)
{
	size_t len = strlen(id);

	return len >= 16 && len < TREE_ID_SIZE && id[strspn(id, "0123456789abcdef")] == '\0';
}

static int digest_more(EVP_MD_CTX *sha, int fd, uint64_t from, uint64_t to, uint8_t *buffer)
{
	while (from < to) {
		size_t want = to - from < READ_SIZE ? (size_t)(to - from) : READ_SIZE;
		ssize_t n = pread(fd, buffer, want, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return -1;
		}
		if (EVP_DigestUpdate(sha, buffer, (size_t)n) != 1) {
			errno = ENOMEM;
			return -1;
		}
		from += (uint64_t)n;
	}
	return 0;
}

static EVP_MD_CTX *new_sha(void)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();

	if (sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1)
		return sha;
	EVP_MD_CTX_free(sha);
	errno = ENOMEM;
	return NULL;
}

int tree_content_digest(int fd, uint8_t digest[32])
{
	EVP_MD_CTX *sha = new_sha();
	uint8_t *buffer = malloc(READ_SIZE);
	struct stat st;
	int rc = -1;

	if (sha != NULL && buffer != NULL && fstat(fd, &st) == 0 &&
	    digest_more(sha, fd, 0, (uint64_t)st.st_size, buffer) == 0 &&
	    EVP_DigestFinal_ex(sha, digest, NULL) == 1)
		rc = 0;
	free(buffer);
	EVP_MD_CTX_free(sha);
	return rc;
}

/* Parts that nobody has gone on with for a day, in a folder into which one comes. */
static void reap_parts(struct tree_folder *f)
{
	if (f->reaped)
		return;
	f->reaped = true;
	tree_reap_parts(f->fd, PART_LIFE_S);
}

/* ---- wanting ---- */

static int send_piece(const uint8_t *data, size_t len, void *arg)
{
	struct {
		struct tree_receiver *r;
		uint64_t index;
	} *to = arg;

	return tree_answer_signature(to->r, to->index, data, len, false);
}

/* Asks for the difference to what is there. 1: asked; 0: that cannot be. */
static int want_delta(struct tree_receiver *r, const Telex__V1__TreeEntry *e, struct tree_folder *f,
    const char *name, const struct stat *there)
{
	struct {
		struct tree_receiver *r;
		uint64_t index;
	} to = {r, e->index};
	int fd, rc;

	if (!r->cfg.options->delta || r->cfg.unreadable || !S_ISREG(there->st_mode) ||
	    e->size < TREE_DELTA_MIN || (uint64_t)there->st_size < TREE_DELTA_MIN)
		return 0;
	fd = open_beneath(f->fd, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return 0;
	rc = tree_signature(fd, (uint64_t)there->st_size, send_piece, &to);
	close(fd);
	if (rc == 0)
		rc = tree_answer_signature(r, e->index, NULL, 0, true);
	/* Half a signature cannot be taken back: what is missing is told as the whole. */
	return rc < 0 ? rc : 1;
}

int tree_content_want(struct tree_receiver *r, const Telex__V1__TreeEntry *e, const char *path,
    struct tree_folder *f, const char *name, const struct stat *there)
{
	struct tree_wanted *w;
	struct stat part;
	int rc = 0;

	if (!tree_id_valid(e->upload_id)) {
		char shown[TREE_SHOWN_SIZE];
		Telex__V1__FileError error;

		tree_failure_words(&error, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s: upload_id: 16 to 32 of 0-9 a-f are needed", tree_shown(shown, path));
		return tree_answer_failed(r, e->index, path, &error);
	}
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return TX_ENOMEM;
	w->fd = w->basis_fd = -1;
	w->entry = tree_entry_copy(e);
	w->path = strdup(path);
	if (w->entry == NULL || w->path == NULL) {
		free(w->path);
		if (w->entry != NULL)
			telex__v1__tree_entry__free_unpacked(w->entry, NULL);
		free(w);
		return TX_ENOMEM;
	}
	*r->wanted_end = w;
	r->wanted_end = &w->next;
	r->n_wanted++;
	snprintf(w->temp, sizeof(w->temp), ".telex-%s.part", e->upload_id);
	reap_parts(f);
	if (fstatat(f->fd, w->temp, &part, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(part.st_mode) &&
	    part.st_uid == geteuid() && (uint64_t)part.st_size <= e->size)
		w->offset = (uint64_t)part.st_size;
	else if (there != NULL)
		rc = want_delta(r, e, f, name, there);
	w->delta = rc == 1;
	return rc == 0 ? tree_answer_want(r, e->index, w->offset) : (rc < 0 ? rc : 0);
}

/* ---- the first in the queue ---- */

static void wanted_close(struct tree_receiver *r, struct tree_wanted *w)
{
	if (w->fd >= 0)
		close(w->fd);
	if (w->basis_fd >= 0)
		close(w->basis_fd);
	tree_folder_put(r, w->folder);
	EVP_MD_CTX_free(w->sha);
	tree_patch_free(w->patch);
	w->fd = w->basis_fd = -1;
	w->folder = NULL;
	w->sha = NULL;
	w->patch = NULL;
}

static void wanted_pop(struct tree_receiver *r)
{
	struct tree_wanted *w = r->wanted;

	r->wanted = w->next;
	r->n_wanted--;
	if (r->wanted == NULL)
		r->wanted_end = &r->wanted;
	wanted_close(r, w);
	telex__v1__tree_entry__free_unpacked(w->entry, NULL);
	free(w->path);
	free(w);
}

void tree_content_free(struct tree_receiver *r)
{
	while (r->wanted != NULL)
		wanted_pop(r);
}

/* It is over for this one; what still comes of it is passed over. The part is removed. */
static int give_up(struct tree_receiver *r, struct tree_wanted *w, Telex__V1__FileError *error)
{
	if (w->fd >= 0 && w->folder != NULL)
		unlinkat(w->folder->fd, w->temp, 0);
	wanted_close(r, w);
	w->opened = w->broken = true;
	return tree_answer_failed(r, w->entry->index, w->path, error);
}

static int give_up_errno(
    struct tree_receiver *r, struct tree_wanted *w, int sys_errno, const char *what)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	if (sys_errno == EWOULDBLOCK)
		tree_failure_words(&error, RPC_ABORTED, "UPLOAD_BUSY",
		    "%s: another transfer is writing this very file; try again when it has ended",
		    tree_shown(shown, w->path));
	else
		tree_failure(&error, sys_errno, what, w->path);
	return give_up(r, w, &error);
}

static int lock_part(int fd)
{
	const struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};

	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			return -1;
		nanosleep(&wait, NULL);
	}
	return 0;
}

/* The part, made where it is not there. What somebody else put there under its name could be
 * changed by him after it was checked: it is removed, and never written. errno on -1. */
static int own_part(int dir_fd, const char *name)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	struct stat st;
	int fd = openat(dir_fd, name, flags);

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    st.st_nlink == 1)
		return fd;
	if (fd >= 0)
		close(fd);
	if (fd < 0 && errno == ENOENT)
		return openat(dir_fd, name, flags | O_CREAT | O_EXCL, 0600);
	if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
		return -1;
	return openat(dir_fd, name, flags | O_CREAT | O_EXCL, 0600);
}

/* Opens the part, and takes into account what is in it. errno on -1. */
static int open_part(struct tree_receiver *r, struct tree_wanted *w)
{
	const char *name;
	struct stat st, named;

	w->folder = tree_folder_of(r, w->path, &name);
	if (w->folder == NULL)
		return -1;
	w->fd = own_part(w->folder->fd, w->temp);
	if (w->fd < 0 || lock_part(w->fd) != 0 || fstat(w->fd, &st) != 0)
		return -1;
	/* The one who held it may have put it in its place meanwhile. */
	if (fstatat(w->folder->fd, w->temp, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
	    named.st_ino != st.st_ino || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		errno = EWOULDBLOCK;
		return -1;
	}
	w->sha = new_sha();
	if (w->sha == NULL || ftruncate(w->fd, (off_t)w->offset) != 0)
		return -1;
	w->at = w->offset;
	if (digest_more(w->sha, w->fd, 0, w->offset, r->unpacked) != 0)
		return -1;
	if (!w->delta)
		return 0;
	w->basis_fd = open_beneath(w->folder->fd, name, O_RDONLY | O_NONBLOCK);
	if (w->basis_fd < 0)
		return -1;
	errno = ENOMEM;
	return tree_patch_new(&w->patch, w->basis_fd) == 0 ? 0 : -1;
}

static int write_all(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* Bytes at w->at. errno on -1. */
static int put(struct tree_receiver *r, struct tree_wanted *w, const uint8_t *data, size_t len)
{
	/* What is written counts, however few bytes of a difference said it. */
	r->total_bytes += len;
	if (len > w->entry->size - w->at ||
	    (r->cfg.max_bytes != 0 && r->total_bytes > r->cfg.max_bytes)) {
		errno = len > w->entry->size - w->at ? EPROTO : EFBIG;
		return -1;
	}
	if (write_all(w->fd, data, len, w->at) != 0)
		return -1;
	if (EVP_DigestUpdate(w->sha, data, len) != 1) {
		errno = ENOMEM;
		return -1;
	}
	w->at += len;
	return 0;
}

/* A hole up to `to`. */
static int put_hole(struct tree_receiver *r, struct tree_wanted *w, uint64_t to)
{
	if (ftruncate(w->fd, (off_t)to) != 0)
		return -1;
	while (w->at < to) {
		size_t n = to - w->at < ZEROS ? (size_t)(to - w->at) : ZEROS;

		if (EVP_DigestUpdate(w->sha, r->zeros, n) != 1) {
			errno = ENOMEM;
			return -1;
		}
		w->at += n;
	}
	return 0;
}

struct patched {
	struct tree_receiver *r;
	struct tree_wanted *w;
};

static int put_patched(const uint8_t *data, size_t len, void *arg)
{
	const struct patched *p = arg;

	return put(p->r, p->w, data, len);
}

/* The first in the queue, opened; NULL with *rc: there is nothing to do for it. */
static struct tree_wanted *first(struct tree_receiver *r, uint64_t index, int *rc, struct err *e)
{
	struct tree_wanted *w = r->wanted;

	*rc = 0;
	if (w == NULL || w->entry->index != index) {
		*rc = err_set(e, TX_EPROTO, "content of an entry whose turn it is not");
		return NULL;
	}
	if (!w->opened) {
		w->opened = true;
		if (open_part(r, w) != 0)
			*rc = give_up_errno(r, w, errno, "write");
		else
			tree_note(r, TREE_NOTE_BEGIN, w->path, w->entry->size);
	}
	return w->broken || *rc < 0 ? NULL : w;
}

int tree_content_data(struct tree_receiver *r, const struct tree_data *d, struct err *e)
{
	struct tree_note note = {.kind = TREE_NOTE_BYTES, .bytes = d->len};
	int rc;
	struct tree_wanted *w = first(r, d->index, &rc, e);

	if (r->cfg.note != NULL && rc == 0)
		r->cfg.note(&note, r->cfg.arg);
	if (w == NULL)
		return rc;
	if (w->delta) {
		struct patched p = {r, w};

		rc = tree_patch_run(w->patch, d->data, d->len, put_patched, &p);
		if (rc == TX_EPROTO)
			errno = EPROTO;
		return rc < 0 ? give_up_errno(r, w, errno, "write") : 0;
	}
	if (d->offset < w->at || d->offset > w->entry->size || d->len > w->entry->size - d->offset)
		return err_set(e, TX_EPROTO, "content at an offset where it cannot be");
	if ((d->offset > w->at && put_hole(r, w, d->offset) != 0) ||
	    put(r, w, d->data, d->len) != 0)
		return give_up_errno(r, w, errno, "write");
	return 0;
}

/* ---- its end ---- */

static int refuse_sum(
    struct tree_receiver *r, struct tree_wanted *w, const char *reason, const char *words)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	tree_failure_words(
	    &error, RPC_DATA_LOSS, reason, "%s: %s", tree_shown(shown, w->path), words);
	return give_up(r, w, &error);
}

/* It is whole and right: to the store. */
static int complete(struct tree_receiver *r, struct tree_wanted *w)
{
	struct tree_whole whole = {.fd = w->fd, .index = w->entry->index, .size = w->entry->size};
	const char *what, *name;
	int rc;

	if (tree_apply_fd(&r->apply, w->fd, w->entry, &what) != 0)
		return give_up_errno(r, w, errno, what);
	name = w->path[0] != '\0' ? tree_path_name(w->path) : r->cfg.name;
	whole.name = strdup(name);
	whole.path = strdup(w->path);
	if (whole.name == NULL || whole.path == NULL) {
		free(whole.name);
		free(whole.path);
		return TX_ENOMEM;
	}
	memcpy(whole.temp, w->temp, sizeof(whole.temp));
	whole.folder = w->folder;
	w->folder = NULL;
	w->fd = -1;
	r->summary.saved_bytes += w->delta ? 0 : w->offset;
	rc = tree_store_add(r, &whole);
	/* Large ones do not wait for others. */
	return rc == 0 && w->entry->size > TREE_ALONE ? tree_store_commit(r, true) : rc;
}

int tree_content_end(struct tree_receiver *r, const Telex__V1__TreeEnd *end, struct err *e)
{
	uint8_t digest[32];
	int rc;
	struct tree_wanted *w = first(r, end->index, &rc, e);

	if (w == NULL) {
		if (rc == 0)
			wanted_pop(r);
		return rc;
	}
	if (end->abandoned)
		rc = refuse_sum(r, w, "CHANGED", "the file was changed while it was read");
	else if (w->delta && !tree_patch_done(w->patch))
		rc = refuse_sum(r, w, "CHECKSUM", "the difference ends too early");
	else if (w->at < w->entry->size && (w->delta || put_hole(r, w, w->entry->size) != 0))
		rc = w->delta ? refuse_sum(r, w, "CHECKSUM", "the difference is too short")
		              : give_up_errno(r, w, errno, "write");
	else if (EVP_DigestFinal_ex(w->sha, digest, NULL) != 1)
		rc = TX_ENOMEM;
	else if (end->sha256.len != sizeof(digest) ||
	         memcmp(end->sha256.data, digest, sizeof(digest)) != 0)
		rc = refuse_sum(
		    r, w, "CHECKSUM", "what came is not what was sent: its SHA-256 differs");
	else
		rc = complete(r, w);
	if (rc == 0)
		wanted_pop(r);
	return rc;
}
