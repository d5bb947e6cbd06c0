/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has changed since a client was told last, as messages. When it begins, it notes which paths
 * that are (4 bytes each); where it is all that is there, it walks through that and notes nothing.
 * What is sent of each is what it is when it is sent. What changes meanwhile comes again with the
 * next one.
 */
#ifndef TX_WATCH_BATCH_H
#define TX_WATCH_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/watch/watch_store.h"
#include "telex/v1/watch.pb-c.h"

/* Who is told, and of what. */
struct watch_listener {
	struct watch_store *store;
	const unsigned *trees; /* its roots, in its order */
	size_t n_trees;
	Telex__V1__TreeOptions include; /* its filters match what is told; none: all */
	unsigned kinds;                 /* 1 << ChangeKind */
};

struct watch_batch {
	bool going;
	bool fresh; /* the whole state */
	bool early; /* something was left for the next one, as its folder is to come first */
	bool sent;  /* a message of it */
	uint64_t from, to;
	watch_id *ids; /* of what has changed */
	size_t n, at;
	struct watch_store *store; /* a walk goes on in it; NULL: none */
	struct watch_walk walk;
	size_t tree; /* of the listener's, whose walk comes next */
};

/* What is newer than `from`, or all; it must stay where it is until batch_end. TX_ENOMEM. */
int batch_begin(struct watch_batch *b, const struct watch_listener *l, uint64_t from, bool fresh);
void batch_end(struct watch_batch *b);
/* Whether what it needs may have been dropped since: who was told it knows nothing for sure. */
bool batch_is_void(const struct watch_batch *b, const struct watch_listener *l);

struct watch_message;

struct watch_message *watch_message_new(void);
void watch_message_free(struct watch_message *m);
/* The next Changes, at most 1 MiB, in *m, which must live as long as what is returned, and may be
 * used by others then. */
Telex__V1__WatchChanges *batch_next(
    struct watch_batch *b, const struct watch_listener *l, struct watch_message *m);
/* Whether those were the last. */
bool batch_is_over(const struct watch_batch *b, const struct watch_listener *l);

#endif
