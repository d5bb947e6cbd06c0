/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the store. While a node that others may know is not whole, the header has its id:
 * `busy` of a node alone, `busy_top` of one with all below it.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_store_internal.h"

/* Times as many, while somebody listens who has not been told. */
#define UNTOLD_TOMBS 8

static void set_busy(uint32_t *which, uint32_t id)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(which, id, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* ---- one node ---- */

static uint32_t later(uint32_t ago, uint64_t ticks)
{
	return ago == NEVER || ticks >= NEVER - ago ? NEVER : ago + (uint32_t)ticks;
}

/* What happened to it is a tick later. */
static void step_to(struct watch_store *s, struct node *n, uint64_t tick)
{
	uint64_t ticks = tick - n->last;

	for (int k = 0; k < AGO_N; k++)
		n->ago[k] = later(n->ago[k], ticks);
	n->count = n->last <= s->told ? 1 : n->count + (n->count != UINT32_MAX);
	n->last = tick;
	n->time_ns = s->time_ns;
}

static void set_kinds(struct node *n, unsigned kinds)
{
	static const unsigned bit[AGO_N] = {
	    [CREATED] = WATCH_CREATED,
	    [MODIFIED] = WATCH_MODIFIED,
	    [CLOSED] = WATCH_CLOSED,
	    [ATTRIBUTES] = WATCH_ATTRIBUTES,
	    [DELETED] = WATCH_DELETED,
	    [MOVED] = WATCH_MOVED,
	};

	for (int k = 0; k < AGO_N; k++)
		if ((kinds & bit[k]) != 0)
			n->ago[k] = 0;
}

static void step(struct watch_store *s, struct node *n, unsigned kinds)
{
	step_to(s, n, ++s->head->tick);
	set_kinds(n, kinds);
}

static void set_state(struct node *n, const struct watch_state *st)
{
	n->inode = st->inode;
	n->size = st->size;
	n->mtime_ns = st->mtime_ns;
	n->mark = st->mark;
	n->mode = st->mode;
	n->type = st->type;
}

static void forget_moved(struct watch_store *s, struct node *n)
{
	uint32_t ref = n->moved;

	n->moved = 0;
	n->ago[MOVED] = NEVER;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	text_free(s, ref);
}

static void tell_gone(struct watch_store *s, uint32_t id)
{
	if (s->gone != NULL && s->nodes[id].state == NODE_LIVING)
		s->gone(id, &s->links[id].note, s->gone_arg);
	memset(&s->links[id].note, 0, sizeof(s->links[id].note));
}

/* From one list to the other. */
static void turn(struct watch_store *s, uint32_t id, enum node_state state)
{
	node_unlist(s, id);
	publish(&s->nodes[id], state);
	node_list(s, id);
}

/* ---- tombstones ---- */

static void forget_oldest(struct watch_store *s, unsigned tree)
{
	uint32_t id = s->tombs[tree].oldest;

	s->head->trees[tree].oldest = s->nodes[id].last;
	node_leave(s, id);
	node_free(s, id);
}

void watch_store_forget_told(struct watch_store *s)
{
	for (unsigned tree = 0; tree < WATCH_TREES_MAX; tree++)
		while (
		    s->tombs[tree].oldest != 0 && s->nodes[s->tombs[tree].oldest].last <= s->told)
			forget_oldest(s, tree);
}

static void prune(struct watch_store *s, unsigned tree)
{
	struct list *l = &s->tombs[tree];
	size_t most = s->living[tree].n / 4 > s->tombs_max ? s->living[tree].n / 4 : s->tombs_max;

	while (l->n > most) {
		if (s->nodes[l->oldest].last > s->told && l->n <= UNTOLD_TOMBS * most)
			return;
		forget_oldest(s, tree);
	}
}

static void remove_below(struct watch_store *s, uint32_t top, bool tombs_only)
{
	uint32_t next;

	for (uint32_t id = node_after(s, top, 0); id != 0; id = next) {
		next = node_after(s, top, id);
		if (tombs_only && s->nodes[id].state != NODE_TOMB)
			continue;
		tell_gone(s, id);
		node_leave(s, id);
		node_free(s, id);
	}
}

/* ---- changing ---- */

/* Of a name that may have a tombstone. 0: there is no more room. */
static uint32_t slot_for(struct watch_store *s, uint32_t parent, const char *name, size_t len)
{
	uint32_t id = index_find(s, parent, name, len), ref;
	struct node *n;

	if (id != 0)
		return id;
	id = node_new(s);
	ref = id != 0 ? text_new(s, NULL, 0, name, len) : 0;
	if (ref == 0) {
		if (id != 0)
			node_free(s, id);
		return 0;
	}
	n = &s->nodes[id];
	n->place = place_of(parent, ref);
	for (int k = 0; k < AGO_N; k++)
		n->ago[k] = NEVER;
	return id;
}

int watch_store_put(struct watch_store *s, watch_id parent, const char *name, size_t len,
    const struct watch_state *st, unsigned kinds, watch_id *out)
{
	uint32_t id = slot_for(s, parent, name, len);
	struct node *n = &s->nodes[id];

	if (id == 0)
		return TX_ELIMIT;
	if (n->state == NODE_TOMB) {
		set_busy(&s->head->busy, id);
		forget_moved(s, n);
		step(s, n, kinds | WATCH_CREATED);
		set_state(n, st);
		turn(s, id, NODE_LIVING);
		set_busy(&s->head->busy, 0);
	} else {
		step(s, n, kinds | WATCH_CREATED);
		set_state(n, st);
		publish(n, NODE_LIVING);
		node_enter(s, id);
	}
	*out = id;
	return 0;
}

int watch_store_pass(
    struct watch_store *s, watch_id parent, const char *name, size_t len, unsigned kinds)
{
	uint32_t id = slot_for(s, parent, name, len);
	struct node *n = &s->nodes[id];

	if (id == 0)
		return TX_ELIMIT;
	kinds |= WATCH_CREATED | WATCH_DELETED;
	if (n->state == NODE_TOMB) {
		set_busy(&s->head->busy, id);
		forget_moved(s, n);
		step(s, n, kinds);
		node_newest(s, id);
		set_busy(&s->head->busy, 0);
	} else {
		step(s, n, kinds);
		publish(n, NODE_TOMB);
		node_enter(s, id);
		prune(s, s->links[id].tree);
	}
	return 0;
}

void watch_store_touch(
    struct watch_store *s, watch_id id, const struct watch_state *st, unsigned kinds)
{
	struct node *n = &s->nodes[id];

	set_busy(&s->head->busy, id);
	step(s, n, kinds);
	if (st != NULL)
		set_state(n, st);
	node_newest(s, id);
	set_busy(&s->head->busy, 0);
}

void watch_store_correct(struct watch_store *s, watch_id id, const struct watch_state *st)
{
	set_busy(&s->head->busy, id);
	set_state(&s->nodes[id], st);
	set_busy(&s->head->busy, 0);
}

void watch_store_delete(struct watch_store *s, watch_id id)
{
	struct node *n = &s->nodes[id];
	bool is_root = parent_of(n) == 0;

	set_busy(&s->head->busy_top, id);
	remove_below(s, id, false);
	tell_gone(s, id);
	forget_moved(s, n);
	step(s, n, WATCH_DELETED);
	if (is_root) {
		n->type = 0;
		node_newest(s, id);
	} else {
		turn(s, id, NODE_TOMB);
	}
	set_busy(&s->head->busy_top, 0);
	prune(s, s->links[id].tree);
}

void watch_store_moved(
    struct watch_store *s, watch_id id, watch_id root, const char *path, size_t len)
{
	struct node *n = &s->nodes[id];
	uint32_t ref = text_new(s, &root, sizeof(root), path, len);

	set_busy(&s->head->busy, id);
	forget_moved(s, n);
	n->moved = ref;
	n->ago[MOVED] = 0;
	set_busy(&s->head->busy, 0);
}

/* ---- with all below ---- */

static void renew_below(struct watch_store *s, uint32_t top, uint64_t tick)
{
	remove_below(s, top, true);
	for (uint32_t id = node_before(s, top, top); id != 0; id = node_before(s, top, id)) {
		step_to(s, &s->nodes[id], tick);
		set_kinds(&s->nodes[id], WATCH_CREATED);
		node_newest(s, id);
	}
}

void watch_store_renew(struct watch_store *s, watch_id id)
{
	struct node *n = &s->nodes[id];

	set_busy(&s->head->busy_top, id);
	forget_moved(s, n);
	step(s, n, n->state == NODE_LIVING ? WATCH_DELETED | WATCH_CREATED : WATCH_DELETED);
	node_newest(s, id);
	renew_below(s, id, n->last);
	set_busy(&s->head->busy_top, 0);
}

/* Of the name that it had. */
static void leave_tomb(struct watch_store *s, uint32_t id, const struct node *was)
{
	struct node *n = &s->nodes[id];

	*n = *was;
	n->moved = 0;
	step_to(s, n, s->head->tick);
	set_kinds(n, WATCH_DELETED);
	publish(n, NODE_TOMB);
	node_enter(s, id);
}

/* Of the name that it gets. Who was about to be told of it finds it no more: it is told anew. */
static void drop_tomb(struct watch_store *s, uint32_t id)
{
	node_leave(s, id);
	node_free(s, id);
}

int watch_store_rename(struct watch_store *s, watch_id id, watch_id parent, const char *name,
    size_t len, watch_id *old)
{
	uint32_t ref = text_new(s, NULL, 0, name, len), tomb = node_new(s), target;
	struct node *n = &s->nodes[id];
	struct node was = *n;

	if (ref == 0 || tomb == 0) {
		text_free(s, ref);
		if (tomb != 0)
			node_free(s, tomb);
		return TX_ELIMIT;
	}
	was.state = NODE_FREE;
	set_busy(&s->head->busy_top, id);
	target = index_find(s, parent, name, len);
	walks_pass_all(s, id);
	node_leave(s, id);
	forget_moved(s, n);
	n->ago[DELETED] = NEVER;
	step(s, n, target != 0 ? WATCH_CREATED | WATCH_DELETED : WATCH_CREATED);
	leave_tomb(s, tomb, &was);
	__atomic_store_n(&n->place, place_of(parent, ref), __ATOMIC_RELEASE);
	/* Only now: until then it is what tells that the name was removed. */
	if (target != 0)
		drop_tomb(s, target);
	node_enter(s, id);
	renew_below(s, id, n->last);
	set_busy(&s->head->busy_top, 0);
	prune(s, s->links[id].tree);
	*old = tomb;
	return 0;
}

/* ---- trees ---- */

static int new_tree(struct watch_store *s, const void *key, size_t len, unsigned tree)
{
	uint32_t id = slot_for(s, WATCH_NO_ID, key, len);
	struct tree_row *row = &s->head->trees[tree];
	struct node *n = &s->nodes[id];

	if (id == 0)
		return TX_ELIMIT;
	n->last = ++s->head->tick;
	publish(n, NODE_LIVING);
	s->links[id].tree = (uint16_t)tree;
	node_enter(s, id);
	row->oldest = s->head->tick;
	__atomic_store_n(&row->root, id, __ATOMIC_RELEASE);
	return 0;
}

int watch_store_tree(struct watch_store *s, const void *key, size_t len, unsigned *tree)
{
	uint32_t id = index_find(s, WATCH_NO_ID, key, len);
	unsigned i = 0;
	int rc = 0;

	if (id != 0) {
		*tree = s->links[id].tree;
		return 0;
	}
	while (i < WATCH_TREES_MAX && s->head->trees[i].root != 0)
		i++;
	if (i == WATCH_TREES_MAX)
		return TX_ELIMIT;
	rc = new_tree(s, key, len, i);
	if (rc == 0)
		*tree = i;
	return rc;
}

watch_id watch_store_root(const struct watch_store *s, unsigned tree)
{
	return s->head->trees[tree].root;
}

const char *watch_store_key(const struct watch_store *s, unsigned tree, size_t *len)
{
	return watch_store_name(s, s->head->trees[tree].root, len);
}

void watch_store_drop(struct watch_store *s, unsigned tree)
{
	uint32_t root = s->head->trees[tree].root;

	if (root == 0)
		return;
	__atomic_store_n(&s->head->trees[tree].root, 0, __ATOMIC_RELEASE);
	remove_below(s, root, false);
	tell_gone(s, root);
	node_leave(s, root);
	node_free(s, root);
}

uint64_t watch_store_oldest(const struct watch_store *s, unsigned tree)
{
	/* Before that, ticks are not told apart. */
	uint64_t blurred = s->head->tick > NEVER ? s->head->tick - NEVER : 0;
	uint64_t oldest = s->head->trees[tree].oldest;

	return oldest > blurred ? oldest : blurred;
}

size_t watch_store_living(const struct watch_store *s, unsigned tree)
{
	return s->living[tree].n;
}
