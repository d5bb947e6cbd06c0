/* SPDX-License-Identifier: Apache-2.0 */
/* What watch_client.c (a call) and watch_client_tell.c (its messages) share; nobody else includes
 * it. */
#ifndef TX_WATCH_CLIENT_INTERNAL_H
#define TX_WATCH_CLIENT_INTERNAL_H

#include "agent/watch/watch_batch.h"
#include "agent/watch/watch_begin.h"
#include "agent/watch/watch_engine.h"
#include "agent/watch/watcher.h"

/* What of a tree's counter was told. */
struct client_rescan {
	uint64_t begun, done;
};

struct watch_client {
	struct watch_client *next;
	struct watcher *w;
	struct watch_client_ops ops;
	void *arg;
	struct watch_asked asked;
	struct watch_tree *trees[WATCH_ROOTS_MAX];
	unsigned numbers[WATCH_ROOTS_MAX];
	struct watch_listener listener;
	Telex__V1__TreeFilter *filters;
	Telex__V1__TreeFilter **filter_list;

	bool armed, blocked, half_closed;
	bool fresh; /* the whole state comes next */
	uint64_t cursor;
	struct watch_batch batch;
	size_t again;

	uint64_t *syncs;
	size_t n_syncs, n_answered; /* those that the batch that is going answers */

	uint64_t warned[WATCH_ROOTS_MAX];
	size_t unnamed[WATCH_ROOTS_MAX];    /* of the warnings, as it was told */
	uint64_t rescan_begun, rescan_done; /* told */
	struct client_rescan back[WATCH_ROOTS_MAX], mounts[WATCH_ROOTS_MAX];
	enum { RESTART_NONE, RESTART_BEGUN, RESTART_SENT } restart;

	int64_t first_held, quiet_since; /* 0: nothing is held */
	uint64_t seen;                   /* the newest tick that was looked at */
	int64_t last_sent;
};

/* One message. */
void client_send(struct watch_client *c, Telex__V1__WatchResponse *m);
/* Its cursor's. */
void client_clock(const struct watch_client *c, char out[WATCH_CLOCK_SIZE]);
void client_send_armed(struct watch_client *c);
/* What it was not told of those yet. */
void client_send_warnings(struct watch_client *c);
void client_send_synced(struct watch_client *c);
void client_send_heartbeat(struct watch_client *c);

/* It was just armed: rescans of before are none of its, but that it comes back to another process.
 */
void client_join_rescans(struct watch_client *c);
void client_begin_rescans(struct watch_client *c);
/* What was lost has been looked for, and it was told that this began. */
bool client_owes_rescan(const struct watch_client *c);
/* All that they have found was sent. */
void client_end_rescans(struct watch_client *c);

#endif
