/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: a libevent TLS bufferevent over a socket. Callbacks are deferred, so that no write
 * of ours calls back into the writer. Dirty shutdowns stay errors: a cut connection and one that
 * was closed are told apart.
 */
#include "common/tls.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/tls_internal.h"

#define HOST_SIZE 256

static CRYPTO_ONCE index_once = CRYPTO_ONCE_STATIC_INIT;
static int conn_index = -1;

/* Called by SSL_free. */
static void conn_free(
    void *parent, void *data, CRYPTO_EX_DATA *ad, int index, long argl, void *argp)
{
	struct tls_conn *conn = data;

	(void)parent;
	(void)ad;
	(void)index;
	(void)argl;
	(void)argp;
	if (conn == NULL)
		return;
	tls_ctx_unref(conn->ctx);
	free(conn->host);
	free(conn->refusal);
	free(conn->batch);
	free(conn);
}

static void make_index(void)
{
	conn_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, conn_free);
}

struct tls_conn *tls_conn_of(const SSL *ssl)
{
	return SSL_get_ex_data(ssl, conn_index);
}

SSL *tls_conn_new(struct tls_ctx *ctx, int fd, const char *host)
{
	struct tls_conn *conn;
	SSL *ssl;
	BIO *bio;

	if (CRYPTO_THREAD_run_once(&index_once, make_index) != 1 || conn_index < 0)
		return NULL;
	ssl = SSL_new(ctx->ssl);
	conn = calloc(1, sizeof(*conn));
	if (ssl == NULL || conn == NULL || SSL_set_ex_data(ssl, conn_index, conn) != 1) {
		free(conn);
		SSL_free(ssl);
		return NULL;
	}
	/* From here on SSL_free frees conn. */
	ctx->refs++;
	conn->ctx = ctx;
	conn->fd = fd;
	conn->alert_in = -1;
	if (host != NULL)
		conn->host = strdup(host);
	bio = tls_bio_new(conn);
	if (bio == NULL || (host != NULL && conn->host == NULL)) {
		BIO_free(bio);
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_bio(ssl, bio, bio);
	return ssl;
}

static bool is_address(const char *host)
{
	unsigned char address[16];

	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Takes the final dot off a name and the zone off an address: neither is in a certificate. */
static int plain_host(char out[HOST_SIZE], const char *host, struct err *e)
{
	size_t len = strlen(host);
	const char *zone = strchr(host, '%');

	if (zone != NULL)
		len = (size_t)(zone - host);
	else if (len > 1 && host[len - 1] == '.')
		len--;
	if (len == 0 || len >= HOST_SIZE)
		return err_set(e, TX_EINVAL, "a host name has 1 to %d characters", HOST_SIZE - 1);
	memcpy(out, host, len);
	out[len] = '\0';
	return 0;
}

/* What the agent's certificate must name. */
static bool expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	X509_VERIFY_PARAM_set_hostflags(
	    param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (is_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
	const struct sockaddr_in6 *in6 = (const void *)a;

	if (a->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >>
		           24 ==
		       IN_LOOPBACKNET;
	if (a->ss_family != AF_INET6)
		return false;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) &&
	           in6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

/* A connection inside of one machine needs none of what paces and probes a network, which costs a
 * timer a segment with BBR. */
static void tune(int fd)
{
	static const char plain[] = "reno"; /* which every Linux has and lets anyone choose */
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && is_loopback(&peer))
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, plain, sizeof(plain) - 1);
}

/* Takes ssl and fd. */
static int start(struct bufferevent **out, struct event_base *base, SSL *ssl, int fd,
    enum bufferevent_ssl_state state, struct err *e)
{
	struct bufferevent *bev;

	if (ssl == NULL || evutil_make_socket_nonblocking(fd) != 0) {
		SSL_free(ssl);
		close(fd);
		ERR_clear_error();
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	tune(fd);
	/* It frees ssl also when it fails, but closes fd only with a bufferevent. */
	bev = bufferevent_openssl_socket_new(
	    base, fd, ssl, state, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (bev == NULL) {
		close(fd);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	bufferevent_openssl_set_allow_dirty_shutdown(bev, 0);
	if (tls_flow_start(tls_conn_of(ssl), bev) < 0) {
		bufferevent_free(bev);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = bev;
	return 0;
}

int tls_accept(
    struct bufferevent **out, struct event_base *base, struct tls_ctx *ctx, int fd, struct err *e)
{
	return start(out, base, tls_conn_new(ctx, fd, NULL), fd, BUFFEREVENT_SSL_ACCEPTING, e);
}

int tls_connect(struct bufferevent **out, struct event_base *base, struct tls_ctx *ctx, int fd,
    const char *host, struct err *e)
{
	char plain[HOST_SIZE];
	int rc = plain_host(plain, host, e);
	SSL *ssl;

	if (rc != 0) {
		close(fd);
		return rc;
	}
	ssl = tls_conn_new(ctx, fd, plain);
	if (ssl != NULL && !expect_host(ssl, plain)) {
		SSL_free(ssl);
		close(fd);
		ERR_clear_error();
		return err_set(e, TX_EINVAL, "the host name cannot be used for TLS");
	}
	return start(out, base, ssl, fd, BUFFEREVENT_SSL_CONNECTING, e);
}

static int check_alpn(SSL *ssl, struct err *e)
{
	struct tls_conn *conn = tls_conn_of(ssl);
	const unsigned char *alpn;
	unsigned int len;

	SSL_get0_alpn_selected(ssl, &alpn, &len);
	if (len == 2 && memcmp(alpn, "h2", 2) == 0)
		return 0;
	return err_set(e, TX_ETLS, "%s did not agree to HTTP/2 (TLS ALPN \"h2\")",
	    conn->ctx->server ? "the client" : "the other side");
}

int tls_established(struct bufferevent *bev, char *out, struct err *e)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	struct tls_conn *conn = tls_conn_of(ssl);
	const char *subject =
	    conn->ctx->server ? "the client's certificate" : "the agent's certificate";
	struct identity id;
	X509 *peer;
	int rc;

	if (!SSL_is_init_finished(ssl))
		return err_set(e, TX_ESTATE, "the TLS handshake is not done");
	/* Neither can be: both are switched off. A check that costs nothing. */
	if (SSL_version(ssl) != TLS1_3_VERSION || SSL_session_reused(ssl))
		return err_set(e, TX_ETLS, "the TLS handshake was not a full one of TLS 1.3");
	rc = check_alpn(ssl, e);
	if (rc != 0)
		return rc;
	if (conn->ctx->server && conn->ctx->bare) {
		out[0] = '\0';
		return 0;
	}
	peer = SSL_get0_peer_certificate(ssl);
	if (peer == NULL || SSL_get_verify_result(ssl) != X509_V_OK)
		return err_set(e, TX_ECERT, "%s was not verified", subject);
	rc = tls_cert_check_leaf(peer, !conn->ctx->server, &id, subject, NULL, e);
	if (rc == 0)
		identity_format(out, &id);
	return rc;
}

void tls_peer_serial(struct bufferevent *bev, char out[TLS_SERIAL_SIZE])
{
	X509 *peer = SSL_get0_peer_certificate(bufferevent_openssl_get_ssl(bev));

	out[0] = '\0';
	if (peer != NULL)
		tls_cert_serial(peer, out, TLS_SERIAL_SIZE);
}

void tls_describe(struct bufferevent *bev, struct tls_description *out)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	const char *group;

	out->version = out->cipher = out->group = "";
	if (!SSL_is_init_finished(ssl) || cipher == NULL)
		return;
	out->version = SSL_get_version(ssl);
	out->cipher = SSL_CIPHER_get_name(cipher);
	group = SSL_group_to_name(ssl, (int)SSL_get_negotiated_group(ssl));
	if (group == NULL)
		return;
	if (strcasecmp(group, "x25519") == 0)
		group = "X25519";
	else if (strcasecmp(group, "secp256r1") == 0 || strcasecmp(group, "prime256v1") == 0)
		group = "P-256";
	out->group = group;
}

void tls_free(struct bufferevent *bev)
{
	SSL *ssl;

	if (bev == NULL)
		return;
	ssl = bufferevent_openssl_get_ssl(bev);
	ERR_clear_error();
	tls_conn_of(ssl)->output = NULL; /* nothing follows the last record */
	if (SSL_is_init_finished(ssl))
		SSL_shutdown(ssl);
	ERR_clear_error();
	bufferevent_free(bev);
}
