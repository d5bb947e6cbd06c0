/* SPDX-License-Identifier: Apache-2.0 */
/* Making a revocation list from a CA's book-keeping. Not in crl.c, so that who only reads lists
 * needs neither a CA nor a database. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "certs/crl.h"
#include "certs/pem.h"

/* How long a certificate stays on the list after its end: for agents whose clocks are behind. What
 * has not expired comes first, so a list that gets long has the second one. */
static const int64_t margins[] = {LEDGER_MARGIN_S, 86400};
#define MARGINS (sizeof(margins) / sizeof(margins[0]))

struct making {
	X509_CRL *list;
	int64_t now, margin;
	bool failed;
};

/* The code alone: RFC 5280 wants none for "unspecified". */
static bool set_reason(X509_REVOKED *r, int reason)
{
	ASN1_ENUMERATED *code;
	bool ok;

	if (reason <= 0)
		return true;
	code = ASN1_ENUMERATED_new();
	ok = code != NULL && ASN1_ENUMERATED_set(code, reason) == 1 &&
	     X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, code, 0, 0) == 1;
	ASN1_ENUMERATED_free(code);
	return ok;
}

static bool set_serial(X509_REVOKED *r, const char *hex)
{
	BIGNUM *number = NULL;
	ASN1_INTEGER *serial = NULL;
	bool ok;

	ok = BN_hex2bn(&number, hex) > 0 && (serial = BN_to_ASN1_INTEGER(number, NULL)) != NULL &&
	     X509_REVOKED_set_serialNumber(r, serial) == 1;
	ASN1_INTEGER_free(serial);
	BN_free(number);
	return ok;
}

static bool add(struct making *m, const struct ledger_certificate *c)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)c->revoked);
	bool ok = r != NULL && when != NULL && set_serial(r, c->serial) &&
	          X509_REVOKED_set_revocationDate(r, when) == 1 && set_reason(r, c->reason) &&
	          X509_CRL_add0_revoked(m->list, r) == 1;

	ASN1_TIME_free(when);
	if (!ok)
		X509_REVOKED_free(r);
	return ok;
}

static bool on_certificate(const struct ledger_certificate *c, void *arg)
{
	struct making *m = arg;

	if (c->revoked != 0 && c->not_after > m->now - m->margin)
		m->failed = !add(m, c);
	return !m->failed;
}

static bool set_number(X509_CRL *list, int64_t number)
{
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	bool ok = n != NULL && ASN1_INTEGER_set_int64(n, number) == 1 &&
	          X509_CRL_add1_ext_i2d(list, NID_crl_number, n, 0, 0) == 1;

	ASN1_INTEGER_free(n);
	return ok;
}

static bool set_authority(X509_CRL *list, X509 *issuer)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, NULL, NULL, list, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	ok = ext != NULL && X509_CRL_add_ext(list, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

static bool set_frame(X509_CRL *list, X509 *issuer, int64_t now, int64_t valid_s, int64_t number)
{
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)now);
	ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(now + valid_s));
	bool ok =
	    from != NULL && to != NULL && X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1 &&
	    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer)) == 1 &&
	    X509_CRL_set1_lastUpdate(list, from) == 1 && X509_CRL_set1_nextUpdate(list, to) == 1 &&
	    set_authority(list, issuer) && set_number(list, number);

	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	return ok;
}

static bool sign(X509_CRL *list, EVP_PKEY *key)
{
	const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();

	return X509_CRL_sort(list) == 1 && X509_CRL_sign(list, key, digest) > 0;
}

/* The list, and who signed it: whoever trusts the root alone can check an intermediate's, and who
 * trusts neither can tell whose it is (crl_says). */
static int to_text(char **pem, size_t *len, X509_CRL *list, X509 *issuer, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int rc;

	if (bio == NULL || PEM_write_bio_X509_CRL(bio, list) != 1 ||
	    PEM_write_bio_X509(bio, issuer) != 1) {
		BIO_free(bio);
		return pem_openssl_error(e, "cannot write a revocation list");
	}
	rc = pem_take_text(bio, pem, len, e);
	if (rc == 0 && *len > CRL_MAX) {
		free(*pem);
		*pem = NULL;
		rc = err_set(
		    e, TX_ETOOBIG, "the revocation list is longer than %zu MiB", CRL_MAX >> 20);
	}
	return rc;
}

static int make(char **pem, size_t *len, const struct ca *ca, struct ledger *l, struct making *m,
    int64_t valid_s, int64_t number, struct err *e)
{
	int rc;

	m->list = X509_CRL_new();
	if (m->list == NULL)
		return pem_openssl_error(e, "cannot make a revocation list");
	rc = ledger_each(l, on_certificate, m, e);
	if (rc == 0 && (m->failed || !set_frame(m->list, ca_x509(ca), m->now, valid_s, number) ||
	                   !sign(m->list, ca_key(ca))))
		rc = pem_openssl_error(e, "cannot make a revocation list");
	if (rc == 0)
		rc = to_text(pem, len, m->list, ca_x509(ca), e);
	X509_CRL_free(m->list);
	return rc;
}

int crl_make(
    char **pem, size_t *len, const struct ca *ca, struct ledger *l, int64_t valid_s, struct err *e)
{
	const int64_t now = (int64_t)time(NULL);
	int64_t number;
	/* The number first: what is revoked between the two is in this list, and in the next. */
	int rc = ledger_crl_number(l, &number, e);

	*pem = NULL;
	for (size_t i = 0; rc == 0 && i < MARGINS; i++) {
		struct making m = {.now = now, .margin = margins[i]};

		rc = make(pem, len, ca, l, &m, valid_s, number, e);
		if (rc == 0 && *len < CRL_LONG)
			break;
		if (i + 1 == MARGINS)
			break;
		/* What fails from here on leaves the caller nothing to free. */
		if (rc == 0) {
			free(*pem);
			*pem = NULL;
		} else if (rc == TX_ETOOBIG) {
			rc = 0;
		}
	}
	return rc;
}
