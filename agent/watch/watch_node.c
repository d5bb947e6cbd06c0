/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of nodes, and the lists that each is in. */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_store_internal.h"

int node_room(struct watch_store *s, uint32_t room)
{
	struct link *links;
	uint32_t more = s->room + s->room / 4 + 1024;

	if (room <= s->room)
		return 0;
	if (room < more)
		room = more;
	links = realloc(s->links, room * sizeof(*links));
	if (links == NULL)
		return TX_ENOMEM;
	memset(links + s->room, 0, (room - s->room) * sizeof(*links));
	s->links = links;
	s->room = room;
	return 0;
}

uint32_t node_new(struct watch_store *s)
{
	uint32_t id = s->free;

	if (index_reserve(s) < 0)
		return 0;
	if (id != 0) {
		s->free = s->links[id].next;
	} else {
		id = s->head->nodes;
		if (id >= s->nodes_max || !store_may_grow(s, sizeof(*s->nodes)) ||
		    node_room(s, id + 1) < 0)
			return 0;
		s->head->nodes = id + 1;
	}
	memset(&s->links[id], 0, sizeof(s->links[id]));
	memset(&s->nodes[id], 0, sizeof(s->nodes[id]));
	return id;
}

void node_free(struct watch_store *s, uint32_t id)
{
	struct node *n = &s->nodes[id];

	publish(n, NODE_FREE);
	text_free(s, name_of(n));
	text_free(s, n->moved);
	memset(&s->links[id], 0, sizeof(s->links[id]));
	s->links[id].next = s->free;
	s->free = id;
}

/* ---- lists ---- */

static struct list *list_of(struct watch_store *s, uint32_t id)
{
	uint16_t tree = s->links[id].tree;

	return s->nodes[id].state == NODE_TOMB ? &s->tombs[tree] : &s->living[tree];
}

void node_list(struct watch_store *s, uint32_t id)
{
	struct list *l = list_of(s, id);
	struct link *k = &s->links[id];

	k->newer = 0;
	k->older = l->newest;
	if (l->newest != 0)
		s->links[l->newest].newer = id;
	else
		l->oldest = id;
	l->newest = id;
	l->n++;
}

void node_unlist(struct watch_store *s, uint32_t id)
{
	struct list *l = list_of(s, id);
	struct link *k = &s->links[id];

	if (k->newer != 0)
		s->links[k->newer].older = k->older;
	else
		l->newest = k->older;
	if (k->older != 0)
		s->links[k->older].newer = k->newer;
	else
		l->oldest = k->newer;
	k->newer = k->older = 0;
	l->n--;
}

void node_newest(struct watch_store *s, uint32_t id)
{
	if (list_of(s, id)->newest == id)
		return;
	node_unlist(s, id);
	node_list(s, id);
}

void node_enter(struct watch_store *s, uint32_t id)
{
	uint32_t parent = parent_of(&s->nodes[id]);
	struct link *k = &s->links[id];

	index_add(s, id);
	if (parent != 0) {
		k->tree = s->links[parent].tree;
		k->prev = 0;
		k->next = s->links[parent].child;
		if (k->next != 0)
			s->links[k->next].prev = id;
		s->links[parent].child = id;
	}
	node_list(s, id);
}

void node_leave(struct watch_store *s, uint32_t id)
{
	uint32_t parent = parent_of(&s->nodes[id]);
	struct link *k = &s->links[id];

	walks_pass(s, id);
	index_remove(s, id);
	if (parent != 0) {
		if (k->prev != 0)
			s->links[k->prev].next = k->next;
		else
			s->links[parent].child = k->next;
		if (k->next != 0)
			s->links[k->next].prev = k->prev;
		k->next = k->prev = 0;
	}
	node_unlist(s, id);
}

static uint32_t deepest(const struct watch_store *s, uint32_t id)
{
	while (s->links[id].child != 0)
		id = s->links[id].child;
	return id;
}

uint32_t node_before(const struct watch_store *s, uint32_t top, uint32_t id)
{
	if (s->links[id].child != 0)
		return s->links[id].child;
	while (id != top && s->links[id].next == 0)
		id = parent_of(&s->nodes[id]);
	return id != top ? s->links[id].next : WATCH_NO_ID;
}

uint32_t node_after(const struct watch_store *s, uint32_t top, uint32_t id)
{
	uint32_t next;

	if (id == WATCH_NO_ID) {
		next = deepest(s, top);
		return next != top ? next : WATCH_NO_ID;
	}
	if (s->links[id].next != 0)
		return deepest(s, s->links[id].next);
	next = parent_of(&s->nodes[id]);
	return next != top ? next : WATCH_NO_ID;
}
