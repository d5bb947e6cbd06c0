/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper noted, and what became of it, against the workers' chains. */
#include <string.h>

#include "common/audit_verify_internal.h"

#define tell audit_verify_tell

/* What the keeper noted and the log does not have: the last of each writer says it all. */
static void check_cut(struct verifier *v, const struct audit_anchors *as)
{
	for (size_t i = 0; i < as->n; i++) {
		const bool begun = as->list[i].seq == 0;
		const struct audit_anchor *a;
		struct chain *c;

		while (i + 1 < as->n && as->list[i + 1].writer == as->list[i].writer)
			i++;
		a = &as->list[i];
		c = audit_verify_chain(v, a->writer);
		if (a->seq == 0 || (c == NULL && !begun) || (c != NULL && c->last >= a->seq))
			continue;
		tell(v, 0, a->writer, a->seq, "the end is cut off",
		    "the keeper noted record %llu of writer %llu, and %s", (ull)a->seq,
		    (ull)a->writer,
		    c == NULL ? "none of its records is here" : "it ends before that");
	}
}

/* One that the keeper could not write down names the record before the gap as that of its begin. */
static void check_strangers(struct verifier *v, struct audit_anchors *as)
{
	struct chain *c;
	size_t n;

	TAILQ_FOREACH(c, &v->chains, link)
	{
		const struct audit_anchor *a = audit_anchors_of(as, c->writer, &n);

		if (n > 0 && a->seq == 0)
			continue;
		if (!audit_anchors_lost(as, c->begun[0] != '\0' ? c->begun : NULL, 0, SIZE_MAX))
			tell(v, 0, c->writer, 0, "a writer is not the keeper's",
			    "writer %llu is none of the workers that the keeper began",
			    (ull)c->writer);
	}
}

/* Each names the keeper's record of its begin. */
static void check_ties(struct verifier *v, const struct audit_anchors *as)
{
	struct chain *c;
	size_t n;

	TAILQ_FOREACH(c, &v->chains, link)
	{
		const struct audit_anchor *a = audit_anchors_of(as, c->writer, &n);

		if (c->begun[0] != '\0' && n > 0 && a->seq == 0 &&
		    memcmp(a->hash, c->begun, AUDIT_HEX) != 0)
			tell(v, 0, c->writer, 1, "a writer is not the keeper's",
			    "writer %llu does not follow the keeper's record of its begin",
			    (ull)c->writer);
	}
}

static void check_end(
    struct verifier *v, const struct chain *c, struct audit_anchors *as, bool running)
{
	const struct audit_run *last;
	enum audit_fate fate;
	size_t n;
	const struct audit_anchor *a = audit_anchors_of(as, c->writer, &n);

	if (n == 0 || a->seq != 0 || as->n_runs == 0 || audit_anchors_ended(as, c->writer))
		return;
	fate = audit_anchors_fate(as, a->run, &last);
	if (last->older || fate == AUDIT_KILLED || fate == AUDIT_ELSEWHERE ||
	    (fate == AUDIT_RUNS && running) ||
	    audit_anchors_lost(as, NULL, a->run, (size_t)(last - as->runs)))
		return;
	tell(v, 0, c->writer, c->last, "the end is cut off",
	    "writer %llu has no end, and its keeper, %llu, %s", (ull)c->writer, (ull)last->writer,
	    fate == AUDIT_ENDED ? "does not say that it was killed" : "does not run");
}

/* Who has not ended was killed, as its keeper says, or still runs. */
static void check_ends(struct verifier *v, struct audit_anchors *as, bool running)
{
	struct chain *c;

	TAILQ_FOREACH(c, &v->chains, link)
	if (!c->ended && c->tied)
		check_end(v, c, as, running);
}

/* Of a keeper that was killed the next one's begin says where its records end. */
static void check_last_keeper(struct verifier *v, const struct audit_anchors *as, bool running)
{
	const struct audit_run *last = as->n_runs > 0 ? &as->runs[as->n_runs - 1] : NULL;

	if (last == NULL || last->older || last->over || running)
		return;
	tell(v, 0, last->writer, 0, "the end is cut off",
	    "keeper %llu has no end, and does not run: the end of its records is cut off, or it "
	    "was "
	    "killed and no other followed it",
	    (ull)last->writer);
}

void audit_check(
    struct verifier *logs, struct verifier *execs, struct audit_anchors *as, bool running)
{
	check_cut(logs, as);
	check_last_keeper(execs, as, running);
	check_strangers(logs, as);
	check_ties(logs, as);
	check_ends(logs, as, running);
}
