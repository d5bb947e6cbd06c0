/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_handles.h"

#include <stdlib.h>

#include "common/mem.h"

#define NUMBERS_MAX ((uint32_t)1 << 30)

void watch_handles_clear(struct watch_handles *h)
{
	free(h->list);
	free(h->index);
	*h = (struct watch_handles){0};
}

/* ---- the index ---- */

/* Where it is, or would be. */
static uint32_t place(const struct watch_handles *h, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & (h->n_index - 1);

	while (h->index[i] != 0 && h->list[h->index[i]].hash != hash)
		i = (i + 1) & (h->n_index - 1);
	return i;
}

static void grow_index(struct watch_handles *h)
{
	uint32_t *old = h->index, n = h->n_index;

	h->n_index = n == 0 ? 256 : 2 * n;
	h->index = xcalloc(h->n_index, sizeof(*h->index));
	for (uint32_t i = 0; i < n; i++)
		if (old[i] != 0)
			h->index[place(h, h->list[old[i]].hash)] = old[i];
	free(old);
}

/* Those behind it that would not be found any more move up. */
static void remove_at(struct watch_handles *h, uint32_t hole)
{
	const uint32_t mask = h->n_index - 1;

	for (uint32_t i = (hole + 1) & mask; h->index[i] != 0; i = (i + 1) & mask) {
		uint32_t home = (uint32_t)h->list[h->index[i]].hash & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		h->index[hole] = h->index[i];
		hole = i;
	}
	h->index[hole] = 0;
	h->n_used--;
}

/* ---- numbers ---- */

/* 0: there are too many. */
static uint32_t new_number(struct watch_handles *h)
{
	uint32_t number = h->free;

	if (number != 0) {
		h->free = h->list[number].next;
		return number;
	}
	if (h->n >= NUMBERS_MAX)
		return 0;
	if (h->n == 0)
		h->n = 1;
	if (h->n >= h->room) {
		h->room += h->room / 2 + 256;
		h->list = xreallocarray(h->list, h->room, sizeof(*h->list));
	}
	return h->n++;
}

uint32_t watch_handles_find(const struct watch_handles *h, uint64_t hash)
{
	return h->n_index == 0 ? 0 : h->index[place(h, hash)];
}

uint32_t watch_handles_add(struct watch_handles *h, uint64_t hash, uint32_t mask)
{
	uint32_t number = watch_handles_find(h, hash);

	if (number != 0) {
		h->list[number].mask |= mask;
		return number;
	}
	number = new_number(h);
	if (number == 0)
		return 0;
	if (h->n_used + 1 > h->n_index / 5 * 4)
		grow_index(h);
	h->list[number] = (struct watch_handle){hash, mask, 0};
	h->index[place(h, hash)] = number;
	h->n_used++;
	return number;
}

uint32_t watch_handles_mask(const struct watch_handles *h, uint32_t number)
{
	return number < h->n ? h->list[number].mask : 0;
}

void watch_handles_remove(struct watch_handles *h, uint32_t number)
{
	if (watch_handles_mask(h, number) == 0)
		return;
	remove_at(h, place(h, h->list[number].hash));
	h->list[number].mask = 0;
	h->list[number].next = h->removed;
	h->removed = number;
}

void watch_handles_settle(struct watch_handles *h)
{
	while (h->removed != 0) {
		uint32_t number = h->removed;

		h->removed = h->list[number].next;
		h->list[number].next = h->free;
		h->free = number;
	}
}

size_t watch_handles_memory(const struct watch_handles *h)
{
	return h->room * sizeof(*h->list) + h->n_index * sizeof(*h->index);
}
