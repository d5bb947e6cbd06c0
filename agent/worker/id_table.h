/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table of things that carry a number: attachments, requests under way. The entries are
 * their owner's. */
#ifndef TX_AGENT_WORKER_ID_TABLE_H
#define TX_AGENT_WORKER_ID_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* The first member of what is put in. */
struct id_entry {
	uint64_t id;
	struct id_entry *next;
};

struct id_table {
	struct id_entry **buckets;
	size_t n_buckets; /* a power of two */
	size_t count;
};

void id_table_init(struct id_table *t);
/* Frees the table, not what is in it. */
void id_table_clear(struct id_table *t);

/* e->id must not be in the table (asserted). */
void id_table_add(struct id_table *t, struct id_entry *e);
struct id_entry *id_table_find(const struct id_table *t, uint64_t id); /* NULL: none */
/* e must be in the table (asserted). */
void id_table_remove(struct id_table *t, struct id_entry *e);
/* Removes and returns any entry; NULL when there is none. */
struct id_entry *id_table_pop(struct id_table *t);

#endif
