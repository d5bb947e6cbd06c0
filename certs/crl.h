/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation lists (RFC 5280, 5): signed by the CA, PEM, with a number that only grows.
 */
#ifndef TX_CERTS_CRL_H
#define TX_CERTS_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certs/ca.h"
#include "certs/ledger.h"
#include "common/err.h"
#include "common/revocation_file.h"

#define CRL_MAX REVOCATION_LIST_MAX /* bytes of PEM */
/* From here on who makes one warns: beyond CRL_MAX there is no list any more. */
#define CRL_LONG (CRL_MAX / 2)

/* All revoked certificates of the ledger that have not expired, or not since LEDGER_MARGIN_S (a
 * day, where the list would have CRL_LONG bytes else), with a new number. valid_s: until its
 * nextUpdate. *pem is the caller's: free; NULL after a failure. TX_ETOOBIG: it is over CRL_MAX. */
int crl_make(
    char **pem, size_t *len, const struct ca *ca, struct ledger *l, int64_t valid_s, struct err *e);

/* For who checks certificates. */
struct crl;

/* Verified against the CA's certificates (PEM; several allowed). TX_EPERM with a sentence: another
 * CA's. TX_ECERT: a bad signature, no CRL. Empty text: *out has nothing revoked and age "never". */
int crl_read(struct crl **out, const char *pem, size_t len, const char *ca_pem, size_t ca_len,
    struct err *e);
/*
 * What a list says of itself, for who does not trust its authority and only wants to know whether
 * it is what it is said to be: whose, by a certificate beside it that has signed it, and which
 * number. TX_ECERT: nothing beside it has, or it is no list.
 */
int crl_says(char issuer[REVOCATION_ISSUER_SIZE], int64_t *number, const char *pem, size_t len,
    struct err *e);
/* Whether an issuer (crl_issuer) is one of the CA's certificates (PEM; several allowed), by name
 * and key. Of an intermediate authority it is not. TX_ENOMEM. */
int crl_issuer_trusted(
    bool *trusted, const char *issuer, const char *ca_pem, size_t ca_len, struct err *e);
void crl_free(struct crl *c);
/* Who has signed it: 64 hexadecimal digits of its name and key. Numbers are of one such. */
const char *crl_issuer(const struct crl *c);
int64_t crl_number(const struct crl *c);      /* -1: there is none */
int64_t crl_this_update(const struct crl *c); /* seconds since the epoch; 0: there is none */
int64_t crl_next_update(const struct crl *c);
size_t crl_count(const struct crl *c);
/* serial in hexadecimal as pem_serial gives it. O(log n). */
bool crl_revoked(const struct crl *c, const char *serial);

#endif
