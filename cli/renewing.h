/* SPDX-License-Identifier: Apache-2.0 */
/* A context's certificate and its next one. */
#ifndef TX_CLI_RENEWING_H
#define TX_CLI_RENEWING_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/context.h"
#include "common/err.h"

/* When it is due, and ends; seconds since the epoch. */
int renewing_dates(const struct context *c, int64_t *due, int64_t *not_after, struct err *e);

/*
 * Fetches the next certificate and puts it in its place, with its key. Only one program at a time
 * does so for the same file: another waits, and finds it done (then `only_due` makes it nothing).
 * *not_after: of what is in place now. TX_ESTATE: the context does not say where.
 */
int renewing_do(const struct context *c, bool only_due, int64_t *not_after, struct err *e);

/*
 * For every verb that uses the context: when the certificate is due, it is renewed by a process
 * apart, and this one goes on. What failed before is said, once an hour; nothing with `quiet`.
 */
void renewing_aside(const struct context *c, bool quiet);
/* What that process does at its end: remembers how it went. */
void renewing_remember(const struct context *c, const struct err *failure);

#endif
