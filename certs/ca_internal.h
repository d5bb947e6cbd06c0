/* SPDX-License-Identifier: Apache-2.0 */
/* What ca.c and ca_files.c share; nothing else includes it. */
#ifndef TX_CERTS_CA_INTERNAL_H
#define TX_CERTS_CA_INTERNAL_H

#include <openssl/x509.h>

#include "certs/ca.h"
#include "common/identity.h"
#include "common/tls_cert.h"

struct ca {
	X509 *root;
	X509 *x;            /* which issues: the root, or its intermediate */
	EVP_PKEY *key;      /* of x */
	EVP_PKEY *root_key; /* of a new authority with an intermediate; else NULL */
	char *pem, *chain;  /* of root; of x when that is another, else NULL */
	size_t pem_len, chain_len;
	char domain[IDENTITY_DOMAIN_MAX + 1];
	char name[TLS_NAME_SIZE]; /* root's */
};

/* Fills the texts from root and x. `what` begins the sentence of a failure. */
int ca_complete(struct ca *ca, const char *what, struct err *e);

#endif
