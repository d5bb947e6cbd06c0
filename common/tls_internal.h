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
#include "common/tls_cert.h"

#define TLS_RECORD_HEADER 5

struct tls_ctx {
	SSL_CTX *ssl;
	unsigned refs; /* the owner's and one a connection; one thread, so not atomic */
	bool server;
	bool bare;   /* the client has no certificate */
	bool pinned; /* of a bare client: the root is the one with this pin */
	uint8_t pin[TLS_PIN_SIZE];
	const char *groups; /* one of the lists in tls_ctx.c */
	int64_t not_before, not_after;
	char identity[TLS_IDENTITY_SIZE];
	char issuer[TLS_NAME_SIZE]; /* of our own certificate */
	char *certificate_name, *ca_name;
	int (*revoked)(const char *serial, void *arg, struct err *e); /* may be NULL */
	void *revoked_arg;
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
	unsigned char ahead[TLS_RECORD_HEADER]; /* received and not yet read: the next header */
	size_t ahead_len;
	struct bufferevent *bev;      /* NULL, and so `output`: none (yet) */
	struct evbuffer *output;      /* its plaintext that waits */
	size_t sent;                  /* of what is in `output`, at least: tls_bio.c */
	unsigned char *batch;         /* records that wait to be sent together with a later one */
	size_t batch_len, batch_sent; /* what is in it, and how much of that went */
	bool corked;                  /* the kernel was told that more comes */
	unsigned rounds;              /* of reading since the loop last looked at the socket */
};

void tls_ctx_unref(struct tls_ctx *ctx);
struct tls_conn *tls_conn_of(const SSL *ssl);
/* Makes the SSL and hangs a tls_conn on it; takes neither fd nor ctx. NULL when out of memory. */
SSL *tls_conn_new(struct tls_ctx *ctx, int fd, const char *host);
/* A socket BIO that writes with MSG_NOSIGNAL (a library may not ask its program to ignore SIGPIPE)
 * and fills conn. */
BIO *tls_bio_new(struct tls_conn *conn);

/* Sends what waited for a later record, and gives the batch's memory back. */
void tls_bio_push(struct tls_conn *conn);

/* ---- tls_flow.c ---- */

/* Follows the buffers of the connection's bufferevent, for as long as that lives. */
int tls_flow_start(struct tls_conn *conn, struct bufferevent *bev);

/* ---- callbacks of the SSL_CTX ---- */

int tls_verify_peer(int ok, X509_STORE_CTX *store);
/* The whole check, for a client that knows its root by its pin alone; arg: the tls_ctx. */
int tls_verify_pinned(X509_STORE_CTX *store, void *arg);

#endif
