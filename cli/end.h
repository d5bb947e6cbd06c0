/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ended: as an exit status, as words, as JSON. */
#ifndef TX_CLI_END_H
#define TX_CLI_END_H

#include <jansson.h>
#include <stddef.h>

#include "lib/telex.h"

/* The exit status of `run`: the program's own, 128 + signal, 124 for its timeout, 126 or 127 when
 * it was queued and could not be executed, 125 when it is not known or never ran. */
int end_status(const struct telex_exit *exit);
/* The exit status for a run that failed: 126 or 127 when it could not be executed, else 125. */
/* The same for who sent it this signal meanwhile (0: none): what was taken from its queue for that
 * never ran, and could not die of it. */
int end_status_after(const struct telex_exit *exit, int signo);
int end_error_status(const struct telex_error *error);
/* "exit 3", "SIGTERM", "unknown", "not started". size >= END_TEXT. Returns out. */
#define END_TEXT 32
char *end_text(char *out, size_t size, const struct telex_exit *exit);
/* "exited", "signalled", "run_timeout", "disconnect", "shutdown", "out_of_memory";
 * "unspecified". */
const char *end_reason(enum telex_reason reason);
/* An object with "code", or "signal" and "signal_name", "unknown" or "not_started"; and all that is
 * known besides. */
json_t *end_json(const struct telex_exit *exit);
/* An object with "kind", "message" and, where they are known, "code", "reason", "stage", "errno".
 */
json_t *end_error_json(const struct telex_error *error);

#endif
