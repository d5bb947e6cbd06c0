/* SPDX-License-Identifier: Apache-2.0 */
/* Filling a struct telex_error from what the lower modules report. A NULL error is allowed
 * everywhere. */
#ifndef TX_LIB_ERROR_H
#define TX_LIB_ERROR_H

#include <stdint.h>

#include "common/err.h"
#include "common/rpc_status.h"
#include "lib/telex.h"

/* Returns -1, for `return error_set(…)`. The text is cut, not grown. */
int error_set(struct telex_error *error, enum telex_error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int error_no_memory(struct telex_error *error);

/* `fallback` is the kind for codes that do not say one by themselves. Returns -1. */
int error_from_err(struct telex_error *error, enum telex_error_kind fallback, const struct err *e);

/* Puts "; what to do" after the message of a CERTIFICATE error; others stay as they are. */
void error_certificate_hint(struct telex_error *error, const char *hint);

/* The last error after coming back was tried for so long. A connection that could not be had is
 * then one that is lost. */
void error_given_up(struct telex_error *error, int64_t tried_ns);

/* status->code is not OK. Returns -1. */
int error_from_status(struct telex_error *error, const struct rpc_status *status);

#endif
