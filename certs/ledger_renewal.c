/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renewals: what is bound to the CSR that was signed for it, whose successor it is, and how many
 * there may be. Whoever has a certificate can ask for the next one as often as he likes, and each
 * is a line of the next revocation list: so they are bounded here, where they are recorded.
 */
#include <stdlib.h>

#include "certs/ledger_internal.h"
#include "common/tls_cert.h"

/* SQLite's own failure of a bind is one of memory. */
static int no_memory(struct err *e)
{
	return err_set(e, TX_ENOMEM, "out of memory");
}

static bool bind_hash(sqlite3_stmt *s, int i, const uint8_t hash[LEDGER_HASH_SIZE])
{
	return sqlite3_bind_blob(s, i, hash, LEDGER_HASH_SIZE, SQLITE_STATIC) == SQLITE_OK;
}

int ledger_renewal(
    struct ledger *l, const uint8_t csr_hash[LEDGER_HASH_SIZE], char **pem, struct err *e)
{
	sqlite3_stmt *s = NULL;
	char *found = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s,
	    "SELECT c.pem, c.revoked FROM renewal r JOIN certificate c ON c.serial = r.serial"
	    " WHERE r.csr = ?",
	    e);

	if (rc == 0 && !bind_hash(s, 1, csr_hash))
		rc = no_memory(e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0 && row && sqlite3_column_int64(s, 1) != 0)
		rc = err_set(e, TX_EPERM, "the certificate that this request got is revoked");
	if (rc == 0 && row)
		rc = ledger_text(s, 0, &found, e);
	sqlite3_finalize(s);
	if (rc == 0)
		*pem = found;
	return rc;
}

static int insert_renewal(struct ledger *l, const uint8_t *csr_hash, const char *serial,
    const char *old_serial, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc =
	    ledger_prepare(l, &s, "INSERT INTO renewal (csr, serial, old) VALUES (?, ?, ?)", e);

	if (rc != 0)
		return rc;
	if (!bind_hash(s, 1, csr_hash) ||
	    sqlite3_bind_text(s, 2, serial, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(s, 3, old_serial, -1, SQLITE_STATIC) != SQLITE_OK) {
		sqlite3_finalize(s);
		return no_memory(e);
	}
	return ledger_finish(l, s, e);
}

/* Who revokes an identity has waited for us, or we for him: then he has not seen the new one. */
static int check_old(
    struct ledger *l, const char *serial, struct ledger_certificate *old, struct err *e)
{
	int rc = ledger_find(l, serial, old, e);

	if (rc == TX_ENOENT || (rc == 0 && old->revoked != 0))
		rc = err_set(e, TX_EPERM, "the certificate %s is revoked", serial);
	return rc;
}

/* ---- how many ---- */

/* Whether it was renewed before, and when last; 0: nothing is known any more of what it got. */
static int last_renewal(
    struct ledger *l, const char *serial, bool *was, int64_t *when, struct err *e)
{
	static const char sql[] = "SELECT count(*), coalesce(max(c.issued), 0) FROM renewal r"
	                          " LEFT JOIN certificate c ON c.serial = r.serial WHERE r.old = ?";
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc == 0 && sqlite3_bind_text(s, 1, serial, -1, SQLITE_STATIC) != SQLITE_OK)
		rc = no_memory(e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0) {
		*was = row && sqlite3_column_int64(s, 0) > 0;
		*when = row ? sqlite3_column_int64(s, 1) : 0;
	}
	sqlite3_finalize(s);
	return rc;
}

/* When fewer than `most` of the identity's are in force; 0: they are. */
static int room_from(
    struct ledger *l, const char *identity, int most, int64_t now, int64_t *when, struct err *e)
{
	static const char sql[] =
	    "SELECT not_after FROM certificate WHERE identity = ? AND revoked = 0"
	    " AND not_after > ? ORDER BY not_after DESC LIMIT 1 OFFSET ?";
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	if (rc == 0 && (sqlite3_bind_text(s, 1, identity, -1, SQLITE_STATIC) != SQLITE_OK ||
	                   sqlite3_bind_int64(s, 2, now) != SQLITE_OK ||
	                   sqlite3_bind_int(s, 3, most - 1) != SQLITE_OK))
		rc = no_memory(e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0)
		*when = row ? sqlite3_column_int64(s, 0) : 0;
	sqlite3_finalize(s);
	return rc;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t half_of(const struct ledger_certificate *c)
{
	return c->issued + (c->not_after - c->issued) / 2;
}

/*
 * From when on one that was renewed is renewed once more. Whoever could not store what he was given
 * has had all that an identity may have within a minute or two; by this he gets another before his
 * certificate ends. The limit of its own keeps what one can get from growing for ever.
 */
static int late_from(struct ledger *l, const struct ledger_certificate *old, int64_t last,
    int64_t now, int64_t *when, struct err *e)
{
	int64_t full = 0;
	int rc = room_from(l, old->identity, LEDGER_LATE_MAX, now, &full, e);

	*when = later(last + (old->not_after - old->issued) / LEDGER_LATE_PART, half_of(old));
	*when = later(*when, full);
	return rc;
}

/*
 * The first renewal after half of a certificate's life is always given: it takes the place of that
 * one, and nobody who asks more often can keep its owner from it. Any other makes one certificate
 * more, and of those an identity may have a few, and a few more late in the life of one.
 */
static int check_number(
    struct ledger *l, const struct ledger_certificate *old, int64_t now, struct err *e)
{
	int64_t when = 0, last = 0, other = half_of(old);
	char date[TLS_TIME_SIZE];
	bool again = false;
	int rc = last_renewal(l, old->serial, &again, &last, e);

	if (rc == 0 && again)
		rc = late_from(l, old, last, now, &other, e);
	if (rc == 0 && now < other)
		rc = room_from(l, old->identity, LEDGER_LIVE_MAX, now, &when, e);
	if (rc != 0 || when == 0)
		return rc;
	if (other < when)
		when = other;
	return err_set(e, TX_ELIMIT,
	    "come back after %s: this certificate %s, and %d or more of %s are in force",
	    tls_time_text(date, when),
	    again ? "was renewed before" : "is not in the second half of its life", LEDGER_LIVE_MAX,
	    old->identity);
}

int ledger_add_renewal(struct ledger *l, const uint8_t csr_hash[LEDGER_HASH_SIZE],
    const char *old_serial, const struct ledger_certificate *c, const char *pem, struct err *e)
{
	struct ledger_certificate old;
	int rc = ledger_begin(l, e);

	if (rc != 0)
		return rc;
	rc = check_old(l, old_serial, &old, e);
	if (rc == 0)
		rc = check_number(l, &old, c->issued, e);
	if (rc == 0)
		rc = ledger_insert(l, c, pem, e);
	if (rc == 0)
		rc = insert_renewal(l, csr_hash, c->serial, old_serial, e);
	return ledger_end(l, rc, e);
}
