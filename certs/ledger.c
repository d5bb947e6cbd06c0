/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/ledger_internal.h"

int ledger_insert(
    struct ledger *l, const struct ledger_certificate *c, const char *pem, struct err *e)
{
	static const char sql[] =
	    "INSERT INTO certificate"
	    " (serial, identity, not_before, not_after, issued, revoked, reason, pem)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
	sqlite3_stmt *s = NULL;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc != 0)
		return rc;
	if (sqlite3_bind_text(s, 1, c->serial, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(s, 2, c->identity, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_int64(s, 3, c->not_before) != SQLITE_OK ||
	    sqlite3_bind_int64(s, 4, c->not_after) != SQLITE_OK ||
	    sqlite3_bind_int64(s, 5, c->issued) != SQLITE_OK ||
	    sqlite3_bind_int64(s, 6, c->revoked) != SQLITE_OK ||
	    sqlite3_bind_int(s, 7, c->reason) != SQLITE_OK ||
	    sqlite3_bind_text(s, 8, pem, -1, SQLITE_STATIC) != SQLITE_OK) {
		sqlite3_finalize(s);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	return ledger_finish(l, s, e);
}

int ledger_add(struct ledger *l, const struct ledger_certificate *c, const char *pem, struct err *e)
{
	int rc = ledger_begin(l, e);

	return rc == 0 ? ledger_end(l, ledger_insert(l, c, pem, e), e) : rc;
}

int ledger_pem(struct ledger *l, const char *serial, char **pem, struct err *e)
{
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, "SELECT pem FROM certificate WHERE serial = ?", e);

	if (rc == 0 && sqlite3_bind_text(s, 1, serial, -1, SQLITE_STATIC) != SQLITE_OK)
		rc = ledger_error(l, e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0 && !row)
		rc = err_set(e, TX_ESTATE, "the ledger %s has no certificate %s, though it is used",
		    l->path, serial);
	if (rc == 0)
		rc = ledger_text(s, 0, pem, e);
	sqlite3_finalize(s);
	return rc;
}

static bool copy(char *out, size_t size, sqlite3_stmt *s, int column)
{
	const unsigned char *text = sqlite3_column_text(s, column);

	if (text == NULL)
		return false;
	snprintf(out, size, "%s", (const char *)text);
	return true;
}

static int take_row(struct ledger_certificate *c, sqlite3_stmt *s, struct err *e)
{
	if (!copy(c->serial, sizeof(c->serial), s, 0) ||
	    !copy(c->identity, sizeof(c->identity), s, 1))
		return err_set(e, TX_ENOMEM, "out of memory");
	c->not_before = sqlite3_column_int64(s, 2);
	c->not_after = sqlite3_column_int64(s, 3);
	c->issued = sqlite3_column_int64(s, 4);
	c->revoked = sqlite3_column_int64(s, 5);
	c->reason = sqlite3_column_int(s, 6);
	return 0;
}

int ledger_find(struct ledger *l, const char *serial, struct ledger_certificate *out, struct err *e)
{
	static const char sql[] =
	    "SELECT serial, identity, not_before, not_after, issued, revoked, reason"
	    " FROM certificate WHERE serial = ?";
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc == 0 && sqlite3_bind_text(s, 1, serial, -1, SQLITE_STATIC) != SQLITE_OK)
		rc = ledger_error(l, e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0 && !row)
		rc = err_set(e, TX_ENOENT, "the ledger %s has no certificate %s", l->path, serial);
	if (rc == 0)
		rc = take_row(out, s, e);
	sqlite3_finalize(s);
	return rc;
}

int ledger_version(struct ledger *l, int64_t *version, struct err *e)
{
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, "PRAGMA data_version", e);

	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0)
		*version = row ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	return rc;
}

int ledger_each(struct ledger *l, bool (*one)(const struct ledger_certificate *c, void *arg),
    void *arg, struct err *e)
{
	static const char sql[] =
	    "SELECT serial, identity, not_before, not_after, issued, revoked, reason"
	    " FROM certificate ORDER BY id DESC";
	struct ledger_certificate c;
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	while (rc == 0) {
		rc = ledger_step(l, s, &row, e);
		if (rc == 0 && row)
			rc = take_row(&c, s, e);
		if (rc != 0 || !row || !one(&c, arg))
			break;
	}
	sqlite3_finalize(s);
	return rc;
}

static int next_number(struct ledger *l, int64_t *out, struct err *e)
{
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, "UPDATE crl SET number = number + 1", e);

	if (rc == 0)
		rc = ledger_finish(l, s, e);
	s = NULL;
	if (rc == 0)
		rc = ledger_prepare(l, &s, "SELECT number FROM crl", e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0 && !row)
		rc = err_set(e, TX_ESTATE, "the ledger %s has lost its number", l->path);
	if (rc == 0)
		*out = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return rc;
}

int ledger_crl_number(struct ledger *l, int64_t *number, struct err *e)
{
	int64_t next = 0;
	int rc = ledger_begin(l, e);

	if (rc == 0) {
		rc = ledger_prune(l, (int64_t)time(NULL), e);
		if (rc == 0)
			rc = next_number(l, &next, e);
		rc = ledger_end(l, rc, e);
	}
	if (rc == 0)
		*number = next;
	return rc;
}
