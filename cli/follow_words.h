/* SPDX-License-Identifier: Apache-2.0 */
/* What is said on stderr about a process that is followed. */
#ifndef TX_CLI_FOLLOW_WORDS_H
#define TX_CLI_FOLLOW_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/session.h"
#include "lib/telex.h"

/* What the exit status alone does not tell. run_timeout_ms 0: not known; ours: a signal of ours
 * ended it, so that whose it was need not be said. */
void follow_words_end(const struct telex_exit *exit, int64_t run_timeout_ms, bool ours);
/* We go, and what becomes of the process then. */
void follow_words_left(const char *address, const char *id, const struct telex_started *started);
/* It was there before us. */
void follow_words_joined(const struct telex_started *started);
/* A signal goes there; waits: not before the connection is back. */
void follow_words_signal(const char *id, int signo, bool waits);
/* A signal may have gone with the connection. */
void follow_words_unsure(int signo);
/* The agent was not to be reached any more. */
void follow_words_lost(const char *address, const char *id);
/* meanwhile: what becomes of what it was for. */
void follow_words_interrupted(
    const struct session *s, const struct telex_error *why, const char *meanwhile);
/* For telex_group_get: why what was started waits. */
void follow_words_queued(const struct telex_group *group, void *arg);
void follow_words_skipped(enum telex_stream stream, uint64_t from, uint64_t to);
/* What ~? shows. */
void follow_words_escapes(void);
/* After an interruption the agent did not know the process any more. */
void follow_words_unknown(const char *address, const char *id);

#endif
