/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/issue.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/pem.h"
#include "certs/sans.h"
#include "certs/x509_build.h"
#include "common/tls.h"
#include "common/tls_cert.h"

bool issue_host_valid(const char *text)
{
	return sans_valid(text);
}

static int add_host(GENERAL_NAMES *names, const char *host, struct err *e)
{
	unsigned char address[16];
	size_t len = sans_address(host, address);
	char shown[80];
	bool ok;

	if (len == 0 && !sans_valid(host)) {
		tls_printable(shown, sizeof(shown), host, strlen(host));
		return err_set(
		    e, TX_EINVAL, "\"%s\" is neither a DNS name nor an IP address", shown);
	}
	ok = len > 0 ? x509_build_name(names, GEN_IPADD, address, len)
	             : x509_build_name(names, GEN_DNS, host, strlen(host));
	return ok ? 0 : err_set(e, TX_ENOMEM, "out of memory");
}

static int add_hosts(GENERAL_NAMES *names, const struct issue_request *request, struct err *e)
{
	int rc = 0;

	if (request->kind == IDENTITY_USER)
		return request->sans_len == 0
		           ? 0
		           : err_set(e, TX_EINVAL,
		                 "a user's certificate names no host; only an agent's does");
	if (request->sans_len > ISSUE_SANS_MAX)
		return err_set(
		    e, TX_EINVAL, "a certificate names at most %d hosts", ISSUE_SANS_MAX);
	if (request->sans_len == 0 && !issue_host_valid(request->name))
		return err_set(e, TX_EINVAL,
		    "the agent's certificate must name the host that clients connect to, and "
		    "\"%s\" is "
		    "no host name; give it with --san",
		    request->name);
	if (request->sans_len == 0)
		return add_host(names, request->name, e);
	for (size_t i = 0; i < request->sans_len && rc == 0; i++)
		rc = add_host(names, request->sans[i], e);
	return rc;
}

/* Fills the dates of *out. */
static int set_dates(
    struct issued *out, const struct ca *ca, const struct issue_request *request, struct err *e)
{
	int64_t now = (int64_t)time(NULL), ca_end = ca_expires(ca);
	int64_t ttl = request->ttl_s;
	char date[TLS_TIME_SIZE];

	if (ttl == 0)
		ttl = request->kind == IDENTITY_AGENT ? ISSUE_AGENT_TTL : ISSUE_USER_TTL;
	if (ttl < ISSUE_TTL_MIN)
		return err_set(e, TX_EINVAL, "a certificate is valid for a minute or longer");
	if (now >= ca_end)
		return err_set(e, TX_ECERT, "the authority \"%s\" expired on %s; make a new one",
		    ca_name(ca), tls_time_text(date, ca_end));
	out->not_before = now - ISSUE_SKEW;
	out->shortened =
	    __builtin_add_overflow(now, ttl, &out->not_after) || out->not_after > ca_end;
	if (out->shortened)
		out->not_after = ca_end;
	return 0;
}

static bool build(
    X509 *x, const struct ca *ca, const struct issue_request *request, GENERAL_NAMES *names)
{
	X509 *issuer = ca_x509(ca);

	return X509_set_issuer_name(x, X509_get_subject_name(issuer)) == 1 &&
	       x509_build_extension(x, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
	       x509_build_extension(x, issuer, NID_key_usage, "critical,digitalSignature") &&
	       x509_build_extension(x, issuer, NID_ext_key_usage,
	           request->kind == IDENTITY_AGENT ? "serverAuth" : "clientAuth") &&
	       x509_build_extension(x, issuer, NID_subject_key_identifier, "hash") &&
	       x509_build_extension(x, issuer, NID_authority_key_identifier, "keyid:always") &&
	       x509_build_names(x, names) && x509_build_sign(x, ca_key(ca));
}

/* The leaf, then what leads from it to the root. */
static int to_text(struct issued *out, const struct ca *ca, X509 *x, struct err *e)
{
	size_t leaf_len = 0, chain_len = 0;
	const char *chain = ca_chain(ca, &chain_len);
	char *leaf = NULL, *whole;
	int rc = pem_from_certificate(x, &leaf, &leaf_len, e);

	if (rc != 0)
		return rc;
	whole = realloc(leaf, leaf_len + chain_len + 1);
	if (whole == NULL) {
		free(leaf);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	memcpy(whole + leaf_len, chain, chain_len + 1);
	out->certificate = whole;
	out->certificate_len = leaf_len + chain_len;
	return 0;
}

/* Makes the certificate into *out, whose identity and dates are set. */
static int make(struct issued *out, const struct ca *ca, const struct issue_request *request,
    GENERAL_NAMES *names, EVP_PKEY *key, struct err *e)
{
	X509 *x = x509_build_new(key, request->name, out->not_before, out->not_after);
	int rc;

	if (x == NULL || !build(x, ca, request, names)) {
		X509_free(x);
		return pem_openssl_error(e, "cannot make the certificate");
	}
	pem_serial(x, out->serial, sizeof(out->serial));
	rc = out->serial[0] == '\0' ? err_set(e, TX_ENOMEM, "out of memory")
	                            : to_text(out, ca, x, e);
	X509_free(x);
	return rc;
}

int issue_for_key(struct issued *out, const struct ca *ca, const struct issue_request *request,
    EVP_PKEY *key, struct err *e)
{
	struct issued issued = {0};
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	struct identity id;
	int rc = identity_make(&id, request->kind, ca_domain(ca), request->name, e);

	if (rc != 0)
		goto out;
	identity_format(issued.identity, &id);
	if (names == NULL ||
	    !x509_build_name(names, GEN_URI, issued.identity, strlen(issued.identity))) {
		rc = err_set(e, TX_ENOMEM, "out of memory");
		goto out;
	}
	rc = add_hosts(names, request, e);
	if (rc == 0)
		rc = set_dates(&issued, ca, request, e);
	if (rc == 0)
		rc = make(&issued, ca, request, names, key, e);
out:
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	if (rc == 0)
		*out = issued;
	else
		issue_free(&issued);
	return rc;
}

int issue_certificate(
    struct issued *out, const struct ca *ca, const struct issue_request *request, struct err *e)
{
	struct issued issued = {0};
	EVP_PKEY *key = NULL;
	int rc = key_generate(&key, request->key_type, e);

	if (rc == 0)
		rc = issue_for_key(&issued, ca, request, key, e);
	if (rc == 0)
		rc = key_to_pem(key, &issued.key, &issued.key_len, e);
	EVP_PKEY_free(key);
	if (rc == 0)
		*out = issued;
	else
		issue_free(&issued);
	return rc;
}

void issue_free(struct issued *issued)
{
	tls_text_free(issued->certificate, issued->certificate_len);
	tls_text_free(issued->key, issued->key_len);
	issued->certificate = issued->key = NULL;
}
