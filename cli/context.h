/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts: which agent I talk to, and as whom. One JSON file each, contexts/NAME.json in the
 * configuration folder, and a file `current` with the name of the chosen one.
 *
 * All return 0 or a negative TX_E… with *e filled: a sentence.
 */
#ifndef TX_CLI_CONTEXT_H
#define TX_CLI_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

/* Plain data; the strings are its own (context_clear). */
struct context {
	char *name;
	char *host;                   /* "host" or "host:port" */
	char *certificate, *key, *ca; /* absolute paths */
	char *server_name;            /* or NULL */
	char *renew_from;             /* the authority's listener, HOST:PORT; or NULL */
	char *revocations;            /* lists of revoked certificates, absolute path; or NULL */
};

void context_clear(struct context *c);

/* 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with "." or "-". */
bool context_name_valid(const char *name);

/* Writes it, whole or not at all. TX_EEXIST when there is one of that name and `replace` is false.
 */
int context_save(const struct context *c, bool replace, struct err *e);
/* Where the context of that name is kept; the caller's to free. */
int context_path(const char *name, char **path, struct err *e);
/* TX_ENOENT: none of that name; the sentence names the nearest. *out is filled only on success. */
int context_load(const char *name, struct context *out, struct err *e);
/* The name of the current one, the caller's to free. TX_ENOENT: none was chosen. */
int context_current(char **name, struct err *e);
/* Makes it current. It must exist. */
int context_use(const char *name, struct err *e);
/* Also no longer current, if it was. */
int context_remove(const char *name, struct err *e);
/* All names, sorted, NULL-terminated; for context_names_free. None: an empty list. */
int context_names(char ***names, size_t *n, struct err *e);
void context_names_free(char **names);

#endif
