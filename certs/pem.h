/* SPDX-License-Identifier: Apache-2.0 */
/* PEM texts of certificates, and the words for what OpenSSL says went wrong. */
#ifndef TX_CERTS_PEM_H
#define TX_CERTS_PEM_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* For OpenSSL's PEM readers, which else ask the terminal when a text says that it is encrypted.
 * `asked`: a bool that becomes true, or NULL. */
int pem_no_passphrase(char *buffer, int size, int writing, void *asked);

/* Takes the bio. *text is NUL-terminated; tls_text_free(*text, *len) is the caller's. */
int pem_take_text(BIO *bio, char **text, size_t *len, struct err *e);
int pem_from_certificate(X509 *x, char **text, size_t *len, struct err *e);
/* The first certificate of a text. TX_ECERT when there is none. */
int pem_to_certificate(X509 **out, const char *text, size_t len, const char *name, struct err *e);

/* How many certificates a text has, and whether one of them has this public key
 * (SHA-256 of its SubjectPublicKeyInfo: a token's pin). 0: none that can be read. */
size_t pem_find_pin(const char *text, size_t len, const uint8_t pin[32], bool *found);

/* The serial number in hexadecimal; "" when it cannot be read. */
void pem_serial(const X509 *x, char *out, size_t size);

/* "what: OpenSSL's reason"; TX_ENOMEM when that was it, else TX_ECERT. Empties OpenSSL's queue. */
int pem_openssl_error(struct err *e, const char *what);

#endif
