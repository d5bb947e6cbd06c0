/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A revocation list. The first byte: 0, it is the text; else bits of what it is put together of:
 *
 *     1   is signed by an authority that is trusted       2   by its intermediate
 *     4   the signature is another's                      8   the intermediate does not come along
 *     16  a critical extension of the list                32  one of an entry
 *     64  it is there twice
 *
 * and then its number (DER), its two times in lines, and serial numbers.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/crl.h"
#include "certs/pem.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

#define ENTRIES_MAX 16

static struct ca *root, *below, *other;
static char *trusted;

static void set_up(void)
{
	struct ca_options o = {.key_type = KEY_ED25519, .name = "a"};
	size_t len;

	if (trusted != NULL)
		return;
	fuzz_require(ca_new(&root, &o, NULL) == 0 && ca_new(&other, &o, NULL) == 0);
	o.intermediate = true;
	fuzz_require(ca_new(&below, &o, NULL) == 0);
	trusted = xasprintf("%s%s", ca_certificate(root, &len), ca_certificate(below, &len));
}

/* ---- making ---- */

static X509_EXTENSION *extension(int nid, bool critical, const uint8_t *der, size_t len)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(value, der, (int)len);
	e = X509_EXTENSION_create_by_NID(NULL, nid, critical, value);
	ASN1_OCTET_STRING_free(value);
	return e;
}

static void set_time(X509_CRL *list, bool last, struct fuzz_input *in)
{
	char *text = fuzz_text(in, '\n');
	ASN1_TIME *t = ASN1_TIME_new();

	if (ASN1_TIME_set_string(t, text) == 1)
		(last ? X509_CRL_set1_lastUpdate : X509_CRL_set1_nextUpdate)(list, t);
	else if (last)
		X509_CRL_set1_lastUpdate(list, ASN1_TIME_set(t, 0));
	ASN1_TIME_free(t);
	free(text);
}

static void add_entry(X509_CRL *list, bool critical, struct fuzz_input *in)
{
	static const uint8_t reason[] = {10, 1, 1};
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, 0);
	X509_EXTENSION *e = extension(NID_crl_reason, critical, reason, sizeof(reason));
	size_t len;
	const uint8_t *serial = fuzz_bytes(in, fuzz_byte(in) % 48, &len);

	ASN1_STRING_set(number, serial, (int)len);
	X509_REVOKED_set_serialNumber(r, number);
	X509_REVOKED_set_revocationDate(r, when);
	X509_REVOKED_add_ext(r, e, -1);
	X509_CRL_add0_revoked(list, r);
	X509_EXTENSION_free(e);
	ASN1_TIME_free(when);
	ASN1_INTEGER_free(number);
}

static X509_CRL *build(uint8_t how, struct fuzz_input *in)
{
	const struct ca *by = (how & 2) != 0 ? below : (how & 1) != 0 ? root : other;
	X509_CRL *list = X509_CRL_new();
	size_t len;
	const uint8_t *number = fuzz_part(in, &len);
	X509_EXTENSION *e = len > 0 ? extension(NID_crl_number, false, number, len) : NULL;

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(ca_x509(by)));
	set_time(list, true, in);
	set_time(list, false, in);
	if (e != NULL)
		X509_CRL_add_ext(list, e, -1);
	X509_EXTENSION_free(e);
	if ((how & 16) != 0) {
		static const uint8_t point[] = {48, 0};

		e = extension(NID_issuing_distribution_point, true, point, sizeof(point));
		X509_CRL_add_ext(list, e, -1);
		X509_EXTENSION_free(e);
	}
	for (int i = 0; i < ENTRIES_MAX && in->left > 0; i++)
		add_entry(list, (how & 32) != 0, in);
	X509_CRL_sign(list, ca_key((how & 4) != 0 ? other : by), NULL);
	return list;
}

static char *text_of(uint8_t how, struct fuzz_input *in, size_t *len)
{
	X509_CRL *list = build(how, in);
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;

	PEM_write_bio_X509_CRL(bio, list);
	if ((how & 64) != 0)
		PEM_write_bio_X509_CRL(bio, list);
	if ((how & 8) == 0)
		PEM_write_bio_X509(bio, ca_x509(below));
	X509_CRL_free(list);
	if (pem_take_text(bio, &text, len, NULL) != 0)
		*len = 0;
	return text;
}

/* ---- reading ---- */

static void read_one(const char *text, size_t len)
{
	struct err e = {0};
	struct crl *c = NULL;
	int rc = crl_read(&c, text, len, trusted, strlen(trusted), &e);

	if (rc != 0) {
		fuzz_require((rc == TX_ECERT || rc == TX_EPERM) && e.message[0] != '\0');
		return;
	}
	fuzz_require((len == 0) == (crl_number(c) < 0));
	fuzz_require(len == 0 || strlen(crl_issuer(c)) == 64);
	/* Who cannot be read is revoked. */
	fuzz_require(crl_revoked(c, "") && crl_revoked(c, "xy"));
	for (int i = 0; i < 256; i++) {
		char serial[8];

		snprintf(serial, sizeof(serial), "%02X", i);
		if (crl_revoked(c, serial))
			fuzz_require(crl_count(c) > 0);
		crl_revoked(c, serial + 1);
	}
	(void)crl_this_update(c);
	(void)crl_next_update(c);
	crl_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t how = fuzz_byte(&in);
	char *text;
	size_t len;

	set_up();
	if (how == 0) {
		read_one((const char *)in.at, in.left);
	} else {
		text = text_of(how, &in, &len);
		if (text != NULL)
			read_one(text, len);
		free(text);
	}
	ERR_clear_error();
	return 0;
}
