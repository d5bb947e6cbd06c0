/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next certificate: for who proves to have the key of one that is this authority's, in force
 * and not revoked. It has the same identity, hosts and use, and lives no longer than that one was
 * meant to. How often that may be, the ledger says.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/ca/authority.h"
#include "certs/csr.h"
#include "certs/pem.h"
#include "certs/proof.h"
#include "certs/sans.h"
#include "common/rpc_status.h"
#include "common/tls_cert.h"

#define CHAIN_MAX 4 /* certificates */
#define HOST_SIZE 256

/* The certificate that is renewed. */
struct old {
	X509 *x;
	struct identity id;
	char text[IDENTITY_SIZE], serial[LEDGER_SERIAL_SIZE];
	char **sans;
	size_t n_sans;
	int64_t ttl;
};

static void old_clear(struct old *o)
{
	X509_free(o->x);
	sans_free(o->sans, o->n_sans);
}

static int not_yours(struct answer *a, const struct err *e)
{
	if (e->code == TX_ENOMEM)
		return answer_unable(a, e);
	return answer_refuse(a, RPC_UNAUTHENTICATED, "NOT_YOURS",
	    "the certificate is not this authority's, or the signature is not by its key", e);
}

/* ---- is it ours? ---- */

static int read_chain(struct old *o, STACK_OF(X509) * rest, const char *text, struct err *e)
{
	size_t len = strlen(text);
	BIO *in = len > 0 && len <= INT32_MAX ? BIO_new_mem_buf(text, (int)len) : NULL;
	X509 *x = NULL;
	int n = 0;

	while (in != NULL && n < CHAIN_MAX &&
	       (x = PEM_read_bio_X509(in, NULL, pem_no_passphrase, NULL)) != NULL) {
		if (n++ == 0)
			o->x = x;
		else if (sk_X509_push(rest, x) <= 0)
			X509_free(x);
	}
	BIO_free(in);
	ERR_clear_error();
	return o->x != NULL ? 0 : err_set(e, TX_ECERT, "there is no certificate in it");
}

static X509_STORE *roots(const struct authority *au)
{
	X509_STORE *store = X509_STORE_new();
	size_t len;
	const char *text = ca_certificate(au->ca, &len);
	BIO *in = BIO_new_mem_buf(text, (int)len);
	X509 *x;

	while (store != NULL && in != NULL &&
	       (x = PEM_read_bio_X509(in, NULL, pem_no_passphrase, NULL)) != NULL) {
		X509_STORE_add_cert(store, x);
		X509_free(x);
	}
	BIO_free(in);
	ERR_clear_error();
	return store;
}

/* X509_V_OK, or what is wrong. */
static int verify(const struct authority *au, X509 *x, STACK_OF(X509) * rest)
{
	X509_STORE *store = roots(au);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int why = X509_V_ERR_OUT_OF_MEM;

	if (store != NULL && ctx != NULL && X509_STORE_CTX_init(ctx, store, x, rest) == 1) {
		bool good = X509_verify_cert(ctx) == 1;

		why = X509_STORE_CTX_get_error(ctx);
		if (!good && why == X509_V_OK)
			why = X509_V_ERR_UNSPECIFIED;
		if (why == X509_V_ERR_CERT_HAS_EXPIRED && X509_STORE_CTX_get_error_depth(ctx) > 0)
			why = X509_V_ERR_INVALID_CA;
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return why;
}

static int check_chain(
    const struct authority *au, struct old *o, const char *text, struct answer *a)
{
	STACK_OF(X509) *rest = sk_X509_new_null();
	struct err e = {.code = 0};
	int why, rc;

	if (rest == NULL) {
		err_set(&e, TX_ENOMEM, "out of memory");
		return answer_unable(a, &e);
	}
	rc = read_chain(o, rest, text, &e);
	if (rc == 0) {
		why = verify(au, o->x, rest);
		if (why == X509_V_ERR_CERT_HAS_EXPIRED)
			rc = answer_refuse(a, RPC_PERMISSION_DENIED, "EXPIRED",
			    "the certificate has expired; a new token is needed", NULL);
		else if (why != X509_V_OK)
			rc = err_set(&e, TX_ECERT, "%s", X509_verify_cert_error_string(why));
	}
	sk_X509_pop_free(rest, X509_free);
	return rc == 0 || a->message.code != RPC_OK ? rc : not_yours(a, &e);
}

/* ---- what it is ---- */

static int take_hosts(struct old *o, struct err *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(o->x, NID_subject_alt_name, NULL, NULL);
	char texts[SANS_MAX][HOST_SIZE];
	const char *list[SANS_MAX];
	size_t n = 0;
	int rc = 0;

	for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS && name->type != GEN_IPADD)
			continue;
		if (n == SANS_MAX || !tls_host_text(name, texts[n], HOST_SIZE)) {
			rc = err_set(e, TX_ECERT, "its hosts cannot be read");
			break;
		}
		list[n] = texts[n];
		n++;
	}
	GENERAL_NAMES_free(names);
	return rc == 0 ? sans_set(&o->sans, &o->n_sans, list, n, e) : rc;
}

static int take(struct old *o, const struct authority *au, struct err *e)
{
	static const char subject[] = "the certificate";
	int rc = tls_cert_identity(o->x, &o->id, subject, e);

	if (rc == 0)
		rc = tls_cert_check_leaf(
		    o->x, o->id.kind == IDENTITY_AGENT, &o->id, subject, NULL, e);
	if (rc == 0 && strcmp(o->id.domain, ca_domain(au->ca)) != 0)
		rc = err_set(e, TX_ECERT, "it is of another trust domain");
	if (rc == 0)
		rc = take_hosts(o, e);
	if (rc != 0)
		return rc;
	identity_format(o->text, &o->id);
	pem_serial(o->x, o->serial, sizeof(o->serial));
	o->ttl = tls_time_epoch(X509_get0_notAfter(o->x)) -
	         tls_time_epoch(X509_get0_notBefore(o->x)) - ISSUE_SKEW;
	return 0;
}

/* ---- is it still good? ---- */

static int is_revoked(struct answer *a)
{
	return answer_refuse(a, RPC_PERMISSION_DENIED, "REVOKED",
	    "the certificate is revoked; a new token is needed", NULL);
}

static int check_ledger(struct authority *au, const struct old *o, struct answer *a)
{
	struct ledger_certificate c = {.revoked = 0};
	struct err e;
	int rc = ledger_find(au->ledger, o->serial, &c, &e);

	/* Not in the book, though the authority has signed it: issued before there was one, or from
	 * a book that was lost. What cannot be revoked is not renewed. */
	if (rc == TX_ENOENT)
		return answer_refuse(a, RPC_PERMISSION_DENIED, "REVOKED",
		    "the certificate is not in the authority's ledger; a new token is needed", &e);
	if (rc != 0)
		return answer_unable(a, &e);
	return c.revoked == 0 ? 0 : is_revoked(a);
}

/* ---- the next one ---- */

/* What this request got before; only for the same identity. */
static int give_again(struct authority *au, const struct old *o, char *pem, struct answer *a)
{
	int rc = answer_give(a, au, pem);

	if (rc != 0 || strcmp(a->identity, o->text) == 0) {
		a->again = rc == 0;
		return rc;
	}
	answer_clear(a);
	a->act = "renew";
	return answer_refuse(a, RPC_INVALID_ARGUMENT, "BAD_CSR",
	    "this request was another identity's; make a new key and request", NULL);
}

static int record(struct authority *au, const struct csr *csr, const struct old *o,
    const struct issued *issued, struct answer *a)
{
	struct ledger_certificate c = {.not_before = issued->not_before,
	    .not_after = issued->not_after,
	    .issued = (int64_t)time(NULL)};
	char *pem = NULL;
	struct err e;
	int rc;

	snprintf(c.serial, sizeof(c.serial), "%s", issued->serial);
	snprintf(c.identity, sizeof(c.identity), "%s", issued->identity);
	rc = ledger_add_renewal(au->ledger, csr->hash, o->serial, &c, issued->certificate, &e);
	if (rc == TX_EPERM)
		return is_revoked(a);
	if (rc == TX_ELIMIT)
		return answer_refuse(a, RPC_RESOURCE_EXHAUSTED, "TOO_EARLY", e.message, &e);
	if (rc == TX_EEXIST) {
		rc = ledger_renewal(au->ledger, csr->hash, &pem, &e);
		if (rc == 0 && pem != NULL)
			return give_again(au, o, pem, a);
		if (rc == TX_EPERM)
			return is_revoked(a);
	}
	if (rc == 0 && (pem = strdup(issued->certificate)) == NULL)
		rc = err_set(&e, TX_ENOMEM, "out of memory");
	return rc == 0 ? answer_give(a, au, pem) : answer_unable(a, &e);
}

static int sign(struct authority *au, const struct csr *csr, const struct old *o, struct answer *a)
{
	const struct issue_request allowed = {.kind = o->id.kind,
	    .name = o->id.name,
	    .sans = (const char *const *)o->sans,
	    .sans_len = o->n_sans,
	    .ttl_s = o->ttl};
	struct issued issued = {.certificate = NULL};
	struct err e;
	int rc = csr_sign(&issued, au->ca, csr, &allowed, &e);

	if (rc == TX_EPERM)
		rc = answer_refuse(a, RPC_PERMISSION_DENIED, "OTHER_NAMES", e.message, &e);
	else if (rc != 0)
		rc = answer_unable(a, &e);
	else
		rc = record(au, csr, o, &issued, a);
	issue_free(&issued);
	return rc;
}

static int next(struct authority *au, const struct old *o, const Telex__V1__RenewRequest *request,
    struct answer *a)
{
	struct csr csr = {.req = NULL};
	char *pem = NULL;
	struct err e;
	int rc = csr_read(&csr, request->csr.data, request->csr.len, &e);

	if (rc == TX_EINVAL)
		return answer_refuse(a, RPC_INVALID_ARGUMENT, "BAD_CSR", e.message, &e);
	if (rc == 0)
		rc = ledger_renewal(au->ledger, csr.hash, &pem, &e);
	if (rc == TX_EPERM)
		rc = is_revoked(a);
	else if (rc != 0)
		rc = answer_unable(a, &e);
	else if (pem != NULL)
		rc = give_again(au, o, pem, a);
	else
		rc = sign(au, &csr, o, a);
	csr_clear(&csr);
	return rc;
}

void authority_renew(struct authority *au, const Telex__V1__RenewRequest *request, struct answer *a)
{
	struct old o = {.x = NULL};
	struct err e;
	int rc = check_chain(au, &o, request->certificate_chain, a);

	if (rc == 0) {
		rc = take(&o, au, &e);
		if (rc == 0)
			rc = proof_check(X509_get0_pubkey(o.x), request->csr.data, request->csr.len,
			    request->signature.data, request->signature.len, &e);
		memcpy(a->identity, o.text, sizeof(a->identity));
		memcpy(a->serial, o.serial, sizeof(a->serial));
		if (rc != 0)
			not_yours(a, &e);
	}
	if (rc == 0)
		rc = check_ledger(au, &o, a);
	if (rc == 0)
		next(au, &o, request, a);
	old_clear(&o);
}
