/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's database: opened, made, told apart from what is none; statements and transactions.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/certfile.h"
#include "certs/ledger_internal.h"

#define BUSY_MS        30000
#define APPLICATION_ID 0x544c5847 /* "TLXG", in the file's header */

/* What the first version had; each later one is made of the one before, so that a new file and an
 * old one end alike. Times are seconds since the epoch; hashes are SHA-256. */
static const char schema[] = "CREATE TABLE certificate ("
                             " id INTEGER PRIMARY KEY,"
                             " serial TEXT NOT NULL UNIQUE,"
                             " identity TEXT NOT NULL,"
                             " not_before INTEGER NOT NULL,"
                             " not_after INTEGER NOT NULL,"
                             " issued INTEGER NOT NULL,"
                             " revoked INTEGER NOT NULL DEFAULT 0,"
                             " reason INTEGER NOT NULL DEFAULT 0,"
                             " pem TEXT NOT NULL);"
                             "CREATE INDEX certificate_identity ON certificate (identity);"
                             "CREATE TABLE token ("
                             " hash BLOB PRIMARY KEY NOT NULL,"
                             " kind INTEGER NOT NULL,"
                             " name TEXT NOT NULL,"
                             " sans TEXT NOT NULL,"
                             " ttl INTEGER NOT NULL,"
                             " expires INTEGER NOT NULL,"
                             " csr BLOB,"
                             " serial TEXT REFERENCES certificate (serial)) WITHOUT ROWID;"
                             "CREATE TABLE renewal ("
                             " csr BLOB PRIMARY KEY NOT NULL,"
                             " serial TEXT NOT NULL REFERENCES certificate (serial)) WITHOUT ROWID;"
                             "CREATE TABLE crl (number INTEGER NOT NULL);"
                             "INSERT INTO crl VALUES (0);"
                             "PRAGMA application_id = 1414289479;"
                             "PRAGMA user_version = 1;";

/* From version 1 + index to the next. */
static const char *const steps[] = {
    /* old: the serial of what was renewed; NULL where that was not written down yet. */
    "ALTER TABLE renewal ADD COLUMN old TEXT;"
    "CREATE INDEX renewal_old ON renewal (old);"
    "PRAGMA user_version = 2;",
};
#define SCHEMA_VERSION (1 + (int)(sizeof(steps) / sizeof(steps[0])))

static int sys_error(struct ledger *l, int otherwise, struct err *e)
{
	int code = sqlite3_system_errno(l->db);

	return err_sys(e, code == 0 ? otherwise : code, "cannot use the ledger %s", l->path);
}

int ledger_error(struct ledger *l, struct err *e)
{
	/* SQLite gives no handle only for want of memory. */
	int code = l->db == NULL ? SQLITE_NOMEM : sqlite3_errcode(l->db);

	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return err_set(e, TX_ENOMEM, "out of memory");
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(e, TX_EAGAIN,
		    "the ledger %s is in use by another program that does not let go of it",
		    l->path);
	case SQLITE_NOTADB:
		return err_set(
		    e, TX_ESTATE, "%s is not a ledger: it is no SQLite database", l->path);
	case SQLITE_CORRUPT:
		return err_set(e, TX_ESTATE,
		    "the ledger %s is damaged (%s); put back a copy of it from a backup", l->path,
		    sqlite3_errmsg(l->db));
	case SQLITE_FULL:
		return sys_error(l, ENOSPC, e);
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return sys_error(l, EACCES, e);
	case SQLITE_IOERR:
		return sys_error(l, EIO, e);
	case SQLITE_CONSTRAINT:
		return err_set(e, TX_EEXIST, "the ledger %s has this already", l->path);
	default:
		return err_set(
		    e, TX_ESTATE, "the ledger %s fails: %s", l->path, sqlite3_errmsg(l->db));
	}
}

int ledger_prepare(struct ledger *l, sqlite3_stmt **s, const char *sql, struct err *e)
{
	return sqlite3_prepare_v2(l->db, sql, -1, s, NULL) == SQLITE_OK ? 0 : ledger_error(l, e);
}

int ledger_step(struct ledger *l, sqlite3_stmt *s, bool *row, struct err *e)
{
	int rc = sqlite3_step(s);

	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return ledger_error(l, e);
	*row = rc == SQLITE_ROW;
	return 0;
}

int ledger_finish(struct ledger *l, sqlite3_stmt *s, struct err *e)
{
	bool row;
	int rc = ledger_step(l, s, &row, e);

	sqlite3_finalize(s);
	return rc;
}

int ledger_text(sqlite3_stmt *s, int i, char **out, struct err *e)
{
	const unsigned char *text = sqlite3_column_text(s, i);
	bool null = text == NULL && sqlite3_column_type(s, i) == SQLITE_NULL;
	char *copy = text == NULL && !null ? NULL : strdup(null ? "" : (const char *)text);

	if (copy == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	*out = copy;
	return 0;
}

static int execute(struct ledger *l, const char *sql, struct err *e)
{
	return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : ledger_error(l, e);
}

int ledger_begin(struct ledger *l, struct err *e)
{
	return execute(l, "BEGIN IMMEDIATE", e);
}

int ledger_end(struct ledger *l, int rc, struct err *e)
{
	if (rc == 0)
		rc = execute(l, "COMMIT", e);
	/* Some failures have rolled back already. */
	if (rc != 0 && sqlite3_get_autocommit(l->db) == 0)
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

static int number(struct ledger *l, const char *sql, int64_t *out, struct err *e)
{
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0)
		*out = row ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	return rc;
}

static int foreign(struct ledger *l, struct err *e)
{
	return err_set(
	    e, TX_ESTATE, "%s is not a ledger of telex, but another program's database", l->path);
}

static int bring_up(struct ledger *l, int version, struct err *e)
{
	int rc = 0;

	for (; rc == 0 && version < SCHEMA_VERSION; version++)
		rc = execute(l, steps[version - 1], e);
	return rc;
}

/* Within a transaction, so that of two who come to a new file one makes it. */
static int check_or_make(struct ledger *l, struct err *e)
{
	int64_t application = 0, version = 0, tables = 0;
	int rc = number(l, "PRAGMA application_id", &application, e);

	if (rc == 0)
		rc = number(l, "PRAGMA user_version", &version, e);
	if (rc == 0)
		rc = number(l, "SELECT count(*) FROM sqlite_master", &tables, e);
	if (rc != 0)
		return rc;
	if (application == 0 && version == 0 && tables == 0) {
		rc = execute(l, schema, e);
		return rc == 0 ? bring_up(l, 1, e) : rc;
	}
	if (application != APPLICATION_ID)
		return foreign(l, e);
	if (version > SCHEMA_VERSION)
		return err_set(e, TX_ESTATE,
		    "the ledger %s is of a newer telex (version %lld, this one knows %d); use that",
		    l->path, (long long)version, SCHEMA_VERSION);
	return version >= 1 ? bring_up(l, (int)version, e) : foreign(l, e);
}

/* The change to WAL wants the file for itself, and does not wait for it. */
static int set_wal(struct ledger *l, struct err *e)
{
	static const struct timespec pause = {.tv_nsec = 10000000};

	for (int left = BUSY_MS / 10;; left--) {
		int rc = execute(l, "PRAGMA journal_mode = WAL", e);

		if (rc != TX_EAGAIN || left == 0)
			return rc;
		nanosleep(&pause, NULL);
	}
}

static int set_up(struct ledger *l, struct err *e)
{
	int rc;

	sqlite3_busy_timeout(l->db, BUSY_MS);
	sqlite3_extended_result_codes(l->db, 0);
	sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	sqlite3_db_config(l->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	rc = execute(l, "PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL", e);
	if (rc == 0)
		rc = ledger_begin(l, e);
	if (rc == 0)
		rc = ledger_end(l, check_or_make(l, e), e);
	/* Not before we know that it is ours: it changes the file. */
	return rc == 0 ? set_wal(l, e) : rc;
}

/*
 * An empty file of mode 0600 in its place; SQLite gives the files beside it the same mode. Never
 * opened by its name here: to close it would take away the locks of this process's other handles.
 */
static int make_file(const char *path, struct err *e)
{
	int rc;

	if (certfile_exists(path))
		return 0;
	rc = certfile_write(path, "", 0, CERTFILE_KEY, false, e);
	return rc == TX_EEXIST ? 0 : rc;
}

int ledger_open(struct ledger **out, const char *dir, struct err *e)
{
	struct ledger *l = calloc(1, sizeof(*l));
	char path[PATH_MAX];
	int rc = certfile_path(path, dir, CA_LEDGER_FILE, "", e);

	if (rc == 0 && l != NULL)
		l->path = strdup(path);
	if (rc == 0 && (l == NULL || l->path == NULL))
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		rc = make_file(path, e);
	if (rc == 0 && sqlite3_open_v2(path, &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
	                   NULL) != SQLITE_OK)
		rc = ledger_error(l, e);
	if (rc == 0)
		rc = set_up(l, e);
	if (rc == 0)
		*out = l;
	else
		ledger_close(l);
	return rc;
}

void ledger_close(struct ledger *l)
{
	if (l == NULL)
		return;
	sqlite3_close(l->db);
	free(l->path);
	free(l);
}
