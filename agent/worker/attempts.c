/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket is a time: until when its source has used up what it earns. One that lies a whole window
 * back is full, and as good as none.
 */
#include "agent/worker/attempts.h"

#include <stdlib.h>
#include <string.h>

#include "common/audit_budget.h"
#include "common/duration.h"
#include "common/mem.h"

#define WINDOW_NS (60 * NS_PER_S)

struct bucket {
	char source[AUDIT_BUDGET_SOURCE];
	int64_t used_ns;
};

struct attempts {
	int64_t price_ns; /* of one */
	size_t n;
	struct bucket others, buckets[ATTEMPTS_SOURCES];
};

struct attempts *attempts_new(uint32_t per_minute)
{
	struct attempts *a = xcalloc(1, sizeof(*a));

	a->price_ns = WINDOW_NS / (per_minute != 0 ? per_minute : ATTEMPTS_PER_MINUTE);
	a->others.used_ns = INT64_MIN;
	return a;
}

void attempts_free(struct attempts *a)
{
	free(a);
}

static struct bucket *find(struct attempts *a, const char *source)
{
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->buckets[i].source, source) == 0)
			return &a->buckets[i];
	return NULL;
}

static struct bucket *find_full(struct attempts *a, int64_t now_ns)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->buckets[i].used_ns <= now_ns - WINDOW_NS)
			return &a->buckets[i];
	return NULL;
}

static struct bucket *get(struct attempts *a, const char *source, int64_t now_ns)
{
	struct bucket *b = find(a, source);

	if (b != NULL)
		return b;
	if (a->n < ATTEMPTS_SOURCES)
		b = &a->buckets[a->n++];
	else
		b = find_full(a, now_ns);
	if (b == NULL)
		return &a->others;
	strcpy(b->source, source);
	b->used_ns = INT64_MIN;
	return b;
}

bool attempts_take(struct attempts *a, const char *peer, int64_t now_ns, int64_t *wait_ns)
{
	char source[AUDIT_BUDGET_SOURCE];
	struct bucket *b;

	audit_budget_source(source, peer);
	b = get(a, source, now_ns);
	if (b->used_ns < now_ns - WINDOW_NS)
		b->used_ns = now_ns - WINDOW_NS;
	*wait_ns = b->used_ns + a->price_ns - now_ns;
	if (*wait_ns > 0)
		return false;
	b->used_ns += a->price_ns;
	return true;
}

void attempts_give_back(struct attempts *a, const char *peer)
{
	char source[AUDIT_BUDGET_SOURCE];
	struct bucket *b;

	audit_budget_source(source, peer);
	b = find(a, source);
	if (b != NULL)
		b->used_ns -= a->price_ns;
}
