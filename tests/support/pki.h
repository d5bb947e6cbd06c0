/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Throwaway PKIs for tests, with any defect on request. Keys are made at run time (P-256) and never
 * written down. What fails aborts: it is a broken test. Independent of certs/, so that the two
 * check each other.
 */
#ifndef TX_TESTS_PKI_H
#define TX_TESTS_PKI_H

#include <stdbool.h>
#include <stdint.h>

#include "common/tls.h"

#define PKI_DOMAIN "test.internal"

struct pki; /* an authority */

enum pki_defect {
	PKI_NO_URI = 1,          /* no identity */
	PKI_TWO_URIS = 2,        /* two of them */
	PKI_CA_TRUE = 4,         /* a leaf that is an authority */
	PKI_WRONG_EKU = 8,       /* the other side's */
	PKI_NO_EKU = 16,         /* no extended key usage at all */
	PKI_EXPIRED = 32,        /* yesterday */
	PKI_NOT_YET = 64,        /* from tomorrow on */
	PKI_BAD_SIGNATURE = 128, /* the authority's name, another key */
};

struct pki_spec {
	bool agent;       /* else a user */
	const char *name; /* NULL: "web1" for an agent, "alice" for a user */
	const char *uri;  /* instead of spiffe://test.internal/{agent,user}/NAME */
	const char *sans; /* "DNS:localhost,IP:127.0.0.1", OpenSSL's way; NULL for an agent: that;
	                     "": none */
	unsigned defects; /* enum pki_defect, ored */
};

/* PEM texts. */
struct pki_pair {
	char *certificate, *key;
};

struct pki *pki_new(const char *common_name);
void pki_free(struct pki *pki);
const char *pki_ca(const struct pki *pki);

void pki_issue(struct pki *pki, const struct pki_spec *spec, struct pki_pair *out);
void pki_pair_free(struct pki_pair *pair);

/* A revocation list of this number (PEM; free is the caller's), with the one certificate of `pem`
 * on it. */
char *pki_revoke(struct pki *pki, const char *pem, int64_t number);

/* What tls_*_ctx_new takes; points into pair and trust. */
struct tls_material pki_material(const struct pki_pair *pair, const struct pki *trust);

/* The usual two: a context of a good agent or user of `pki` that trusts `trust`. */
struct tls_ctx *pki_server_ctx(struct pki *pki, const struct pki *trust);
struct tls_ctx *pki_client_ctx(struct pki *pki, const struct pki *trust);

#endif
