/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit_anchor.h"

#include <stdlib.h>
#include <string.h>

int audit_anchors_take(struct audit_anchors *as, const struct audit_line *l)
{
	struct audit_anchor a = {0};
	const char *hash;

	if (!audit_scan_is(l, "anchor") && !audit_scan_is(l, "worker-end") &&
	    !audit_scan_is(l, "worker-begin"))
		return 0;
	if (!audit_scan_number(l, "worker", &a.writer))
		return 0;
	hash = audit_scan_hash(l, "worker_hash");
	if (hash != NULL && audit_scan_number(l, "worker_seq", &a.seq))
		memcpy(a.hash, hash, sizeof(a.hash));
	else if (!audit_scan_is(l, "worker-begin"))
		return 0;
	if (as->n == as->room) {
		size_t room = as->room > 0 ? as->room * 2 : 64;
		struct audit_anchor *list = realloc(as->list, room * sizeof(*list));

		if (list == NULL)
			return TX_ENOMEM;
		as->list = list;
		as->room = room;
	}
	as->list[as->n++] = a;
	return 0;
}

static int compare(const void *x, const void *y)
{
	const struct audit_anchor *a = x, *b = y;

	if (a->writer != b->writer)
		return a->writer < b->writer ? -1 : 1;
	return a->seq == b->seq ? 0 : a->seq < b->seq ? -1 : 1;
}

void audit_anchors_sort(struct audit_anchors *as)
{
	if (as->n > 1)
		qsort(as->list, as->n, sizeof(*as->list), compare);
}

const struct audit_anchor *audit_anchors_of(
    const struct audit_anchors *as, uint64_t writer, size_t *n)
{
	size_t from = 0, to = as->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (as->list[middle].writer < writer)
			from = middle + 1;
		else
			to = middle;
	}
	for (to = from; to < as->n && as->list[to].writer == writer; to++)
		;
	*n = to - from;
	return as->list + from;
}

void audit_anchors_clear(struct audit_anchors *as)
{
	free(as->list);
	*as = (struct audit_anchors){0};
}
