/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/ca.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "certs/certfile.h"
#include "certs/pem.h"
#include "certs/x509_build.h"
#include "common/identity.h"
#include "common/tls.h"
#include "common/tls_cert.h"

#define DAY      INT64_C(86400)
#define DAYS_MAX 36500
/* Back for clocks that are behind. */
#define SKEW 300

struct ca {
	X509 *x;
	EVP_PKEY *key;
	char *pem;
	size_t pem_len;
	char domain[IDENTITY_DOMAIN_MAX + 1];
	char name[TLS_NAME_SIZE];
};

/* What every authority has, however it came. Takes nothing; on failure the caller frees ca. */
static int complete(struct ca *ca, const char *what, struct err *e)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(ca->x, NID_subject_alt_name, NULL, NULL);
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
		rc = pem_from_certificate(ca->x, &ca->pem, &ca->pem_len, e);
	GENERAL_NAMES_free(names);
	tls_name_text(X509_get_subject_name(ca->x), ca->name, sizeof(ca->name));
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

static bool make_root(struct ca *ca, const char *name, const char *domain, int64_t days)
{
	int64_t now = (int64_t)time(NULL);
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	char uri[IDENTITY_SIZE];
	bool ok;

	snprintf(uri, sizeof(uri), "spiffe://%s", domain);
	ca->x = x509_build_new(ca->key, name, now - SKEW, now + days * DAY);
	ok = ca->x != NULL && names != NULL &&
	     X509_set_issuer_name(ca->x, X509_get_subject_name(ca->x)) == 1 &&
	     x509_build_extension(
	         ca->x, ca->x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	     x509_build_extension(ca->x, ca->x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	     x509_build_extension(ca->x, ca->x, NID_subject_key_identifier, "hash") &&
	     x509_build_extension(ca->x, ca->x, NID_authority_key_identifier, "keyid:always") &&
	     x509_build_name(names, GEN_URI, uri, strlen(uri)) && x509_build_names(ca->x, names) &&
	     x509_build_sign(ca->x, ca->key);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok;
}

int ca_new(struct ca **out, const struct ca_options *options, struct err *e)
{
	const char *domain = options->domain == NULL ? IDENTITY_DOMAIN : options->domain;
	int64_t days = options->days == 0 ? CA_DEFAULT_DAYS : options->days;
	char name[CA_NAME_MAX + 1];
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
	rc = key_generate(&ca->key, options->key_type, e);
	if (rc == 0 && !make_root(ca, options->name == NULL ? name : options->name, domain, days))
		rc = pem_openssl_error(e, "cannot make the authority's certificate");
	if (rc == 0)
		rc = complete(ca, "the new authority", e);
	if (rc == 0)
		*out = ca;
	else
		ca_free(ca);
	return rc;
}

static int join(char out[PATH_MAX], const char *dir, const char *name, struct err *e)
{
	return certfile_path(out, dir, name, "", e);
}

static int read_root(struct ca *ca, const char *path, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = tls_read_file(path, &text, &len, e);

	if (rc == 0)
		rc = pem_to_certificate(&ca->x, text, len, path, e);
	tls_text_free(text, len);
	if (rc == 0 && (X509_get_extension_flags(ca->x) & EXFLAG_CA) == 0)
		rc = err_set(e, TX_ECERT, "%s is not the certificate of an authority", path);
	return rc == 0 ? complete(ca, path, e) : rc;
}

static int read_key(struct ca *ca, const char *path, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = certfile_read_key(path, &text, &len, e);

	if (rc == 0)
		rc = key_from_pem(&ca->key, text, len, path, e);
	tls_text_free(text, len);
	if (rc == 0 && X509_check_private_key(ca->x, ca->key) != 1)
		rc = err_set(e, TX_ECERT, "%s is not the key of the authority beside it", path);
	ERR_clear_error();
	return rc;
}

int ca_load(struct ca **out, const char *dir, struct err *e)
{
	char certificate[PATH_MAX], key[PATH_MAX];
	struct ca *ca;
	int rc = join(certificate, dir, CA_CERTIFICATE_FILE, e);

	if (rc == 0)
		rc = join(key, dir, CA_KEY_FILE, e);
	if (rc != 0)
		return rc;
	if (access(certificate, F_OK) < 0 && errno == ENOENT)
		return err_set(
		    e, TX_ENOENT, "there is no authority in %s (no %s)", dir, CA_CERTIFICATE_FILE);
	ca = calloc(1, sizeof(*ca));
	if (ca == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = read_root(ca, certificate, e);
	if (rc == 0)
		rc = read_key(ca, key, e);
	if (rc == 0)
		*out = ca;
	else
		ca_free(ca);
	return rc;
}

int ca_save(const struct ca *ca, const char *dir, bool force, struct err *e)
{
	char certificate[PATH_MAX], key[PATH_MAX];
	char *text = NULL;
	size_t len = 0;
	int rc = join(certificate, dir, CA_CERTIFICATE_FILE, e);

	if (rc == 0)
		rc = join(key, dir, CA_KEY_FILE, e);
	if (rc == 0)
		rc = certfile_make_dir(dir, e);
	if (rc == 0)
		rc = key_to_pem(ca->key, &text, &len, e);
	if (rc == 0)
		rc = certfile_write_pair(
		    certificate, ca->pem, ca->pem_len, key, text, len, force, e);
	tls_text_free(text, len);
	return rc;
}

void ca_free(struct ca *ca)
{
	if (ca == NULL)
		return;
	X509_free(ca->x);
	EVP_PKEY_free(ca->key);
	tls_text_free(ca->pem, ca->pem_len);
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

X509 *ca_x509(const struct ca *ca)
{
	return ca->x;
}

EVP_PKEY *ca_key(const struct ca *ca)
{
	return ca->key;
}
