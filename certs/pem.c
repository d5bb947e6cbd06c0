/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/pem.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pem_openssl_error(struct err *e, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	ERR_clear_error();
	if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
		return err_set(e, TX_ENOMEM, "out of memory");
	return err_set(e, TX_ECERT, "%s: %s", what, reason == NULL ? "no reason given" : reason);
}

int pem_no_passphrase(char *buffer, int size, int writing, void *asked)
{
	(void)buffer;
	(void)size;
	(void)writing;
	if (asked != NULL)
		*(bool *)asked = true;
	return -1;
}

int pem_take_text(BIO *bio, char **text, size_t *len, struct err *e)
{
	char *data = NULL, *copy = NULL;
	long size = BIO_get_mem_data(bio, &data);

	if (size > 0)
		copy = malloc((size_t)size + 1);
	if (copy != NULL) {
		memcpy(copy, data, (size_t)size);
		copy[size] = '\0';
		*text = copy;
		*len = (size_t)size;
	}
	BIO_free(bio);
	return copy == NULL ? err_set(e, TX_ENOMEM, "out of memory") : 0;
}

int pem_from_certificate(X509 *x, char **text, size_t *len, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());

	if (bio == NULL || PEM_write_bio_X509(bio, x) != 1) {
		BIO_free(bio);
		return pem_openssl_error(e, "cannot write a certificate");
	}
	return pem_take_text(bio, text, len, e);
}

int pem_to_certificate(X509 **out, const char *text, size_t len, const char *name, struct err *e)
{
	BIO *in = len > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
	X509 *x;

	if (in == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	x = PEM_read_bio_X509(in, NULL, pem_no_passphrase, NULL);
	BIO_free(in);
	ERR_clear_error();
	if (x == NULL)
		return err_set(e, TX_ECERT,
		    "%s has no certificate in it that can be read (PEM, BEGIN CERTIFICATE)", name);
	*out = x;
	return 0;
}

static bool has_pin(X509 *x, const uint8_t pin[32])
{
	unsigned char *der = NULL, hash[32];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	bool same = len > 0 && EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL) == 1 &&
	            memcmp(hash, pin, sizeof(hash)) == 0;

	OPENSSL_free(der);
	return same;
}

size_t pem_find_pin(const char *text, size_t len, const uint8_t pin[32], bool *found)
{
	BIO *in = len > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
	size_t n = 0;
	X509 *x;

	*found = false;
	while (in != NULL && (x = PEM_read_bio_X509(in, NULL, pem_no_passphrase, NULL)) != NULL) {
		n++;
		*found |= has_pin(x, pin);
		X509_free(x);
	}
	BIO_free(in);
	ERR_clear_error();
	return n;
}

void pem_serial(const X509 *x, char *out, size_t size)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = number == NULL ? NULL : BN_bn2hex(number);

	snprintf(out, size, "%s", hex == NULL ? "" : hex);
	OPENSSL_free(hex);
	BN_free(number);
}
