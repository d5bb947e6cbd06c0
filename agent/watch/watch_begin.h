/* SPDX-License-Identifier: Apache-2.0 */
/* What a WatchBegin asks for, checked. */
#ifndef TX_WATCH_BEGIN_H
#define TX_WATCH_BEGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/files/roots.h"
#include "agent/watch/watch_clock.h"
#include "common/rpc_status.h"
#include "telex/v1/watch.pb-c.h"

#define WATCH_ROOTS_MAX 64

struct watch_asked {
	char *paths[WATCH_ROOTS_MAX];
	size_t n_paths;
	char **include, **exclude; /* NULL-terminated */
	unsigned kinds;            /* 1 << ChangeKind */
	int64_t settle, max_delay; /* ns; 0: at once */
	int64_t heartbeat;         /* ns; 0: none */
	bool recursive, across_mounts, allow_remote, wait, state;
	uint32_t depth;
	bool has_since;
	struct watch_clock since;
	uint64_t asked; /* watch_clock_asked */
};

/* Negative with *status filled; watch_asked_clear in any case. */
int watch_asked_read(
    struct watch_asked *a, const Telex__V1__WatchBegin *begin, struct rpc_status *status);
/* Whether each root is there and may be watched. Negative with *status filled. */
int watch_asked_check(
    const struct watch_asked *a, const struct roots *roots, struct rpc_status *status);
void watch_asked_clear(struct watch_asked *a);

#endif
