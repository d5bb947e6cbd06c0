/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts: what all connections of one kind have in common. Checks our own certificate as strictly
 * as a peer will, so that a mistake is found by the one who made it. A context belongs to one
 * thread.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/tls_internal.h"

#define DEPTH_MAX      3           /* intermediates between a leaf and its root */
#define CHAIN_SIZE_MAX (32 * 1024) /* bytes of certificates that a peer may send */

static const unsigned char alpn_h2[] = {2, 'h', '2'};
static const unsigned char session_context[] = "telex";

/* Newest syntax first: a key share for each of the first two; then without; then for an OpenSSL
 * that has no ML-KEM. */
static const char *const group_lists[] = {
    "*X25519MLKEM768:*X25519:P-256",
    "X25519MLKEM768:X25519:P-256",
    "X25519:P-256",
};

static int no_memory(struct err *e)
{
	return err_set(e, TX_ENOMEM, "out of memory");
}

static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	return text == NULL ? "no reason given" : text;
}

static const char * or (const char *name, const char *otherwise)
{
	return name == NULL ? otherwise : name;
}

/* Never asks a terminal for a passphrase. */
static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
	(void)buffer;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static BIO *text_bio(const char *text, size_t len)
{
	return text == NULL || len > INT32_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
}

/* After a PEM_read_bio_X509 that gave nothing: whether that was the end and not a broken
 * certificate. */
static bool at_end_of_pem(void)
{
	unsigned long last = ERR_peek_last_error();

	return ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
}

static int use_chain(struct tls_ctx *ctx, BIO *in, const char *name, struct err *e)
{
	for (;;) {
		X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);

		if (x == NULL)
			break;
		if (SSL_CTX_add0_chain_cert(ctx->ssl, x) != 1) {
			X509_free(x);
			return err_set(e, TX_ECERT, "%s cannot be used: %s", name, reason());
		}
	}
	if (!at_end_of_pem())
		return err_set(e, TX_ECERT, "%s has a damaged certificate: %s", name, reason());
	return 0;
}

/* What a peer would find wrong with ours, and what we keep of it. */
static int check_own(struct tls_ctx *ctx, X509 *x, const char *name, struct err *e)
{
	char subject[160], from[TLS_TIME_SIZE], now_text[TLS_TIME_SIZE];
	struct identity id;
	int64_t now = (int64_t)time(NULL);
	int rc;

	snprintf(subject, sizeof(subject), "the certificate in %.120s", name);
	rc = tls_cert_check_leaf(x, ctx->server, &id, subject, NULL, e);
	if (rc != 0)
		return rc;
	identity_format(ctx->identity, &id);
	tls_name_text(X509_get_issuer_name(x), ctx->issuer, sizeof(ctx->issuer));
	ctx->not_before = tls_time_epoch(X509_get0_notBefore(x));
	ctx->not_after = tls_time_epoch(X509_get0_notAfter(x));
	if (now > ctx->not_after)
		return err_set(
		    e, TX_ECERT, "%s expired on %s", subject, tls_time_text(from, ctx->not_after));
	if (now < ctx->not_before)
		return err_set(e, TX_ECERT,
		    "%s is not valid before %s, and this machine's clock says %s", subject,
		    tls_time_text(from, ctx->not_before), tls_time_text(now_text, now));
	return 0;
}

static int use_certificate(struct tls_ctx *ctx, const struct tls_material *m, struct err *e)
{
	const char *name = or (m->certificate_name, "certificate");
	BIO *in = text_bio(m->certificate, m->certificate_len);
	X509 *x = NULL;
	int rc;

	if (in == NULL)
		return no_memory(e);
	x = PEM_read_bio_X509(in, NULL, NULL, NULL);
	if (x == NULL) {
		rc = err_set(e, TX_ECERT,
		    at_end_of_pem() ? "%s has no certificate in it (PEM, BEGIN CERTIFICATE)"
		                    : "%s has a damaged certificate in it",
		    name);
		goto out;
	}
	rc = check_own(ctx, x, name, e);
	if (rc != 0)
		goto out;
	if (SSL_CTX_use_certificate(ctx->ssl, x) != 1) {
		rc = err_set(e, TX_ECERT, "%s cannot be used: %s", name, reason());
		goto out;
	}
	rc = use_chain(ctx, in, name, e);
out:
	X509_free(x);
	BIO_free(in);
	return rc;
}

static int use_key(struct tls_ctx *ctx, const struct tls_material *m, struct err *e)
{
	const char *name = or (m->key_name, "key");
	BIO *in = text_bio(m->key, m->key_len);
	EVP_PKEY *key = NULL;
	bool encrypted = false;
	int rc = 0;

	if (in == NULL)
		return no_memory(e);
	key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &encrypted);
	if (key == NULL) {
		rc = err_set(e, TX_ECERT,
		    encrypted ? "%s is protected by a passphrase, which telex cannot ask for"
		              : "%s has no private key in it (PEM, BEGIN PRIVATE KEY)",
		    name);
		goto out;
	}
	if (X509_check_private_key(SSL_CTX_get0_certificate(ctx->ssl), key) != 1)
		rc = err_set(e, TX_ECERT, "%s is not the key of the certificate in %s", name,
		    ctx->certificate_name);
	else if (SSL_CTX_use_PrivateKey(ctx->ssl, key) != 1)
		rc = err_set(e, TX_ECERT, "%s cannot be used: %s", name, reason());
out:
	EVP_PKEY_free(key);
	BIO_free(in);
	return rc;
}

static int use_roots(struct tls_ctx *ctx, const struct tls_material *m, struct err *e)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx->ssl);
	BIO *in = text_bio(m->ca, m->ca_len);
	int count = 0, rc = 0;
	X509 *x;

	if (in == NULL)
		return no_memory(e);
	while (rc == 0 && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
		count++;
		if (X509_STORE_add_cert(store, x) != 1)
			rc = no_memory(e);
		X509_free(x);
	}
	if (rc == 0 && !at_end_of_pem())
		rc = err_set(
		    e, TX_ECERT, "%s has a damaged certificate: %s", ctx->ca_name, reason());
	else if (rc == 0 && count == 0)
		rc = err_set(
		    e, TX_ECERT, "%s has no certificate of an authority in it", ctx->ca_name);
	BIO_free(in);
	return rc;
}

/* ALPN on the server: h2, or the handshake ends. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned int in_len, void *arg)
{
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_len, alpn_h2, sizeof(alpn_h2), in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* select_alpn is not called for a client that offers no ALPN at all. */
static int look_at_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_conn *conn = tls_conn_of(ssl);
	const unsigned char *data;
	size_t len;

	(void)arg;
	if (SSL_client_hello_get0_ext(
	        ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data, &len) == 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	/* An old client is told of its version first. */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &data, &len) != 1)
		return SSL_CLIENT_HELLO_SUCCESS;
	conn->no_alpn = true;
	*alert = SSL_AD_NO_APPLICATION_PROTOCOL;
	return SSL_CLIENT_HELLO_ERROR;
}

static void note_state(const SSL *ssl, int where, int value)
{
	struct tls_conn *conn = tls_conn_of(ssl);

	if (conn == NULL)
		return;
	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
		conn->alert_in = value & 0xff;
	else if ((where & SSL_CB_HANDSHAKE_DONE) != 0)
		conn->established = true;
}

static bool set_groups(SSL_CTX *ssl, const char **chosen)
{
	for (size_t i = 0; i < sizeof(group_lists) / sizeof(group_lists[0]); i++) {
		if (SSL_CTX_set1_groups_list(ssl, group_lists[i]) == 1) {
			ERR_clear_error();
			*chosen = group_lists[i];
			return true;
		}
	}
	return false;
}

/*
 * No SSL_MODE_ENABLE_PARTIAL_WRITE: libevent takes a successful SSL_write to have written all it
 * gave. No read-ahead: libevent does not look again for what OpenSSL has read and not yet
 * decrypted.
 */
static bool set_protocol(struct tls_ctx *ctx, bool server)
{
	SSL_CTX *ssl = ctx->ssl;

	SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
	                             SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
#ifdef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
	SSL_CTX_set_options(
	    ssl, SSL_OP_NO_RX_CERTIFICATE_COMPRESSION | SSL_OP_NO_TX_CERTIFICATE_COMPRESSION);
#endif
	/* The peer has its own copy of the root: what is sent is what the certificate's file holds.
	 */
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ssl, CHAIN_SIZE_MAX);
	SSL_CTX_set_verify_depth(ssl, DEPTH_MAX);
	SSL_CTX_set_info_callback(ssl, note_state);
	SSL_CTX_set_verify(
	    ssl, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), tls_verify_peer);
	if (server) {
		SSL_CTX_set_alpn_select_cb(ssl, select_alpn, NULL);
		SSL_CTX_set_client_hello_cb(ssl, look_at_hello, NULL);
	} else if (SSL_CTX_set_alpn_protos(ssl, alpn_h2, sizeof(alpn_h2)) != 0)
		return false;
	return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_ciphersuites(ssl,
	           "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") ==
	           1 &&
	       SSL_CTX_set_num_tickets(ssl, 0) == 1 && SSL_CTX_set_max_early_data(ssl, 0) == 1 &&
	       SSL_CTX_set_session_id_context(ssl, session_context, sizeof(session_context) - 1) ==
	           1 &&
	       set_groups(ssl, &ctx->groups);
}

/* The root that issued the end of our chain, behind it. Where the authority is not in m->ca, as in
 * an old installation, clients that have its certificate still connect. */
static int send_root(struct tls_ctx *ctx, const struct tls_material *m, struct err *e)
{
	BIO *in = text_bio(m->ca, m->ca_len);
	STACK_OF(X509) *chain = NULL;
	X509 *last = SSL_CTX_get0_certificate(ctx->ssl), *x;
	int rc = 0;

	if (in == NULL)
		return no_memory(e);
	if (SSL_CTX_get0_chain_certs(ctx->ssl, &chain) == 1 && sk_X509_num(chain) > 0)
		last = sk_X509_value(chain, sk_X509_num(chain) - 1);
	while (rc == 0 && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
		if (X509_check_issued(x, last) == X509_V_OK && X509_cmp(x, last) != 0 &&
		    SSL_CTX_add1_chain_cert(ctx->ssl, x) != 1)
			rc = no_memory(e);
		X509_free(x);
	}
	BIO_free(in);
	return rc;
}

static int fill(struct tls_ctx *ctx, const struct tls_material *m, struct err *e)
{
	int rc;

	ctx->ssl = SSL_CTX_new(ctx->server ? TLS_server_method() : TLS_client_method());
	ctx->certificate_name = strdup(or (m->certificate_name, "certificate"));
	ctx->ca_name = strdup(or (m->ca_name, "ca"));
	if (ctx->ssl == NULL || ctx->certificate_name == NULL || ctx->ca_name == NULL)
		return no_memory(e);
	if (!set_protocol(ctx, ctx->server))
		return err_set(
		    e, TX_ETLS, "this OpenSSL cannot do TLS 1.3 as telex needs it: %s", reason());
	if (ctx->server && ctx->bare)
		SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_NONE, NULL);
	if (ctx->pinned)
		SSL_CTX_set_cert_verify_callback(ctx->ssl, tls_verify_pinned, ctx);
	rc = ctx->server || !ctx->bare ? use_certificate(ctx, m, e) : 0;
	if (rc == 0 && (ctx->server || !ctx->bare))
		rc = use_key(ctx, m, e);
	if (rc == 0 && !ctx->pinned)
		rc = use_roots(ctx, m, e);
	if (rc == 0 && ctx->server && ctx->bare)
		rc = send_root(ctx, m, e);
	return rc;
}

static int ctx_new(struct tls_ctx **out, const struct tls_material *m, bool server, bool bare,
    const uint8_t *pin, struct err *e)
{
	struct tls_ctx *ctx = calloc(1, sizeof(*ctx));
	int rc;

	if (ctx == NULL)
		return no_memory(e);
	ctx->refs = 1;
	ctx->server = server;
	ctx->bare = bare;
	ctx->pinned = pin != NULL;
	if (pin != NULL)
		memcpy(ctx->pin, pin, sizeof(ctx->pin));
	ERR_clear_error();
	rc = fill(ctx, m, e);
	ERR_clear_error();
	if (rc != 0)
		tls_ctx_unref(ctx);
	else
		*out = ctx;
	return rc;
}

int tls_server_ctx_new(struct tls_ctx **out, const struct tls_material *m, struct err *e)
{
	return ctx_new(out, m, true, false, NULL, e);
}

int tls_client_ctx_new(struct tls_ctx **out, const struct tls_material *m, struct err *e)
{
	return ctx_new(out, m, false, false, NULL, e);
}

int tls_bare_server_ctx_new(struct tls_ctx **out, const struct tls_material *m, struct err *e)
{
	return ctx_new(out, m, true, true, NULL, e);
}

int tls_bare_client_ctx_new(struct tls_ctx **out, const struct tls_trust *t, struct err *e)
{
	const struct tls_material m = {.ca = t->ca, .ca_len = t->ca_len, .ca_name = t->ca_name};

	return ctx_new(out, &m, false, true, t->pin, e);
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
	if (ctx == NULL || --ctx->refs > 0)
		return;
	SSL_CTX_free(ctx->ssl);
	free(ctx->certificate_name);
	free(ctx->ca_name);
	free(ctx);
}

void tls_ctx_free(struct tls_ctx *ctx)
{
	tls_ctx_unref(ctx);
}

const char *tls_ctx_identity(const struct tls_ctx *ctx)
{
	return ctx->identity;
}

void tls_ctx_set_revoked(
    struct tls_ctx *ctx, int (*revoked)(const char *serial, void *arg, struct err *e), void *arg)
{
	ctx->revoked = revoked;
	ctx->revoked_arg = arg;
}

const char *tls_ctx_groups(const struct tls_ctx *ctx)
{
	return ctx->groups;
}

int64_t tls_ctx_expires(const struct tls_ctx *ctx)
{
	return ctx->not_after;
}
