/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificate signing requests (PKCS #10). One that we make has a new key, one URI name (the
 * identity) and an agent's hosts. Of one that we get nothing is believed but its key and, held
 * against what is allowed, its names; its signature must be its key's.
 */
#ifndef TX_CERTS_CSR_H
#define TX_CERTS_CSR_H

#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

#include "certs/ca.h"
#include "certs/issue.h"
#include "certs/key.h"
#include "common/err.h"

#define CSR_MAX ((size_t)32 << 10) /* bytes of PEM or DER */

/* For this identity text and these hosts. *pem and *key_pem: tls_text_free is the caller's. */
int csr_make(char **pem, size_t *pem_len, char **key_pem, size_t *key_len, const char *identity,
    const char *const *sans, size_t n_sans, enum key_type type, struct err *e);

struct csr {
	X509_REQ *req;
	uint8_t hash[32];             /* SHA-256 of its DER */
	char identity[IDENTITY_SIZE]; /* "": it asks for none */
	char **sans;                  /* a set (sans.h) */
	size_t n_sans;
};

/* PEM or DER. TX_EINVAL with a sentence: no CSR, a bad signature, a weak key, two identities, a
 * name that may not stand in a certificate. Extensions other than the names are not looked at. */
int csr_read(struct csr *out, const void *bytes, size_t len, struct err *e);
void csr_clear(struct csr *c);
/* It asks for these hosts alone from now on. TX_EPERM when it asks for hosts and one of these is
 * not among them. */
int csr_narrow(struct csr *c, const char *const *sans, size_t n, struct err *e);

/*
 * Signs it for kind/name in the CA's domain, with exactly these hosts. TX_EPERM with a sentence
 * when the CSR asks for other names than these (one that asks for none gets these). out->key is
 * NULL, allowed->key_type is not looked at. The caller records it (ledger.h) before it is given
 * away.
 */
int csr_sign(struct issued *out, const struct ca *ca, const struct csr *csr,
    const struct issue_request *allowed, struct err *e);

#endif
