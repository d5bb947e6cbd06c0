/* SPDX-License-Identifier: Apache-2.0 */
/* A store, the true tree that it is told of, and clients that lag behind. */
#ifndef TX_TESTS_WATCH_WORLD_H
#define TX_TESTS_WATCH_WORLD_H

#include "agent/watch/watch_store.h"
#include "tests/support/watch_model.h"

#define CLIENTS 5
#define PATH    512

struct client {
	struct model model;
	uint64_t cursor, target;
	watch_id *ids; /* a batch that is on its way */
	size_t n, at;
	bool fresh;
	bool walks;
	struct watch_walk walk; /* a batch of all that is there */
};

struct world {
	int fd;
	struct watch_store *store;
	unsigned tree;
	struct model truth; /* with the root, "" */
	struct client clients[CLIENTS];
	uint32_t random;
	uint64_t inode;
	bool stop; /* before something is done to the store */
};

uint32_t world_chance(struct world *w, uint32_t below);
/* Of a path that is in the store. */
watch_id world_id(const struct world *w, const char *path);
/* The store has what the truth has. */
void world_check_store(struct world *w);
/* A client is told all, and has the truth then. */
void world_catch_up(struct world *w, struct client *c);
/* A random client is told something. */
void world_some_client(struct world *w);
/* Something at random, to the truth and, where that is asked for, to the store. */
void world_happen(struct world *w, bool store);
void world_begin(struct world *w, uint32_t seed);
void world_end(struct world *w);
/* As after the writer's end. */
void world_reopen(struct world *w);
void world_open_store(struct world *w);
/* As a scan does: what is in the store comes to be the truth. */
void world_rescan(struct world *w);
/* What the store has. */
void world_put_all(struct world *w, struct model *m);
struct model_entry world_fresh_entry(struct world *w, int type);
struct watch_state world_state_of(const struct model_entry *e);
/* The name in a path, and its folder. */
const char *world_split(const char *path, char folder[PATH]);

#endif
