/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_batch.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/tree.h"

#define CHANGES_MAX ((size_t)4096) /* of a message: about 100 bytes each, and their paths */
#define TEXT_MAX    ((size_t)512 << 10)
#define PATH_SIZE   ((size_t)64 << 10)
#define KINDS_MAX   8

struct one {
	Telex__V1__Change change;
	Google__Protobuf__Timestamp time;
	Telex__V1__ChangeKind kinds[KINDS_MAX];
};

struct watch_message {
	Telex__V1__WatchChanges changes;
	Telex__V1__Change *list[CHANGES_MAX];
	struct one ones[CHANGES_MAX];
	size_t text_at;
	char text[TEXT_MAX + 2 * PATH_SIZE];
};

struct watch_message *watch_message_new(void)
{
	return xmalloc(sizeof(struct watch_message));
}

void watch_message_free(struct watch_message *m)
{
	free(m);
}

/* ---- which paths ---- */

static int pick(struct watch_picks *p, const struct watch_listener *l, uint64_t from)
{
	int rc = 0;

	for (size_t i = 0; i < l->n_trees && rc == 0; i++)
		rc = watch_store_changed(l->store, l->trees[i], from, p);
	if (rc == 0)
		watch_picks_sort(p);
	return rc;
}

int batch_begin(struct watch_batch *b, const struct watch_listener *l, uint64_t from, bool fresh)
{
	struct watch_picks p = {0};
	int rc = fresh ? 0 : pick(&p, l, from);

	if (rc < 0) {
		free(p.list);
		return rc;
	}
	*b = (struct watch_batch){.going = true, .fresh = fresh, .from = from, .n = p.n};
	b->to = watch_store_tick(l->store);
	/* In the same memory, which gets smaller. */
	b->ids = (watch_id *)p.list;
	for (size_t i = 0; i < p.n; i++) {
		watch_id id = p.list[i].id;

		memcpy((char *)p.list + i * sizeof(id), &id, sizeof(id));
	}
	if (p.n > 0)
		b->ids = xreallocarray(b->ids, p.n, sizeof(*b->ids));
	return 0;
}

static void end_walk(struct watch_batch *b)
{
	if (b->store != NULL)
		watch_store_walk_end(b->store, &b->walk);
	b->store = NULL;
}

void batch_end(struct watch_batch *b)
{
	end_walk(b);
	free(b->ids);
	*b = (struct watch_batch){0};
}

/* WATCH_NO_ID: no more. */
static watch_id next_of_walk(struct watch_batch *b, const struct watch_listener *l)
{
	for (;;) {
		watch_id id;

		if (b->store == NULL && b->tree == l->n_trees)
			return WATCH_NO_ID;
		if (b->store == NULL) {
			b->store = l->store;
			watch_store_walk(b->store, &b->walk, l->trees[b->tree++]);
		}
		id = watch_store_walk_next(b->store, &b->walk);
		if (id != WATCH_NO_ID)
			return id;
		end_walk(b);
	}
}

static watch_id next_id(struct watch_batch *b, const struct watch_listener *l)
{
	if (b->fresh)
		return next_of_walk(b, l);
	return b->at < b->n ? b->ids[b->at++] : WATCH_NO_ID;
}

bool batch_is_over(const struct watch_batch *b, const struct watch_listener *l)
{
	return b->fresh ? b->store == NULL && b->tree == l->n_trees : b->at == b->n;
}

bool batch_is_void(const struct watch_batch *b, const struct watch_listener *l)
{
	if (b->fresh)
		return false;
	for (size_t i = 0; i < l->n_trees; i++)
		if (b->from < watch_store_oldest(l->store, l->trees[i]))
			return true;
	return false;
}

/* ---- one path ---- */

static Telex__V1__FileType type_of(uint8_t type)
{
	switch (type) {
	case DT_REG:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	case DT_DIR:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	case DT_LNK:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK;
	case DT_FIFO:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_FIFO;
	case DT_SOCK:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_SOCKET;
	case DT_CHR:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_CHARACTER_DEVICE;
	case DT_BLK:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_BLOCK_DEVICE;
	default:
		return TELEX__V1__FILE_TYPE__FILE_TYPE_UNSPECIFIED;
	}
}

static unsigned bit(Telex__V1__ChangeKind kind)
{
	return 1u << kind;
}

static unsigned kinds_of(const struct watch_batch *b, const struct watch_listener *l, watch_id id,
    const struct watch_view *v)
{
	bool root = v->parent == WATCH_NO_ID;
	unsigned kinds;

	if (b->fresh && v->exists)
		return WATCH_CREATED;
	if (b->fresh)
		return root ? WATCH_DELETED | bit(TELEX__V1__CHANGE_KIND__CHANGE_KIND_ROOT_GONE)
		            : 0;
	kinds = watch_store_kinds(l->store, id, b->from);
	if (root && (kinds & WATCH_DELETED) != 0)
		kinds |= bit(TELEX__V1__CHANGE_KIND__CHANGE_KIND_ROOT_GONE);
	if (root && (kinds & WATCH_CREATED) != 0 && v->exists)
		kinds |= bit(TELEX__V1__CHANGE_KIND__CHANGE_KIND_ROOT_BACK);
	return kinds;
}

/* Which of the listener's roots; -1: none. */
static int root_of(const struct watch_listener *l, watch_id root)
{
	for (size_t i = 0; i < l->n_trees; i++)
		if (watch_store_root(l->store, l->trees[i]) == root)
			return (int)i;
	return -1;
}

static int place_of(const struct watch_listener *l, unsigned tree)
{
	for (size_t i = 0; i < l->n_trees; i++)
		if (l->trees[i] == tree)
			return (int)i;
	return -1;
}

/* What was made in a folder that was made after all this, comes with that. */
static bool is_early(
    struct watch_batch *b, const struct watch_listener *l, const struct watch_view *v)
{
	struct watch_view folder;

	if (v->parent == WATCH_NO_ID || !watch_store_view(l->store, v->parent, &folder) ||
	    folder.created <= b->to)
		return false;
	b->early = true;
	return true;
}

/* A folder that is gone takes along what is below it, and that may be of interest. */
static bool is_included(
    const struct watch_listener *l, const char *path, const struct watch_view *v, unsigned kinds)
{
	bool folder = v->state.type == DT_DIR;

	return l->include.n_filters == 0 || v->parent == WATCH_NO_ID ||
	       (folder && (kinds & WATCH_DELETED) != 0) || tree_excluded(&l->include, path, folder);
}

static void set_kinds(struct one *o, unsigned kinds)
{
	o->change.kinds = o->kinds;
	for (unsigned k = 1; k <= KINDS_MAX; k++)
		if ((kinds & 1u << k) != 0)
			o->kinds[o->change.n_kinds++] = (Telex__V1__ChangeKind)k;
}

static void set_moved(struct watch_message *m, struct one *o, const struct watch_view *v, int root)
{
	ProtobufCBinaryData path = {v->moved_len, (uint8_t *)m->text + m->text_at};

	memcpy(path.data, v->moved, v->moved_len);
	m->text_at += v->moved_len;
	o->change.moved_root = (uint32_t)root;
	if (v->exists)
		o->change.moved_from = path;
	else
		o->change.moved_to = path;
}

static void set_state(struct one *o, const struct watch_view *v)
{
	o->change.exists = v->exists;
	o->change.order = v->last;
	o->change.count = v->count > 0 ? v->count : 1;
	google__protobuf__timestamp__init(&o->time);
	o->time.seconds = v->time_ns / 1000000000;
	o->time.nanos = (int32_t)(v->time_ns % 1000000000);
	o->change.time = &o->time;
	if (!v->exists)
		return;
	o->change.type = type_of(v->state.type);
	o->change.mode = v->state.mode;
	o->change.size = v->state.size;
	o->change.inode = v->state.inode;
	o->change.mtime_ns = v->state.mtime_ns;
}

static void add(
    struct watch_batch *b, const struct watch_listener *l, struct watch_message *m, watch_id id)
{
	struct one *o = &m->ones[m->changes.n_changes];
	char *path = m->text + m->text_at;
	struct watch_view v;
	unsigned kinds;
	int root, moved_root = -1;
	size_t len;

	if (!watch_store_view(l->store, id, &v) || is_early(b, l, &v))
		return;
	root = place_of(l, v.tree);
	kinds = kinds_of(b, l, id, &v);
	if (v.moved != NULL && (kinds & WATCH_MOVED) != 0 && v.moved_len < PATH_SIZE)
		moved_root = root_of(l, v.moved_root);
	if (moved_root < 0)
		kinds &= ~WATCH_MOVED;
	len = watch_store_path(l->store, id, path, PATH_SIZE);
	if (root < 0 || (kinds & l->kinds) == 0 || len >= PATH_SIZE ||
	    !is_included(l, path, &v, kinds))
		return;
	m->text_at += len;
	telex__v1__change__init(&o->change);
	o->change.root = (uint32_t)root;
	o->change.path = (ProtobufCBinaryData){len, (uint8_t *)path};
	set_kinds(o, kinds & l->kinds);
	set_state(o, &v);
	if (b->fresh)
		o->change.count = 1;
	if (moved_root >= 0 && (l->kinds & WATCH_MOVED) != 0)
		set_moved(m, o, &v, moved_root);
	m->list[m->changes.n_changes++] = &o->change;
}

Telex__V1__WatchChanges *batch_next(
    struct watch_batch *b, const struct watch_listener *l, struct watch_message *m)
{
	watch_id id = WATCH_NO_ID;

	telex__v1__watch_changes__init(&m->changes);
	m->changes.changes = m->list;
	m->text_at = 0;
	while (m->changes.n_changes < CHANGES_MAX && m->text_at < TEXT_MAX &&
	       (id = next_id(b, l)) != WATCH_NO_ID)
		add(b, l, m, id);
	return &m->changes;
}
