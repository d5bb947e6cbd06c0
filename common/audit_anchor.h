/* SPDX-License-Identifier: Apache-2.0 */
/* What an exec log says of the workers' chains: which ones began, and how far each was. For
 * audit_verify.c. */
#ifndef TX_COMMON_AUDIT_ANCHOR_H
#define TX_COMMON_AUDIT_ANCHOR_H

#include "common/audit_internal.h"

struct audit_anchor {
	uint64_t writer, seq; /* 0: it began */
	char hash[AUDIT_HEX];
};

struct audit_anchors {
	struct audit_anchor *list;
	size_t n, room;
};

/* Takes what a record of the exec log says. TX_ENOMEM. */
int audit_anchors_take(struct audit_anchors *as, const struct audit_line *l);
/* By writer and number: before the rest can be asked. */
void audit_anchors_sort(struct audit_anchors *as);
/* The first of this writer's, and how many. */
const struct audit_anchor *audit_anchors_of(
    const struct audit_anchors *as, uint64_t writer, size_t *n);
void audit_anchors_clear(struct audit_anchors *as);

#endif
