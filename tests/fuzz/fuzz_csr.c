/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate signing request, and what an authority makes of it. The first byte: 0, it is the
 * request, PEM or DER; else bits of what it is put together of (a key, a signature), and then
 * parts: the names that it asks for (DER), another attribute, a host that it is narrowed to, in a
 * line, and the name that is allowed.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/csr.h"
#include "certs/pem.h"
#include "common/mem.h"
#include "common/tls_cert.h"
#include "tests/fuzz/fuzz.h"

#define KEYS 4

static EVP_PKEY *keys[KEYS];
static struct ca *ca;

static void set_up(void)
{
	if (ca != NULL)
		return;
	keys[0] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	keys[1] = EVP_EC_gen("P-256");
	keys[2] = EVP_RSA_gen(1024);
	keys[3] = EVP_EC_gen("secp224r1");
	for (int i = 0; i < KEYS; i++)
		fuzz_require(keys[i] != NULL);
	fuzz_require(ca_new(&ca, &(struct ca_options){.key_type = KEY_ED25519}, NULL) == 0);
}

/* ---- making ---- */

static void add_extension(STACK_OF(X509_EXTENSION) * list, int nid, const uint8_t *der, size_t len)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();

	ASN1_OCTET_STRING_set(value, der, (int)len);
	sk_X509_EXTENSION_push(list, X509_EXTENSION_create_by_NID(NULL, nid, 0, value));
	ASN1_OCTET_STRING_free(value);
}

static void add_names(X509_REQ *req, uint8_t how, struct fuzz_input *in)
{
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	size_t len;
	const uint8_t *der = fuzz_part(in, &len);

	if (len > 0) {
		add_extension(list, NID_subject_alt_name, der, len);
		if ((how & 32) != 0)
			add_extension(list, NID_subject_alt_name, der, len);
		X509_REQ_add_extensions(req, list);
	}
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	der = fuzz_part(in, &len);
	if (len > 0)
		X509_REQ_add1_attr_by_NID(req,
		    (how & 64) != 0 ? NID_ext_req : NID_pkcs9_challengePassword, V_ASN1_SEQUENCE,
		    der, (int)len);
}

static X509_REQ *build(uint8_t how, struct fuzz_input *in)
{
	EVP_PKEY *key = keys[how >> 1 & 3];
	X509_REQ *req = X509_REQ_new();
	const EVP_MD *hash = (how & 8) != 0 ? EVP_sha1() : EVP_sha256();

	X509_REQ_set_version(req, X509_REQ_VERSION_1);
	X509_REQ_set_pubkey(req, key);
	add_names(req, how, in);
	if ((how & 16) != 0)
		key = keys[1];
	X509_REQ_sign(req, key, key == keys[0] ? NULL : hash);
	return req;
}

/* ---- reading ---- */

static void check_issued(const struct issued *out, const struct issue_request *allowed)
{
	struct identity id;
	struct err e;
	X509 *x = NULL;

	fuzz_require(pem_to_certificate(&x, out->certificate, out->certificate_len, "f", &e) == 0);
	fuzz_require(
	    tls_cert_check_leaf(x, allowed->kind == IDENTITY_AGENT, &id, "", NULL, &e) == 0);
	fuzz_require(id.kind == allowed->kind && strcmp(id.name, allowed->name) == 0);
	fuzz_require(strcmp(id.domain, ca_domain(ca)) == 0 && out->key == NULL);
	X509_free(x);
}

static void sign(struct csr *c, uint8_t how, struct fuzz_input *in)
{
	char *host = fuzz_text(in, '\n'), *name = fuzz_text(in, '\n');
	const char *const hosts[] = {host};
	struct issue_request allowed = {.kind = (how & 128) != 0 ? IDENTITY_AGENT : IDENTITY_USER,
	    .name = name,
	    .sans = hosts,
	    .sans_len = (how & 128) != 0 && host[0] != '\0'};
	struct issued out = {0};
	struct err e = {0};

	if (host[0] != '\0' && csr_narrow(c, hosts, 1, &e) == 0)
		fuzz_require(c->n_sans == 1);
	if (csr_sign(&out, ca, c, &allowed, &e) == 0)
		check_issued(&out, &allowed);
	issue_free(&out);
	free(host);
	free(name);
}

static void read_one(const uint8_t *bytes, size_t len, uint8_t how, struct fuzz_input *in)
{
	struct identity id;
	struct err e = {0};
	struct csr c;

	if (csr_read(&c, bytes, len, &e) != 0) {
		fuzz_require(e.message[0] != '\0');
		for (const char *at = e.message; *at != '\0'; at++)
			fuzz_require(*at >= 0x20 && *at < 0x7f);
		return;
	}
	fuzz_require(c.n_sans <= SANS_MAX);
	for (size_t i = 0; i < c.n_sans; i++)
		fuzz_require(sans_valid(c.sans[i]));
	if (c.identity[0] != '\0')
		fuzz_require(identity_parse(&id, c.identity, strlen(c.identity), NULL) == 0);
	sign(&c, how, in);
	csr_clear(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_byte(&in), *der = NULL;
	X509_REQ *req;
	int len;

	set_up();
	if (how == 0) {
		read_one(in.at, in.left, how, &(struct fuzz_input){in.at, 0});
	} else {
		req = build(how, &in);
		len = i2d_X509_REQ(req, &der);
		if (len > 0)
			read_one(der, (size_t)len, how, &in);
		OPENSSL_free(der);
		X509_REQ_free(req);
	}
	ERR_clear_error();
	return 0;
}
