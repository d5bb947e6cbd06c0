/* SPDX-License-Identifier: Apache-2.0 */
/* What a verb about files asks the policy for, in words as it is typed: for `telex policy explain`.
 */
#ifndef TX_CLI_EXPLAIN_FILES_H
#define TX_CLI_EXPLAIN_FILES_H

#include <stdbool.h>

#include "cli/options.h"
#include "common/policy.h"

#define EXPLAIN_PATHS_MAX 64

/* A policy_request's lists, and the words for it. */
struct explain_files {
	const char *user; /* NULL: the agent's own */
	const char *reads[EXPLAIN_PATHS_MAX], *writes[EXPLAIN_PATHS_MAX];
	const char *watches[EXPLAIN_PATHS_MAX];
	char method[80];
	char what[256];
};

/* Whether it is such a verb: "put", "get", "sync", "watch", "fs". */
bool explain_files_is(const char *word);
/*
 * Fills *r's act, lists and user from the words, of which the first is the verb; e keeps what it
 * points to. agent_user: who it is when -u is not given. 0; or the status to end with, a mistake
 * having been said by way of o.
 */
int explain_files_take(struct explain_files *e, struct policy_request *r, struct options *o,
    const char *agent_user, const char *const *words, size_t n);

#endif
