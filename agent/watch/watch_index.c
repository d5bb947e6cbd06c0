/* SPDX-License-Identifier: Apache-2.0 */
/* The index: open addressing, a power of two, at most four fifths full; with each id 32 bits of its
 * hash, so that it grows without looking at names. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "agent/watch/watch_store_internal.h"

#define FIRST 1024u

static uint32_t hash_of(uint32_t parent, const char *name, size_t len)
{
	uint64_t h = XXH3_64bits_withSeed(name, len, parent);

	return (uint32_t)(h ^ h >> 32);
}

static uint32_t hash_id(const struct watch_store *s, uint32_t id)
{
	size_t len;
	const char *name = text_get(s, name_of(&s->nodes[id]), &len);

	return hash_of(parent_of(&s->nodes[id]), name, len);
}

static void insert(struct slot *slots, uint32_t n, struct slot one)
{
	uint32_t i = one.hash & (n - 1);

	while (slots[i].id != 0)
		i = (i + 1) & (n - 1);
	slots[i] = one;
}

int index_reserve(struct watch_store *s)
{
	uint32_t n = s->n_slots == 0 ? FIRST : 2 * s->n_slots;
	struct slot *slots;

	if (s->n_indexed + 1 <= s->n_slots / 5 * 4)
		return 0;
	slots = calloc(n, sizeof(*slots));
	if (slots == NULL)
		return TX_ENOMEM;
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slots[i].id != 0)
			insert(slots, n, s->slots[i]);
	free(s->slots);
	s->slots = slots;
	s->n_slots = n;
	return 0;
}

void index_add(struct watch_store *s, uint32_t id)
{
	insert(s->slots, s->n_slots, (struct slot){id, hash_id(s, id)});
	s->n_indexed++;
}

void index_remove(struct watch_store *s, uint32_t id)
{
	uint32_t mask = s->n_slots - 1, hole = hash_id(s, id) & mask;

	while (s->slots[hole].id != id)
		hole = (hole + 1) & mask;
	/* What follows without a gap moves up, where that is not before its own place. */
	for (uint32_t i = (hole + 1) & mask; s->slots[i].id != 0; i = (i + 1) & mask) {
		uint32_t home = s->slots[i].hash & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		s->slots[hole] = s->slots[i];
		hole = i;
	}
	s->slots[hole] = (struct slot){0, 0};
	s->n_indexed--;
}

uint32_t index_find(const struct watch_store *s, uint32_t parent, const char *name, size_t len)
{
	uint32_t hash = hash_of(parent, name, len), mask = s->n_slots - 1;

	if (s->n_slots == 0)
		return 0;
	for (uint32_t i = hash & mask; s->slots[i].id != 0; i = (i + 1) & mask) {
		const struct node *n = &s->nodes[s->slots[i].id];
		size_t its;
		const char *text;

		if (s->slots[i].hash != hash || parent_of(n) != parent)
			continue;
		text = text_get(s, name_of(n), &its);
		if (its == len && memcmp(text, name, len) == 0)
			return s->slots[i].id;
	}
	return 0;
}
