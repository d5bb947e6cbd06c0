/* SPDX-License-Identifier: Apache-2.0 */
/* A list, and a table with open addressing of where each name is in it. */
#include "cli/watch_names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define TABLE_MIN 64

struct watch_names {
	char **list; /* n of them, room for `room` */
	size_t n, room, bytes;
	size_t *table; /* index + 1; 0: free. `size` is a power of two, at most half is in use */
	size_t size;
};

struct watch_names *watch_names_new(void)
{
	return xcalloc(1, sizeof(struct watch_names));
}

static void clear(struct watch_names *w)
{
	free(w->list);
	free(w->table);
	*w = (struct watch_names){0};
}

void watch_names_free(struct watch_names *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++)
		free(w->list[i]);
	clear(w);
	free(w);
}

/* FNV-1a. */
static uint64_t hash_of(const char *name)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(1099511628211);
	return h;
}

/* Where the name is in the table, or would be. */
static size_t slot_of(const struct watch_names *w, const char *name)
{
	size_t i = (size_t)hash_of(name) & (w->size - 1);

	while (w->table[i] != 0 && strcmp(w->list[w->table[i] - 1], name) != 0)
		i = (i + 1) & (w->size - 1);
	return i;
}

static void make_table(struct watch_names *w, size_t size)
{
	free(w->table);
	w->size = size;
	w->table = xcalloc(size, sizeof(*w->table));
	for (size_t i = 0; i < w->n; i++)
		w->table[slot_of(w, w->list[i])] = i + 1;
}

bool watch_names_has(const struct watch_names *w, const char *name)
{
	return w->n > 0 && w->table[slot_of(w, name)] != 0;
}

bool watch_names_add(struct watch_names *w, const char *name)
{
	size_t slot;

	if ((w->n + 1) * 2 > w->size)
		make_table(w, w->size > 0 ? w->size * 2 : TABLE_MIN);
	slot = slot_of(w, name);
	if (w->table[slot] != 0)
		return false;
	if (w->n == w->room) {
		w->room = w->room > 0 ? w->room * 2 : TABLE_MIN;
		w->list = xreallocarray(w->list, w->room, sizeof(*w->list));
	}
	w->list[w->n++] = xstrdup(name);
	w->table[slot] = w->n;
	w->bytes += strlen(name) + 1;
	return true;
}

size_t watch_names_count(const struct watch_names *w)
{
	return w->n;
}

size_t watch_names_bytes(const struct watch_names *w)
{
	return w->bytes;
}

char **watch_names_take(struct watch_names *w, size_t max, size_t *n)
{
	size_t bytes = 0, k = 0;
	char **out;

	for (; k < w->n; k++) {
		const size_t more = strlen(w->list[k]) + 1;

		if (k > 0 && bytes + more > max)
			break;
		bytes += more;
	}
	out = xcalloc(k + 1, sizeof(*out));
	if (k > 0)
		memcpy(out, w->list, k * sizeof(*out));
	*n = k;
	if (k == w->n) {
		clear(w);
		return out;
	}
	w->n -= k;
	w->bytes -= bytes;
	memmove(w->list, w->list + k, w->n * sizeof(*w->list));
	make_table(w, w->size);
	return out;
}
