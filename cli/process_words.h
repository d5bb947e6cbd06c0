/* SPDX-License-Identifier: Apache-2.0 */
/* A process of the agent's table, for a row or as JSON. */
#ifndef TX_CLI_PROCESS_WORDS_H
#define TX_CLI_PROCESS_WORDS_H

#include <jansson.h>

#include "lib/telex.h"

/* "running", "ending", "ended", "queued". */
const char *process_words_state(enum telex_state state);
/* The command as a shell would read it; of the caller to free. */
char *process_words_command(const struct telex_process *process);
/* "user/ann" of one whose trust domain is the agent's own; others whole. agent may be NULL. */
const char *process_words_owner(const char *owner, const char *agent);
/* Everything that is known. */
json_t *process_words_json(const struct telex_process *process);
json_t *process_words_group_json(const struct telex_group *group);

#endif
