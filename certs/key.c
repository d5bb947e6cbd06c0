/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/key.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "certs/pem.h"

#define RSA_BITS     3072
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192 /* more only costs */

bool key_type_parse(enum key_type *out, const char *text)
{
	if (strcasecmp(text, "p256") == 0 || strcasecmp(text, "p-256") == 0)
		*out = KEY_P256;
	else if (strcasecmp(text, "ed25519") == 0)
		*out = KEY_ED25519;
	else if (strcasecmp(text, "rsa") == 0)
		*out = KEY_RSA;
	else
		return false;
	return true;
}

const char *key_type_name(enum key_type type)
{
	switch (type) {
	case KEY_P256:
		return "p256";
	case KEY_ED25519:
		return "ed25519";
	case KEY_RSA:
		return "rsa";
	}
	return "";
}

static EVP_PKEY *make(enum key_type type)
{
	switch (type) {
	case KEY_P256:
		return EVP_EC_gen("P-256");
	case KEY_ED25519:
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	case KEY_RSA:
		return EVP_RSA_gen(RSA_BITS);
	}
	return NULL;
}

int key_generate(EVP_PKEY **out, enum key_type type, struct err *e)
{
	EVP_PKEY *key = make(type);

	if (key == NULL)
		return pem_openssl_error(e, "cannot make a key");
	*out = key;
	return 0;
}

int key_from_pem(EVP_PKEY **out, const char *text, size_t len, const char *name, struct err *e)
{
	BIO *in = len > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
	bool encrypted = false;
	EVP_PKEY *key;

	if (in == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	key = PEM_read_bio_PrivateKey(in, NULL, pem_no_passphrase, &encrypted);
	BIO_free(in);
	ERR_clear_error();
	if (key == NULL && encrypted)
		return err_set(e, TX_ECERT,
		    "%s is protected by a passphrase, which telex cannot ask for", name);
	if (key == NULL)
		return err_set(
		    e, TX_ECERT, "%s has no private key in it (PEM, BEGIN PRIVATE KEY)", name);
	*out = key;
	return 0;
}

int key_to_pem(EVP_PKEY *key, char **text, size_t *len, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_secmem());

	if (bio == NULL ||
	    PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
		BIO_free(bio);
		return pem_openssl_error(e, "cannot write a key");
	}
	return pem_take_text(bio, text, len, e);
}

int key_check(EVP_PKEY *key, const char *subject, struct err *e)
{
	char what[64];

	key_describe(key, what, sizeof(what));
	if (strcmp(what, "P-256") == 0 || strcmp(what, "P-384") == 0 ||
	    strcmp(what, "Ed25519") == 0)
		return 0;
	if (EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN &&
	    EVP_PKEY_get_bits(key) <= RSA_BITS_MAX)
		return 0;
	return err_set(e, TX_EINVAL,
	    "%s has a key of the kind %s; P-256, P-384, Ed25519 and RSA of %d to %d bits will do",
	    subject, what, RSA_BITS_MIN, RSA_BITS_MAX);
}

void key_describe(EVP_PKEY *key, char *out, size_t size)
{
	char group[64];
	size_t len;

	if (EVP_PKEY_is_a(key, "ED25519"))
		snprintf(out, size, "Ed25519");
	else if (!EVP_PKEY_is_a(key, "EC"))
		snprintf(out, size, "%s %d", EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
	else if (EVP_PKEY_get_group_name(key, group, sizeof(group), &len) != 1)
		snprintf(out, size, "EC");
	else if (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0)
		snprintf(out, size, "P-256");
	else if (strcmp(group, "secp384r1") == 0)
		snprintf(out, size, "P-384");
	else
		snprintf(out, size, "%s", group);
}
