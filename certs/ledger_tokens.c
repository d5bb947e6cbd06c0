/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens as a person sees them: listed, and withdrawn one by one. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "certs/ledger_internal.h"

/* Of a row's hash. */
#define ID "substr(hex(hash), 1, 16)"

void ledger_token_id(char out[LEDGER_TOKEN_ID_SIZE], const uint8_t hash[LEDGER_HASH_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i + 1 < LEDGER_TOKEN_ID_SIZE; i += 2) {
		out[i] = digits[hash[i / 2] >> 4];
		out[i + 1] = digits[hash[i / 2] & 15];
	}
	out[LEDGER_TOKEN_ID_SIZE - 1] = '\0';
}

static int take_row(struct ledger_token_row *t, sqlite3_stmt *s, struct err *e)
{
	const unsigned char *id = sqlite3_column_text(s, 0), *name = sqlite3_column_text(s, 2);
	const unsigned char *sans = sqlite3_column_text(s, 3), *serial = sqlite3_column_text(s, 5);
	int64_t expires = sqlite3_column_int64(s, 4);

	if (id == NULL || name == NULL || sans == NULL ||
	    (serial == NULL && sqlite3_column_type(s, 5) != SQLITE_NULL))
		return err_set(e, TX_ENOMEM, "out of memory");
	snprintf(t->id, sizeof(t->id), "%s", (const char *)id);
	t->kind = (enum identity_kind)sqlite3_column_int(s, 1);
	snprintf(t->name, sizeof(t->name), "%s", (const char *)name);
	t->sans = (const char *)sans;
	t->withdrawn = expires <= 0;
	t->expires = expires < 0 ? -expires : expires;
	snprintf(t->serial, sizeof(t->serial), "%s", serial != NULL ? (const char *)serial : "");
	return 0;
}

int ledger_each_token(struct ledger *l, bool (*one)(const struct ledger_token_row *t, void *arg),
    void *arg, struct err *e)
{
	static const char sql[] = "SELECT " ID ", kind, name, sans, expires, serial FROM token"
	                          " ORDER BY abs(expires) DESC";
	struct ledger_token_row t;
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s, sql, e);

	while (rc == 0) {
		rc = ledger_step(l, s, &row, e);
		if (rc == 0 && row)
			rc = take_row(&t, s, e);
		if (rc != 0 || !row || !one(&t, arg))
			break;
	}
	sqlite3_finalize(s);
	return rc;
}

/* ---- withdrawing ---- */

/* What the token is; also whether there is one. */
static int find(struct ledger *l, const char *id, struct ledger_token_row *out, struct err *e)
{
	sqlite3_stmt *s = NULL;
	bool row = false;
	int rc = ledger_prepare(l, &s,
	    "SELECT " ID ", kind, name, sans, expires, serial FROM token WHERE " ID " = ?", e);

	if (rc == 0 && sqlite3_bind_text(s, 1, id, -1, SQLITE_STATIC) != SQLITE_OK)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		rc = ledger_step(l, s, &row, e);
	if (rc == 0 && row)
		rc = take_row(out, s, e);
	else if (rc == 0)
		rc = err_set(e, TX_ENOENT, "the authority has no token %s", id);
	out->sans = NULL; /* the statement's */
	sqlite3_finalize(s);
	return rc;
}

static int withdraw(struct ledger *l, const char *id, struct err *e)
{
	struct ledger_token_row t = {.withdrawn = false};
	sqlite3_stmt *s = NULL;
	int rc = find(l, id, &t, e);

	if (rc == 0 && t.serial[0] != '\0')
		rc = err_set(e, TX_EEXIST,
		    "the token %s was used; what can be revoked is its certificate, %s", id,
		    t.serial);
	if (rc != 0 || t.withdrawn)
		return rc;
	rc = ledger_prepare(l, &s, "UPDATE token SET expires = -?1 WHERE " ID " = ?2", e);
	if (rc == 0 && (sqlite3_bind_int64(s, 1, (int64_t)time(NULL)) != SQLITE_OK ||
	                   sqlite3_bind_text(s, 2, id, -1, SQLITE_STATIC) != SQLITE_OK))
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		return ledger_finish(l, s, e);
	sqlite3_finalize(s);
	return rc;
}

int ledger_withdraw_token(struct ledger *l, const char *id, struct err *e)
{
	char upper[LEDGER_TOKEN_ID_SIZE];
	size_t n = strlen(id);
	int rc;

	if (n + 1 != sizeof(upper))
		return err_set(e, TX_ENOENT, "the authority has no token %s", id);
	for (size_t i = 0; i <= n; i++)
		upper[i] = (char)toupper((unsigned char)id[i]);
	rc = ledger_begin(l, e);
	return rc == 0 ? ledger_end(l, withdraw(l, upper, e), e) : rc;
}
