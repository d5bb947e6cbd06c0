/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/key.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
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

struct asking {
	const struct key_passphrase *from; /* NULL: there is none */
	const char *name;
	bool asked;
	int rc; /* of the answer */
	struct err *e;
};

static int on_encrypted(char *buffer, int size, int writing, void *arg)
{
	struct asking *a = arg;
	char text[KEY_PASSPHRASE_SIZE];
	size_t len;

	(void)writing;
	a->asked = true;
	if (a->from == NULL)
		return -1;
	a->rc = a->from->get(a->from, a->name, text, sizeof(text), a->e);
	len = a->rc == 0 ? strlen(text) : 0;
	if (len > 0 && len <= (size_t)size)
		memcpy(buffer, text, len);
	OPENSSL_cleanse(text, sizeof(text));
	return len > 0 && len <= (size_t)size ? (int)len : -1;
}

int key_from_pem_with(EVP_PKEY **out, const char *text, size_t len, const char *name,
    const struct key_passphrase *p, struct err *e)
{
	struct asking asking = {.from = p, .name = name, .e = e};
	BIO *in = len > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
	EVP_PKEY *key;

	if (in == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	key = PEM_read_bio_PrivateKey(in, NULL, on_encrypted, &asking);
	BIO_free(in);
	ERR_clear_error();
	if (key != NULL) {
		*out = key;
		return 0;
	}
	if (asking.asked && p == NULL)
		return err_set(
		    e, TX_EPERM, "%s is protected by a passphrase, and none was given", name);
	if (asking.asked && asking.rc != 0)
		return asking.rc;
	if (asking.asked)
		return err_set(e, TX_EPERM, "the passphrase is not that of %s", name);
	return err_set(e, TX_ECERT, "%s has no private key in it (PEM, BEGIN PRIVATE KEY)", name);
}

int key_from_pem(EVP_PKEY **out, const char *text, size_t len, const char *name, struct err *e)
{
	return key_from_pem_with(out, text, len, name, NULL, e);
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

/* What `openssl pkcs8 -scrypt` takes: 16 MiB and some 50 ms a try. */
static X509_SIG *encrypt(EVP_PKEY *key, const char *passphrase)
{
	PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
	X509_ALGOR *how = PKCS5_pbe2_set_scrypt(EVP_aes_256_cbc(), NULL, 0, NULL, 1 << 14, 8, 1);
	X509_SIG *sealed = NULL;

	if (plain != NULL && how != NULL)
		sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), plain, how);
	if (sealed == NULL)
		X509_ALGOR_free(how);
	PKCS8_PRIV_KEY_INFO_free(plain);
	return sealed;
}

int key_to_pem_encrypted(
    EVP_PKEY *key, const char *passphrase, char **text, size_t *len, struct err *e)
{
	size_t length = strlen(passphrase);
	X509_SIG *sealed;
	BIO *bio;
	bool ok;

	if (length < KEY_PASSPHRASE_MIN || length >= KEY_PASSPHRASE_SIZE)
		return err_set(e, TX_EINVAL, "a passphrase has %d to %d characters",
		    KEY_PASSPHRASE_MIN, KEY_PASSPHRASE_SIZE - 1);
	sealed = encrypt(key, passphrase);
	bio = BIO_new(BIO_s_mem());
	ok = sealed != NULL && bio != NULL && PEM_write_bio_PKCS8(bio, sealed) == 1;
	X509_SIG_free(sealed);
	if (!ok) {
		BIO_free(bio);
		return pem_openssl_error(e, "cannot encrypt a key");
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
