/* SPDX-License-Identifier: Apache-2.0 */
/* The sender: whose turn it is, and the receiver's answers. */
#include "common/tree_send.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/rpc_arena.h"
#include "common/tree_send_internal.h"

#define COUNT_NAMES 256u  /* of each step: as many as of the walk's own */
#define COUNT_TOLD  4096u /* files, until it is told how many there are so far */

int tree_sender_new(struct tree_sender **out, const struct tree_sender_config *cfg)
{
	struct tree_sender *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TX_ENOMEM;
	s->cfg = *cfg;
	s->jobs_end = &s->jobs;
	s->sending.fd = -1;
	telex__v1__tree_send__init(&s->message);
	for (size_t i = 0; i < TREE_ENTRIES; i++)
		s->entry_list[i] = &s->entries[i];
	s->message.entries = s->entry_list;
	s->contents = malloc(TREE_GATHERED + 2 * TREE_INLINE_MAX);
	s->buffer = malloc(TREE_CHUNK);
	if (cfg->options->compress) {
		s->compressed = malloc(TREE_MESSAGE_MAX);
		s->zstd = ZSTD_createCCtx();
	}
	if (s->contents == NULL || s->buffer == NULL ||
	    (cfg->options->compress && (s->compressed == NULL || s->zstd == NULL)) ||
	    tree_walk_new(&s->walk, cfg->sources, cfg->n_sources, cfg->options) < 0 ||
	    (cfg->options->totals && tree_count_new(&s->count, cfg->sources, cfg->n_sources,
	                                 cfg->options, cfg->allowed, cfg->arg) < 0)) {
		tree_sender_free(s);
		return TX_ENOMEM;
	}
	*out = s;
	return 0;
}

void tree_sender_let_go(struct tree_sender *s, struct tree_pending *p)
{
	if (p->held != NULL)
		s->held -= (size_t)p->size;
	free(p->held);
	p->held = NULL;
}

void tree_sender_forget(struct tree_sender *s, struct tree_pending *p)
{
	tree_sender_let_go(s, p);
	free(p->path);
	free(p->below);
	*p = (struct tree_pending){0};
}

void tree_sender_free(struct tree_sender *s)
{
	if (s == NULL)
		return;
	tree_supply_free(s);
	tree_gather_clear(s);
	tree_walk_free(s->walk);
	tree_count_free(s->count);
	for (size_t i = 0; i < TREE_UNANSWERED; i++)
		tree_sender_forget(s, &s->pending[i]);
	for (size_t i = 0; i < s->n_again; i++)
		tree_sender_forget(s, &s->again[i]);
	for (size_t i = 0; i < s->inodes_room; i++)
		free(s->inodes[i].path);
	free(s->inodes);
	free(s->again);
	ZSTD_freeCCtx(s->zstd);
	free(s->compressed);
	free(s->contents);
	free(s->unsized);
	free(s->buffer);
	free(s->packed);
	free(s);
}

const Telex__V1__TreeSummary *tree_sender_summary(const struct tree_sender *s)
{
	return s->has_summary ? &s->summary : NULL;
}

uint64_t tree_sender_errors(const struct tree_sender *s)
{
	return s->errors;
}

uint64_t tree_sender_bytes(const struct tree_sender *s)
{
	return s->bytes;
}

/* ---- what is on its way ---- */

struct tree_pending *tree_sender_pending(struct tree_sender *s, uint64_t index)
{
	struct tree_pending *p = &s->pending[index % TREE_UNANSWERED];

	return index != 0 && p->index == index ? p : NULL;
}

static bool room_for_one(const struct tree_sender *s)
{
	return s->pending[(s->next_index + 1) % TREE_UNANSWERED].index == 0 &&
	       s->held <= TREE_HELD_MAX - TREE_HELD_ONE;
}

static int tell_totals(struct tree_sender *s, const struct tree_counted *now)
{
	Telex__V1__TreeSend message = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeTotals totals = TELEX__V1__TREE_TOTALS__INIT;
	struct tree_note note = {.kind = TREE_NOTE_TOTALS,
	    .size = now->files,
	    .bytes = now->bytes,
	    .complete = now->complete};
	uint8_t packed[64];
	struct tree_span span = {packed, 0};

	totals.files = now->files;
	totals.bytes = now->bytes;
	totals.complete = now->complete;
	message.totals = &totals;
	span.len = telex__v1__tree_send__pack(&message, packed);
	s->counted_files = now->files;
	s->counted = now->complete;
	if (s->cfg.note != NULL)
		s->cfg.note(&note, s->cfg.arg);
	return s->cfg.emit(&span, 1, s->cfg.arg);
}

/* Counts ahead. 1: there is more to count; 0; or what emit returned. */
static int step_count(struct tree_sender *s)
{
	struct tree_counted now;
	int rc;

	if (s->count == NULL || s->counted)
		return 0;
	rc = tree_count_step(s->count, COUNT_NAMES);
	if (rc < 0)
		return rc;
	now = tree_count_now(s->count);
	if (now.complete || now.files - s->counted_files >= COUNT_TOLD)
		rc = tell_totals(s, &now);
	return rc < 0 ? rc : !now.complete;
}

static int step_walk(struct tree_sender *s)
{
	const struct tree_name *n;
	int rc;

	for (unsigned i = 0; i < TREE_ENTRIES; i++) {
		size_t before = s->gathered;

		if (!room_for_one(s)) {
			rc = tree_gather_flush(s);
			return rc < 0 ? rc : (i > 0);
		}
		rc = tree_walk_next(s->walk, &n);
		if (rc <= 0) {
			s->walked = rc == 0;
			return rc < 0 ? rc : 1;
		}
		rc = tree_gather_name(s, n);
		if (rc < 0)
			return rc;
		/* A message went: enough for one step. */
		if (s->gathered < before)
			return 1;
	}
	return 1;
}

static int step_again(struct tree_sender *s)
{
	struct tree_pending one;
	int rc;

	if (!room_for_one(s))
		return tree_gather_flush(s);
	one = s->again[--s->n_again];
	rc = tree_gather_again(s, &one);
	tree_sender_forget(s, &one);
	return rc < 0 ? rc : 1;
}

static int send_finish(struct tree_sender *s)
{
	Telex__V1__TreeSend message = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeFinish finish = TELEX__V1__TREE_FINISH__INIT;
	uint8_t packed[32];
	struct tree_span span = {packed, 0};

	finish.errors = s->errors > 0;
	message.finish = &finish;
	span.len = telex__v1__tree_send__pack(&message, packed);
	s->finish_sent = true;
	return s->cfg.emit(&span, 1, s->cfg.arg);
}

/* Whether an entry is there whose content may be wanted yet, now or once more: the end waits for
 * these. The others may be answered after it. */
static bool content_is_due(const struct tree_sender *s)
{
	for (size_t i = 0; i < TREE_UNANSWERED; i++)
		if (s->pending[i].index != 0 && (s->pending[i].content || s->pending[i].due))
			return true;
	return s->jobs != NULL;
}

static int step(struct tree_sender *s)
{
	int rc = tree_supply_step(s);

	if (rc != 0)
		return rc;
	if (!s->walked)
		return step_walk(s);
	if (s->n_again > 0)
		return step_again(s);
	if (s->message.n_entries > 0) {
		rc = tree_gather_flush(s);
		return rc < 0 ? rc : 1;
	}
	if (content_is_due(s))
		return 0;
	rc = send_finish(s);
	return rc < 0 ? rc : 1;
}

int tree_sender_step(struct tree_sender *s)
{
	int more, rc;

	if (s->finish_sent)
		return 0;
	more = step_count(s);
	rc = more < 0 ? more : step(s);
	return rc == 0 && !s->finish_sent ? more : rc;
}

/* ---- answers ---- */

/* Of what is not known here by its number. */
static void note_path(
    const struct tree_sender *s, struct tree_note note, const ProtobufCBinaryData *from)
{
	char path[TREE_PATH_MAX + 1];
	size_t len = from->len < TREE_PATH_MAX ? from->len : TREE_PATH_MAX;

	if (len > 0)
		memcpy(path, from->data, len);
	path[len] = '\0';
	note.path = path;
	if (s->cfg.note != NULL)
		s->cfg.note(&note, s->cfg.arg);
}

static int take_done(struct tree_sender *s, const Telex__V1__TreeDone *d, struct err *e)
{
	if (d->removed || d->index == 0) {
		struct tree_note note = {.kind = TREE_NOTE_REMOVED};

		note_path(s, note, &d->path);
		return 0;
	}
	if (d->count == 0 || d->count > TREE_UNANSWERED)
		return err_set(e, TX_EPROTO, "an answer for too many entries");
	for (uint64_t i = 0; i < d->count; i++) {
		struct tree_pending *p = tree_sender_pending(s, d->index + i);
		struct tree_note note = {
		    .kind = d->unchanged ? TREE_NOTE_UNCHANGED : TREE_NOTE_DONE};

		if (p == NULL && d->index + i > s->next_index)
			return err_set(e, TX_EPROTO, "an answer for an entry that was not sent");
		if (p == NULL) {
			/* A hard link, which a dry run names. */
			note.link = true;
			if (d->count == 1 && d->path.len > 0)
				note_path(s, note, &d->path);
			continue;
		}
		note.path = p->path;
		note.size = p->size;
		note.folder = p->folder;
		if (s->cfg.note != NULL)
			s->cfg.note(&note, s->cfg.arg);
		if (s->cfg.done != NULL && tree_set_add(s->cfg.done, p->path) < 0)
			return TX_ENOMEM;
		tree_sender_forget(s, p);
	}
	return 0;
}

static int try_again(struct tree_sender *s, struct tree_pending *p)
{
	if (s->n_again == s->again_room) {
		size_t room = s->again_room == 0 ? 16 : s->again_room * 2;
		struct tree_pending *grown = realloc(s->again, room * sizeof(*grown));

		if (grown == NULL)
			return TX_ENOMEM;
		s->again = grown;
		s->again_room = room;
	}
	/* Its job, if it waits yet, is passed over when its turn comes. */
	p->job = NULL;
	tree_sender_let_go(s, p);
	s->again[s->n_again++] = *p;
	*p = (struct tree_pending){0};
	return 0;
}

/* The receiver fails the content's turn; what of it is queued goes with the entry. */
static int take_failed(struct tree_sender *s, const Telex__V1__TreeFailed *f, struct err *e)
{
	struct tree_pending *p = tree_sender_pending(s, f->index);
	const char *reason = f->error != NULL ? f->error->reason : "";
	struct tree_note note = {.kind = TREE_NOTE_FAILED, .error = f->error};
	char path[TREE_PATH_MAX + 1];
	size_t len = f->path.len < TREE_PATH_MAX ? f->path.len : TREE_PATH_MAX;

	if (f->index != 0 && p == NULL) {
		/* A folder's attributes, after it was answered. */
		if (f->index > s->next_index)
			return err_set(e, TX_EPROTO, "a failure of an entry that was not sent");
	} else if (p != NULL && p->below != NULL && !p->retried && !s->finish_sent &&
	           (s->jobs == NULL || s->sending.index != f->index) &&
	           (strcmp(reason, "CHANGED") == 0 || strcmp(reason, "CHECKSUM") == 0)) {
		return try_again(s, p);
	}
	if (len > 0)
		memcpy(path, f->path.data, len);
	path[len] = '\0';
	note.path = p != NULL ? p->path : path;
	if (s->cfg.note != NULL && f->error != NULL)
		s->cfg.note(&note, s->cfg.arg);
	if (p != NULL) {
		/* Its turn is over, when it has not been told yet: the end of it still must come.
		 */
		if (s->jobs != NULL && s->sending.index == f->index)
			s->sending.failed = p->answered = true;
		else
			tree_sender_forget(s, p);
	}
	return 0;
}

static int take_parts(struct tree_sender *s, const Telex__V1__TreeReceive *m, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->n_wants; i++)
		rc = tree_supply_want(s, m->wants[i], e);
	for (size_t i = 0; rc == 0 && i < m->n_done; i++)
		rc = take_done(s, m->done[i], e);
	for (size_t i = 0; rc == 0 && i < m->n_failed; i++)
		rc = take_failed(s, m->failed[i], e);
	if (rc < 0 || m->summary == NULL)
		return rc;
	if (!s->finish_sent || s->has_summary)
		return err_set(e, TX_EPROTO, "the summary comes before the end");
	/* Numbers alone. */
	s->summary = *m->summary;
	s->has_summary = true;
	return 0;
}

int tree_sender_receive(struct tree_sender *s, const uint8_t *msg, size_t len, struct err *e)
{
	struct rpc_arena arena = {0};
	const Telex__V1__TreeReceive *m = NULL;
	int rc;

	if (len <= TREE_MESSAGE_MAX)
		m = (const Telex__V1__TreeReceive *)rpc_arena_unpack(
		    &arena, &telex__v1__tree_receive__descriptor, msg, len);
	rc = m != NULL ? take_parts(s, m, e)
	               : err_set(e, TX_EPROTO, "an answer cannot be read, or is larger than 1 MiB");
	rpc_arena_clear(&arena);
	if (rc == TX_ENOMEM)
		err_set(e, rc, "out of memory");
	return rc;
}
