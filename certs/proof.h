/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A renewal's proof: a signature by the key of the certificate that is renewed, over
 * PROOF_CONTEXT with its NUL and the next request (PKCS #10, DER). ECDSA with SHA-256, Ed25519, or
 * RSA-PSS with SHA-256, as the key is. So an agent's certificate, which is for servers alone, can
 * be renewed without being a client's.
 */
#ifndef TX_CERTS_PROOF_H
#define TX_CERTS_PROOF_H

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define PROOF_CONTEXT "telex renew v1"
#define PROOF_MAX     ((size_t)2048) /* bytes of a signature */

/* *signature is the caller's: free. */
int proof_make(EVP_PKEY *key, const void *csr, size_t csr_len, uint8_t **signature, size_t *len,
    struct err *e);
/* 0, or TX_EPERM: it is not that key's. */
int proof_check(EVP_PKEY *key, const void *csr, size_t csr_len, const void *signature, size_t len,
    struct err *e);

#endif
