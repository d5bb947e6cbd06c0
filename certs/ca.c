/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/ca.h"

#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/ca_internal.h"
#include "certs/pem.h"
#include "certs/x509_build.h"
#include "common/identity.h"
#include "common/tls.h"

#define DAY      INT64_C(86400)
#define DAYS_MAX 36500
/* Back for clocks that are behind. */
#define SKEW         300
#define INTERMEDIATE " intermediate"

int ca_complete(struct ca *ca, const char *what, struct err *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(ca->root, NID_subject_alt_name, NULL, NULL);
	const ASN1_STRING *uri = NULL;
	struct err why;
	int rc = TX_ECERT;

	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI)
			uri = name->d.uniformResourceIdentifier;
	}
	if (uri == NULL)
		err_set(e, rc, "%s names no trust domain (a URI name spiffe://DOMAIN)", what);
	else if (identity_parse_domain(ca->domain, (const char *)ASN1_STRING_get0_data(uri),
	             (size_t)ASN1_STRING_length(uri), &why) != 0)
		err_set(e, rc, "%s names no usable trust domain: %s", what, why.message);
	else
		rc = pem_from_certificate(ca->root, &ca->pem, &ca->pem_len, e);
	if (rc == 0 && ca->x != ca->root)
		rc = pem_from_certificate(ca->x, &ca->chain, &ca->chain_len, e);
	GENERAL_NAMES_free(names);
	tls_name_text(X509_get_subject_name(ca->root), ca->name, sizeof(ca->name));
	return rc;
}

static int default_name(char out[CA_NAME_MAX + 1], struct err *e)
{
	unsigned char random[4];

	if (RAND_bytes(random, sizeof(random)) != 1)
		return pem_openssl_error(e, "no random bytes");
	snprintf(out, CA_NAME_MAX + 1, "telex CA %02x%02x%02x%02x", random[0], random[1], random[2],
	    random[3]);
	return 0;
}

static int check_name(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len == 0 || len > CA_NAME_MAX)
		return err_set(
		    e, TX_EINVAL, "the name of an authority has 1 to %d characters", CA_NAME_MAX);
	for (size_t i = 0; i < len; i++) {
		if (name[i] < 0x20 || name[i] > 0x7e)
			return err_set(
			    e, TX_EINVAL, "the name of an authority is printable ASCII only");
	}
	return 0;
}

/* An authority's certificate. `issuer` NULL: it signs itself. */
static X509 *make(EVP_PKEY *key, const char *name, const char *domain, int64_t days,
    const char *constraints, X509 *issuer, EVP_PKEY *issuer_key)
{
	int64_t now = (int64_t)time(NULL);
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	X509 *x = x509_build_new(key, name, now - SKEW, now + days * DAY);
	X509 *by = issuer == NULL ? x : issuer;
	char uri[IDENTITY_SIZE];
	bool ok;

	snprintf(uri, sizeof(uri), "spiffe://%s", domain);
	ok = x != NULL && names != NULL &&
	     X509_set_issuer_name(x, X509_get_subject_name(by)) == 1 &&
	     x509_build_extension(x, by, NID_basic_constraints, constraints) &&
	     x509_build_extension(x, by, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	     x509_build_extension(x, by, NID_subject_key_identifier, "hash") &&
	     x509_build_extension(x, by, NID_authority_key_identifier, "keyid:always") &&
	     x509_build_name(names, GEN_URI, uri, strlen(uri)) && x509_build_names(x, names) &&
	     x509_build_sign(x, issuer_key);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	if (ok)
		return x;
	X509_free(x);
	return NULL;
}

static int make_root(struct ca *ca, const struct ca_options *o, const char *name,
    const char *domain, int64_t days, struct err *e)
{
	int rc = key_generate(&ca->key, o->key_type, e);

	if (rc != 0)
		return rc;
	ca->root = make(ca->key, name, domain, days,
	    o->intermediate ? "critical,CA:TRUE,pathlen:1" : "critical,CA:TRUE,pathlen:0", NULL,
	    ca->key);
	if (ca->root == NULL)
		return pem_openssl_error(e, "cannot make the authority's certificate");
	X509_up_ref(ca->root);
	ca->x = ca->root;
	return 0;
}

/* The root's key is used this once. Both end at the same time. */
static int make_intermediate(struct ca *ca, const struct ca_options *o, const char *name,
    const char *domain, int64_t days, struct err *e)
{
	char full[CA_NAME_MAX + 1];
	int rc;

	ca->root_key = ca->key;
	ca->key = NULL;
	rc = key_generate(&ca->key, o->key_type, e);
	if (rc != 0)
		return rc;
	snprintf(full, sizeof(full), "%.*s" INTERMEDIATE, (int)(CA_NAME_MAX - strlen(INTERMEDIATE)),
	    name);
	X509_free(ca->x);
	ca->x =
	    make(ca->key, full, domain, days, "critical,CA:TRUE,pathlen:0", ca->root, ca->root_key);
	return ca->x != NULL ? 0
	                     : pem_openssl_error(e, "cannot make the intermediate's certificate");
}

int ca_new(struct ca **out, const struct ca_options *options, struct err *e)
{
	const char *domain = options->domain == NULL ? IDENTITY_DOMAIN : options->domain;
	int64_t days = options->days == 0 ? CA_DEFAULT_DAYS : options->days;
	char name[CA_NAME_MAX + 1];
	const char *called;
	struct ca *ca;
	int rc;

	if (!identity_domain_valid(domain))
		return err_set(e, TX_EINVAL,
		    "a trust domain is 1 to %d of a-z 0-9 . - _ , as \"%s\"", IDENTITY_DOMAIN_MAX,
		    IDENTITY_DOMAIN);
	if (days < 1 || days > DAYS_MAX)
		return err_set(e, TX_EINVAL, "an authority is valid for 1 to %d days", DAYS_MAX);
	rc = options->name == NULL ? default_name(name, e) : check_name(options->name, e);
	if (rc != 0)
		return rc;
	ca = calloc(1, sizeof(*ca));
	if (ca == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	called = options->name == NULL ? name : options->name;
	rc = make_root(ca, options, called, domain, days, e);
	if (rc == 0 && options->intermediate)
		rc = make_intermediate(ca, options, called, domain, days, e);
	if (rc == 0)
		rc = ca_complete(ca, "the new authority", e);
	if (rc == 0)
		*out = ca;
	else
		ca_free(ca);
	return rc;
}

void ca_free(struct ca *ca)
{
	if (ca == NULL)
		return;
	X509_free(ca->root);
	X509_free(ca->x);
	EVP_PKEY_free(ca->key);
	EVP_PKEY_free(ca->root_key);
	tls_text_free(ca->pem, ca->pem_len);
	tls_text_free(ca->chain, ca->chain_len);
	free(ca);
}

const char *ca_domain(const struct ca *ca)
{
	return ca->domain;
}

const char *ca_name(const struct ca *ca)
{
	return ca->name;
}

int64_t ca_expires(const struct ca *ca)
{
	return tls_time_epoch(X509_get0_notAfter(ca->x));
}

const char *ca_certificate(const struct ca *ca, size_t *len)
{
	if (len != NULL)
		*len = ca->pem_len;
	return ca->pem;
}

const char *ca_chain(const struct ca *ca, size_t *len)
{
	if (len != NULL)
		*len = ca->chain_len;
	return ca->chain == NULL ? "" : ca->chain;
}

X509 *ca_root(const struct ca *ca)
{
	return ca->root;
}

int ca_pin(const struct ca *ca, uint8_t out[32], struct err *e)
{
	unsigned char *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(ca->root), &der);
	bool good = len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	return good ? 0 : pem_openssl_error(e, "the authority's key");
}

X509 *ca_x509(const struct ca *ca)
{
	return ca->x;
}

EVP_PKEY *ca_key(const struct ca *ca)
{
	return ca->key;
}
