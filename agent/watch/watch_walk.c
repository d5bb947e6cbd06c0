/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through all that is there, with pauses of any length. It has no list: it knows which node
 * comes next, and the store moves it on where that one leaves its place. What comes to be behind it
 * meanwhile is not met, and has a later tick than its beginning.
 */
#include "agent/watch/watch_store_internal.h"

void watch_store_walk(struct watch_store *s, struct watch_walk *walk, unsigned tree)
{
	walk->at = s->head->trees[tree].root;
	walk->following = s->walks;
	s->walks = walk;
}

/* Behind all that is below it. */
static uint32_t behind(const struct watch_store *s, uint32_t id)
{
	while (parent_of(&s->nodes[id]) != 0 && s->links[id].next == 0)
		id = parent_of(&s->nodes[id]);
	return parent_of(&s->nodes[id]) != 0 ? s->links[id].next : WATCH_NO_ID;
}

watch_id watch_store_walk_next(struct watch_store *s, struct watch_walk *walk)
{
	while (walk->at != WATCH_NO_ID) {
		const uint32_t id = walk->at, child = s->links[id].child;

		walk->at = child != 0 ? child : behind(s, id);
		if (s->nodes[id].state == NODE_LIVING)
			return id;
	}
	return WATCH_NO_ID;
}

void watch_store_walk_end(struct watch_store *s, struct watch_walk *walk)
{
	struct watch_walk **at = &s->walks;

	while (*at != NULL && *at != walk)
		at = &(*at)->following;
	if (*at != NULL)
		*at = walk->following;
	*walk = (struct watch_walk){0};
}

static bool is_below(const struct watch_store *s, uint32_t id, uint32_t top)
{
	for (; id != 0; id = parent_of(&s->nodes[id]))
		if (id == top)
			return true;
	return false;
}

void walks_pass(struct watch_store *s, uint32_t id)
{
	for (struct watch_walk *walk = s->walks; walk != NULL; walk = walk->following)
		if (walk->at == id)
			walk->at = behind(s, id);
}

void walks_pass_all(struct watch_store *s, uint32_t top)
{
	for (struct watch_walk *walk = s->walks; walk != NULL; walk = walk->following)
		if (is_below(s, walk->at, top))
			walk->at = behind(s, top);
}
