/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of watched trees: for each path what is there, and at which tick what last happened
 * to it. It is in a memfd, so that it outlives a writer that is killed at any instruction; what can
 * be found again (index, lists) is in private memory.
 *
 * A tick is the number of a change; one counter for all trees. "What has changed since" is a walk
 * of the newest. A path that is gone leaves a tombstone, which covers all that was below it; the
 * oldest tombstones are dropped when there are many, and who knows only what was before that,
 * begins anew (watch_store_oldest).
 */
#ifndef TX_WATCH_STORE_H
#define TX_WATCH_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef uint32_t watch_id; /* a path's; reused when it is neither there nor a tombstone */

#define WATCH_NO_ID     ((watch_id)0)
#define WATCH_TREES_MAX 1024

/* What happens to a path: 1 << telex.v1.ChangeKind. */
#define WATCH_CREATED    (1u << 1)
#define WATCH_MODIFIED   (1u << 2)
#define WATCH_CLOSED     (1u << 3)
#define WATCH_ATTRIBUTES (1u << 4)
#define WATCH_DELETED    (1u << 5)
#define WATCH_MOVED      (1u << 6)

struct watch_state {
	uint64_t inode, size;
	int64_t mtime_ns;
	uint32_t mark; /* of what else tells that it was changed (ctime) */
	uint16_t mode; /* 0 to 07777 */
	uint8_t type;  /* DT_…; 0: a root that is not there */
};

/* What a path's user keeps with it, in private memory. 0 at first. */
struct watch_note {
	uint32_t watch, next;
	uint16_t flags;
};

struct watch_view {
	struct watch_state state;
	watch_id parent; /* WATCH_NO_ID: it is a root */
	unsigned tree;
	bool exists; /* false: a tombstone, or a root that is not there */
	uint64_t last, created;
	int64_t time_ns; /* wall clock, of the last change */
	uint32_t count;
	/* Where it came from; of a tombstone, where it went. NULL: not known. */
	watch_id moved_root;
	const char *moved;
	size_t moved_len;
};

struct watch_store;

/* Of a memfd (stays the caller's): empty, or left by a predecessor. What cannot be gone on with, is
 * emptied. TX_ESYS, TX_ENOMEM. */
int watch_store_open(struct watch_store **out, int fd, struct err *e);
void watch_store_free(struct watch_store *s);

/* Of this content: random, another one when it was begun anew. */
uint64_t watch_store_instance(const struct watch_store *s);
uint64_t watch_store_tick(const struct watch_store *s);
/* The wall clock that changes have from now on. */
void watch_store_set_time(struct watch_store *s, int64_t ns);
/* All who listen know everything up to here: what is counted begins anew behind it, and tombstones
 * of before may go earlier. */
void watch_store_set_told(struct watch_store *s, uint64_t tick);
/* Fewer than otherwise: paths in all, and tombstones that are kept of a tree (more of a large one,
 * and while not all are told). */
void watch_store_limit(struct watch_store *s, uint32_t paths, size_t tombstones);
/* Bytes of the memfd, UINT64_MAX: as many as it has. Short: there are so many, or more; an eighth
 * more of them is had all the same, by whoever does not look. What it has is not given back. */
void watch_store_allow(struct watch_store *s, uint64_t bytes);
bool watch_store_is_short(const struct watch_store *s);
/* Paths that can be there, and those that could be besides what is known now. */
size_t watch_store_most(const struct watch_store *s);
size_t watch_store_left(const struct watch_store *s);
/* Called for each path that was there and will not be, before its id is given up. */
void watch_store_on_gone(struct watch_store *s,
    void (*gone)(watch_id id, struct watch_note *note, void *arg), void *arg);

/* ---- trees ---- */

/* The tree of that key, an empty one when there is none: *tree. TX_ELIMIT, TX_ENOMEM. */
int watch_store_tree(struct watch_store *s, const void *key, size_t len, unsigned *tree);
/* One of this number, or none: WATCH_NO_ID. */
watch_id watch_store_root(const struct watch_store *s, unsigned tree);
/* Its key, to be read until the next change. */
const char *watch_store_key(const struct watch_store *s, unsigned tree, size_t *len);
/* Forgets it, with all tombstones. */
void watch_store_drop(struct watch_store *s, unsigned tree);
/* Gives up all tombstones that all who listen were told of, where there is no more room. */
void watch_store_forget_told(struct watch_store *s);
/* Who knows the tree as of a tick before this one, cannot be told what has changed; nor who was
 * being told, and has not been told all. */
uint64_t watch_store_oldest(const struct watch_store *s, unsigned tree);
/* How many paths are there, the root among them. */
size_t watch_store_living(const struct watch_store *s, unsigned tree);

/* ---- looking ---- */

/* A path that is there. */
watch_id watch_store_find(
    const struct watch_store *s, watch_id parent, const char *name, size_t len);
/* False: the id is nobody's. */
bool watch_store_view(const struct watch_store *s, watch_id id, struct watch_view *out);
/* The tree that it is in; the id is somebody's. */
unsigned watch_store_tree_of(const struct watch_store *s, watch_id id);
/* Whether it is a path that is there. */
bool watch_store_is(const struct watch_store *s, watch_id id);
const struct watch_note *watch_store_see(const struct watch_store *s, watch_id id);
struct watch_note *watch_store_note(struct watch_store *s, watch_id id);
/* What is there in a folder, in no order; WATCH_NO_ID: no more. */
watch_id watch_store_child(const struct watch_store *s, watch_id folder);
watch_id watch_store_next(const struct watch_store *s, watch_id sibling);
watch_id watch_store_parent(const struct watch_store *s, watch_id id);
/* Its own name, not terminated. Lives until the next change. */
const char *watch_store_name(const struct watch_store *s, watch_id id, size_t *len);
/* Folders between it and its root; 0: the root. */
size_t watch_store_depth(const struct watch_store *s, watch_id id);
/* The path below its root, terminated; what snprintf would return. */
size_t watch_store_path(const struct watch_store *s, watch_id id, char *out, size_t size);
/* What has happened to it after that tick. */
unsigned watch_store_kinds(const struct watch_store *s, watch_id id, uint64_t since);

/* ---- changing: each is a tick ---- */

/* A name comes to be there, in a folder that is. It must not be there. TX_ELIMIT, TX_ENOMEM. */
int watch_store_put(struct watch_store *s, watch_id parent, const char *name, size_t len,
    const struct watch_state *st, unsigned kinds, watch_id *out);
/* A name has come and gone unseen. TX_ELIMIT, TX_ENOMEM: it is not remembered. */
int watch_store_pass(
    struct watch_store *s, watch_id parent, const char *name, size_t len, unsigned kinds);
/* Something happened to a path that is there (a root: also to one that is not, which is back then).
 * st NULL: its state is as it was. */
void watch_store_touch(
    struct watch_store *s, watch_id id, const struct watch_state *st, unsigned kinds);
/* No tick: what is known is made more exact, and not told. */
void watch_store_correct(struct watch_store *s, watch_id id, const struct watch_state *st);
/* It is gone, with all below it. Its id is the tombstone's; a root stays. */
void watch_store_delete(struct watch_store *s, watch_id id);
/* It is in that folder now, which is not below it, under a name that is not there; in the same
 * tree. All below it moves along, and is as made anew. Its notes stay. *old: its old name's
 * tombstone. TX_ELIMIT, TX_ENOMEM: nothing is changed. */
int watch_store_rename(struct watch_store *s, watch_id id, watch_id parent, const char *name,
    size_t len, watch_id *old);
/* No tick: tells of what was just put or deleted where it came from or went. */
void watch_store_moved(
    struct watch_store *s, watch_id id, watch_id root, const char *path, size_t len);
/* All that is known of it is to be told again, as deleted and made. */
void watch_store_renew(struct watch_store *s, watch_id id);

/* ---- collecting ---- */

struct watch_pick {
	uint64_t tick;
	uint32_t depth;
	watch_id id;
};

struct watch_picks {
	struct watch_pick *list; /* free() */
	size_t n, room;
};

/* Adds what of a tree has changed after that tick, tombstones, too. TX_ENOMEM. */
int watch_store_changed(
    const struct watch_store *s, unsigned tree, uint64_t since, struct watch_picks *out);
/* When the last of it happened. */
uint64_t watch_store_newest(const struct watch_store *s, unsigned tree);
/* As it happened, but that a folder is before what is below it. */
void watch_picks_sort(struct watch_picks *p);

/* Through all that is there, a folder before what is in it; between two steps anything may change.
 * What is made or moved meanwhile may be missed: it has a later tick. */
struct watch_walk {
	watch_id at;
	struct watch_walk *following;
};

/* Begins one, which must stay where it is until its end. */
void watch_store_walk(struct watch_store *s, struct watch_walk *walk, unsigned tree);
/* WATCH_NO_ID: that was all. */
watch_id watch_store_walk_next(struct watch_store *s, struct watch_walk *walk);
void watch_store_walk_end(struct watch_store *s, struct watch_walk *walk);

/* Bytes of private memory, and of the memfd. */
size_t watch_store_memory(const struct watch_store *s);

#endif
