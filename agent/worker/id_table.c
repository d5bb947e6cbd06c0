/* SPDX-License-Identifier: Apache-2.0 */
/* Chained buckets, doubled when the table is as full as it is long. Numbers are consecutive, so
 * that they are their own hash. */
#include "agent/worker/id_table.h"

#include <assert.h>
#include <stdlib.h>

#include "common/mem.h"

#define FIRST_BUCKETS 16

static struct id_entry **bucket_of(const struct id_table *t, uint64_t id)
{
	return &t->buckets[id & (t->n_buckets - 1)];
}

static void grow(struct id_table *t)
{
	struct id_table bigger = {.n_buckets = t->n_buckets * 2};

	bigger.buckets = xcalloc(bigger.n_buckets, sizeof(*bigger.buckets));
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct id_entry *e = t->buckets[i];

		while (e != NULL) {
			struct id_entry *next = e->next;
			struct id_entry **bucket = bucket_of(&bigger, e->id);

			e->next = *bucket;
			*bucket = e;
			e = next;
		}
	}
	free(t->buckets);
	t->buckets = bigger.buckets;
	t->n_buckets = bigger.n_buckets;
}

void id_table_init(struct id_table *t)
{
	t->n_buckets = FIRST_BUCKETS;
	t->count = 0;
	t->buckets = xcalloc(t->n_buckets, sizeof(*t->buckets));
}

void id_table_clear(struct id_table *t)
{
	free(t->buckets);
	t->buckets = NULL;
	t->n_buckets = t->count = 0;
}

void id_table_add(struct id_table *t, struct id_entry *e)
{
	struct id_entry **bucket;

	assert(id_table_find(t, e->id) == NULL);
	if (t->count >= t->n_buckets)
		grow(t);
	bucket = bucket_of(t, e->id);
	e->next = *bucket;
	*bucket = e;
	t->count++;
}

struct id_entry *id_table_find(const struct id_table *t, uint64_t id)
{
	struct id_entry *e = *bucket_of(t, id);

	while (e != NULL && e->id != id)
		e = e->next;
	return e;
}

void id_table_remove(struct id_table *t, struct id_entry *e)
{
	struct id_entry **at = bucket_of(t, e->id);

	while (*at != NULL && *at != e)
		at = &(*at)->next;
	assert(*at == e);
	*at = e->next;
	e->next = NULL;
	t->count--;
}

struct id_entry *id_table_pop(struct id_table *t)
{
	for (size_t i = 0; i < t->n_buckets; i++) {
		struct id_entry *e = t->buckets[i];

		if (e != NULL) {
			id_table_remove(t, e);
			return e;
		}
	}
	return NULL;
}
