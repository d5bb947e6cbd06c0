/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in a peer's certificate, and identities. The first byte:
 *
 *     0  a certificate in DER
 *     1  a text of certificates (PEM)
 *     2  the parts of a certificate, each a part of the input, which is put together around them
 *     3  an identity's text, and that of a domain
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "certs/certshow.h"
#include "certs/pem.h"
#include "common/mem.h"
#include "common/tls_cert.h"
#include "tests/fuzz/fuzz.h"

/* 9999-12-31T23:59:59Z: what a certificate can say last, and a clock. */
#define LATEST INT64_C(253402300799)

static void expect_printable(const char *text, bool lines)
{
	for (const char *c = text; *c != '\0'; c++)
		fuzz_require((*c >= 0x20 && *c < 0x7f) || (lines && *c == '\n'));
}

/* ---- what is read of one ---- */

static void look_at_text(const char *text, size_t len)
{
	struct certshow *shown = NULL;
	uint8_t pin[32] = {0};
	size_t n = 0;
	bool found;
	struct err e = {0};

	(void)pem_find_pin(text, len, pin, &found);
	fuzz_require(!found);
	if (certshow_read(&shown, &n, text, len, "f", &e) != 0) {
		expect_printable(e.message, false);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const int64_t times[] = {0, shown[i].not_before, shown[i].not_after, LATEST};

		for (size_t t = 0; t < sizeof(times) / sizeof(times[0]); t++) {
			char *words = certshow_words(&shown[i], times[t]);

			fuzz_require(words != NULL);
			expect_printable(words, true);
			free(words);
			fuzz_require(certshow_state_name(certshow_state(&shown[i], times[t]))[0]);
		}
	}
	certshow_free(shown, n);
}

static void look_at_leaf(X509 *x, bool of_server)
{
	struct identity id, again;
	char text[IDENTITY_SIZE];
	struct err e = {0};
	int error = 0;

	if (tls_cert_check_leaf(x, of_server, &id, "the certificate", &error, &e) != 0) {
		fuzz_require(error != 0);
		expect_printable(e.message, false);
		return;
	}
	identity_format(text, &id);
	fuzz_require(identity_parse(&again, text, strlen(text), NULL) == 0);
	fuzz_require(id.kind == again.kind && strcmp(id.name, again.name) == 0);
	fuzz_require(!of_server || id.kind == IDENTITY_AGENT);
	fuzz_require((X509_get_extension_flags(x) & EXFLAG_CA) == 0);
}

static void look_at(X509 *x)
{
	char text[512], *pem = NULL;
	size_t len = 0;

	look_at_leaf(x, true);
	look_at_leaf(x, false);
	for (size_t size = 40; size <= sizeof(text); size += sizeof(text) - 40) {
		tls_cert_hosts(x, text, size);
		expect_printable(text, false);
		tls_cert_label(x, text, size);
		expect_printable(text, false);
		tls_cert_serial(x, text, size);
		expect_printable(text, false);
		tls_name_text(X509_get_issuer_name(x), text, size);
		expect_printable(text, false);
	}
	tls_time_text(text, tls_time_epoch(X509_get0_notBefore(x)));
	if (pem_from_certificate(x, &pem, &len, NULL) == 0)
		look_at_text(pem, len);
	free(pem);
}

static void look_at_der(const uint8_t *der, size_t len)
{
	X509 *x = d2i_X509(NULL, &der, (long)len);

	if (x != NULL)
		look_at(x);
	X509_free(x);
}

/* ---- one that is put together ---- */

static void add_extension(X509 *x, int nid, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *der = fuzz_part(in, &len);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	if (len > 0) {
		ASN1_OCTET_STRING_set(value, der, (int)len);
		e = X509_EXTENSION_create_by_NID(NULL, nid, 0, value);
		X509_add_ext(x, e, -1);
		X509_EXTENSION_free(e);
	}
	ASN1_OCTET_STRING_free(value);
}

static void add_name(X509_NAME *name, struct fuzz_input *in)
{
	static const int types[] = {V_ASN1_UTF8STRING, V_ASN1_PRINTABLESTRING, V_ASN1_BMPSTRING,
	    V_ASN1_T61STRING, V_ASN1_UNIVERSALSTRING, V_ASN1_IA5STRING};
	uint8_t how = fuzz_byte(in);
	size_t len;
	const uint8_t *text = fuzz_part(in, &len);

	X509_NAME_add_entry_by_NID(name, (how & 128) != 0 ? NID_organizationName : NID_commonName,
	    types[(how & 127) % (sizeof(types) / sizeof(types[0]))], text, (int)len, -1, 0);
}

static void set_time(ASN1_TIME *t, struct fuzz_input *in)
{
	char *text = fuzz_text(in, '\n');

	if (ASN1_TIME_set_string(t, text) != 1)
		ASN1_STRING_set(t, text, -1);
	free(text);
}

static X509 *build(struct fuzz_input *in)
{
	static const uint8_t key_bytes[32] = {9};
	EVP_PKEY *key =
	    EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key_bytes, sizeof(key_bytes));
	X509 *x = X509_new();
	size_t len;
	const uint8_t *serial;

	fuzz_require(key != NULL && x != NULL);
	X509_set_version(x, X509_VERSION_3);
	X509_set_pubkey(x, key);
	EVP_PKEY_free(key);
	add_name(X509_get_subject_name(x), in);
	add_name(X509_get_issuer_name(x), in);
	serial = fuzz_part(in, &len);
	ASN1_STRING_set(X509_get_serialNumber(x), serial, (int)len);
	set_time(X509_getm_notBefore(x), in);
	set_time(X509_getm_notAfter(x), in);
	add_extension(x, NID_subject_alt_name, in);
	add_extension(x, NID_ext_key_usage, in);
	add_extension(x, NID_basic_constraints, in);
	add_extension(x, NID_subject_alt_name, in);
	/* A signature has to be there, and need not be right. */
	X509_ALGOR_set0((X509_ALGOR *)(uintptr_t)X509_get0_tbs_sigalg(x), OBJ_nid2obj(NID_ED25519),
	    V_ASN1_UNDEF, NULL);
	return x;
}

static void look_at_built(struct fuzz_input *in)
{
	X509 *x = build(in);
	uint8_t *der = NULL;
	int len = i2d_X509(x, &der);

	/* What does not encode cannot come. */
	if (len > 0)
		look_at_der(der, (size_t)len);
	OPENSSL_free(der);
	X509_free(x);
}

/* ---- identities ---- */

static void look_at_identity(struct fuzz_input *in)
{
	size_t len, domain_len;
	const char *text = (const char *)fuzz_until(in, '\n', &len);
	const char *domain = (const char *)fuzz_until(in, '\n', &domain_len);
	char again[IDENTITY_SIZE], name[IDENTITY_DOMAIN_MAX + 1];
	enum identity_kind kind;
	struct identity id, made;
	struct err e = {0};

	if (identity_parse(&id, text, len, &e) == 0) {
		identity_format(again, &id);
		fuzz_require(strlen(again) == len && memcmp(again, text, len) == 0);
		fuzz_require(identity_make(&made, id.kind, id.domain, id.name, &e) == 0);
		fuzz_require(identity_domain_valid(id.domain));
		fuzz_require(identity_kind_parse(&kind, identity_kind_name(id.kind)));
	} else {
		expect_printable(e.message, false);
	}
	if (identity_parse_domain(name, domain, domain_len, &e) == 0)
		fuzz_require(identity_domain_valid(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	switch (fuzz_byte(&in)) {
	case 0:
		look_at_der(in.at, in.left);
		break;
	case 1:
		look_at_text((const char *)in.at, in.left);
		break;
	case 2:
		look_at_built(&in);
		break;
	default:
		look_at_identity(&in);
	}
	ERR_clear_error();
	return 0;
}
