/* SPDX-License-Identifier: Apache-2.0 */
/* What the receiver answers: gathered, so that many answers make one message. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/file_quota.h"
#include "common/file_room.h"
#include "common/rpc_status.h"
#include "common/tree_receive_internal.h"

#define ANSWERS_MAX   512u
#define ANSWER_SIZE   ((size_t)65536)
#define TENTATIVE_MAX 1024u /* more fail at once */

void tree_note(struct tree_receiver *r, enum tree_note_kind kind, const char *path, uint64_t size)
{
	struct tree_note note = {.kind = kind, .path = path, .size = size};

	if (r->cfg.note != NULL)
		r->cfg.note(&note, r->cfg.arg);
}

void tree_answer_clear(struct tree_receiver *r)
{
	Telex__V1__TreeReceive *a = &r->answer;

	for (size_t i = 0; i < a->n_wants; i++)
		telex__v1__tree_want__free_unpacked(a->wants[i], NULL);
	for (size_t i = 0; i < a->n_done; i++)
		telex__v1__tree_done__free_unpacked(a->done[i], NULL);
	for (size_t i = 0; i < a->n_failed; i++)
		telex__v1__tree_failed__free_unpacked(a->failed[i], NULL);
	a->n_wants = a->n_done = a->n_failed = 0;
	r->answer_size = 0;
}

int tree_answer_flush(struct tree_receiver *r)
{
	Telex__V1__TreeReceive *a = &r->answer;
	struct tree_span span;
	uint8_t *packed;
	int rc;

	if (a->n_wants + a->n_done + a->n_failed == 0 && a->summary == NULL)
		return 0;
	packed = malloc(telex__v1__tree_receive__get_packed_size(a) + 1);
	if (packed == NULL)
		return TX_ENOMEM;
	span.len = telex__v1__tree_receive__pack(a, packed);
	span.data = packed;
	rc = r->failing ? TX_ECLOSED : r->cfg.emit(&span, 1, r->cfg.arg);
	free(packed);
	tree_answer_clear(r);
	if (rc < 0)
		r->failing = true;
	return rc < 0 ? rc : 0;
}

static bool room_for(void ***list, size_t n)
{
	if (*list == NULL)
		*list = calloc(ANSWERS_MAX, sizeof(**list));
	return *list != NULL && n < ANSWERS_MAX;
}

static int added(struct tree_receiver *r, size_t size)
{
	const Telex__V1__TreeReceive *a = &r->answer;

	r->answer_size += size + 16;
	if (a->n_wants == ANSWERS_MAX || a->n_done == ANSWERS_MAX || a->n_failed == ANSWERS_MAX ||
	    r->answer_size > ANSWER_SIZE)
		return tree_answer_flush(r);
	return 0;
}

static uint8_t *copy_bytes(const void *data, size_t len)
{
	uint8_t *out = malloc(len + 1);

	if (out != NULL && len > 0)
		memcpy(out, data, len);
	return out;
}

static int add_done(
    struct tree_receiver *r, uint64_t index, const char *path, bool unchanged, bool removed)
{
	Telex__V1__TreeReceive *a = &r->answer;
	Telex__V1__TreeDone *last = a->n_done > 0 ? a->done[a->n_done - 1] : NULL, *d;

	if (path == NULL && last != NULL && last->path.len == 0 && !last->removed &&
	    last->unchanged == unchanged && last->index + last->count == index) {
		last->count++;
		return 0;
	}
	if (!room_for((void ***)&a->done, a->n_done))
		return TX_ENOMEM;
	d = malloc(sizeof(*d));
	if (d == NULL)
		return TX_ENOMEM;
	telex__v1__tree_done__init(d);
	d->index = index;
	d->count = 1;
	d->unchanged = unchanged;
	d->removed = removed;
	if (path != NULL) {
		d->path.len = strlen(path);
		d->path.data = copy_bytes(path, d->path.len);
		if (d->path.data == NULL) {
			free(d);
			return TX_ENOMEM;
		}
	}
	a->done[a->n_done++] = d;
	return added(r, d->path.len);
}

int tree_answer_done(struct tree_receiver *r, uint64_t index, const char *path, bool unchanged)
{
	const Telex__V1__TreeOptions *o = r->cfg.options;
	bool say = o->verbose && !unchanged;

	return add_done(r, index, say ? path : NULL, unchanged, false);
}

int tree_answer_link(struct tree_receiver *r, uint64_t index, const char *path)
{
	return add_done(r, index, path, false, false);
}

int tree_answer_removed(struct tree_receiver *r, const char *path)
{
	r->summary.removed++;
	tree_note(r, TREE_NOTE_REMOVED, path, 0);
	return add_done(r, 0, path, false, true);
}

static void tell(struct tree_receiver *r, const char *path, const Telex__V1__FileError *error)
{
	struct tree_note note = {.kind = TREE_NOTE_FAILED, .path = path, .error = error};

	r->summary.failed++;
	if (r->cfg.note != NULL)
		r->cfg.note(&note, r->cfg.arg);
}

/* Takes *error. */
static int add_failed(
    struct tree_receiver *r, uint64_t index, const char *path, Telex__V1__FileError *error)
{
	Telex__V1__TreeReceive *a = &r->answer;
	Telex__V1__TreeFailed *f = NULL;
	Telex__V1__FileError *own = malloc(sizeof(*own));

	if (own != NULL && room_for((void ***)&a->failed, a->n_failed))
		f = malloc(sizeof(*f));
	if (f == NULL) {
		free(own);
		tree_failure_clear(error);
		return TX_ENOMEM;
	}
	*own = *error;
	telex__v1__tree_failed__init(f);
	f->index = index;
	f->path.len = strlen(path);
	f->path.data = copy_bytes(path, f->path.len);
	f->error = own;
	if (own->reason == NULL)
		own->reason = (char *)(uintptr_t)protobuf_c_empty_string;
	if (own->message == NULL)
		own->message = (char *)(uintptr_t)protobuf_c_empty_string;
	if (f->path.data == NULL)
		f->path.len = 0;
	a->failed[a->n_failed++] = f;
	return added(r, f->path.len + 300);
}

/* For hard links to it. */
static int keep_failed(struct tree_receiver *r, const char *path)
{
	if ((r->failed == NULL && tree_set_new(&r->failed) < 0) ||
	    tree_set_add(r->failed, path) < 0)
		return TX_ENOMEM;
	return 0;
}

int tree_answer_failed(
    struct tree_receiver *r, uint64_t index, const char *path, Telex__V1__FileError *error)
{
	tell(r, path, error);
	if (index != 0 && keep_failed(r, path) < 0) {
		tree_failure_clear(error);
		return TX_ENOMEM;
	}
	return add_failed(r, index, path, error);
}

static bool has_tried(struct tree_receiver *r, const char *path)
{
	return r->tried != NULL && tree_set_has(r->tried, path);
}

int tree_answer_tentative(
    struct tree_receiver *r, uint64_t index, const char *path, Telex__V1__FileError *error)
{
	struct tree_tentative *t;

	if (r->n_tentative == TENTATIVE_MAX || has_tried(r, path))
		return tree_answer_failed(r, index, path, error);
	if (r->tentative == NULL)
		r->tentative = calloc(TENTATIVE_MAX, sizeof(*r->tentative));
	if (r->tentative == NULL || (r->tried == NULL && tree_set_new(&r->tried) < 0) ||
	    tree_set_add(r->tried, path) < 0) {
		tree_failure_clear(error);
		return TX_ENOMEM;
	}
	t = &r->tentative[r->n_tentative];
	tree_failure_words(&t->error, (int)error->code, error->reason, "%s", error->message);
	t->path = strdup(path);
	r->n_tentative++;
	return add_failed(r, index, path, error);
}

static void forget(struct tree_receiver *r, size_t i)
{
	free(r->tentative[i].path);
	tree_failure_clear(&r->tentative[i].error);
	r->tentative[i] = r->tentative[--r->n_tentative];
}

void tree_answer_arrived(struct tree_receiver *r, const char *path)
{
	for (size_t i = 0; i < r->n_tentative; i++)
		if (r->tentative[i].path == NULL || strcmp(r->tentative[i].path, path) == 0) {
			forget(r, i);
			return;
		}
}

int tree_answer_settle(struct tree_receiver *r)
{
	int rc = 0;

	while (r->n_tentative > 0) {
		const struct tree_tentative *t = &r->tentative[r->n_tentative - 1];

		if (!r->failing && t->path != NULL) {
			tell(r, t->path, &t->error);
			rc |= keep_failed(r, t->path);
		}
		forget(r, r->n_tentative - 1);
	}
	return rc < 0 ? TX_ENOMEM : 0;
}

const char *tree_answer_shown(
    const struct tree_receiver *r, char out[TREE_SHOWN_SIZE], const char *path)
{
	return tree_shown(out, r->cfg.title, path);
}

/* What is left where the path lies. */
static bool look_at_room(const struct tree_receiver *r, const char *path, struct file_room *out)
{
	const char *name = tree_path_name(path);
	char folder[TREE_PATH_MAX + 1];
	bool known;
	int fd;

	if (r->target_fd < 0 || name == path)
		return file_room_of(out, r->target_fd >= 0 ? r->target_fd : r->cfg.parent_fd);
	snprintf(folder, sizeof(folder), "%.*s", (int)(name - path) - 1, path);
	fd = open_beneath(r->target_fd, folder, O_PATH | O_DIRECTORY);
	known = file_room_of(out, fd >= 0 ? fd : r->target_fd);
	if (fd >= 0)
		close(fd);
	return known;
}

/* Whose quota it is, by the target's name as a person knows it. */
static void tell_quota(const struct tree_receiver *r, const char *path, char *out, size_t size)
{
	const char *title = r->cfg.title != NULL ? r->cfg.title : "";
	char whole[2 * TREE_PATH_MAX];
	struct file_quota quota;
	const char *name = NULL;

	snprintf(whole, sizeof(whole), "%s%s%s", title, path[0] != '\0' ? "/" : "", path);
	if (file_quota_at(&quota, whole) && r->cfg.name_of != NULL)
		name = r->cfg.name_of(quota.whose == FILE_QUOTA_GROUP, quota.id);
	(void)file_quota_words(out, size, &quota, name);
}

void tree_answer_error(const struct tree_receiver *r, const char *path, int sys_errno,
    const char *what, Telex__V1__FileError *out)
{
	char shown[TREE_SHOWN_SIZE], left[FILE_QUOTA_WORDS] = "";
	struct file_room room;

	if (sys_errno == EDQUOT)
		tell_quota(r, path, left, sizeof(left));
	else if (sys_errno == ENOSPC && look_at_room(r, path, &room))
		(void)file_room_words(left, sizeof(left), &room);
	tree_failure(out, sys_errno, what, tree_answer_shown(r, shown, path), left);
}

int tree_answer_errno(
    struct tree_receiver *r, uint64_t index, const char *path, int sys_errno, const char *what)
{
	Telex__V1__FileError error;

	tree_answer_error(r, path, sys_errno, what, &error);
	return tree_answer_failed(r, index, path, &error);
}

static int add_want(struct tree_receiver *r, Telex__V1__TreeWant *w)
{
	Telex__V1__TreeReceive *a = &r->answer;

	if (w == NULL || !room_for((void ***)&a->wants, a->n_wants)) {
		if (w != NULL)
			telex__v1__tree_want__free_unpacked(w, NULL);
		return TX_ENOMEM;
	}
	a->wants[a->n_wants++] = w;
	return added(r, w->signature.len);
}

static Telex__V1__TreeWant *new_want(uint64_t index)
{
	Telex__V1__TreeWant *w = malloc(sizeof(*w));

	if (w == NULL)
		return NULL;
	telex__v1__tree_want__init(w);
	w->index = index;
	return w;
}

int tree_answer_want(struct tree_receiver *r, uint64_t index, uint64_t offset)
{
	Telex__V1__TreeWant *w = new_want(index);

	if (w != NULL)
		w->offset = offset;
	return add_want(r, w);
}

int tree_answer_signature(
    struct tree_receiver *r, uint64_t index, const uint8_t *data, size_t len, bool last)
{
	Telex__V1__TreeWant *w = new_want(index);

	if (w == NULL)
		return TX_ENOMEM;
	w->has_signature = true;
	w->last = last;
	w->signature.data = copy_bytes(data, len);
	w->signature.len = w->signature.data != NULL ? len : 0;
	return add_want(r, w);
}
