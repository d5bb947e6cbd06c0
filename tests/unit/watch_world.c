/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/watch_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/memfile.h"

/* ---- chance ---- */

uint32_t world_chance(struct world *w, uint32_t below)
{
	w->random = w->random * 1664525u + 1013904223u;
	return (w->random >> 8) % below;
}

/* ---- the store against paths ---- */

static bool to_store(const struct world *w, bool store)
{
	if (store && w->stop)
		raise(SIGSTOP);
	return store;
}

watch_id world_id(const struct world *w, const char *path)
{
	watch_id id = watch_store_root(w->store, w->tree);

	while (*path != '\0' && id != WATCH_NO_ID) {
		size_t len = strcspn(path, "/");

		id = watch_store_find(w->store, id, path, len);
		path += len;
		path += *path == '/';
	}
	return id;
}

struct watch_state world_state_of(const struct model_entry *e)
{
	return (struct watch_state){.inode = e->inode,
	    .size = e->size,
	    .mtime_ns = e->mtime_ns,
	    .mode = (uint16_t)e->mode,
	    .type = (uint8_t)e->type};
}

static struct model_entry entry_of(const struct watch_view *v)
{
	return (struct model_entry){.inode = v->state.inode,
	    .size = v->state.size,
	    .mtime_ns = v->state.mtime_ns,
	    .mode = v->state.mode,
	    .type = v->state.type};
}

void world_put_all(struct world *w, struct model *m)
{
	struct watch_walk walk;
	watch_id id;

	watch_store_walk(w->store, &walk, w->tree);
	while ((id = watch_store_walk_next(w->store, &walk)) != WATCH_NO_ID) {
		struct watch_view v;
		struct model_entry e;
		char path[PATH];

		assert_true(watch_store_view(w->store, id, &v));
		assert_true(watch_store_path(w->store, id, path, PATH) < PATH);
		e = entry_of(&v);
		if (v.exists)
			model_put(m, path, &e);
	}
	watch_store_walk_end(w->store, &walk);
}

void world_check_store(struct world *w)
{
	struct model m = {0};

	world_put_all(w, &m);
	assert_true(model_equal(&w->truth, &m, "truth and store"));
	model_free(&m);
}

/* ---- clients: the rule of watch.proto ---- */

static void end_walk(struct world *w, struct client *c)
{
	if (c->walks)
		watch_store_walk_end(w->store, &c->walk);
	c->walks = false;
}

static void collect(struct world *w, struct client *c)
{
	struct watch_picks p = {0};

	c->fresh = c->cursor < watch_store_oldest(w->store, w->tree);
	if (c->fresh) {
		model_clear(&c->model);
		watch_store_walk(w->store, &c->walk, w->tree);
		c->walks = true;
	} else {
		assert_int_equal(watch_store_changed(w->store, w->tree, c->cursor, &p), 0);
		watch_picks_sort(&p);
	}
	free(c->ids);
	c->ids = xmalloc((p.n + 1) * sizeof(*c->ids));
	for (size_t i = 0; i < p.n; i++)
		c->ids[i] = p.list[i].id;
	c->n = p.n;
	c->at = 0;
	c->target = watch_store_tick(w->store);
	free(p.list);
}

/* What was made in a folder that is to be told comes with that. */
static bool is_early(struct world *w, struct client *c, const struct watch_view *v)
{
	struct watch_view folder;

	return v->parent != WATCH_NO_ID && watch_store_view(w->store, v->parent, &folder) &&
	       folder.created > c->target;
}

static void apply(struct world *w, struct client *c, watch_id id)
{
	struct watch_view v;
	struct model_entry e;
	char path[PATH];
	unsigned kinds;

	if (!watch_store_view(w->store, id, &v) || is_early(w, c, &v) || (c->fresh && !v.exists))
		return;
	assert_true(watch_store_path(w->store, id, path, PATH) < PATH);
	kinds = c->fresh ? WATCH_CREATED : watch_store_kinds(w->store, id, c->cursor);
	if ((kinds & WATCH_DELETED) != 0)
		model_drop(&c->model, path);
	e = entry_of(&v);
	if (!v.exists)
		return;
	/* A folder is told before what is below it. */
	if (v.parent != WATCH_NO_ID && v.last <= c->target) {
		char above[PATH];

		assert_true(watch_store_path(w->store, v.parent, above, PATH) < PATH);
		if (model_get(&c->model, above) == NULL)
			fail_msg("%s comes before its folder", path);
	}
	model_put(&c->model, path, &e);
}

static watch_id next_id(struct world *w, struct client *c)
{
	watch_id id;

	if (!c->fresh)
		return c->at < c->n ? c->ids[c->at++] : WATCH_NO_ID;
	id = watch_store_walk_next(w->store, &c->walk);
	if (id == WATCH_NO_ID)
		end_walk(w, c);
	return id;
}

/* Up to n of what is on its way. True: the batch is over. */
static bool receive(struct world *w, struct client *c, size_t n)
{
	watch_id id;

	while (n-- > 0 && (id = next_id(w, c)) != WATCH_NO_ID)
		apply(w, c, id);
	if (c->fresh ? c->walks : c->at < c->n)
		return false;
	/* What it needed may have been dropped meanwhile; then it begins anew. */
	if (c->fresh || c->cursor >= watch_store_oldest(w->store, w->tree))
		c->cursor = c->target;
	free(c->ids);
	c->ids = NULL;
	return true;
}

void world_catch_up(struct world *w, struct client *c)
{
	/* One on its way, and then the rest. */
	if (c->ids != NULL)
		receive(w, c, SIZE_MAX);
	collect(w, c);
	receive(w, c, SIZE_MAX);
	assert_true(model_equal(&w->truth, &c->model, "truth and client"));
}

void world_some_client(struct world *w)
{
	struct client *c = &w->clients[world_chance(w, CLIENTS)];
	uint32_t what = world_chance(w, 4);

	if (what == 0) {
		world_catch_up(w, c);
		return;
	}
	if (c->ids == NULL)
		collect(w, c);
	receive(w, c, world_chance(w, 20));
}

/* ---- what happens ---- */

struct model_entry world_fresh_entry(struct world *w, int type)
{
	return (struct model_entry){.type = type,
	    .inode = ++w->inode,
	    .mode = 0644,
	    .size = world_chance(w, 1000),
	    .mtime_ns = (int64_t)w->inode * 1000};
}

static const char *any(struct world *w)
{
	return w->truth.n == 0 ? "" : w->truth.list[world_chance(w, (uint32_t)w->truth.n)].path;
}

/* A name in any folder; false: that would be too deep. */
static bool any_name(struct world *w, char out[PATH])
{
	const char *folder = any(w);
	size_t len;

	if (model_get(&w->truth, folder) == NULL || model_get(&w->truth, folder)->type != DT_DIR ||
	    strlen(folder) > PATH / 2)
		return false;
	len = (size_t)snprintf(out, PATH, "%s%s%c", folder, *folder == '\0' ? "" : "/",
	    'a' + (char)world_chance(w, 8));
	/* Names of many lengths. */
	for (uint32_t more = world_chance(w, 12); more > 8 && len < PATH - 1; more--)
		out[len++] = 'x';
	out[len] = '\0';
	return true;
}

const char *world_split(const char *path, char folder[PATH])
{
	const char *slash = strrchr(path, '/');

	snprintf(folder, PATH, "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
	return slash == NULL ? path : slash + 1;
}

/* Each op is one on the truth, and then the same on the store, where that is asked for. */

static void op_make(struct world *w, bool store)
{
	char path[PATH], folder[PATH];
	struct model_entry e = world_fresh_entry(w, world_chance(w, 3) == 0 ? DT_DIR : DT_REG);
	struct watch_state st = world_state_of(&e);
	const char *name;
	watch_id id;

	if (!any_name(w, path) || model_get(&w->truth, path) != NULL)
		return;
	model_put(&w->truth, path, &e);
	name = world_split(path, folder);
	if (to_store(w, store))
		assert_int_equal(
		    watch_store_put(w->store, world_id(w, folder), name, strlen(name), &st, 0, &id),
		    0);
}

static void op_change(struct world *w, bool store)
{
	char path[PATH];
	struct model_entry *e;
	struct watch_state st;

	snprintf(path, sizeof(path), "%s", any(w));
	e = model_get(&w->truth, path);
	if (e == NULL)
		return;
	e->size = world_chance(w, 5000);
	e->mtime_ns = (int64_t)++w->inode;
	st = world_state_of(e);
	if (to_store(w, store))
		watch_store_touch(w->store, world_id(w, path), &st, WATCH_MODIFIED);
}

static void op_delete(struct world *w, bool store)
{
	char path[PATH];

	snprintf(path, sizeof(path), "%s", any(w));
	if (*path == '\0' ||
	    (model_get(&w->truth, path)->type == DT_DIR && world_chance(w, 3) != 0))
		return;
	if (to_store(w, store))
		watch_store_delete(w->store, world_id(w, path));
	model_drop(&w->truth, path);
}

static void op_rename(struct world *w, bool store)
{
	watch_id old;
	char from[PATH], to[PATH], folder[PATH];
	const char *name;
	size_t len;

	snprintf(from, sizeof(from), "%s", any(w));
	len = strlen(from);
	if (!any_name(w, to) || len == 0 || strlen(to) > PATH / 2)
		return;
	/* Neither below itself, nor onto what it is in. */
	if (strncmp(to, from, len) == 0 && (to[len] == '/' || to[len] == '\0'))
		return;
	if (strncmp(to, from, strlen(to)) == 0 && from[strlen(to)] == '/')
		return;
	if (model_get(&w->truth, to) != NULL) {
		if (to_store(w, store))
			watch_store_delete(w->store, world_id(w, to));
		model_drop(&w->truth, to);
	}
	name = world_split(to, folder);
	if (to_store(w, store))
		assert_int_equal(watch_store_rename(w->store, world_id(w, from),
		                     world_id(w, folder), name, strlen(name), &old),
		    0);
	model_rename(&w->truth, from, to);
}

static void op_pass(struct world *w, bool store)
{
	char path[PATH], folder[PATH];
	const char *name;

	if (!any_name(w, path) || model_get(&w->truth, path) != NULL)
		return;
	name = world_split(path, folder);
	if (to_store(w, store))
		assert_int_equal(
		    watch_store_pass(w->store, world_id(w, folder), name, strlen(name), 0), 0);
}

static void op_root(struct world *w, bool store)
{
	struct model_entry e = world_fresh_entry(w, DT_DIR);
	struct watch_state st = world_state_of(&e);

	if (world_chance(w, 50) != 0)
		return;
	if (to_store(w, store)) {
		watch_store_delete(w->store, watch_store_root(w->store, w->tree));
		watch_store_touch(
		    w->store, watch_store_root(w->store, w->tree), &st, WATCH_CREATED);
	}
	model_clear(&w->truth);
	model_put(&w->truth, "", &e);
}

static void (*const ops[])(struct world *w, bool store) = {op_make, op_make, op_make, op_make,
    op_make, op_change, op_change, op_delete, op_rename, op_pass, op_root};

void world_happen(struct world *w, bool store)
{
	ops[world_chance(w, sizeof(ops) / sizeof(ops[0]))](w, store);
}

/* ---- worlds ---- */

void world_open_store(struct world *w)
{
	assert_int_equal(watch_store_open(&w->store, w->fd, NULL), 0);
	assert_int_equal(watch_store_tree(w->store, "/top", 4, &w->tree), 0);
}

void world_begin(struct world *w, uint32_t seed)
{
	struct model_entry e;
	struct watch_state st;

	*w = (struct world){.random = seed};
	assert_int_equal(memfile_new("store", &w->fd, NULL), 0);
	world_open_store(w);
	e = world_fresh_entry(w, DT_DIR);
	st = world_state_of(&e);
	model_put(&w->truth, "", &e);
	watch_store_touch(w->store, watch_store_root(w->store, w->tree), &st, WATCH_CREATED);
}

void world_end(struct world *w)
{
	watch_store_free(w->store);
	close(w->fd);
	model_free(&w->truth);
	for (int i = 0; i < CLIENTS; i++) {
		free(w->clients[i].ids);
		model_free(&w->clients[i].model);
	}
}

void world_reopen(struct world *w)
{
	uint64_t instance = watch_store_instance(w->store), tick = watch_store_tick(w->store);

	for (int i = 0; i < CLIENTS; i++)
		end_walk(w, &w->clients[i]);
	watch_store_free(w->store);
	world_open_store(w);
	assert_int_equal(watch_store_instance(w->store), instance);
	assert_true(watch_store_tick(w->store) >= tick);
	/* What was on its way is cut. */
	for (int i = 0; i < CLIENTS; i++) {
		free(w->clients[i].ids);
		w->clients[i].ids = NULL;
	}
}

/* ---- rescans ---- */

/* As a scan does: what is in the store comes to be the truth. */
static void rescan_folder(struct world *w, watch_id folder, const char *path)
{
	watch_id next;

	for (watch_id id = watch_store_child(w->store, folder); id != WATCH_NO_ID; id = next) {
		char below[PATH];
		struct watch_view v;
		const struct model_entry *e;

		next = watch_store_next(w->store, id);
		assert_true(watch_store_path(w->store, id, below, PATH) < PATH);
		assert_true(watch_store_view(w->store, id, &v));
		e = model_get(&w->truth, below);
		if (e == NULL || e->inode != v.state.inode)
			watch_store_delete(w->store, id);
		else if (v.state.type == DT_DIR)
			rescan_folder(w, id, below);
	}
	(void)path;
}

void world_rescan(struct world *w)
{
	watch_id root = watch_store_root(w->store, w->tree);
	struct watch_state st = world_state_of(model_get(&w->truth, ""));
	struct watch_view v;

	assert_true(watch_store_view(w->store, root, &v));
	if (v.exists && v.state.inode != st.inode)
		watch_store_delete(w->store, root);
	watch_store_touch(w->store, root, &st,
	    v.exists && v.state.inode == st.inode ? WATCH_MODIFIED : WATCH_CREATED);
	rescan_folder(w, root, "");
	for (size_t i = 1; i < w->truth.n; i++) {
		const struct model_entry *e = &w->truth.list[i];
		watch_id id = world_id(w, e->path);
		char folder[PATH];
		const char *name = world_split(e->path, folder);

		st = world_state_of(e);
		if (id == WATCH_NO_ID) {
			assert_int_equal(watch_store_put(w->store, world_id(w, folder), name,
			                     strlen(name), &st, 0, &id),
			    0);
			continue;
		}
		assert_true(watch_store_view(w->store, id, &v));
		if (v.state.size != e->size || v.state.mtime_ns != e->mtime_ns)
			watch_store_touch(w->store, id, &st, WATCH_MODIFIED);
	}
}
