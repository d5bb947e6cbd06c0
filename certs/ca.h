/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate authority: a self-signed root, and what issues with it: the root itself, or an
 * intermediate that the root has signed once, so that the root's key can be kept elsewhere. What
 * issues signs leaves only (path length 0). Each carries the trust domain as its one URI name,
 * spiffe://DOMAIN, so that what it issues is always of that domain.
 */
#ifndef TX_CERTS_CA_H
#define TX_CERTS_CA_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "certs/key.h"
#include "common/err.h"

/* In a CA's folder. */
#define CA_CERTIFICATE_FILE      "ca.pem"
#define CA_KEY_FILE              "ca.key" /* of the root; with an intermediate it need not be there */
#define CA_INTERMEDIATE_FILE     "intermediate.pem"
#define CA_INTERMEDIATE_KEY_FILE "intermediate.key"
#define CA_AUDIT_FILE            "ca-audit.log" /* of telex-ca and of who uses the key here */

#define CA_DEFAULT_DAYS 3652 /* ten years */
#define CA_NAME_MAX     64

struct ca;

struct ca_options {
	const char *domain; /* NULL: IDENTITY_DOMAIN */
	const char *name;   /* the common name; NULL: "telex CA " and eight random digits */
	enum key_type key_type;
	int64_t days; /* 0: CA_DEFAULT_DAYS */
	bool intermediate;
};

int ca_new(struct ca **out, const struct ca_options *options, struct err *e);
/* Reads dir's files. TX_ENOENT when there is no authority; TX_EPERM when the key is readable by
 * others, or encrypted and its passphrase is wrong or not there. */
int ca_load(struct ca **out, const char *dir, struct err *e);
/* p: where the passphrase comes from; NULL: there is none. */
int ca_load_with(struct ca **out, const char *dir, const struct key_passphrase *p, struct err *e);
/* Writes a new authority's files; makes dir (0700) when it is not there. TX_EEXIST unless force. */
int ca_save(const struct ca *ca, const char *dir, bool force, struct err *e);
/* The keys encrypted; passphrase NULL: not. */
int ca_save_with(
    const struct ca *ca, const char *dir, const char *passphrase, bool force, struct err *e);
void ca_free(struct ca *ca);

const char *ca_domain(const struct ca *ca);
const char *ca_name(const struct ca *ca);
int64_t ca_expires(const struct ca *ca); /* of what issues; seconds since the epoch */
/* The root, what all others trust. PEM, as long as ca. */
const char *ca_certificate(const struct ca *ca, size_t *len);
/* What stands after a leaf: the intermediate, or "" when the root issues. PEM, as long as ca. */
const char *ca_chain(const struct ca *ca, size_t *len);

/* Borrowed: the root, and the certificate and key that issue. */
X509 *ca_root(const struct ca *ca);
/* SHA-256 of the root's public key (SubjectPublicKeyInfo, DER): what a token carries. */
int ca_pin(const struct ca *ca, uint8_t out[32], struct err *e);
X509 *ca_x509(const struct ca *ca);
EVP_PKEY *ca_key(const struct ca *ca);

#endif
