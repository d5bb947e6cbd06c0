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

bool key_type_parse(enum key_type *out, const char *text)
{
	if (strcasecmp(text, "p256") == 0 || strcasecmp(text, "p-256") == 0)
		*out = KEY_P256;
	else if (strcasecmp(text, "ed25519") == 0)
		*out = KEY_ED25519;
	else
		return false;
	return true;
}

const char *key_type_name(enum key_type type)
{
	return type == KEY_ED25519 ? "ed25519" : "p256";
}

int key_generate(EVP_PKEY **out, enum key_type type, struct err *e)
{
	EVP_PKEY *key =
	    type == KEY_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : EVP_EC_gen("P-256");

	if (key == NULL)
		return pem_openssl_error(e, "cannot make a key");
	*out = key;
	return 0;
}

static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
	(void)buffer;
	(void)size;
	(void)writing;
	*(bool *)arg = true;
	return -1;
}

int key_from_pem(EVP_PKEY **out, const char *text, size_t len, const char *name, struct err *e)
{
	BIO *in = len > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
	bool encrypted = false;
	EVP_PKEY *key;

	if (in == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &encrypted);
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
	else
		snprintf(out, size, "%s", group);
}
