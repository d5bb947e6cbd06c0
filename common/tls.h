/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 with certificates on both sides, as telex uses it: ALPN "h2" required, no session
 * tickets, no PSK, no early data, no compression. Both sides present a certificate; its one URI SAN
 * is the identity (spiffe://DOMAIN/{agent,user}/NAME; CN is never read), checked with EKU and
 * CA:FALSE. The connection is a libevent TLS bufferevent; everything above sees only a struct
 * bufferevent.
 *
 * libtelex links this: no abort, TX_ENOMEM instead.
 */
#ifndef TX_COMMON_TLS_H
#define TX_COMMON_TLS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define TLS_IDENTITY_SIZE 256 /* with its NUL */

struct bufferevent;
struct event_base;
struct tls_ctx;

/* PEM texts. `certificate` is the leaf, with intermediates after it; `ca` may hold several roots.
 */
struct tls_material {
	const char *certificate, *key, *ca;
	size_t certificate_len, key_len, ca_len;
	/* What they are called in errors: "/etc/telex/agent.pem"; NULL: "certificate", "key", "ca".
	 */
	const char *certificate_name, *key_name, *ca_name;
};

/*
 * A context for all connections of one kind. Checks that the key belongs to the certificate, that
 * the certificate has exactly one identity and the EKU for its side, and that it has not expired
 * (TX_ECERT, with a sentence that names the file). tls_ctx_identity is our own identity.
 */
int tls_server_ctx_new(struct tls_ctx **out, const struct tls_material *m, struct err *e);
int tls_client_ctx_new(struct tls_ctx **out, const struct tls_material *m, struct err *e);

/*
 * For a first certificate, and its renewal. The server asks its clients for no certificate
 * (tls_established gives "" for their identity), and sends its root with its chain: a client may
 * know no more of it than the SHA-256 of its public key (SubjectPublicKeyInfo).
 */
#define TLS_PIN_SIZE 32
int tls_bare_server_ctx_new(struct tls_ctx **out, const struct tls_material *m, struct err *e);
/* The client has none, and trusts the root that has this pin, or, where pin is NULL, those of `ca`.
 */
struct tls_trust {
	const uint8_t *pin;
	const char *ca;
	size_t ca_len;
	const char *ca_name; /* as in tls_material */
};
int tls_bare_client_ctx_new(struct tls_ctx **out, const struct tls_trust *t, struct err *e);

void tls_ctx_free(struct tls_ctx *ctx); /* connections keep what they need */
const char *tls_ctx_identity(const struct tls_ctx *ctx);
/* The key exchange groups that it offers, best first, with ':' between them. */
const char *tls_ctx_groups(const struct tls_ctx *ctx);
/* notAfter of our own certificate, seconds since the epoch. */
int64_t tls_ctx_expires(const struct tls_ctx *ctx);

/*
 * Asked in each handshake, about every certificate of the peer's chain that is good otherwise, by
 * its serial number in hexadecimal. Negative, with a sentence: it is revoked, and the peer is told
 * so (alert certificate_revoked). `arg` must outlive the connections of the context.
 */
void tls_ctx_set_revoked(
    struct tls_ctx *ctx, int (*revoked)(const char *serial, void *arg, struct err *e), void *arg);

/* Reads a whole regular file of at most 1 MiB. *text is NUL-terminated and the caller's to free
 * (tls_text_free wipes it). */
int tls_read_file(const char *path, char **text, size_t *len, struct err *e);
int tls_read_fd(int fd, const char *name, char **text, size_t *len, struct err *e);
/* The same, for what is secret. TX_EPERM when others than its owner may read or write it; the
 * message says the chmod to type. */
int tls_read_key_fd(int fd, const char *name, char **text, size_t *len, struct err *e);
/* A certificate and its key, which belong together whatever a writer was doing (file_put.h): both
 * are the caller's then. The key as by tls_read_key_fd. */
int tls_read_pair(const char *certificate_path, char **certificate, size_t *certificate_len,
    const char *key_path, char **key, size_t *key_len, struct err *e);
void tls_text_free(char *text, size_t len);

/* The server's side of an accepted socket. The bufferevent owns fd, also when this fails. Handshake
 * starts at once. */
int tls_accept(
    struct bufferevent **out, struct event_base *base, struct tls_ctx *ctx, int fd, struct err *e);

/*
 * The client's side of a connected (or connecting) socket. `host` is the DNS name or IP address
 * that must be in the agent's certificate; SNI is sent for a name. The bufferevent owns fd, also
 * when this fails.
 */
int tls_connect(struct bufferevent **out, struct event_base *base, struct tls_ctx *ctx, int fd,
    const char *host, struct err *e);

/*
 * After BEV_EVENT_CONNECTED: checks what the handshake alone does not (ALPN h2; the peer's one
 * identity; "agent" for a client, "user" or "agent" for a server) and copies the identity to
 * out[TLS_IDENTITY_SIZE]. TX_ECERT or TX_ETLS: close.
 */
int tls_established(struct bufferevent *bev, char *out, struct err *e);

/* The serial number of the peer's certificate in hexadecimal; "" when there is none. */
#define TLS_SERIAL_SIZE 68
void tls_peer_serial(struct bufferevent *bev, char out[TLS_SERIAL_SIZE]);

/*
 * After BEV_EVENT_ERROR or EOF: says in one sentence what happened, as well as TLS and the socket
 * tell: not TLS on the other side, name mismatch, unknown authority, expired or not yet valid (ours
 * or theirs), client certificate missing or refused, reset. `what`: the event's flags. Fills *e
 * (code TX_ETLS, TX_ECERT, TX_ECLOSED or TX_ESYS).
 */
void tls_failure(struct bufferevent *bev, short what, struct err *e);

/* "TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519": static strings or ones that live as long as bev;
 * "" when unknown. */
struct tls_description {
	const char *version, *cipher, *group;
};
void tls_describe(struct bufferevent *bev, struct tls_description *out);

/* Sends what waits in bev's output, without the event loop: until all of it is with the kernel, the
 * connection fails, or timeout_ns is over. For an owner that frees it next. */
void tls_flush(struct bufferevent *bev, int64_t timeout_ns);

/* Frees bev: sends close_notify when the handshake was done, does not wait for the peer's. */
void tls_free(struct bufferevent *bev);

#endif
