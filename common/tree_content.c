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
#include <unistd.h>

#include "common/beneath.h"
#include "common/parts.h"
#include "common/rpc_status.h"
#include "common/tree_receive_internal.h"

#define ZEROS       ((size_t)65536)
#define PART_LIFE_S 86400
#define WRITE_BACK  ((uint64_t)8 << 20) /* bytes that go to the disk while others come */

bool tree_id_valid(const char *id)
{
	size_t len = strlen(id);

	return len >= 16 && len < TREE_ID_SIZE && id[strspn(id, "0123456789abcdef")] == '\0';
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

struct signing {
	struct tree_receiver *r;
	struct tree_wanted *w;
};

static int send_piece(const uint8_t *data, size_t len, void *arg)
{
	const struct signing *to = arg;

	to->w->signature += len;
	to->r->signatures += len;
	return tree_answer_signature(to->r, to->w->entry->index, data, len, false);
}

/* Asks for the difference to what is there. 1: asked; 0: that cannot be. */
static int want_delta(
    struct tree_receiver *r, struct tree_wanted *w, const struct tree_folder *f, const char *name)
{
	struct signing to = {r, w};
	struct stat there;
	int fd, rc;

	if (!r->cfg.options->delta || r->cfg.unreadable || w->entry->size < TREE_DELTA_MIN ||
	    (r->whole != NULL && tree_set_has(r->whole, w->path)))
		return 0;
	fd = open_beneath(f->fd, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return 0;
	if (fstat(fd, &there) != 0 || !S_ISREG(there.st_mode) ||
	    (uint64_t)there.st_size < TREE_DELTA_MIN ||
	    tree_signature_size((uint64_t)there.st_size) > TREE_SIGNATURES_MAX / 2) {
		close(fd);
		return 0;
	}
	rc = tree_signature(fd, (uint64_t)there.st_size, send_piece, &to);
	close(fd);
	if (rc == 0)
		rc = tree_answer_signature(r, w->entry->index, NULL, 0, true);
	/* Half a signature cannot be taken back: what is missing is told as the whole. */
	return rc < 0 ? rc : 1;
}

/* Asks for it: from where the part of an earlier try ends, or the difference, or all. What cannot
 * be opened is told when its content comes. */
static int ask(struct tree_receiver *r, struct tree_wanted *w)
{
	const char *name;
	struct tree_folder *f = tree_folder_of(r, w->path, &name);
	struct stat part;
	int rc = 0;

	if (f == NULL)
		return tree_answer_want(r, w->entry->index, 0);
	reap_parts(f);
	if (fstatat(f->fd, w->temp, &part, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(part.st_mode) &&
	    part.st_uid == geteuid() && (uint64_t)part.st_size <= w->entry->size)
		w->offset = (uint64_t)part.st_size;
	else
		rc = want_delta(r, w, f, name);
	tree_folder_put(r, f);
	w->delta = rc == 1;
	return rc == 0 ? tree_answer_want(r, w->entry->index, w->offset) : (rc < 0 ? rc : 0);
}

/* The sender holds the signatures: not of all files at once. */
static int ask_more(struct tree_receiver *r)
{
	int rc = 0;

	while (rc == 0 && r->to_ask != NULL && r->signatures < TREE_SIGNATURES_MAX / 2) {
		struct tree_wanted *w = r->to_ask;

		r->to_ask = w->next;
		rc = ask(r, w);
	}
	return rc;
}

int tree_content_want(struct tree_receiver *r, const Telex__V1__TreeEntry *e, const char *path)
{
	Telex__V1__TreeEntry light = *e;
	struct tree_wanted *w;
	size_t size;

	if (!tree_id_valid(e->upload_id)) {
		char shown[TREE_SHOWN_SIZE];
		Telex__V1__FileError error;

		tree_failure_words(&error, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s: upload_id: 16 to 32 of 0-9 a-f are needed",
		    tree_answer_shown(r, shown, path));
		return tree_answer_failed(r, e->index, path, &error);
	}
	light.content = light.sha256 = (ProtobufCBinaryData){0};
	size = sizeof(*w) + sizeof(light) + telex__v1__tree_entry__get_packed_size(&light);
	if (r->kept_bytes + size > TREE_KEPT_MAX)
		return tree_answer_errno(r, e->index, path, ENOMEM, "write");
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return TX_ENOMEM;
	w->size = size;
	w->fd = w->basis_fd = -1;
	w->entry = tree_entry_copy(&light);
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
	r->kept_bytes += size;
	snprintf(w->temp, sizeof(w->temp), ".telex-%s.part", e->upload_id);
	if (r->to_ask == NULL)
		r->to_ask = w;
	return ask_more(r);
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
	r->kept_bytes -= w->size;
	r->signatures -= w->signature;
	if (r->to_ask == w)
		r->to_ask = w->next;
	if (r->wanted == NULL)
		r->wanted_end = &r->wanted;
	wanted_close(r, w);
	telex__v1__tree_entry__free_unpacked(w->entry, NULL);
	free(w->path);
	free(w);
}

/* It is over for this one; what still comes of it is passed over. The part is removed. */
static void drop(struct tree_receiver *r, struct tree_wanted *w)
{
	if (w->fd >= 0 && w->folder != NULL)
		unlinkat(w->folder->fd, w->temp, 0);
	wanted_close(r, w);
	w->opened = w->broken = true;
}

void tree_content_free(struct tree_receiver *r)
{
	struct tree_wanted *w = r->wanted;

	/* Its part stays, to be gone on with. */
	if (w != NULL && w->fd >= 0 && r->cfg.max_parts > 0 &&
	    !parts_keep(w->folder->fd, w->temp, r->cfg.max_parts))
		drop(r, w);
	while (r->wanted != NULL)
		wanted_pop(r);
}

static int give_up_errno(
    struct tree_receiver *r, struct tree_wanted *w, int sys_errno, const char *what)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	/* What is left is told without the part. */
	drop(r, w);
	tree_answer_shown(r, shown, w->path);
	if (sys_errno == EWOULDBLOCK)
		tree_failure_words(&error, RPC_ABORTED, "UPLOAD_BUSY",
		    "%s: another transfer is writing this very file; try again when it has ended",
		    shown);
	else if (sys_errno == EFBIG && r->cfg.max_bytes != 0 && r->total_bytes > r->cfg.max_bytes)
		tree_failure_limit(&error, shown, r->cfg.max_bytes);
	else
		tree_answer_error(r, w->path, sys_errno, what, &error);
	return tree_answer_failed(r, w->entry->index, w->path, &error);
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

/* The disk is at work while the rest comes, so that the fsync at the end has little left to wait
 * for. What fails here fails there, too. */
static void write_back(struct tree_wanted *w)
{
	if (w->at - w->sent_back < WRITE_BACK)
		return;
	(void)sync_file_range(
	    w->fd, (off_t)w->sent_back, (off_t)(w->at - w->sent_back), SYNC_FILE_RANGE_WRITE);
	w->sent_back = w->at;
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
	write_back(w);
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
	if (w == NULL || w == r->to_ask || w->entry->index != index) {
		*rc = err_set(e, TX_EPROTO, "content of an entry whose turn it is not");
		return NULL;
	}
	if (!w->opened) {
		w->opened = true;
		if (tree_part_open(r, w) != 0)
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
	if (d->offset < w->at || d->offset - w->at > TREE_HOLE_MAX || d->offset > w->entry->size ||
	    d->len > w->entry->size - d->offset)
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
	    &error, RPC_DATA_LOSS, reason, "%s: %s", tree_answer_shown(r, shown, w->path), words);
	if (error.reason == NULL || error.message == NULL ||
	    (w->delta && ((r->whole == NULL && tree_set_new(&r->whole) < 0) ||
	                     tree_set_add(r->whole, w->path) < 0))) {
		tree_failure_clear(&error);
		return TX_ENOMEM;
	}
	drop(r, w);
	return tree_answer_tentative(r, w->entry->index, w->path, &error);
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
	/* Large ones do not wait for others, and for the others that were gone on with the sender
	 * waits. */
	return rc == 0 && (w->entry->size > TREE_ALONE || (w->offset > 0 && !w->delta))
	           ? tree_store_commit(r, true)
	           : rc;
}

/* With the next one. */
static int go_on(struct tree_receiver *r)
{
	wanted_pop(r);
	return ask_more(r);
}

int tree_content_end(struct tree_receiver *r, const Telex__V1__TreeEnd *end, struct err *e)
{
	uint8_t digest[32];
	int rc;
	struct tree_wanted *w = first(r, end->index, &rc, e);

	if (w == NULL)
		return rc == 0 ? go_on(r) : rc;
	if (!end->abandoned && !w->delta && w->entry->size - w->at > TREE_HOLE_MAX)
		return err_set(e, TX_EPROTO, "a content ends long before its end");
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
	return rc == 0 ? go_on(r) : rc;
}
