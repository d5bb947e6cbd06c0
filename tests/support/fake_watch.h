/* SPDX-License-Identifier: Apache-2.0 */
/* A fake agent's Watch: what it is asked is noted, what it tells is the test's to say. */
#ifndef TX_TESTS_FAKE_WATCH_H
#define TX_TESTS_FAKE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc.h"

struct fake_watch {
	struct rpc_call *call; /* the newest that is open */
	unsigned begins;       /* calls that have begun */
	/* Of the newest. */
	char since[64], user[32], path[64], include[64], exclude[64];
	size_t n_paths, n_include, n_exclude;
	bool recursive, state, wait, across_mounts, allow_remote;
	uint32_t depth;
	unsigned kinds; /* bits */
	int64_t settle_ms, max_delay_ms, heartbeat_ms;
	unsigned syncs;
	uint64_t sync; /* the last id */
	bool half_closed;
	/* By itself: armed, changes, what else there is, and the answers to barriers and to the
	 * end. */
	bool tells;
};

void fake_watch_armed(struct fake_watch *w, const char *clock, bool fresh);
/* n changes of "p0", "p1", …: created. clock "": more of the batch follow. */
void fake_watch_changes(struct fake_watch *w, size_t n, const char *clock);
/* One of any kind, with a name it was moved from. NULL: none. */
struct fake_change {
	uint32_t root, moved_root;
	const char *path, *moved_from, *moved_to;
	unsigned kinds;
	bool exists;
};
void fake_watch_change(struct fake_watch *w, const struct fake_change *c, const char *clock);
void fake_watch_rescan(struct fake_watch *w, int reason, bool done);
void fake_watch_warning(struct fake_watch *w, uint32_t root, const char *path, const char *reason);
void fake_watch_warning_over(
    struct fake_watch *w, uint32_t root, const char *path, const char *reason);
void fake_watch_synced(struct fake_watch *w, uint64_t id, const char *clock);
void fake_watch_heartbeat(struct fake_watch *w);
/* Ends the call; reason NULL: with OK. */
void fake_watch_end(struct fake_watch *w, int code, const char *reason);

extern const struct rpc_method fake_watches[];
extern const size_t n_fake_watches;

#endif
