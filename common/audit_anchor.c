/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit_anchor.h"

#include <stdlib.h>
#include <string.h>

/* Room for one more. */
static void *grow(void *list, size_t n, size_t *room, size_t size)
{
	size_t more = *room > 0 ? *room * 2 : 64;
	void *grown;

	if (n < *room)
		return list;
	grown = realloc(list, more * size);
	if (grown != NULL)
		*room = more;
	return grown;
}

static int add_run(struct audit_anchors *as, const struct audit_line *l)
{
	struct audit_run *runs = grow(as->runs, as->n_runs, &as->room_runs, sizeof(*runs));

	if (runs == NULL)
		return TX_ENOMEM;
	as->runs = runs;
	runs[as->n_runs++] =
	    (struct audit_run){.writer = l->writer, .older = audit_scan_hash(l, "after") == NULL};
	return 0;
}

/* Whether it was of the keeper's own life; then *rc is what came of it. */
static bool take_own(struct audit_anchors *as, const struct audit_line *l, int *rc)
{
	struct audit_run *last = as->n_runs > 0 ? &as->runs[as->n_runs - 1] : NULL;

	*rc = 0;
	if (audit_scan_is(l, "begin"))
		*rc = add_run(as, l);
	else if (audit_scan_is(l, "end") && last != NULL)
		last->over = true;
	else if (audit_scan_is(l, "rotated") && last != NULL)
		last->rotated = true;
	else
		return false;
	return true;
}

static int add_ended(struct audit_anchors *as, uint64_t writer)
{
	uint64_t *ended = grow(as->ended, as->n_ended, &as->room_ended, sizeof(*ended));

	if (ended == NULL)
		return TX_ENOMEM;
	as->ended = ended;
	ended[as->n_ended++] = writer;
	return 0;
}

static int add_gap(struct audit_anchors *as, const struct audit_line *l, uint64_t lost)
{
	struct audit_gap *gaps = grow(as->gaps, as->n_gaps, &as->room_gaps, sizeof(*gaps));
	struct audit_gap *g;

	if (gaps == NULL)
		return TX_ENOMEM;
	as->gaps = gaps;
	g = &gaps[as->n_gaps++];
	g->run = as->n_runs > 0 ? as->n_runs - 1 : 0;
	g->lost = lost;
	memcpy(g->before, l->prev, sizeof(g->before));
	return 0;
}

int audit_anchors_take(struct audit_anchors *as, const struct audit_line *l)
{
	const bool begins = audit_scan_is(l, "worker-begin"), ends = audit_scan_is(l, "worker-end");
	struct audit_anchor a = {.run = as->n_runs > 0 ? as->n_runs - 1 : 0};
	struct audit_anchor *list;
	const char *hash;
	uint64_t lost = 0;
	int rc;

	if (take_own(as, l, &rc) && rc != 0)
		return rc;
	if (audit_scan_number(l, "lost", &lost) && lost > 0 && add_gap(as, l, lost) != 0)
		return TX_ENOMEM;
	if ((!audit_scan_is(l, "anchor") && !begins && !ends) ||
	    !audit_scan_number(l, "worker", &a.writer))
		return 0;
	if (ends && add_ended(as, a.writer) != 0)
		return TX_ENOMEM;
	hash = begins ? l->hash : audit_scan_hash(l, "worker_hash");
	if (hash == NULL || (!begins && !audit_scan_number(l, "worker_seq", &a.seq)))
		return 0;
	memcpy(a.hash, hash, sizeof(a.hash));
	list = grow(as->list, as->n, &as->room, sizeof(*list));
	if (list == NULL)
		return TX_ENOMEM;
	as->list = list;
	list[as->n++] = a;
	return 0;
}

static int compare(const void *x, const void *y)
{
	const struct audit_anchor *a = x, *b = y;

	if (a->writer != b->writer)
		return a->writer < b->writer ? -1 : 1;
	return a->seq == b->seq ? 0 : a->seq < b->seq ? -1 : 1;
}

static int compare_writers(const void *x, const void *y)
{
	const uint64_t *a = x, *b = y;

	return *a == *b ? 0 : *a < *b ? -1 : 1;
}

void audit_anchors_sort(struct audit_anchors *as)
{
	if (as->n > 1)
		qsort(as->list, as->n, sizeof(*as->list), compare);
	if (as->n_ended > 1)
		qsort(as->ended, as->n_ended, sizeof(*as->ended), compare_writers);
}

bool audit_anchors_ended(const struct audit_anchors *as, uint64_t writer)
{
	return as->n_ended > 0 && bsearch(&writer, as->ended, as->n_ended, sizeof(*as->ended),
	                              compare_writers) != NULL;
}

enum audit_fate audit_anchors_fate(
    const struct audit_anchors *as, size_t run, const struct audit_run **last)
{
	while (run + 1 < as->n_runs && as->runs[run].over && as->runs[run].rotated)
		run++;
	*last = &as->runs[run];
	if ((*last)->over)
		return (*last)->rotated ? AUDIT_ELSEWHERE : AUDIT_ENDED;
	return run + 1 < as->n_runs ? AUDIT_KILLED : AUDIT_RUNS;
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
	return as->n > 0 ? as->list + from : NULL;
}

bool audit_anchors_lost(struct audit_anchors *as, const char *before, size_t run, size_t last)
{
	for (size_t i = 0; i < as->n_gaps; i++) {
		struct audit_gap *g = &as->gaps[i];

		if (g->lost == 0 || g->run < run || g->run > last ||
		    (before != NULL && memcmp(g->before, before, sizeof(g->before)) != 0))
			continue;
		g->lost--;
		return true;
	}
	return false;
}

void audit_anchors_clear(struct audit_anchors *as)
{
	free(as->list);
	free(as->ended);
	free(as->runs);
	free(as->gaps);
	*as = (struct audit_anchors){0};
}
