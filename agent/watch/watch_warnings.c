/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cannot be watched as it was asked for, and is said to all clients of a tree, those that come
 * later, too, as long as it is so. So many folders are named (WARNINGS_MAX), the rest is counted.
 *
 * A folder that is named or counted has NODE_WARNED. Each scan of it finds again what holds
 * (NODE_HOLDS); where it finds nothing, that is over.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/files/failure.h"
#include "agent/watch/watch_engine.h"
#include "common/mem.h"

#define WARNINGS_MAX 256
#define OVER_MAX     1024 /* that some client was not told of yet */

static void clear(struct watch_warning *n)
{
	free(n->path);
	failure_entry_clear(&n->error);
}

void tree_forget_warnings(struct watch_tree *t)
{
	for (size_t i = 0; i < t->n_warnings; i++)
		clear(&t->warnings[i]);
	free(t->warnings);
	t->warnings = NULL;
	t->n_warnings = 0;
}

static void remove_at(struct watch_tree *t, size_t i)
{
	clear(&t->warnings[i]);
	t->n_warnings--;
	memmove(&t->warnings[i], &t->warnings[i + 1], (t->n_warnings - i) * sizeof(*t->warnings));
}

/* ---- what holds ---- */

static void add(
    struct watch_tree *t, watch_id id, const char *path, const struct rpc_status *status)
{
	struct watch_warning n = {.id = id};

	if (failure_entry(&n.error, status) < 0)
		abort();
	n.number = ++t->last_warning;
	n.path = xstrdup(path);
	t->warnings = xreallocarray(t->warnings, t->n_warnings + 1, sizeof(*t->warnings));
	t->warnings[t->n_warnings++] = n;
}

static bool is_of(const struct watch_warning *n, watch_id id, const char *reason)
{
	return n->over == 0 && n->id == id &&
	       (reason == NULL || strcmp(n->error.reason, reason) == 0);
}

/* Of a folder; WATCH_NO_ID: of the tree as a whole. */
static bool is_named(const struct watch_tree *t, watch_id id, const char *reason)
{
	for (size_t i = 0; i < t->n_warnings; i++)
		if (is_of(&t->warnings[i], id, reason))
			return true;
	return false;
}

void tree_warn(struct watch_tree *t, watch_id id, const struct rpc_status *status)
{
	struct watch_note *note = watch_store_note(t->w->store, id);
	const bool warned = (note->flags & NODE_WARNED) != 0;
	char *path;

	note->flags |= NODE_WARNED | NODE_HOLDS;
	/* One that is counted is not named: it has no other reason. */
	if (warned && (is_named(t, id, status->reason) || !is_named(t, id, NULL)))
		return;
	if (t->n_named >= WARNINGS_MAX) {
		t->n_unnamed += !warned;
		return;
	}
	path = xmalloc(WATCH_PATH_MAX);
	(void)watch_store_path(t->w->store, id, path, WATCH_PATH_MAX);
	t->n_named++;
	add(t, id, path, status);
	free(path);
}

void tree_warn_of_all(struct watch_tree *t, const char *path, const struct rpc_status *status)
{
	if (!is_named(t, WATCH_NO_ID, status->reason))
		add(t, WATCH_NO_ID, path, status);
}

/* ---- what is over ---- */

/* Whether there was one. */
static bool end(struct watch_tree *t, watch_id id, const char *reason)
{
	bool any = false;

	for (size_t i = 0; i < t->n_warnings; i++) {
		struct watch_warning *n = &t->warnings[i];

		if (!is_of(n, id, reason))
			continue;
		n->over = ++t->last_warning;
		t->n_named -= id != WATCH_NO_ID;
		/* The number of a folder that is gone may be another one's soon. */
		n->id = WATCH_NO_ID;
		any = true;
	}
	return any;
}

void tree_unwarn(struct watch_tree *t, watch_id id)
{
	struct watch_note *note = watch_store_note(t->w->store, id);

	if ((note->flags & NODE_WARNED) == 0)
		return;
	note->flags &= (uint16_t) ~(NODE_WARNED | NODE_HOLDS);
	if (!end(t, id, NULL) && t->n_unnamed > 0)
		t->n_unnamed--;
}

void tree_unwarn_of_all(struct watch_tree *t, const char *reason)
{
	(void)end(t, WATCH_NO_ID, reason);
}

void tree_settle_warnings(struct watch_tree *t, uint64_t told)
{
	size_t over = 0;

	for (size_t i = t->n_warnings; i > 0; i--)
		if (t->warnings[i - 1].over != 0 &&
		    (t->warnings[i - 1].over <= told || ++over > OVER_MAX))
			remove_at(t, i - 1);
}

/* ---- names ---- */

static bool is_at_or_below(const struct watch_tree *t, watch_id id, watch_id top)
{
	while (id != top && id != WATCH_NO_ID)
		id = watch_store_parent(t->w->store, id);
	return id == top;
}

void tree_rename_warnings(struct watch_tree *t, watch_id top)
{
	for (size_t i = 0; i < t->n_warnings; i++) {
		const watch_id id = t->warnings[i].id;

		if (id == WATCH_NO_ID || !is_at_or_below(t, id, top))
			continue;
		tree_unwarn(t, id);
		tree_enqueue(t, id, 0);
	}
}

/* ---- reasons ---- */

void tree_warn_errno(struct watch_tree *t, watch_id id, int sys_errno)
{
	struct rpc_status status;
	char *path = xmalloc(WATCH_PATH_MAX);
	size_t len = watch_store_path(t->w->store, id, path, WATCH_PATH_MAX);

	failure_errno(&status, sys_errno, "watch", len == 0 ? t->path : path);
	tree_warn(t, id, &status);
	free(path);
}

void tree_warn_remote(struct watch_tree *t, watch_id id)
{
	struct rpc_status status;

	t->remote = true;
	rpc_status_set(&status, RPC_FAILED_PRECONDITION, "REMOTE_FILESYSTEM",
	    "others may change what is on this file system without this machine being told: it is "
	    "looked through at intervals");
	tree_warn(t, id, &status);
}

void tree_warn_limit(struct watch_tree *t)
{
	struct rpc_status status;

	if (t->limit_told)
		return;
	t->limit_told = true;
	rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "WATCH_LIMIT",
	    "no more folders can be watched (%u are); the rest is looked through at intervals. The "
	    "limit is the sysctl fs.inotify.max_user_watches (%u)",
	    t->w->map.n, t->w->max_watches);
	tree_warn_of_all(t, "", &status);
}

void tree_limit_is_over(struct watch_tree *t)
{
	if (t->limit_told)
		tree_unwarn_of_all(t, "WATCH_LIMIT");
	t->limit_told = false;
}

void tree_deny(struct watch_tree *t, watch_id id, int sys_errno)
{
	struct watch_store *store = t->w->store;

	/* Each of its names may come to this. */
	if (~watch_store_see(store, id)->flags & (NODE_DENIED | NODE_HOLDS))
		tree_warn_errno(t, id, sys_errno);
	watch_store_note(store, id)->flags |= NODE_DENIED;
	for (; id != WATCH_NO_ID; id = watch_store_parent(store, id))
		watch_store_note(store, id)->flags |= NODE_SHUT;
}
