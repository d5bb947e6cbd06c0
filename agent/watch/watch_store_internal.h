/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's memory. In the memfd: a header, the nodes, the names; all of it sparse, and mapped
 * once at its largest size. In private memory, by id: struct link.
 *
 * A writer may be killed between any two stores: a node's bytes come before its state (publish),
 * and where a living node is being changed, the header says so (`busy`): the next writer tells all
 * of it again.
 */
#ifndef TX_WATCH_STORE_INTERNAL_H
#define TX_WATCH_STORE_INTERNAL_H

#include "agent/watch/watch_store.h"

#define STORE_MAGIC   0x7478776174636800u
#define STORE_VERSION 1u
#define STORE_SIZE    ((size_t)1 << 30)
#define HEADER_SIZE   ((size_t)64 << 10)
#define NODES_MAX     6000000u
#define TEXT_MAX      ((size_t)16 << 10)
#define NEVER         UINT32_MAX

enum node_state { NODE_FREE, NODE_LIVING, NODE_TOMB };

/* How long ago, in ticks before `last`. */
enum ago { CREATED, MODIFIED, CLOSED, ATTRIBUTES, DELETED, MOVED, AGO_N };

struct node {
	uint64_t place; /* parent << 32 | name: changed by one store */
	uint64_t last;
	uint64_t inode, size;
	int64_t mtime_ns;
	int64_t time_ns;
	uint32_t ago[AGO_N];
	uint32_t moved; /* a text: root (4 bytes), path; 0: none */
	uint32_t count;
	uint32_t mark;
	uint16_t mode;
	uint8_t type;
	uint8_t state; /* enum node_state */
};

/* Texts are behind all nodes, in units. */
#define UNIT      ((size_t)8)
#define TEXTS_AT  (HEADER_SIZE + (size_t)NODES_MAX * sizeof(struct node))
#define UNITS_MAX ((uint32_t)((STORE_SIZE - TEXTS_AT) / UNIT))

struct tree_row {
	uint32_t root; /* 0: none */
	uint32_t pad;
	uint64_t oldest;
};

struct header {
	uint64_t magic;
	uint32_t version, node_size;
	uint64_t instance;
	uint64_t tick;
	uint32_t nodes; /* slots that were used: 1 to nodes - 1 */
	uint32_t names; /* units that were used */
	uint32_t busy;  /* this node is being changed */
	uint32_t busy_top;
	struct tree_row trees[WATCH_TREES_MAX];
};

struct link {
	uint32_t child, next, prev; /* next: of a free slot, the next free one */
	uint32_t newer, older;
	struct watch_note note;
	uint16_t tree;
};

struct list {
	uint32_t newest, oldest;
	size_t n;
};

struct slot {
	uint32_t id, hash;
};

struct watch_store {
	uint8_t *map;
	struct header *head;
	struct node *nodes;
	struct link *links; /* [0, room) */
	uint32_t room, free;
	struct list living[WATCH_TREES_MAX], tombs[WATCH_TREES_MAX];
	struct slot *slots; /* the index */
	uint32_t n_slots, n_indexed;
	uint32_t free_texts[TEXT_MAX / UNIT + 1];
	struct watch_walk *walks;
	uint32_t gaps; /* between texts, as they were found */
	uint64_t told;
	uint32_t nodes_max;
	uint64_t allowed;
	size_t tombs_max;
	int64_t time_ns;
	void (*gone)(watch_id id, struct watch_note *note, void *arg);
	void *gone_arg;
};

static inline uint32_t parent_of(const struct node *n)
{
	return (uint32_t)(n->place >> 32);
}

static inline uint32_t name_of(const struct node *n)
{
	return (uint32_t)n->place;
}

static inline uint64_t place_of(uint32_t parent, uint32_t name)
{
	return (uint64_t)parent << 32 | name;
}

/* Not before what was written until now, for whoever finds the memory after this process's end. */
static inline void publish(struct node *n, enum node_state state)
{
	__atomic_store_n(&n->state, (uint8_t)state, __ATOMIC_RELEASE);
}

/* Whether it may grow by so many bytes. */
bool store_may_grow(const struct watch_store *s, size_t bytes);

/* ---- watch_text.c: names and other texts ---- */

/* Its reference; 0: there is no more room. */
uint32_t text_new(
    struct watch_store *s, const void *head, size_t head_len, const void *text, size_t len);
void text_free(struct watch_store *s, uint32_t ref);
const char *text_get(const struct watch_store *s, uint32_t ref, size_t *len);
/* Whether a reference that was found can be one. */
bool text_valid(const struct watch_store *s, uint32_t ref);
/* Of what is neither used by a node: free. TX_ENOMEM. */
int text_recover(struct watch_store *s);

/* ---- watch_index.c: from parent and name to id; tombstones, too ---- */

/* Room for one more. TX_ENOMEM. */
int index_reserve(struct watch_store *s);
void index_add(struct watch_store *s, uint32_t id);
void index_remove(struct watch_store *s, uint32_t id);
uint32_t index_find(const struct watch_store *s, uint32_t parent, const char *name, size_t len);

/* ---- watch_walk.c ---- */

/* It is about to leave its place: alone, or with all below it. */
void walks_pass(struct watch_store *s, uint32_t id);
void walks_pass_all(struct watch_store *s, uint32_t top);

/* ---- watch_node.c: slots and the lists that they are in ---- */

/* A slot, not published; 0: there is no more room. With room for it in the index. */
uint32_t node_new(struct watch_store *s);
/* Gives a slot up that is in no list and not in the index; its texts, too. */
void node_free(struct watch_store *s, uint32_t id);
/* Index, the parent's children, and the newest of its tree's list. */
void node_enter(struct watch_store *s, uint32_t id);
void node_leave(struct watch_store *s, uint32_t id);
/* Of the list that is its state's alone. */
void node_list(struct watch_store *s, uint32_t id);
void node_unlist(struct watch_store *s, uint32_t id);
void node_newest(struct watch_store *s, uint32_t id);
/* The next one of what is below `top`, tombstones, too; 0: no more. A folder comes after what is
 * below it (first: of id 0), or before it (first: of top). */
uint32_t node_after(const struct watch_store *s, uint32_t top, uint32_t id);
uint32_t node_before(const struct watch_store *s, uint32_t top, uint32_t id);
/* Makes room for links of ids below `room`. TX_ENOMEM. */
int node_room(struct watch_store *s, uint32_t room);

/* ---- watch_recover.c ---- */

/* TX_EPROTO: it is nothing that can be gone on with. TX_ENOMEM. */
int store_recover(struct watch_store *s);

#endif
