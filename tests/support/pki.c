/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/pki.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pki {
	X509 *certificate;
	EVP_PKEY *key;
	char *pem;
};

#define MUST(ok) must((ok), #ok)

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "pki: %s\n", what);
	ERR_print_errors_fp(stderr);
	abort();
}

static char *bio_text(BIO *bio)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);

	MUST(len > 0);
	text = strndup(data, (size_t)len);
	MUST(text != NULL);
	BIO_free(bio);
	return text;
}

static char *certificate_pem(X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());

	MUST(PEM_write_bio_X509(bio, x) == 1);
	return bio_text(bio);
}

static char *key_pem(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());

	MUST(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1);
	return bio_text(bio);
}

static void add(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	MUST(extension != NULL);
	MUST(X509_add_ext(x, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

/* A certificate without extensions and signature; valid from and to, in seconds from now. */
static X509 *blank(EVP_PKEY *key, const char *common_name, X509 *issuer, long from, long to)
{
	X509 *x = X509_new();
	X509_NAME *name;
	uint32_t serial = 0;

	MUST(x != NULL && RAND_bytes((unsigned char *)&serial, sizeof(serial)) == 1);
	MUST(X509_set_version(x, X509_VERSION_3) == 1);
	MUST(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), (uint64_t)serial + 1) == 1);
	name = X509_get_subject_name(x);
	MUST(X509_NAME_add_entry_by_txt(
	         name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) == 1);
	MUST(X509_set_issuer_name(x, issuer == NULL ? name : X509_get_subject_name(issuer)) == 1);
	MUST(X509_gmtime_adj(X509_getm_notBefore(x), from) != NULL);
	MUST(X509_gmtime_adj(X509_getm_notAfter(x), to) != NULL);
	MUST(X509_set_pubkey(x, key) == 1);
	return x;
}

struct pki *pki_new(const char *common_name)
{
	struct pki *pki = calloc(1, sizeof(*pki));

	MUST(pki != NULL);
	pki->key = EVP_EC_gen("P-256");
	MUST(pki->key != NULL);
	pki->certificate = blank(pki->key, common_name, NULL, -3600, 3600L * 24 * 30);
	add(pki->certificate, pki->certificate, NID_basic_constraints, "critical,CA:TRUE");
	add(pki->certificate, pki->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	add(pki->certificate, pki->certificate, NID_subject_key_identifier, "hash");
	MUST(X509_sign(pki->certificate, pki->key, EVP_sha256()) > 0);
	pki->pem = certificate_pem(pki->certificate);
	return pki;
}

void pki_free(struct pki *pki)
{
	if (pki == NULL)
		return;
	X509_free(pki->certificate);
	EVP_PKEY_free(pki->key);
	free(pki->pem);
	free(pki);
}

const char *pki_ca(const struct pki *pki)
{
	return pki->pem;
}

static void add_names(X509 *x, struct pki *pki, const struct pki_spec *spec, const char *name)
{
	const char *kind = spec->agent ? "agent" : "user";
	const char *sans = spec->sans;
	char uri[512] = "", all[1200];

	if (sans == NULL)
		sans = spec->agent ? "DNS:localhost,IP:127.0.0.1" : "";
	if (spec->uri != NULL)
		snprintf(uri, sizeof(uri), "URI:%s", spec->uri);
	else if ((spec->defects & PKI_NO_URI) == 0)
		snprintf(uri, sizeof(uri), "URI:spiffe://" PKI_DOMAIN "/%s/%s", kind, name);
	snprintf(all, sizeof(all), "%s%s%s%s", uri,
	    (spec->defects & PKI_TWO_URIS) != 0 ? ",URI:spiffe://" PKI_DOMAIN "/user/root" : "",
	    uri[0] != '\0' && sans[0] != '\0' ? "," : "", sans);
	if (all[0] != '\0')
		add(x, pki->certificate, NID_subject_alt_name, all);
}

static void add_extensions(X509 *x, struct pki *pki, const struct pki_spec *spec)
{
	bool server = spec->agent != ((spec->defects & PKI_WRONG_EKU) != 0);

	add(x, pki->certificate, NID_basic_constraints,
	    (spec->defects & PKI_CA_TRUE) != 0 ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add(x, pki->certificate, NID_authority_key_identifier, "keyid");
	if ((spec->defects & PKI_NO_EKU) == 0)
		add(x, pki->certificate, NID_ext_key_usage, server ? "serverAuth" : "clientAuth");
}

void pki_issue(struct pki *pki, const struct pki_spec *spec, struct pki_pair *out)
{
	const char *name = spec->name != NULL ? spec->name : spec->agent ? "web1" : "alice";
	EVP_PKEY *key = EVP_EC_gen("P-256");
	long from = -300, to = 3600;
	X509 *x;

	if ((spec->defects & PKI_EXPIRED) != 0) {
		from = -2 * 86400;
		to = -86400;
	} else if ((spec->defects & PKI_NOT_YET) != 0) {
		from = 86400;
		to = 2 * 86400;
	}
	MUST(key != NULL);
	x = blank(key, name, pki->certificate, from, to);
	add_extensions(x, pki, spec);
	add_names(x, pki, spec, name);
	MUST(X509_sign(x, (spec->defects & PKI_BAD_SIGNATURE) != 0 ? key : pki->key, EVP_sha256()) >
	     0);
	out->certificate = certificate_pem(x);
	out->key = key_pem(key);
	X509_free(x);
	EVP_PKEY_free(key);
}

void pki_pair_free(struct pki_pair *pair)
{
	free(pair->certificate);
	free(pair->key);
	pair->certificate = pair->key = NULL;
}

struct tls_material pki_material(const struct pki_pair *pair, const struct pki *trust)
{
	return (struct tls_material){
	    .certificate = pair->certificate,
	    .certificate_len = strlen(pair->certificate),
	    .key = pair->key,
	    .key_len = strlen(pair->key),
	    .ca = trust->pem,
	    .ca_len = strlen(trust->pem),
	};
}

static struct tls_ctx *ctx_of(struct pki *pki, const struct pki *trust, bool server)
{
	struct pki_pair pair;
	struct tls_material m;
	struct tls_ctx *ctx = NULL;
	struct err e = {0};

	pki_issue(pki, &(struct pki_spec){.agent = server}, &pair);
	m = pki_material(&pair, trust);
	if ((server ? tls_server_ctx_new : tls_client_ctx_new)(&ctx, &m, &e) != 0)
		must(false, e.message);
	pki_pair_free(&pair);
	return ctx;
}

static void revoke(X509_CRL *list, const char *pem)
{
	BIO *in = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
	X509_REVOKED *r = X509_REVOKED_new();

	MUST(x != NULL && r != NULL);
	MUST(X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(x)) == 1);
	MUST(X509_REVOKED_set_revocationDate(r, (ASN1_TIME *)X509_CRL_get0_lastUpdate(list)) == 1);
	MUST(X509_CRL_add0_revoked(list, r) == 1);
	X509_free(x);
	BIO_free(in);
}

char *pki_revoke(struct pki *pki, const char *pem, int64_t number)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_INTEGER *n = ASN1_INTEGER_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0), *next = X509_gmtime_adj(NULL, 3600);
	BIO *out = BIO_new(BIO_s_mem());
	char *text, *copy;
	long len;

	MUST(list != NULL && n != NULL && now != NULL && next != NULL && out != NULL);
	MUST(X509_CRL_set_version(list, 1) == 1);
	MUST(X509_CRL_set_issuer_name(list, X509_get_subject_name(pki->certificate)) == 1);
	MUST(X509_CRL_set1_lastUpdate(list, now) == 1 && X509_CRL_set1_nextUpdate(list, next) == 1);
	MUST(ASN1_INTEGER_set_int64(n, number) == 1);
	MUST(X509_CRL_add1_ext_i2d(list, NID_crl_number, n, 0, 0) == 1);
	revoke(list, pem);
	MUST(X509_CRL_sort(list) == 1 && X509_CRL_sign(list, pki->key, EVP_sha256()) > 0);
	MUST(PEM_write_bio_X509_CRL(out, list) == 1);
	len = BIO_get_mem_data(out, &text);
	copy = strndup(text, (size_t)len);
	MUST(copy != NULL);
	BIO_free(out);
	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	ASN1_INTEGER_free(n);
	X509_CRL_free(list);
	return copy;
}

struct tls_ctx *pki_server_ctx(struct pki *pki, const struct pki *trust)
{
	return ctx_of(pki, trust, true);
}

struct tls_ctx *pki_client_ctx(struct pki *pki, const struct pki *trust)
{
	return ctx_of(pki, trust, false);
}
