/* SPDX-License-Identifier: Apache-2.0 */
/* Where telex keeps things, and files written whole or not at all. */
#ifndef TX_CLI_PATHS_H
#define TX_CLI_PATHS_H

#include <stddef.h>

#include "common/err.h"

/* All return 0 or a negative TX_E… with *e filled; out-strings are the caller's to free. */

/* ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex} */
int paths_config(char **out, struct err *e);
/* ${XDG_STATE_HOME:-~/.local/state}/telex */
int paths_state(char **out, struct err *e);
/* `path` from the working folder on, when it is relative. */
int paths_absolute(const char *path, char **out, struct err *e);
/* Makes `path` and what is missing above it, mode 0700. */
int paths_make_folder(const char *path, struct err *e);
/* Puts text[0..len) at `path`, mode 0600, by a temporary file beside it and a rename. */
int paths_write(const char *path, const char *text, size_t len, struct err *e);
/* Reads a file of at most `max` bytes, NUL-terminated. TX_ENOENT when there is none. */
int paths_read(const char *path, size_t max, char **text, struct err *e);

#endif
