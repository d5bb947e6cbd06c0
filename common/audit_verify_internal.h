/* SPDX-License-Identifier: Apache-2.0 */
/* What audit_verify.c, which reads, and audit_check.c, which holds the logs against the exec logs,
 * share; nobody else includes it. */
#ifndef TX_COMMON_AUDIT_VERIFY_INTERNAL_H
#define TX_COMMON_AUDIT_VERIFY_INTERNAL_H

#include <sys/queue.h>

#include "common/audit.h"
#include "common/audit_anchor.h"
#include "common/audit_internal.h"

typedef unsigned long long ull;

struct chain {
	TAILQ_ENTRY(chain) link;
	uint64_t writer, last;
	char hash[AUDIT_HEX]; /* of the last */
	bool unsure;          /* the last was changed: its hash is none */
	bool ended;
	uint64_t gap_from, gap_to; /* the last that were missing */
	uint64_t torn;             /* the number of a record of which a piece is there; 0: none */
	const struct audit_anchor *anchors; /* those that are not met yet */
	size_t n_anchors;
	bool tied;             /* its begin says what was before it */
	char begun[AUDIT_HEX]; /* of the keeper's record that it names; a NUL: none */
};

struct verifier {
	struct audit_result *result; /* of these files */
	uint64_t *findings;          /* of all */
	void (*found)(const struct audit_finding *f, void *arg);
	void *arg;
	const char *expect;
	struct audit_anchors *into;       /* an exec log's: they are taken; else NULL */
	const struct audit_anchors *from; /* a log's: they are held against it; else NULL */
	TAILQ_HEAD(, chain) chains;       /* the last used first */
	const char *name;
	uint64_t line;
	bool tied;                       /* some chain was */
	const struct audit_source *file; /* whose note is looked for */
	bool noted;                      /* it was met */
};

/* One more finding; fmt: its sentence. */
void audit_verify_tell(struct verifier *v, uint64_t line, uint64_t writer, uint64_t seq,
    const char *what, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* NULL: none of its records is here. */
struct chain *audit_verify_chain(struct verifier *v, uint64_t writer);

/* The logs against what the exec logs say; running: their writer is. */
void audit_check(
    struct verifier *logs, struct verifier *execs, struct audit_anchors *as, bool running);

#endif
