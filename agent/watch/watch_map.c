/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_map.h"

#include <stdlib.h>

#include "common/mem.h"

struct watch_map_row {
	uint32_t watch, value; /* value 0: free */
};

/* The kernel's numbers follow each other, and their places must not: who goes from one that is
 * removed to the next free one would go through all of them. The odd number nearest to 2^32 by the
 * golden ratio spreads such numbers evenly (Knuth, The Art of Computer Programming, 6.4). */
static uint32_t home_of(const struct watch_map *m, uint32_t watch)
{
	const uint32_t mixed = watch * 0x9e3779b1u;

	return (uint32_t)(((uint64_t)mixed * m->n_rows) >> 32);
}

static uint32_t place(const struct watch_map *m, uint32_t watch)
{
	uint32_t i = home_of(m, watch);

	while (m->rows[i].value != 0 && m->rows[i].watch != watch)
		i = (i + 1) & (m->n_rows - 1);
	return i;
}

void watch_map_clear(struct watch_map *m)
{
	free(m->rows);
	*m = (struct watch_map){0};
}

uint32_t watch_map_get(const struct watch_map *m, uint32_t watch)
{
	return m->n_rows == 0 ? 0 : m->rows[place(m, watch)].value;
}

static void grow(struct watch_map *m)
{
	struct watch_map_row *old = m->rows;
	uint32_t n = m->n_rows;

	m->n_rows = n == 0 ? 256 : 2 * n;
	m->rows = xcalloc(m->n_rows, sizeof(*m->rows));
	for (uint32_t i = 0; i < n; i++)
		if (old[i].value != 0)
			m->rows[place(m, old[i].watch)] = old[i];
	free(old);
}

static void remove_at(struct watch_map *m, uint32_t hole)
{
	uint32_t mask = m->n_rows - 1;

	for (uint32_t i = (hole + 1) & mask; m->rows[i].value != 0; i = (i + 1) & mask) {
		uint32_t home = home_of(m, m->rows[i].watch);

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		m->rows[hole] = m->rows[i];
		hole = i;
	}
	m->rows[hole].value = 0;
	m->n--;
}

void watch_map_set(struct watch_map *m, uint32_t watch, uint32_t value)
{
	uint32_t i;

	if (m->n + 1 > m->n_rows / 5 * 4)
		grow(m);
	i = place(m, watch);
	if (value == 0) {
		if (m->rows[i].value != 0)
			remove_at(m, i);
		return;
	}
	m->n += m->rows[i].value == 0;
	m->rows[i].watch = watch;
	m->rows[i].value = value;
}

size_t watch_map_memory(const struct watch_map *m)
{
	return m->n_rows * sizeof(*m->rows);
}
