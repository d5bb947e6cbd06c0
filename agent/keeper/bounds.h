/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a worker's request ends at the agent's ceiling (ceiling.h) or an identity's quota. Our own
 * worker refuses by the same ceiling before it asks, so one that asks for what the ceiling forbids
 * that it was given is not ours any more: it is refused, told of in the log, and its link ended,
 * which ends its process. By what a reload has changed since, a request is refused only.
 */
#ifndef TX_KEEPER_BOUNDS_H
#define TX_KEEPER_BOUNDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/job_spec.h"
#include "common/keeper_msg.h"

struct job;
struct link;

/* The text of a start against the ceiling; false: it was answered, and *rc is what the handler
 * returns. */
bool bounds_start(struct link *l, const struct km_start *m, const struct job_spec *spec, int *rc);

/* The same for a telex-files; user: never NULL. */
bool bounds_files(struct link *l, const struct km_files *m, const char *user, int *rc);

/*
 * The process of that id, for a request of `by`: its own, or with `any` whosever it is. NULL: there
 * is none such and the request was answered; *rc is what the handler returns.
 */
struct job *bounds_find(
    struct link *l, uint64_t seq, const char *id, const char *by, bool any, int *rc);
/* Whether `any` may be said at all; else the request was answered and *rc is set. */
bool bounds_any(struct link *l, uint64_t seq, const char *by, const char *id, bool any, int *rc);

/* Whether the owner may have one more; else *why is filled (KM_WHY_QUOTA). */
bool bounds_quota(struct link *l, const struct km_start *m, struct km_refused *why);

#endif
