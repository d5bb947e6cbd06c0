/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of making a certificate that an authority and a leaf share. Each returns false when
 * OpenSSL says no. */
#ifndef TX_CERTS_X509_BUILD_H
#define TX_CERTS_X509_BUILD_H

#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>

/* Version 3, a random serial of 128 bits, the dates, the key and the subject's common name. NULL
 * when it cannot. */
X509 *x509_build_new(EVP_PKEY *key, const char *common_name, int64_t not_before, int64_t not_after);
/* An extension in OpenSSL's notation. issuer may be x itself. */
bool x509_build_extension(X509 *x, X509 *issuer, int nid, const char *value);
/* A name for x509_build_names: GEN_URI or GEN_DNS with text, GEN_IPADD with bytes. */
bool x509_build_name(GENERAL_NAMES *names, int type, const void *bytes, size_t len);
bool x509_build_names(X509 *x, GENERAL_NAMES *names);
/* What a key signs with. NULL for Ed25519, which hashes by itself. */
const EVP_MD *x509_build_digest(const EVP_PKEY *key);
bool x509_build_sign(X509 *x, EVP_PKEY *issuer_key);

#endif
