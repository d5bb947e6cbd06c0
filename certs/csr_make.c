/* SPDX-License-Identifier: Apache-2.0 */
/* Making a request and its key. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "certs/csr.h"
#include "certs/pem.h"
#include "certs/sans.h"
#include "certs/x509_build.h"
#include "common/tls.h"

static int no_memory(struct err *e)
{
	ERR_clear_error();
	return err_set(e, TX_ENOMEM, "out of memory");
}

static bool push_host(GENERAL_NAMES *names, const char *host)
{
	unsigned char address[16];
	size_t len = sans_address(host, address);

	return len > 0 ? x509_build_name(names, GEN_IPADD, address, len)
	               : x509_build_name(names, GEN_DNS, host, strlen(host));
}

static bool put_names(X509_REQ *req, GENERAL_NAMES *names)
{
	STACK_OF(X509_EXTENSION) *list = NULL;
	bool ok = X509V3_add1_i2d(&list, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 &&
	          X509_REQ_add_extensions(req, list) == 1;

	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	return ok;
}

/* The identity and the hosts as an extension that is asked for. */
static int ask_for_names(X509_REQ *req, const char *identity, char **sans, size_t n, struct err *e)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	bool ok = names != NULL && x509_build_name(names, GEN_URI, identity, strlen(identity));

	for (size_t i = 0; ok && i < n; i++)
		ok = push_host(names, sans[i]);
	ok = ok && put_names(req, names);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
	return ok ? 0 : no_memory(e);
}

static int to_pem(X509_REQ *req, char **pem, size_t *len, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio == NULL || PEM_write_bio_X509_REQ(bio, req) != 1) {
		BIO_free(bio);
		return pem_openssl_error(e, "cannot write a request");
	}
	return pem_take_text(bio, pem, len, e);
}

static int build(
    X509_REQ **out, EVP_PKEY *key, const char *identity, char **sans, size_t n, struct err *e)
{
	X509_REQ *req = X509_REQ_new();
	int rc = req == NULL ? no_memory(e) : ask_for_names(req, identity, sans, n, e);

	if (rc == 0 && (X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
	                   X509_REQ_set_pubkey(req, key) != 1 ||
	                   X509_REQ_sign(req, key, x509_build_digest(key)) <= 0))
		rc = pem_openssl_error(e, "cannot make a request");
	if (rc == 0)
		*out = req;
	else
		X509_REQ_free(req);
	return rc;
}

int csr_make(char **pem, size_t *pem_len, char **key_pem, size_t *key_len, const char *identity,
    const char *const *sans, size_t n_sans, enum key_type type, struct err *e)
{
	char *request = NULL, *key_text = NULL;
	size_t request_len = 0, n = 0;
	EVP_PKEY *key = NULL;
	X509_REQ *req = NULL;
	struct identity id;
	char **set = NULL;
	int rc = identity_parse(&id, identity, strlen(identity), e);

	if (rc == 0)
		rc = sans_set(&set, &n, sans, n_sans, e);
	if (rc == 0)
		rc = key_generate(&key, type, e);
	if (rc == 0)
		rc = build(&req, key, identity, set, n, e);
	if (rc == 0)
		rc = to_pem(req, &request, &request_len, e);
	if (rc == 0)
		rc = key_to_pem(key, &key_text, key_len, e);
	if (rc == 0) {
		*pem = request;
		*pem_len = request_len;
		*key_pem = key_text;
	} else {
		tls_text_free(request, request_len);
	}
	sans_free(set, n);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return rc;
}
