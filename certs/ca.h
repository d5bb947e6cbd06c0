/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate authority: one self-signed root with its key. It signs leaves only (path length 0),
 * and it carries its trust domain as its one URI name, spiffe://DOMAIN, so that what it issues is
 * always of that domain.
 */
#ifndef TX_CERTS_CA_H
#define TX_CERTS_CA_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "certs/key.h"
#include "common/err.h"

/* In a CA's folder. */
#define CA_CERTIFICATE_FILE "ca.pem"
#define CA_KEY_FILE         "ca.key"

#define CA_DEFAULT_DAYS 3652 /* ten years */
#define CA_NAME_MAX     64

struct ca;

struct ca_options {
	const char *domain; /* NULL: IDENTITY_DOMAIN */
	const char *name;   /* the common name; NULL: "telex CA " and eight random digits */
	enum key_type key_type;
	int64_t days; /* 0: CA_DEFAULT_DAYS */
};

int ca_new(struct ca **out, const struct ca_options *options, struct err *e);
/* Reads dir's files. TX_ENOENT when there is no authority; TX_EPERM when the key is readable by
 * others. */
int ca_load(struct ca **out, const char *dir, struct err *e);
/* Writes dir's files; makes dir (0700) when it is not there. TX_EEXIST unless force. */
int ca_save(const struct ca *ca, const char *dir, bool force, struct err *e);
void ca_free(struct ca *ca);

const char *ca_domain(const struct ca *ca);
const char *ca_name(const struct ca *ca);
int64_t ca_expires(const struct ca *ca); /* seconds since the epoch */
/* PEM, as long as ca. */
const char *ca_certificate(const struct ca *ca, size_t *len);

/* For issue.c: borrowed. */
X509 *ca_x509(const struct ca *ca);
EVP_PKEY *ca_key(const struct ca *ca);

#endif
