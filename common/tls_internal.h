/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tls_*.c files share; nothing else includes it.
 *
 * A struct tls_conn hangs on its SSL and dies with it. It collects, while the handshake runs, what
 * a good sentence needs later and OpenSSL forgets: the alert that came in, the errno of the socket,
 * the first bytes, why we refused.
 */
#ifndef TX_COMMON_TLS_INTERNAL_H
#define TX_COMMON_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "common/err.h"
#include "common/identity.h"
#include "common/tls.h"

#define TLS_TIME_SIZE 32
#define TLS_NAME_SIZE 96

struct tls_ctx {
	SSL_CTX *ssl;
	unsigned refs; /* the owner's and one a connection; one thread, so not atomic */
	bool server;
	int64_t not_before, not_after;
	char identity[TLS_IDENTITY_SIZE];
	char issuer[TLS_NAME_SIZE]; /* of our own certificate */
	char *certificate_name, *ca_name;
};

struct tls_conn {
	struct tls_ctx *ctx;
	char *host; /* a client's: what the agent's certificate must name */
	int fd;
	int io_errno;            /* of the last recv or send that failed for good */
	int alert_in;            /* the last alert received, or -1 */
	bool eof;                /* the socket said end of file */
	bool established;        /* the handshake was done on our side */
	bool no_alpn;            /* a client that offered no ALPN at all */
	unsigned char first[24]; /* the first bytes that came in */
	size_t first_len;
	struct err *refusal; /* why we refuse the peer's certificate; NULL when we do not */
};

void tls_ctx_unref(struct tls_ctx *ctx);
struct tls_conn *tls_conn_of(const SSL *ssl);
/* Makes the SSL and hangs a tls_conn on it; takes neither fd nor ctx. NULL when out of memory. */
SSL *tls_conn_new(struct tls_ctx *ctx, int fd, const char *host);
/* A socket BIO that writes with MSG_NOSIGNAL (a library may not ask its program to ignore SIGPIPE)
 * and fills conn. */
BIO *tls_bio_new(struct tls_conn *conn);

/* ---- facts of a certificate; `subject` begins the sentence of a failure: "the agent's
 * certificate" ---- */

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
/* The identity, else the subject in quotes. Safe to print. */
void tls_cert_label(X509 *x, char *out, size_t size);
/* The common name of a subject or issuer, else all of it; safe to print. */
void tls_name_text(const X509_NAME *name, char *out, size_t size);
int64_t tls_time_epoch(const ASN1_TIME *t);
/* "2026-01-31 12:00:00 UTC" */
const char *tls_time_text(char out[TLS_TIME_SIZE], int64_t epoch);
/* Copies what is printable ASCII, anything else becomes '?'. */
void tls_printable(char *out, size_t size, const void *in, size_t len);

/* ---- callbacks of the SSL_CTX ---- */

int tls_verify_peer(int ok, X509_STORE_CTX *store);

#endif
