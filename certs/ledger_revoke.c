/* SPDX-License-Identifier: Apache-2.0 */
/* What is good no more: revoked, withdrawn, retired, and at last forgotten. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "certs/ledger_internal.h"

/* What was revoked is kept for longer than any list needs it: the ledger's own clock, once set
 * wrong, must not bring it back. */
#define FORGET_REVOKED_S (INT64_C(400) * 86400)

#define CESSATION_OF_OPERATION "5"
/* A token that is withdrawn has the time, negative, where others have the one when they expire. */
#define WITHDRAW "UPDATE token SET expires = -?1 WHERE csr IS NULL AND expires > 0"

static int no_memory(struct err *e)
{
	return err_set(e, TX_ENOMEM, "out of memory");
}

/* As pem_serial writes it: "ab:cd" is "ABCD". */
static void serial_form(char *out, size_t size, const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && n + 1 < size; text++) {
		if (*text != ':')
			out[n++] = (char)toupper((unsigned char)*text);
	}
	out[n] = '\0';
}

#define UPDATE "UPDATE certificate SET revoked = ?3, reason = ?4 WHERE revoked = 0 AND "

/* Whether there is any. */
static int known(struct ledger *l, const char *text, const char *serial, bool *is, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = ledger_prepare(
	    l, &s, "SELECT 1 FROM certificate WHERE serial = ?2 OR identity = ?1", e);

	if (rc == 0 && (sqlite3_bind_text(s, 1, text, -1, SQLITE_STATIC) != SQLITE_OK ||
	                   sqlite3_bind_text(s, 2, serial, -1, SQLITE_STATIC) != SQLITE_OK))
		rc = no_memory(e);
	if (rc == 0)
		rc = ledger_step(l, s, is, e);
	sqlite3_finalize(s);
	return rc;
}

/* Of the identity `text`, or of the serial. */
static const char themselves[] = UPDATE "(serial = ?2 OR (identity = ?1 AND not_after >= ?3))";
static const char descendants[] =
    UPDATE "not_after >= ?3 AND serial IN (WITH RECURSIVE next (serial) AS (VALUES (?2) UNION"
           " SELECT r.serial FROM renewal r JOIN next ON r.old = next.serial)"
           " SELECT serial FROM next WHERE ?1 IS NOT NULL)";

static int revoke_certificates(struct ledger *l, const char *sql, const char *text,
    const char *serial, int reason, int64_t now, size_t *n, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc != 0)
		return rc;
	if (sqlite3_bind_text(s, 1, text, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(s, 2, serial, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_int64(s, 3, now) != SQLITE_OK ||
	    sqlite3_bind_int(s, 4, reason) != SQLITE_OK) {
		sqlite3_finalize(s);
		return no_memory(e);
	}
	rc = ledger_finish(l, s, e);
	if (rc == 0)
		*n = (size_t)sqlite3_changes(l->db);
	return rc;
}

static int withdraw_tokens(
    struct ledger *l, const struct identity *id, int64_t now, size_t *n, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = ledger_prepare(l, &s, WITHDRAW " AND expires > ?1 AND kind = ?2 AND name = ?3", e);

	if (rc != 0)
		return rc;
	if (sqlite3_bind_int64(s, 1, now) != SQLITE_OK ||
	    sqlite3_bind_int(s, 2, (int)id->kind) != SQLITE_OK ||
	    sqlite3_bind_text(s, 3, id->name, -1, SQLITE_STATIC) != SQLITE_OK) {
		sqlite3_finalize(s);
		return no_memory(e);
	}
	rc = ledger_finish(l, s, e);
	if (rc == 0)
		*n = (size_t)sqlite3_changes(l->db);
	return rc;
}

static int find_agent_until(struct ledger *l, const char *text, const char *serial, int64_t now,
    int64_t *until, struct err *e)
{
	static const char sql[] =
	    "SELECT max(not_after) FROM certificate WHERE revoked <> 0 AND not_after > ?3"
	    " AND identity LIKE 'spiffe://%/agent/%'"
	    " AND (identity = ?1"
	    " OR identity = (SELECT identity FROM certificate WHERE serial = ?2))";
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc == 0 && (sqlite3_bind_text(s, 1, text, -1, SQLITE_STATIC) != SQLITE_OK ||
	                   sqlite3_bind_text(s, 2, serial, -1, SQLITE_STATIC) != SQLITE_OK ||
	                   sqlite3_bind_int64(s, 3, now) != SQLITE_OK))
		rc = no_memory(e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0)
		*until = row ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	return rc;
}

static int revoke(struct ledger *l, const char *domain, const char *text, int reason,
    struct ledger_revoked *out, struct err *e)
{
	int64_t now = (int64_t)time(NULL);
	char serial[LEDGER_SERIAL_SIZE];
	struct identity id;
	bool is = false;
	int rc;

	serial_form(serial, sizeof(serial), text);
	rc = known(l, text, serial, &is, e);
	if (rc == 0 && is)
		rc = revoke_certificates(
		    l, themselves, text, serial, reason, now, &out->certificates, e);
	if (rc == 0 && is)
		rc = revoke_certificates(
		    l, descendants, text, serial, reason, now, &out->renewed, e);
	if (rc == 0 && is)
		rc = find_agent_until(l, text, serial, now, &out->agent_until, e);
	if (rc == 0 && identity_parse(&id, text, strlen(text), NULL) == 0 &&
	    strcmp(id.domain, domain) == 0)
		rc = withdraw_tokens(l, &id, now, &out->tokens, e);
	if (rc == 0 && !is && out->tokens == 0)
		rc = err_set(e, TX_ENOENT,
		    "the authority has issued no certificate with the serial or identity \"%s\", "
		    "and has no token out for it",
		    text);
	return rc;
}

int ledger_revoke(struct ledger *l, const char *domain, const char *serial_or_identity, int reason,
    struct ledger_revoked *out, struct err *e)
{
	struct ledger_revoked done = {.tokens = 0};
	int rc = ledger_begin(l, e);

	if (rc == 0)
		rc = ledger_end(l, revoke(l, domain, serial_or_identity, reason, &done, e), e);
	if (rc == 0)
		*out = done;
	return rc;
}

/* ---- all ---- */

/* A statement with one time in it. */
static int at_time(struct ledger *l, const char *sql, int64_t when, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc == 0 && sqlite3_bind_int64(s, 1, when) != SQLITE_OK)
		rc = no_memory(e);
	if (rc == 0)
		return ledger_finish(l, s, e);
	sqlite3_finalize(s);
	return rc;
}

static int retire(struct ledger *l, struct err *e)
{
	int64_t now = (int64_t)time(NULL);
	int rc = at_time(l,
	    "UPDATE certificate SET revoked = ?1, reason = " CESSATION_OF_OPERATION
	    " WHERE revoked = 0 AND not_after >= ?1",
	    now, e);

	return rc == 0 ? at_time(l, WITHDRAW, now, e) : rc;
}

int ledger_retire(struct ledger *l, struct err *e)
{
	int rc = ledger_begin(l, e);

	return rc == 0 ? ledger_end(l, retire(l, e), e) : rc;
}

int ledger_prune(struct ledger *l, int64_t now, struct err *e)
{
	static const char unused[] = "DELETE FROM token WHERE csr IS NULL AND abs(expires) < ?1";
	/* What is bound to a certificate goes with it. */
	static const char token[] =
	    "DELETE FROM token WHERE serial IS NOT NULL AND abs(expires) < ?1"
	    " AND serial NOT IN (SELECT serial FROM certificate)";
	static const char renewal[] = "DELETE FROM renewal WHERE ?1 > 0"
	                              " AND serial NOT IN (SELECT serial FROM certificate)";
	int rc = at_time(l, "DELETE FROM certificate WHERE revoked = 0 AND not_after < ?1",
	    now - LEDGER_MARGIN_S, e);

	if (rc == 0)
		rc = at_time(
		    l, "DELETE FROM certificate WHERE not_after < ?1", now - FORGET_REVOKED_S, e);
	if (rc == 0)
		rc = at_time(l, unused, now - LEDGER_MARGIN_S, e);
	if (rc == 0)
		rc = at_time(l, token, now - LEDGER_MARGIN_S, e);
	return rc == 0 ? at_time(l, renewal, now, e) : rc;
}
