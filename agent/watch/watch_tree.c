/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/watch/watch_engine.h"
#include "common/mem.h"
#include "common/tree.h"

#define KEY_MAX ((size_t)16000)

/* ---- its key in the store ---- */

/* 0: too long. */
static size_t make_key(
    char key[KEY_MAX], const struct roots *roots, const char *path, const struct watch_options *o)
{
	int n = snprintf(key, KEY_MAX, "%s%c%d %u %d %d %llx", path, '\0', o->recursive, o->depth,
	    o->across_mounts, o->allow_remote, (unsigned long long)roots_mark(roots, ROOTS_WATCH));
	size_t at = (size_t)n + 1;

	for (char **e = o->exclude; e != NULL && *e != NULL && at < KEY_MAX; e++) {
		n = snprintf(key + at, KEY_MAX - at, "%s", *e);
		at += (size_t)n + 1;
	}
	return at < KEY_MAX ? at : 0;
}

struct watch_tree *tree_of(const struct watcher *w, unsigned number)
{
	return w->by_number[number];
}

watch_id tree_root(const struct watch_tree *t)
{
	return watch_store_root(t->w->store, t->number);
}

/* ---- making ---- */

static void set_filters(struct watch_tree *t, const struct watch_options *o)
{
	size_t n = 0;

	while (o->exclude != NULL && o->exclude[n] != NULL)
		n++;
	telex__v1__tree_options__init(&t->filters);
	t->filters.n_filters = n;
	t->filters.filters = xcalloc(n + 1, sizeof(*t->filters.filters));
	t->options.exclude = xcalloc(n + 1, sizeof(*t->options.exclude));
	for (size_t i = 0; i < n; i++) {
		t->options.exclude[i] = xstrdup(o->exclude[i]);
		t->filters.filters[i] = xmalloc(sizeof(Telex__V1__TreeFilter));
		telex__v1__tree_filter__init(t->filters.filters[i]);
		t->filters.filters[i]->pattern = t->options.exclude[i];
		t->filters.filters[i]->exclude = true;
	}
}

static struct watch_tree *make(struct watcher *w, unsigned number, const struct roots *roots,
    const char *path, const struct watch_options *o)
{
	struct watch_tree *t = xcalloc(1, sizeof(*t));

	t->w = w;
	t->number = number;
	t->roots = roots;
	t->path = xstrdup(path);
	t->options = *o;
	t->fd = -1;
	t->scope = (struct scope){roots, ROOTS_WATCH, t->path, false};
	set_filters(t, o);
	t->next = w->trees;
	w->trees = w->by_number[number] = t;
	return t;
}

struct watch_tree *tree_acquire(struct watcher *w, const struct roots *roots, const char *path,
    const struct watch_options *options, struct rpc_status *status)
{
	char key[KEY_MAX], limit[ROOM_LIMIT_SIZE];
	size_t len = make_key(key, roots, path, options);
	struct watch_tree *t;
	unsigned number;
	int rc;

	if (len == 0) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "a path with its patterns to exclude is at most %zu bytes", KEY_MAX);
		return NULL;
	}
	do
		rc = watch_store_tree(w->store, key, len, &number);
	while (rc < 0 && room_make(w));
	if (rc < 0) {
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_ENTRIES",
		    "there is no more room to remember %s%s; end another watch", path,
		    room_limit(w, limit));
		return NULL;
	}
	t = tree_of(w, number);
	if (t == NULL) {
		t = make(w, number, roots, path, options);
		rescan_warn(t);
		root_check(t);
	} else {
		/* What is known of it may be as old as the last look at its root. */
		t->root_suspect = true;
	}
	t->clients++;
	return t;
}

void tree_release(struct watch_tree *t)
{
	if (--t->clients > 0)
		return;
	t->idle_since = t->w->now;
	/* Others may have waited for its room. */
	t->w->more = true;
}

void tree_free(struct watch_tree *t)
{
	struct watch_tree **at = &t->w->trees;
	uint32_t parent = t->parent_watch;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	t->w->by_number[t->number] = NULL;
	folder_end_watch(t->w, parent);
	scan_abort(t);
	root_let_go(t);
	for (size_t i = 0; i < t->filters.n_filters; i++) {
		free(t->filters.filters[i]);
		free(t->options.exclude[i]);
	}
	tree_forget_warnings(t);
	free(t->filters.filters);
	free(t->options.exclude);
	free(t->queue);
	free(t->retries);
	free(t->unwatched);
	free(t->path);
	free(t);
}

/* ---- what is in it ---- */

bool tree_leaves_out(const struct watch_tree *t, const char *path, bool folder)
{
	return t->filters.n_filters > 0 && tree_excluded(&t->filters, path, folder);
}

bool tree_goes_into(const struct watch_tree *t, size_t depth)
{
	if (!t->options.recursive)
		return depth == 0;
	return t->options.depth == 0 || depth < t->options.depth;
}

static void push(uint32_t **list, size_t *n, size_t *room, uint32_t id)
{
	if (*n == *room) {
		*room += *room / 2 + 256;
		*list = xreallocarray(*list, *room, sizeof(**list));
	}
	(*list)[(*n)++] = id;
}

/* Whether it was not yet. */
static bool set_queued(struct watch_tree *t, watch_id id, unsigned flags)
{
	struct watch_note *note = watch_store_note(t->w->store, id);
	bool queued = (note->flags & NODE_QUEUED) != 0;

	note->flags |= (uint16_t)(NODE_QUEUED | flags);
	return !queued;
}

void tree_enqueue(struct watch_tree *t, watch_id id, unsigned flags)
{
	if (set_queued(t, id, flags))
		push(&t->queue, &t->n_queue, &t->queue_room, id);
}

void tree_retry(struct watch_tree *t, watch_id id, unsigned flags)
{
	if (set_queued(t, id, flags))
		push(&t->retries, &t->n_retries, &t->retries_room, id);
}

watch_id tree_dequeue(struct watch_tree *t)
{
	if (t->n_queue == 0)
		while (t->n_retries > 0)
			push(&t->queue, &t->n_queue, &t->queue_room, t->retries[--t->n_retries]);
	return t->queue[--t->n_queue];
}

/* ---- what cannot be watched ---- */

void tree_add_unwatched(struct watch_tree *t, watch_id id, int sys_errno)
{
	struct watch_note *note = watch_store_note(t->w->store, id);

	if (sys_errno == EACCES || sys_errno == EPERM) {
		tree_deny(t, id, sys_errno);
		return;
	}
	if (sys_errno == ENOSPC)
		tree_warn_limit(t);
	if ((note->flags & NODE_UNWATCHED) != 0)
		return;
	note->flags |= NODE_UNWATCHED;
	push(&t->unwatched, &t->n_unwatched, &t->unwatched_room, id);
}
