/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/csr.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/pem.h"
#include "certs/sans.h"
#include "common/tls.h"
#include "common/tls_cert.h"

#define HOST_SIZE 256

static int no_memory(struct err *e)
{
	ERR_clear_error();
	return err_set(e, TX_ENOMEM, "out of memory");
}

/* ---- read ---- */

static int not_a_csr(struct err *e)
{
	ERR_clear_error();
	return err_set(e, TX_EINVAL,
	    "this is no certificate signing request (PKCS #10, PEM \"BEGIN CERTIFICATE REQUEST\" "
	    "or "
	    "DER)");
}

static int decode(X509_REQ **out, const unsigned char *bytes, size_t len, struct err *e)
{
	static const char begin[] = "-----BEGIN ";
	const unsigned char *at = bytes;
	X509_REQ *req;
	BIO *in;

	if (len == 0)
		return err_set(e, TX_EINVAL, "the certificate signing request is empty");
	if (len > CSR_MAX)
		return err_set(e, TX_EINVAL,
		    "the certificate signing request is larger than %zu bytes", CSR_MAX);
	if (memmem(bytes, len, begin, sizeof(begin) - 1) == NULL) {
		req = d2i_X509_REQ(NULL, &at, (long)len);
		if (req != NULL && at != bytes + len) {
			X509_REQ_free(req);
			req = NULL;
		}
	} else {
		in = BIO_new_mem_buf(bytes, (int)len);
		if (in == NULL)
			return no_memory(e);
		req = PEM_read_bio_X509_REQ(in, NULL, pem_no_passphrase, NULL);
		BIO_free(in);
	}
	if (req == NULL)
		return not_a_csr(e);
	*out = req;
	return 0;
}

/* Its key is good enough, and who sent it has it. The key comes first: a monster takes long. */
static int check_proof(X509_REQ *req, struct err *e)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(req);
	int digest = NID_undef, rc;

	if (key == NULL) {
		ERR_clear_error();
		return err_set(e, TX_EINVAL, "the request has no key that can be read");
	}
	rc = key_check(key, "the request", e);
	if (rc != 0)
		return rc;
	if (OBJ_find_sigid_algs(X509_REQ_get_signature_nid(req), &digest, NULL) == 1 &&
	    (digest == NID_md4 || digest == NID_md5 || digest == NID_sha1))
		return err_set(e, TX_EINVAL, "the request is signed with %s, which is broken",
		    OBJ_nid2sn(digest));
	if (X509_REQ_verify(req, key) != 1) {
		ERR_clear_error();
		return err_set(e, TX_EINVAL,
		    "the request's signature is not that of its key: it was changed, or made "
		    "without the key");
	}
	return 0;
}

static int take_identity(struct csr *c, const ASN1_STRING *uri, struct err *e)
{
	struct identity id;
	struct err why;

	if (c->identity[0] != '\0')
		return err_set(
		    e, TX_EINVAL, "the request asks for two identities; a certificate has one");
	if (identity_parse(&id, (const char *)ASN1_STRING_get0_data(uri),
	        (size_t)ASN1_STRING_length(uri), &why) != 0)
		return err_set(e, TX_EINVAL,
		    "the request asks for an identity that is none of telex's: %s", why.message);
	identity_format(c->identity, &id);
	return 0;
}

static int bad_host(const ASN1_STRING *text, struct err *e)
{
	char shown[80];

	tls_printable(
	    shown, sizeof(shown), ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
	return err_set(
	    e, TX_EINVAL, "the request asks for the DNS name \"%s\", which is none", shown);
}

static int dns_text(char out[HOST_SIZE], const ASN1_STRING *text, struct err *e)
{
	size_t len = (size_t)ASN1_STRING_length(text);
	unsigned char address[16];

	if (len >= HOST_SIZE || memchr(ASN1_STRING_get0_data(text), '\0', len) != NULL)
		return bad_host(text, e);
	memcpy(out, ASN1_STRING_get0_data(text), len);
	out[len] = '\0';
	return sans_valid(out) && sans_address(out, address) == 0 ? 0 : bad_host(text, e);
}

static int address_text(char out[HOST_SIZE], const ASN1_STRING *bytes, struct err *e)
{
	int len = ASN1_STRING_length(bytes);

	if ((len != 4 && len != 16) || inet_ntop(len == 4 ? AF_INET : AF_INET6,
	                                   ASN1_STRING_get0_data(bytes), out, HOST_SIZE) == NULL)
		return err_set(e, TX_EINVAL, "the request asks for an IP address of %d bytes", len);
	return 0;
}

/* One host's text into texts[*n]. */
static int take_host(char **texts, size_t *n, const GENERAL_NAME *name, struct err *e)
{
	char text[HOST_SIZE];
	int rc = name->type == GEN_DNS ? dns_text(text, name->d.dNSName, e)
	                               : address_text(text, name->d.iPAddress, e);

	if (rc != 0)
		return rc;
	if (*n == SANS_MAX)
		return err_set(e, TX_EINVAL, "the request asks for more than %d hosts", SANS_MAX);
	texts[*n] = strdup(text);
	if (texts[*n] == NULL)
		return no_memory(e);
	(*n)++;
	return 0;
}

static int take_names(struct csr *c, const GENERAL_NAMES *names, struct err *e)
{
	char *texts[SANS_MAX];
	size_t n = 0;
	int rc = 0;

	for (int i = 0; rc == 0 && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI)
			rc = take_identity(c, name->d.uniformResourceIdentifier, e);
		else if (name->type == GEN_DNS || name->type == GEN_IPADD)
			rc = take_host(texts, &n, name, e);
		else
			rc = err_set(e, TX_EINVAL,
			    "the request asks for a name that is no identity, DNS name or IP "
			    "address");
	}
	if (rc == 0)
		rc = sans_set(&c->sans, &c->n_sans, (const char *const *)texts, n, e);
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	return rc;
}

static bool asks_for_extensions(const X509_REQ *req)
{
	return X509_REQ_get_attr_by_NID(req, NID_ext_req, -1) >= 0 ||
	       X509_REQ_get_attr_by_NID(req, NID_ms_ext_req, -1) >= 0;
}

/* The names that are asked for; none is fine. */
static int read_names(struct csr *c, struct err *e)
{
	STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(c->req);
	GENERAL_NAMES *names;
	int critical = -1, rc;

	ERR_clear_error();
	if (list == NULL && asks_for_extensions(c->req))
		return err_set(e, TX_EINVAL, "what the request asks for cannot be read");
	names = X509V3_get_d2i(list, NID_subject_alt_name, &critical, NULL);
	/* -1: there is none; -2: there are two. */
	if (names == NULL && critical != -1)
		rc = err_set(e, TX_EINVAL, "the request's names cannot be read%s",
		    critical == -2 ? ": there are two lists of them" : "");
	else
		rc = take_names(c, names, e);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	ERR_clear_error();
	return rc;
}

static int fill_hash(struct csr *c, struct err *e)
{
	unsigned char *der = NULL;
	int len = i2d_X509_REQ(c->req, &der);
	bool ok = len > 0 && SHA256(der, (size_t)len, c->hash) != NULL;

	OPENSSL_free(der);
	return ok ? 0 : no_memory(e);
}

int csr_read(struct csr *out, const void *bytes, size_t len, struct err *e)
{
	struct csr c = {.req = NULL};
	int rc = decode(&c.req, bytes, len, e);

	if (rc == 0)
		rc = check_proof(c.req, e);
	if (rc == 0)
		rc = read_names(&c, e);
	if (rc == 0)
		rc = fill_hash(&c, e);
	if (rc == 0)
		*out = c;
	else
		csr_clear(&c);
	return rc;
}

void csr_clear(struct csr *c)
{
	X509_REQ_free(c->req);
	sans_free(c->sans, c->n_sans);
	memset(c, 0, sizeof(*c));
}

static bool among(const char *san, char *const *sans, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(san, sans[i]) == 0)
			return true;
	}
	return false;
}

int csr_narrow(struct csr *c, const char *const *sans, size_t n, struct err *e)
{
	char **set = NULL;
	size_t set_n = 0;
	int rc = sans_set(&set, &set_n, sans, n, e);

	for (size_t i = 0; rc == 0 && c->n_sans > 0 && i < set_n; i++) {
		if (!among(set[i], c->sans, c->n_sans))
			rc = err_set(
			    e, TX_EPERM, "the request does not ask for the host %s", set[i]);
	}
	if (rc != 0) {
		sans_free(set, set_n);
		return rc;
	}
	sans_free(c->sans, c->n_sans);
	c->sans = set;
	c->n_sans = set_n;
	return 0;
}

/* ---- sign ---- */

static int check_identity(
    const struct ca *ca, const struct csr *csr, const struct issue_request *allowed, struct err *e)
{
	struct identity id;
	char text[IDENTITY_SIZE];
	int rc = identity_make(&id, allowed->kind, ca_domain(ca), allowed->name, e);

	if (rc != 0)
		return rc;
	identity_format(text, &id);
	if (csr->identity[0] == '\0' || strcmp(csr->identity, text) == 0)
		return 0;
	return err_set(e, TX_EPERM, "the request asks for %s; allowed is %s", csr->identity, text);
}

/* "a, b" of a set, cut. */
static void list_text(char *out, size_t size, char *const *sans, size_t n)
{
	size_t used = 0;

	snprintf(out, size, "none");
	for (size_t i = 0; i < n && used < size; i++) {
		int wrote = snprintf(out + used, size - used, "%s%s", i > 0 ? ", " : "", sans[i]);

		used += wrote < 0 ? size : (size_t)wrote;
	}
}

static int check_hosts(const struct csr *csr, char *const *sans, size_t n, struct err *e)
{
	char asked[160], allowed[160];

	if (csr->n_sans == 0 ||
	    sans_same((const char *const *)csr->sans, csr->n_sans, (const char *const *)sans, n))
		return 0;
	list_text(asked, sizeof(asked), csr->sans, csr->n_sans);
	list_text(allowed, sizeof(allowed), sans, n);
	return err_set(
	    e, TX_EPERM, "the request asks for the hosts %s; allowed: %s", asked, allowed);
}

int csr_sign(struct issued *out, const struct ca *ca, const struct csr *csr,
    const struct issue_request *allowed, struct err *e)
{
	bool by_name =
	    allowed->kind == IDENTITY_AGENT && allowed->sans_len == 0 && sans_valid(allowed->name);
	EVP_PKEY *key = X509_REQ_get0_pubkey(csr->req);
	struct issue_request request = *allowed;
	char **sans = NULL;
	size_t n = 0;
	int rc = check_identity(ca, csr, allowed, e);

	if (rc == 0)
		rc = by_name ? sans_set(&sans, &n, &allowed->name, 1, e)
		             : sans_set(&sans, &n, allowed->sans, allowed->sans_len, e);
	if (rc == 0)
		rc = check_hosts(csr, sans, n, e);
	if (rc == 0 && key == NULL)
		rc = no_memory(e);
	request.sans = (const char *const *)sans;
	request.sans_len = n;
	if (rc == 0)
		rc = issue_for_key(out, ca, &request, key, e);
	sans_free(sans, n);
	return rc;
}
