/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A first certificate, by a token. The ledger's one transaction decides who of many gets it; what
 * was signed in vain by the others is forgotten.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/ca/authority.h"
#include "certs/csr.h"
#include "certs/token.h"
#include "common/rpc_status.h"

static int no_memory(struct err *e)
{
	return err_set(e, TX_ENOMEM, "out of memory");
}

/* To all of them the same words: who guesses learns nothing. */
static int refuse_token(struct answer *a, enum ledger_use use)
{
	struct err e;

	err_set(&e, TX_EPERM, "the token is %s",
	    use == LEDGER_USE_EXPIRED     ? "expired"
	    : use == LEDGER_USE_SPENT     ? "used already, by another request"
	    : use == LEDGER_USE_WITHDRAWN ? "withdrawn"
	    : use == LEDGER_USE_REVOKED   ? "used already, and the certificate is revoked"
	                                  : "unknown");
	return answer_refuse(a, RPC_PERMISSION_DENIED, "TOKEN_REFUSED",
	    "the token is unknown, used or expired; ask for a new one", &e);
}

/* `text`: one host a line, which is cut up; *list is the caller's to free. */
static int split(char *text, const char ***list, size_t *n, struct err *e)
{
	size_t lines = 1;
	char *at, *rest = NULL;

	for (at = text; *at != '\0'; at++)
		lines += *at == '\n';
	*list = calloc(lines, sizeof(**list));
	if (*list == NULL)
		return no_memory(e);
	*n = 0;
	for (at = strtok_r(text, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest))
		(*list)[(*n)++] = at;
	return 0;
}

static int sign(struct issued *out, const struct authority *au, const struct csr *csr,
    const struct ledger_token *t, char *sans, struct answer *a)
{
	struct issue_request allowed = {.kind = t->kind, .name = t->name, .ttl_s = t->ttl_s};
	const char **list = NULL;
	struct err e;
	int rc = split(sans, &list, &allowed.sans_len, &e);

	allowed.sans = list;
	if (rc == 0)
		rc = csr_sign(out, au->ca, csr, &allowed, &e);
	free(list);
	if (rc == TX_EPERM)
		return answer_refuse(a, RPC_PERMISSION_DENIED, "OTHER_NAMES", e.message, &e);
	return rc != 0 ? answer_unable(a, &e) : 0;
}

static int redeem(struct authority *au, const uint8_t hash[LEDGER_HASH_SIZE], const struct csr *csr,
    const struct issued *issued, struct answer *a)
{
	struct ledger_certificate c = {.not_before = issued->not_before,
	    .not_after = issued->not_after,
	    .issued = (int64_t)time(NULL)};
	enum ledger_use use = LEDGER_USE_UNKNOWN;
	char *pem = NULL;
	struct err e;
	int rc;

	snprintf(c.serial, sizeof(c.serial), "%s", issued->serial);
	snprintf(c.identity, sizeof(c.identity), "%s", issued->identity);
	rc = ledger_redeem(
	    au->ledger, hash, csr->hash, &c, issued->certificate, c.issued, &use, &pem, &e);
	if (rc != 0)
		return answer_unable(a, &e);
	if (use == LEDGER_USE_NEW) {
		free(pem);
		pem = strdup(issued->certificate);
	} else if (use != LEDGER_USE_AGAIN) {
		free(pem);
		return refuse_token(a, use);
	}
	a->again = use == LEDGER_USE_AGAIN;
	if (pem == NULL) {
		no_memory(&e);
		return answer_unable(a, &e);
	}
	return answer_give(a, au, pem);
}

static int use_token(struct authority *au, const uint8_t hash[LEDGER_HASH_SIZE],
    const struct csr *csr, struct answer *a)
{
	struct issued issued = {.certificate = NULL};
	enum ledger_use use = LEDGER_USE_UNKNOWN;
	char *sans = NULL, *pem = NULL;
	struct ledger_token t;
	struct err e;
	int rc = ledger_look_token(
	    au->ledger, hash, csr->hash, (int64_t)time(NULL), &use, &t, &sans, &pem, &e);

	if (rc != 0)
		return answer_unable(a, &e);
	if (use != LEDGER_USE_UNKNOWN)
		snprintf(a->identity, sizeof(a->identity), "spiffe://%s/%s/%s", ca_domain(au->ca),
		    identity_kind_name(t.kind), t.name);
	a->again = use == LEDGER_USE_AGAIN;
	if (use == LEDGER_USE_AGAIN) {
		rc = answer_give(a, au, pem);
		pem = NULL;
	} else if (use != LEDGER_USE_NEW) {
		rc = refuse_token(a, use);
	} else {
		rc = sign(&issued, au, csr, &t, sans, a);
		if (rc == 0)
			rc = redeem(au, hash, csr, &issued, a);
	}
	issue_free(&issued);
	free(sans);
	free(pem);
	return rc;
}

void authority_enroll(
    struct authority *au, const Telex__V1__EnrollRequest *request, struct answer *a)
{
	uint8_t hash[LEDGER_HASH_SIZE];
	struct csr csr = {.req = NULL};
	struct err e;
	int rc;

	if (request->secret.len != TOKEN_SECRET_SIZE) {
		refuse_token(a, LEDGER_USE_UNKNOWN);
		return;
	}
	token_hash(request->secret.data, hash);
	rc = csr_read(&csr, request->csr.data, request->csr.len, &e);
	if (rc == 0)
		use_token(au, hash, &csr, a);
	else if (rc == TX_EINVAL)
		answer_refuse(a, RPC_INVALID_ARGUMENT, "BAD_CSR", e.message, &e);
	else
		answer_unable(a, &e);
	csr_clear(&csr);
}
