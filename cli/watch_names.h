/* SPDX-License-Identifier: Apache-2.0 */
/* Names, each once, in the order in which they came. */
#ifndef TX_CLI_WATCH_NAMES_H
#define TX_CLI_WATCH_NAMES_H

#include <stdbool.h>
#include <stddef.h>

struct watch_names;

struct watch_names *watch_names_new(void);
/* NULL is allowed. */
void watch_names_free(struct watch_names *w);
/* Copies it, unless it is there. Whether it was not. */
bool watch_names_add(struct watch_names *w, const char *name);
bool watch_names_has(const struct watch_names *w, const char *name);
size_t watch_names_count(const struct watch_names *w);
/* What they take, in bytes with their NULs. */
size_t watch_names_bytes(const struct watch_names *w);
/* Takes the first ones out, at least one where there is any, and as many as are together no longer
 * than max bytes: NULL-terminated. *n of them, and the list, are the caller's to free. */
char **watch_names_take(struct watch_names *w, size_t max, size_t *n);

#endif
