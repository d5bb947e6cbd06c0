/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check of the peer's certificate during the handshake. OpenSSL checks chain, signatures,
 * dates, purpose and the host; tls_cert_check_leaf the rest. The first thing wrong is kept as a
 * sentence, for by the time that the failure is reported OpenSSL has let the certificate go.
 */
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/tls_internal.h"

static const char *subject_of(const struct tls_conn *conn)
{
	return conn->ctx->server ? "the client's certificate" : "the agent's certificate";
}

static void say_date(const struct tls_conn *conn, X509 *x, int depth, const char *how,
    const ASN1_TIME *when, struct err *e)
{
	char label[TLS_IDENTITY_SIZE + 2], date[TLS_TIME_SIZE], now[TLS_TIME_SIZE];

	tls_cert_label(x, label, sizeof(label));
	err_set(e, TX_ECERT, "%s (%s) %s %s; this machine's clock says %s",
	    depth == 0 ? subject_of(conn) : "the certificate of an authority", label, how,
	    tls_time_text(date, tls_time_epoch(when)), tls_time_text(now, (int64_t)time(NULL)));
}

/* x: where the chain stops, which is the leaf, an intermediate or a root that the peer sent along.
 */
static void say_unknown_issuer(
    const struct tls_conn *conn, X509_STORE_CTX *store, X509 *x, struct err *e)
{
	char label[TLS_IDENTITY_SIZE + 2], issuer[TLS_NAME_SIZE];

	tls_cert_label(X509_STORE_CTX_get0_cert(store), label, sizeof(label));
	tls_name_text(X509_get_issuer_name(x), issuer, sizeof(issuer));
	err_set(e, TX_ECERT, "%s (%s) is from an authority (\"%s\") that is not the one in %s",
	    subject_of(conn), label, issuer, conn->ctx->ca_name);
}

static void say_wrong_host(const struct tls_conn *conn, X509 *x, struct err *e)
{
	char hosts[240];

	tls_cert_hosts(x, hosts, sizeof(hosts));
	if (hosts[0] == '\0')
		err_set(e, TX_ECERT, "the agent's certificate names no host, so it is not for %s",
		    conn->host);
	else
		err_set(e, TX_ECERT, "the agent's certificate is for %s and not for %s", hosts,
		    conn->host);
}

static void say_purpose(const struct tls_conn *conn, X509 *x, int depth, struct err *e)
{
	struct identity id;

	if (depth > 0)
		err_set(e, TX_ECERT, "%s is from an authority whose certificate may not issue it",
		    subject_of(conn));
	else if (tls_cert_check_leaf(x, !conn->ctx->server, &id, subject_of(conn), NULL, e) == 0)
		err_set(e, TX_ECERT, "%s is not for a %s (its key usage says so)", subject_of(conn),
		    conn->ctx->server ? "client" : "server");
}

static void say(const struct tls_conn *conn, X509_STORE_CTX *store, X509 *x, struct err *e)
{
	int error = X509_STORE_CTX_get_error(store);
	int depth = X509_STORE_CTX_get_error_depth(store);

	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		say_date(conn, x, depth, "expired on", X509_get0_notAfter(x), e);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		say_date(conn, x, depth, "is not valid before", X509_get0_notBefore(x), e);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		say_unknown_issuer(conn, store, x, e);
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		say_wrong_host(conn, x, e);
		return;
	case X509_V_ERR_INVALID_PURPOSE:
	case X509_V_ERR_INVALID_CA:
		say_purpose(conn, x, depth, e);
		return;
	default:
		err_set(e, TX_ECERT, "%s is refused: %s", subject_of(conn),
		    X509_verify_cert_error_string(error));
	}
}

/* As tls_cert_check_leaf. */
static int check_revoked(const struct tls_conn *conn, X509 *x, int *x509_error, struct err *e)
{
	const struct tls_ctx *ctx = conn->ctx;
	char serial[TLS_SERIAL_SIZE];
	int rc;

	if (ctx->revoked == NULL)
		return 0;
	tls_cert_serial(x, serial, sizeof(serial));
	rc = ctx->revoked(serial, ctx->revoked_arg, e);
	if (rc != 0)
		*x509_error = X509_V_ERR_CERT_REVOKED;
	return rc;
}

/* Keeps the first refusal of a connection. */
static void keep_refusal(struct tls_conn *conn, const struct err *e)
{
	if (conn->refusal == NULL)
		conn->refusal = malloc(sizeof(*conn->refusal));
	if (conn->refusal != NULL)
		*conn->refusal = *e;
}

int tls_verify_peer(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_conn *conn = ssl == NULL ? NULL : tls_conn_of(ssl);
	X509 *x = X509_STORE_CTX_get_current_cert(store);
	int x509_error = X509_V_OK;
	struct identity id;
	struct err e;

	if (conn == NULL || x == NULL)
		return 0;
	if (ok != 1)
		say(conn, store, x, &e);
	else if ((X509_STORE_CTX_get_error_depth(store) == 0 &&
	             tls_cert_check_leaf(
	                 x, !conn->ctx->server, &id, subject_of(conn), &x509_error, &e) != 0) ||
	         check_revoked(conn, x, &x509_error, &e) != 0)
		X509_STORE_CTX_set_error(store, x509_error);
	else
		return 1;
	keep_refusal(conn, &e);
	return 0;
}

static bool has_pin(X509 *x, const uint8_t pin[TLS_PIN_SIZE])
{
	unsigned char *der = NULL, hash[TLS_PIN_SIZE];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	bool same = false;

	if (len > 0 && EVP_Digest(der, (size_t)len, hash, NULL, EVP_sha256(), NULL) == 1)
		same = memcmp(hash, pin, sizeof(hash)) == 0;
	OPENSSL_free(der);
	return same;
}

/* Among what the other side sent. Whether it is a root that may issue is for OpenSSL to say. */
static X509 *find_pinned(X509_STORE_CTX *store, const struct tls_ctx *ctx)
{
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);

	for (int i = 0; i < sk_X509_num(sent); i++) {
		X509 *x = sk_X509_value(sent, i);

		if ((X509_get_extension_flags(x) & EXFLAG_SS) != 0 && has_pin(x, ctx->pin))
			return x;
	}
	return NULL;
}

int tls_verify_pinned(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_conn *conn = ssl == NULL ? NULL : tls_conn_of(ssl);
	X509 *root = find_pinned(store, arg);
	STACK_OF(X509) *roots = NULL;
	struct err e;
	int ok = 0;

	if (conn == NULL)
		return 0;
	if (root == NULL) {
		err_set(&e, TX_ECERT,
		    "the other side is not of the authority that made the token (its public key is "
		    "another one)");
		keep_refusal(conn, &e);
		X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
		return 0;
	}
	roots = sk_X509_new_null();
	if (roots != NULL && sk_X509_push(roots, root) > 0) {
		X509_STORE_CTX_set0_trusted_stack(store, roots);
		ok = X509_verify_cert(store);
	}
	sk_X509_free(roots);
	return ok > 0;
}
