/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going on with what a writer has left, who may have been killed at any instruction. Nothing of it
 * is believed that could lead out of the memory: ids, texts, and the ways from node to root are
 * looked at before they are followed.
 */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_store_internal.h"
#include "common/sort.h"

enum mark { UNKNOWN, SOUND, LOST };

struct entry {
	uint64_t last;
	uint32_t id;
};

static bool header_sound(const struct header *h)
{
	return h->magic == STORE_MAGIC && h->version == STORE_VERSION &&
	       h->node_size == sizeof(struct node) && h->nodes >= 1 && h->nodes <= NODES_MAX &&
	       h->names >= 1 && h->names <= UNITS_MAX && h->instance != 0;
}

static bool name_sound(const struct watch_store *s, const struct node *n)
{
	const char *name;
	size_t len;

	if (!text_valid(s, name_of(n)))
		return false;
	name = text_get(s, name_of(n), &len);
	if (parent_of(n) == 0)
		return len > 0;
	return len > 0 && len <= NAME_MAX && memchr(name, '/', len) == NULL &&
	       memchr(name, '\0', len) == NULL;
}

static bool node_sound(const struct watch_store *s, const struct node *n)
{
	size_t len;

	if (n->state > NODE_TOMB)
		return false;
	if (n->state == NODE_FREE)
		return true;
	if (!name_sound(s, n) || parent_of(n) >= s->head->nodes)
		return false;
	if (n->moved == 0)
		return true;
	if (!text_valid(s, n->moved))
		return false;
	(void)text_get(s, n->moved, &len);
	return len >= sizeof(uint32_t);
}

static bool nodes_sound(struct watch_store *s)
{
	bool sound = true;

	for (uint32_t id = 1; id < s->head->nodes && sound; id++) {
		sound = node_sound(s, &s->nodes[id]);
		if (s->nodes[id].state != NODE_FREE && s->nodes[id].last > s->head->tick)
			s->head->tick = s->nodes[id].last;
	}
	return sound;
}

/* ---- the ways to the roots ---- */

static void mark_roots(struct watch_store *s, uint8_t *marks)
{
	for (unsigned tree = 0; tree < WATCH_TREES_MAX; tree++) {
		struct tree_row *row = &s->head->trees[tree];
		uint32_t id = row->root;

		if (id == 0)
			continue;
		if (id >= s->head->nodes || s->nodes[id].state != NODE_LIVING ||
		    parent_of(&s->nodes[id]) != 0 || marks[id] != UNKNOWN) {
			row->root = 0;
			continue;
		}
		marks[id] = SOUND;
		s->links[id].tree = (uint16_t)tree;
	}
	for (uint32_t id = 1; id < s->head->nodes; id++)
		if (marks[id] == UNKNOWN &&
		    (s->nodes[id].state == NODE_FREE || parent_of(&s->nodes[id]) == 0))
			marks[id] = LOST;
}

/* Whether something can be below it. */
static bool can_hold(const struct node *n)
{
	return n->state == NODE_LIVING && (n->type == DT_DIR || parent_of(n) == 0);
}

/* False: it goes round in a circle. */
static bool mark_way(struct watch_store *s, uint8_t *marks, uint32_t from)
{
	uint32_t id = from, steps = 0, end;
	enum mark mark;

	while (marks[id] == UNKNOWN && can_hold(&s->nodes[parent_of(&s->nodes[id])])) {
		id = parent_of(&s->nodes[id]);
		if (++steps > s->head->nodes)
			return false;
	}
	end = id;
	mark = marks[end] == UNKNOWN ? LOST : marks[end];
	for (id = from; marks[id] == UNKNOWN; id = parent_of(&s->nodes[id])) {
		marks[id] = (uint8_t)mark;
		s->links[id].tree = s->links[end].tree;
		if (id == end)
			break;
	}
	return true;
}

static bool mark_ways(struct watch_store *s, uint8_t *marks)
{
	bool sound = true;

	mark_roots(s, marks);
	for (uint32_t id = 1; id < s->head->nodes && sound; id++)
		if (marks[id] == UNKNOWN)
			sound = mark_way(s, marks, id);
	return sound;
}

/* ---- the lists ---- */

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->last < y->last ? -1 : x->last > y->last;
}

/* Its texts are nobody's, which text_recover finds. */
static void lose(struct watch_store *s, uint32_t id)
{
	publish(&s->nodes[id], NODE_FREE);
	memset(&s->links[id], 0, sizeof(s->links[id]));
	s->links[id].next = s->free;
	s->free = id;
}

/* Of two of one name, which a rename can leave, the tombstone goes. */
static int enter(struct watch_store *s, uint32_t id)
{
	const struct node *n = &s->nodes[id];
	size_t len;
	const char *name = text_get(s, name_of(n), &len);
	uint32_t other = index_find(s, parent_of(n), name, len);

	if (other != 0 && n->state == NODE_LIVING && s->nodes[other].state == NODE_LIVING)
		return TX_EPROTO;
	if (other != 0 && n->state == NODE_TOMB) {
		lose(s, id);
		return 0;
	}
	if (other != 0) {
		node_leave(s, other);
		lose(s, other);
	}
	if (index_reserve(s) < 0)
		return TX_ENOMEM;
	node_enter(s, id);
	return 0;
}

static int enter_all(struct watch_store *s, const uint8_t *marks, struct entry *list)
{
	size_t n = 0;
	int rc = 0;

	for (uint32_t id = s->head->nodes - 1; id > 0; id--) {
		if (marks[id] == SOUND)
			list[n++] = (struct entry){s->nodes[id].last, id};
		else
			lose(s, id);
	}
	sort_in_place(list, n, sizeof(*list), compare);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = enter(s, list[i].id);
	return rc;
}

static int rebuild(struct watch_store *s)
{
	size_t n = s->head->nodes;
	uint8_t *marks = calloc(n, 1);
	struct entry *list = calloc(n, sizeof(*list));
	int rc = marks == NULL || list == NULL ? TX_ENOMEM : 0;

	if (rc == 0 && !mark_ways(s, marks))
		rc = TX_EPROTO;
	if (rc == 0)
		rc = enter_all(s, marks, list);
	free(marks);
	free(list);
	return rc;
}

/* What was being changed is told again as a whole. */
static void repair(struct watch_store *s, uint32_t id)
{
	if (id != 0 && id < s->head->nodes && s->nodes[id].state != NODE_FREE)
		watch_store_renew(s, id);
}

int store_recover(struct watch_store *s)
{
	uint32_t busy = s->head->busy, busy_top = s->head->busy_top;
	int rc;

	if (!header_sound(s->head))
		return TX_EPROTO;
	if (node_room(s, s->head->nodes) < 0)
		return TX_ENOMEM;
	if (!nodes_sound(s))
		return TX_EPROTO;
	rc = rebuild(s);
	if (rc == 0)
		rc = text_recover(s);
	if (rc < 0)
		return rc;
	repair(s, busy_top);
	repair(s, busy);
	s->head->busy = 0;
	/* A clock of before is told from those to come, also where nothing happens. */
	s->head->tick++;
	return 0;
}
