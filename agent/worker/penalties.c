/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/penalties.h"

#include <stdlib.h>
#include <string.h>

#include "common/audit_budget.h"
#include "common/mem.h"

struct penalty {
	char source[AUDIT_BUDGET_SOURCE];
	int64_t until_ns;
	int64_t next_ns; /* when the next handshake may begin */
	int64_t pause_ns;
};

struct penalties {
	size_t n;
	struct penalty list[PENALTY_SOURCES];
};

struct penalties *penalties_new(void)
{
	return xcalloc(1, sizeof(struct penalties));
}

void penalties_free(struct penalties *p)
{
	free(p);
}

/* Those that are over go on the way. */
static struct penalty *find(struct penalties *p, const char *source, int64_t now_ns)
{
	struct penalty *found = NULL;

	for (size_t i = 0; i < p->n;) {
		if (p->list[i].until_ns <= now_ns) {
			p->list[i] = p->list[--p->n];
			continue;
		}
		if (strcmp(p->list[i].source, source) == 0)
			found = &p->list[i];
		i++;
	}
	return found;
}

static struct penalty *oldest(struct penalties *p)
{
	struct penalty *o = &p->list[0];

	for (size_t i = 1; i < p->n; i++)
		if (p->list[i].until_ns < o->until_ns)
			o = &p->list[i];
	return o;
}

void penalties_add(struct penalties *p, const char *peer, int64_t now_ns)
{
	char source[AUDIT_BUDGET_SOURCE];
	struct penalty *q;

	audit_budget_source(source, peer);
	q = find(p, source, now_ns);
	if (q == NULL) {
		q = p->n < PENALTY_SOURCES ? &p->list[p->n++] : oldest(p);
		*q = (struct penalty){
		    .next_ns = now_ns + PENALTY_PAUSE_NS, .pause_ns = PENALTY_PAUSE_NS};
		strcpy(q->source, source);
	} else if (q->pause_ns < PENALTY_LONGEST_NS) {
		q->pause_ns *= 2;
	}
	q->until_ns = now_ns + PENALTY_FOR_NS;
}

int64_t penalties_wait(struct penalties *p, const char *peer, int64_t now_ns)
{
	char source[AUDIT_BUDGET_SOURCE];
	struct penalty *q = NULL;
	int64_t wait;

	if (p->n > 0) {
		audit_budget_source(source, peer);
		q = find(p, source, now_ns);
	}
	if (q == NULL)
		return 0;
	if (q->next_ns < now_ns)
		q->next_ns = now_ns;
	wait = q->next_ns - now_ns;
	if (wait >= PENALTY_MOST_NS)
		return PENALTY_MOST_NS;
	q->next_ns += q->pause_ns;
	return wait;
}
