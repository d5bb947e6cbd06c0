/* SPDX-License-Identifier: Apache-2.0 */
/* What the ledger's files share; nothing else includes it. */
#ifndef TX_CERTS_LEDGER_INTERNAL_H
#define TX_CERTS_LEDGER_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "certs/ledger.h"

struct ledger {
	sqlite3 *db;
	char *path; /* for errors */
};

/* What SQLite says went wrong, in our words and numbers. */
int ledger_error(struct ledger *l, struct err *e);

/* Finalize is the caller's (NULL is fine). */
int ledger_prepare(struct ledger *l, sqlite3_stmt **s, const char *sql, struct err *e);
/* SQLITE_ROW or SQLITE_DONE in *row; anything else is an error. */
int ledger_step(struct ledger *l, sqlite3_stmt *s, bool *row, struct err *e);
/* For a statement that gives no rows: steps and finalizes it. */
int ledger_finish(struct ledger *l, sqlite3_stmt *s, struct err *e);

/* A write transaction. ledger_end commits when rc is 0, else rolls back; returns what is to be
 * returned. */
int ledger_begin(struct ledger *l, struct err *e);
int ledger_end(struct ledger *l, int rc, struct err *e);

/* Within a transaction. TX_EEXIST when the serial is there. */
int ledger_insert(
    struct ledger *l, const struct ledger_certificate *c, const char *pem, struct err *e);
/* The PEM of a serial, malloc'd. */
int ledger_pem(struct ledger *l, const char *serial, char **pem, struct err *e);

/* Within a transaction: forgets what is over for long. */
int ledger_prune(struct ledger *l, int64_t now, struct err *e);

/* Column i as malloc'd text ("" for NULL). */
int ledger_text(sqlite3_stmt *s, int i, char **out, struct err *e);

#endif
