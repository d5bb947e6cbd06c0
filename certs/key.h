/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys: made here, written as PEM (PKCS #8, encrypted when there is a passphrase), read
 * back. */
#ifndef TX_CERTS_KEY_H
#define TX_CERTS_KEY_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

enum key_type {
	KEY_P256 = 0, /* the default: every TLS 1.3 implementation has it */
	KEY_ED25519 = 1,
	KEY_RSA = 2, /* 3072 bits, for what knows nothing else */
};

/* "p256", "ed25519" or "rsa"; false for anything else. */
bool key_type_parse(enum key_type *out, const char *text);
const char *key_type_name(enum key_type type);

/* EVP_PKEY_free is the caller's. */
int key_generate(EVP_PKEY **out, enum key_type type, struct err *e);
/* `name` is what the error calls it. TX_ECERT when there is no usable key, TX_EPERM when it is
 * encrypted. */
int key_from_pem(EVP_PKEY **out, const char *text, size_t len, const char *name, struct err *e);
/* tls_text_free(*text, *len) is the caller's: it wipes. */
int key_to_pem(EVP_PKEY *key, char **text, size_t *len, struct err *e);

/* ---- passphrases ---- */

#define KEY_PASSPHRASE_MIN  8 /* for a key that we encrypt */
#define KEY_PASSPHRASE_SIZE 1024

/* Where one comes from, when a key is encrypted: asked once a key. */
struct key_passphrase {
	/* Into out[0..size), with its NUL; `name` is the key's. */
	int (*get)(const struct key_passphrase *p, const char *name, char *out, size_t size,
	    struct err *e);
	const char *arg; /* get's own: a path, or the text itself */
};

/* The first line of the file `arg`, which nobody but its owner may read. */
int key_passphrase_file(
    const struct key_passphrase *p, const char *name, char *out, size_t size, struct err *e);
/* The same of an open file, called `name` in errors. */
int key_passphrase_fd(int fd, const char *name, char *out, size_t size, struct err *e);
/* `arg` itself. */
int key_passphrase_text(
    const struct key_passphrase *p, const char *name, char *out, size_t size, struct err *e);

/* As key_from_pem; p may be NULL. TX_EPERM, too, when the passphrase is wrong; else what `get`
 * answered. */
int key_from_pem_with(EVP_PKEY **out, const char *text, size_t len, const char *name,
    const struct key_passphrase *p, struct err *e);
/* Encrypted: PBES2 with scrypt and AES-256-CBC, which `openssl pkey` reads. TX_EINVAL when the
 * passphrase is too short. */
int key_to_pem_encrypted(
    EVP_PKEY *key, const char *passphrase, char **text, size_t *len, struct err *e);

/* Whether a key that others made is strong enough: P-256, P-384, Ed25519, or RSA of 2048 to 8192
 * bits. TX_EINVAL says what it is. */
int key_check(EVP_PKEY *key, const char *subject, struct err *e);

/* "P-256", "Ed25519", "RSA 2048": for people. */
void key_describe(EVP_PKEY *key, char *out, size_t size);

#endif
