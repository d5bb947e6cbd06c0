/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens: bound to the CSR that was signed for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ledger_internal.h"

/* SQLite's own failure of a bind is one of memory. */
static int no_memory(struct err *e)
{
	return err_set(e, TX_ENOMEM, "out of memory");
}

static bool bind_hash(sqlite3_stmt *s, int i, const uint8_t hash[LEDGER_HASH_SIZE])
{
	return sqlite3_bind_blob(s, i, hash, LEDGER_HASH_SIZE, SQLITE_STATIC) == SQLITE_OK;
}

static int insert_token(struct ledger *l, const struct ledger_token *t, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = ledger_prepare(l, &s,
	    "INSERT INTO token (hash, kind, name, sans, ttl, expires) VALUES (?, ?, ?, ?, ?, ?)",
	    e);

	if (rc != 0)
		return rc;
	if (!bind_hash(s, 1, t->hash) || sqlite3_bind_int(s, 2, (int)t->kind) != SQLITE_OK ||
	    sqlite3_bind_text(s, 3, t->name, -1, SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(s, 4, t->sans == NULL ? "" : t->sans, -1, SQLITE_STATIC) !=
	        SQLITE_OK ||
	    sqlite3_bind_int64(s, 5, t->ttl_s) != SQLITE_OK ||
	    sqlite3_bind_int64(s, 6, t->expires) != SQLITE_OK) {
		sqlite3_finalize(s);
		return no_memory(e);
	}
	return ledger_finish(l, s, e);
}

int ledger_add_token(struct ledger *l, const struct ledger_token *t, struct err *e)
{
	int rc = ledger_begin(l, e);

	return rc == 0 ? ledger_end(l, insert_token(l, t, e), e) : rc;
}

/* What a row of a token holds. Texts are malloc'd. */
struct found {
	enum ledger_use use;
	struct ledger_token token;
	char *sans, *pem;
};

static void found_clear(struct found *f)
{
	free(f->sans);
	free(f->pem);
}

/* Columns: kind, name, sans, ttl, expires, csr, serial. */
static int take_token(struct ledger *l, sqlite3_stmt *s, const uint8_t *hash,
    const uint8_t *csr_hash, int64_t now, struct found *f, struct err *e)
{
	const unsigned char *name = sqlite3_column_text(s, 1);
	const unsigned char *serial = sqlite3_column_text(s, 6);
	const void *csr = sqlite3_column_blob(s, 5);
	bool spent = sqlite3_column_type(s, 5) != SQLITE_NULL;
	struct ledger_certificate c = {.revoked = 0};
	int rc;

	if (name == NULL || (spent && (csr == NULL || serial == NULL)))
		return no_memory(e);
	memcpy(f->token.hash, hash, LEDGER_HASH_SIZE);
	f->token.kind = (enum identity_kind)sqlite3_column_int(s, 0);
	snprintf(f->token.name, sizeof(f->token.name), "%s", (const char *)name);
	f->token.ttl_s = sqlite3_column_int64(s, 3);
	f->token.expires = sqlite3_column_int64(s, 4);
	rc = ledger_text(s, 2, &f->sans, e);
	if (rc != 0)
		return rc;
	f->token.sans = f->sans;
	if (!spent) {
		f->use = f->token.expires <= 0     ? LEDGER_USE_WITHDRAWN
		         : now >= f->token.expires ? LEDGER_USE_EXPIRED
		                                   : LEDGER_USE_NEW;
		return 0;
	}
	if (sqlite3_column_bytes(s, 5) != LEDGER_HASH_SIZE ||
	    memcmp(csr, csr_hash, LEDGER_HASH_SIZE) != 0) {
		f->use = LEDGER_USE_SPENT;
		return 0;
	}
	rc = ledger_pem(l, (const char *)serial, &f->pem, e);
	if (rc == 0)
		rc = ledger_find(l, (const char *)serial, &c, e);
	if (rc == 0 && c.revoked != 0) {
		free(f->pem);
		f->pem = NULL;
	}
	f->use = f->pem != NULL ? LEDGER_USE_AGAIN : LEDGER_USE_REVOKED;
	return rc;
}

static int find(struct ledger *l, const uint8_t *hash, const uint8_t *csr_hash, int64_t now,
    struct found *f, struct err *e)
{
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s,
	    "SELECT kind, name, sans, ttl, expires, csr, serial FROM token WHERE hash = ?", e);

	if (rc == 0 && !bind_hash(s, 1, hash))
		rc = no_memory(e);
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0 && row)
		rc = take_token(l, s, hash, csr_hash, now, f, e);
	else if (rc == 0)
		f->use = LEDGER_USE_UNKNOWN;
	sqlite3_finalize(s);
	return rc;
}

int ledger_look_token(struct ledger *l, const uint8_t hash[LEDGER_HASH_SIZE],
    const uint8_t csr_hash[LEDGER_HASH_SIZE], int64_t now, enum ledger_use *use,
    struct ledger_token *t, char **sans, char **pem, struct err *e)
{
	struct found f = {.use = LEDGER_USE_UNKNOWN};
	int rc = find(l, hash, csr_hash, now, &f, e);

	if (rc != 0) {
		found_clear(&f);
		return rc;
	}
	*use = f.use;
	*t = f.token;
	*sans = f.sans;
	*pem = f.pem;
	return 0;
}

static int spend(struct ledger *l, const uint8_t *hash, const uint8_t *csr_hash,
    const struct ledger_certificate *c, const char *pem, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = ledger_insert(l, c, pem, e);

	if (rc == 0)
		rc = ledger_prepare(l, &s,
		    "UPDATE token SET csr = ?, serial = ? WHERE hash = ? AND csr IS NULL", e);
	if (rc != 0)
		return rc;
	if (!bind_hash(s, 1, csr_hash) ||
	    sqlite3_bind_text(s, 2, c->serial, -1, SQLITE_STATIC) != SQLITE_OK ||
	    !bind_hash(s, 3, hash)) {
		sqlite3_finalize(s);
		return no_memory(e);
	}
	rc = ledger_finish(l, s, e);
	if (rc == 0 && sqlite3_changes(l->db) != 1)
		rc = err_set(e, TX_ESTATE, "the ledger %s lost a token in use", l->path);
	return rc;
}

int ledger_redeem(struct ledger *l, const uint8_t hash[LEDGER_HASH_SIZE],
    const uint8_t csr_hash[LEDGER_HASH_SIZE], const struct ledger_certificate *c,
    const char *new_pem, int64_t now, enum ledger_use *use, char **pem, struct err *e)
{
	struct found f = {.use = LEDGER_USE_UNKNOWN};
	int rc = ledger_begin(l, e);

	if (rc != 0)
		return rc;
	rc = find(l, hash, csr_hash, now, &f, e);
	if (rc == 0 && f.use == LEDGER_USE_NEW)
		rc = spend(l, hash, csr_hash, c, new_pem, e);
	rc = ledger_end(l, rc, e);
	if (rc == 0) {
		*use = f.use;
		*pem = f.pem;
		f.pem = NULL;
	}
	found_clear(&f);
	return rc;
}
