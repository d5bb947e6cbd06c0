/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/copy_links.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct copy_links_entry {
	dev_t dev;
	ino_t ino;
	char path[];
};

/* Where it is, or would be; the table has a free place. */
static size_t place_of(const struct copy_links *l, dev_t dev, ino_t ino)
{
	uint64_t hash = ((uint64_t)ino ^ (uint64_t)dev << 40) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (size_t)(hash >> 20) & (l->room - 1);

	while (l->table[i] != NULL && (l->table[i]->ino != ino || l->table[i]->dev != dev))
		i = (i + 1) & (l->room - 1);
	return i;
}

const char *copy_links_find(const struct copy_links *l, const struct stat *st)
{
	const struct copy_links_entry *e;

	if (l->room == 0)
		return NULL;
	e = l->table[place_of(l, st->st_dev, st->st_ino)];
	return e != NULL ? e->path : NULL;
}

/* At most half full. */
static int make_room(struct copy_links *l)
{
	struct copy_links more = {.n = l->n, .room = l->room == 0 ? 256 : 2 * l->room};

	if (2 * (l->n + 1) <= l->room)
		return 0;
	more.table = calloc(more.room, sizeof(struct copy_links_entry *));
	if (more.table == NULL)
		return -1;
	for (size_t i = 0; i < l->room; i++)
		if (l->table[i] != NULL)
			more.table[place_of(&more, l->table[i]->dev, l->table[i]->ino)] =
			    l->table[i];
	free(l->table);
	*l = more;
	return 0;
}

void copy_links_add(struct copy_links *l, const struct stat *st, const char *path)
{
	const size_t len = strlen(path) + 1;
	struct copy_links_entry *e;
	size_t i;

	if (make_room(l) < 0 || (e = malloc(sizeof(*e) + len)) == NULL)
		return;
	e->dev = st->st_dev;
	e->ino = st->st_ino;
	memcpy(e->path, path, len);
	i = place_of(l, e->dev, e->ino);
	l->n += l->table[i] == NULL;
	free(l->table[i]);
	l->table[i] = e;
}

void copy_links_clear(struct copy_links *l)
{
	for (size_t i = 0; i < l->room; i++)
		free(l->table[i]);
	free(l->table);
	*l = (struct copy_links){0};
}
