/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver: its life, its messages, and which way an entry goes. */
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

static void free_kept(struct tree_kept_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		telex__v1__tree_entry__free_unpacked(list->all[i].entry, NULL);
	free(list->all);
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
	free_kept(&r->made);
	free_kept(&r->links);
	(void)tree_answer_settle(r);
	tree_answer_clear(r);
	free(r->tentative);
	free(r->answer.wants);
	free(r->answer.done);
	free(r->answer.failed);
	tree_set_free(r->seen);
	tree_set_free(r->failed);
	tree_set_free(r->tried);
	tree_set_free(r->whole);
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

/* ---- entries ---- */

static int take_kind(struct tree_receiver *r, struct tree_arriving *a)
{
	switch (a->e->type) {
	case TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR:
		return tree_take_file(r, a);
	case TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY:
		return tree_take_folder(r, a);
	case TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK:
		return tree_take_link(r, a);
	default:
		return tree_take_special(r, a);
	}
}

/* Whether the sender may name it at all. */
static bool is_asked_for(const struct tree_receiver *r, const ProtobufCBinaryData *path)
{
	const uint8_t *slash = path->len > 0 ? memchr(path->data, '/', path->len) : NULL;
	size_t len = slash != NULL ? (size_t)(slash - path->data) : path->len;

	if (r->cfg.only == NULL)
		return true;
	for (const char *const *only = r->cfg.only; *only != NULL; only++)
		if (strlen(*only) == len && (len == 0 || memcmp(*only, path->data, len) == 0))
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
static int take_hard_link(struct tree_receiver *r, const struct tree_arriving *a)
{
	char old[TREE_PATH_MAX + 1];
	int rc;

	memcpy(old, a->e->hard_link.data, a->e->hard_link.len);
	old[a->e->hard_link.len] = '\0';
	if (r->cfg.unreadable || (r->cfg.allowed != NULL && !r->cfg.allowed(old, r->cfg.arg)))
		return tree_arriving_refused(r, a, RPC_PERMISSION_DENIED, "NOT_ALLOWED",
		    "is a hard link to what may not be read by policy; send it as a file");
	rc = tree_arriving_keep(r, &r->links, a, NULL);
	return rc < 0 ? rc : 0;
}

/* The sender waits when too much is unanswered: what was gathered does not wait for more then. */
static int answer_in_time(struct tree_receiver *r, uint64_t index)
{
	uint64_t oldest = tree_store_oldest(r);

	return oldest != 0 && index > oldest + TREE_UNANSWERED / 4 ? tree_store_commit(r, true) : 0;
}

/* What the sender has is not known any more then: nothing is removed. */
static int too_many(struct tree_receiver *r, const struct tree_arriving *a)
{
	char shown[TREE_SHOWN_SIZE];
	Telex__V1__FileError error;

	r->keep_all = true;
	tree_failure_words(&error, RPC_RESOURCE_EXHAUSTED, "UPLOAD_LIMIT",
	    "%s: the policy lets one transfer have %llu files and folders; send the rest apart",
	    tree_answer_shown(r, shown, a->path), (unsigned long long)r->cfg.max_files);
	return tree_answer_failed(r, a->e->index, a->path, &error);
}

/* Whether a folder on the way to it failed. */
static bool is_in_failed(const struct tree_receiver *r, const char *path)
{
	char folder[TREE_PATH_MAX + 1];
	char *slash;

	if (r->failed == NULL)
		return false;
	snprintf(folder, sizeof(folder), "%s", path);
	while ((slash = strrchr(folder, '/')) != NULL) {
		*slash = '\0';
		if (tree_set_has(r->failed, folder))
			return true;
	}
	return tree_set_has(r->failed, "");
}

static int has_no_folder(struct tree_receiver *r, const struct tree_arriving *a, int sys_errno)
{
	const bool missing = sys_errno == ENOENT || sys_errno == ENOTDIR;

	if (missing && is_in_failed(r, a->path))
		return tree_arriving_refused(r, a, RPC_FAILED_PRECONDITION, "FOLDER_FAILED",
		    "cannot be made: its folder could not be");
	/* It would be there by now, and be a folder where a link is. */
	if ((missing || sys_errno == ELOOP) && r->cfg.options->dry_run)
		return tree_arriving_would_make(r, a);
	return tree_arriving_failed(r, a, sys_errno, "write");
}

static int take_entry(struct tree_receiver *r, const Telex__V1__TreeEntry *e, struct err *e_out)
{
	struct tree_arriving a = {.e = e};
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
	if (!is_asked_for(r, &e->path) || (e->hard_link.len > 0 && !is_asked_for(r, &e->hard_link)))
		return err_set(e_out, TX_EPROTO, "the sender named a file that was not asked for");
	if (r->cfg.max_files != 0 && r->summary.entries > r->cfg.max_files)
		return too_many(r, &a);
	if (r->seen != NULL && tree_set_add(r->seen, a.path) < 0)
		return TX_ENOMEM;
	tree_answer_arrived(r, a.path);
	if (r->cfg.allowed != NULL && !r->cfg.allowed(a.path, r->cfg.arg))
		return tree_arriving_refused(
		    r, &a, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "may not be written by policy");
	if (e->hard_link.len > 0)
		return take_hard_link(r, &a);
	if (a.path[0] == '\0' && r->cfg.target_fd >= 0 &&
	    e->type == TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY)
		return tree_take_folder(r, &a);
	a.folder = tree_folder_of(r, a.path, &a.name);
	if (a.folder == NULL)
		return has_no_folder(r, &a, errno);
	a.is_there = fstatat(a.folder->fd, a.name, &a.there, AT_SYMLINK_NOFOLLOW) == 0;
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
		struct tree_note note = {.kind = TREE_NOTE_TOTALS,
		    .size = s->totals->files,
		    .bytes = s->totals->bytes,
		    .complete = s->totals->complete};

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
