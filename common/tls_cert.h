/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts of an X.509 certificate, for the TLS code and for certs/. What comes out as text is safe to
 * print, whatever the certificate holds. `subject` begins the sentence of a failure: "the agent's
 * certificate".
 */
#ifndef TX_COMMON_TLS_CERT_H
#define TX_COMMON_TLS_CERT_H

#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/identity.h"

#define TLS_TIME_SIZE 32
#define TLS_NAME_SIZE 96

/* Exactly one URI name, and it is an identity. */
int tls_cert_identity(X509 *x, struct identity *out, const char *subject, struct err *e);
/*
 * What a leaf must be for its side beyond what OpenSSL checks: an identity, no CA, EKU there and
 * with the side's use. *x509_error (may be NULL) is what to tell OpenSSL.
 */
int tls_cert_check_leaf(X509 *x, bool of_server, struct identity *out, const char *subject,
    int *x509_error, struct err *e);
/* "a.example, 10.0.0.1": the DNS and IP names, cut with "and N more"; "" when there is none. Safe
 * to print. */
void tls_cert_hosts(X509 *x, char *out, size_t size);
/* One DNS or IP name; false for any other kind. */
bool tls_host_text(const GENERAL_NAME *name, char *out, size_t size);
/* The identity, else the subject in quotes. Safe to print. */
void tls_cert_label(X509 *x, char *out, size_t size);
/* The common name of a subject or issuer, else all of it; safe to print. */
void tls_name_text(const X509_NAME *name, char *out, size_t size);
/* The serial number in hexadecimal; "" when it does not fit or is none. */
void tls_cert_serial(const X509 *x, char *out, size_t size);
int64_t tls_time_epoch(const ASN1_TIME *t);
/* "2026-01-31 12:00:00 UTC" */
const char *tls_time_text(char out[TLS_TIME_SIZE], int64_t epoch);
/* Copies what is printable ASCII, anything else becomes '?'. */
void tls_printable(char *out, size_t size, const void *in, size_t len);

#endif
