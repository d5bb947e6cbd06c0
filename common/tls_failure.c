/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says in one sentence why a connection failed. In this order: why we refused the peer, the alert
 * by which the peer refused us, what came in when it was not TLS, what OpenSSL says, what the
 * socket says.
 *
 * In TLS 1.3 a client's handshake is done before the agent has looked at its certificate: the
 * refusal comes as an alert at the first read, or it waits unread behind a write that failed.
 */
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/tls_internal.h"

/* Alerts of RFC 8446 that speak of our certificate: 42 to 46, 48, 49, 51. */
#define ALERT_CLOSE_NOTIFY  0
#define ALERT_USER_CANCELED 90

static const char *peer_of(const struct tls_conn *conn)
{
	return conn->ctx->server ? "the client" : "the agent";
}

static int our_dates(const struct tls_conn *conn, struct err *e)
{
	const struct tls_ctx *ctx = conn->ctx;
	int64_t now = (int64_t)time(NULL);
	char date[TLS_TIME_SIZE];

	if (now > ctx->not_after)
		return err_set(e, TX_ECERT, "%s refused our certificate (%s): it expired on %s",
		    peer_of(conn), ctx->certificate_name, tls_time_text(date, ctx->not_after));
	return err_set(e, TX_ECERT,
	    "%s refused our certificate (%s) as expired; by this machine's clock it is valid until "
	    "%s, so one of the two clocks is wrong",
	    peer_of(conn), ctx->certificate_name, tls_time_text(date, ctx->not_after));
}

static int our_bad(const struct tls_conn *conn, struct err *e)
{
	char date[TLS_TIME_SIZE];

	if (conn->ctx->server)
		return err_set(e, TX_ECERT,
		    "the client refused our certificate (%s) as bad: it does not name the host "
		    "that "
		    "the client asked for, or is not yet valid by the client's clock",
		    conn->ctx->certificate_name);
	return err_set(e, TX_ECERT,
	    "the agent refused our certificate (%s) as bad: by the agent's clock it is not yet "
	    "valid "
	    "(it is from %s), or the agent cannot read it",
	    conn->ctx->certificate_name, tls_time_text(date, conn->ctx->not_before));
}

/* The alerts about our certificate that need no more than a sentence. */
static const struct {
	int alert;
	const char *why;
} refusals[] = {
    {SSL_AD_UNSUPPORTED_CERTIFICATE,
        "it is not for this side of a connection (extended key usage, or an authority's own)"},
    {SSL_AD_CERTIFICATE_REVOKED, "it is revoked"},
    {SSL_AD_CERTIFICATE_UNKNOWN, "the identity in it is missing, not single or not acceptable"},
    {SSL_AD_ACCESS_DENIED, "it is valid, but access is denied"},
    {SSL_AD_DECRYPT_ERROR, "its signature is not right"},
    {SSL_AD_DECODE_ERROR, "it cannot be read"},
};

static int about_our_certificate(const struct tls_conn *conn, struct err *e)
{
	const struct tls_ctx *ctx = conn->ctx;

	switch (conn->alert_in) {
	case SSL_AD_CERTIFICATE_EXPIRED:
		return our_dates(conn, e);
	case SSL_AD_BAD_CERTIFICATE:
		return our_bad(conn, e);
	case SSL_AD_UNKNOWN_CA:
		return err_set(e, TX_ECERT,
		    "%s does not know the authority (\"%s\") that issued our certificate (%s)",
		    peer_of(conn), ctx->issuer, ctx->certificate_name);
	case SSL_AD_CERTIFICATE_REQUIRED:
		return err_set(
		    e, TX_ECERT, "%s requires a certificate and got none from us", peer_of(conn));
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (refusals[i].alert == conn->alert_in)
			return err_set(e, TX_ECERT, "%s refused our certificate (%s): %s",
			    peer_of(conn), ctx->certificate_name, refusals[i].why);
	}
	return 0;
}

static int no_tls13(const struct tls_conn *conn, struct err *e)
{
	return err_set(e, TX_ETLS, "%s does not speak TLS 1.3 (only an older TLS)", peer_of(conn));
}

static int no_h2(const struct tls_conn *conn, struct err *e)
{
	return err_set(e, TX_ETLS, "%s does not speak HTTP/2 (TLS ALPN \"h2\")", peer_of(conn));
}

static int by_alert(const struct tls_conn *conn, struct err *e)
{
	switch (conn->alert_in) {
	case -1:
	case ALERT_CLOSE_NOTIFY:
	case ALERT_USER_CANCELED:
		return 0;
	case SSL_AD_PROTOCOL_VERSION:
		return no_tls13(conn, e);
	case SSL_AD_NO_APPLICATION_PROTOCOL:
		return no_h2(conn, e);
	default:
		break;
	}
	if (about_our_certificate(conn, e) != 0)
		return e->code;
	return err_set(e, TX_ETLS, "%s ended the TLS connection with alert %d (%s)", peer_of(conn),
	    conn->alert_in, SSL_alert_desc_string_long(conn->alert_in));
}

/* OpenSSL stops after the five bytes of a record's head; what follows says more to a person. */
static void read_on(struct tls_conn *conn)
{
	ssize_t n = recv(conn->fd, conn->first + conn->first_len,
	    sizeof(conn->first) - conn->first_len, MSG_DONTWAIT);

	if (n > 0)
		conn->first_len += (size_t)n;
}

/* A TLS record begins with its type: 20 to 23, in a handshake never 23; and its major version is 3.
 */
static int by_first_bytes(struct tls_conn *conn, struct err *e)
{
	char text[sizeof(conn->first) + 1];
	size_t len = 0;

	if (conn->established || conn->first_len == 0)
		return 0;
	if (conn->first[0] >= 0x14 && conn->first[0] <= 0x16 &&
	    (conn->first_len < 2 || conn->first[1] == 3))
		return 0;
	read_on(conn);
	while (len < conn->first_len && conn->first[len] >= 0x20 && conn->first[len] < 0x7f)
		len++;
	if (len < 4)
		return err_set(e, TX_ETLS, "%s does not speak TLS",
		    conn->ctx->server ? "the client" : "the other side");
	tls_printable(text, sizeof(text), conn->first, len);
	return err_set(e, TX_ETLS, "%s does not speak TLS: it said \"%s\"",
	    conn->ctx->server ? "the client" : "the other side", text);
}

/* The first of the errors that libevent kept that is of the SSL library; it gives the last first.
 */
static int ssl_reason(struct bufferevent *bev)
{
	unsigned long code;
	int found = 0;

	while ((code = bufferevent_get_openssl_error(bev)) != 0) {
		if (ERR_GET_LIB(code) == ERR_LIB_SSL)
			found = ERR_GET_REASON(code);
	}
	return found;
}

static int by_reason(const struct tls_conn *conn, int why, struct err *e)
{
	const char *text;

	switch (why) {
	case 0:
	case SSL_R_UNEXPECTED_EOF_WHILE_READING:
		return 0;
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return err_set(e, TX_ECERT, "%s sent no certificate", peer_of(conn));
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_NO_PROTOCOLS_AVAILABLE:
	case SSL_R_WRONG_SSL_VERSION:
	case SSL_R_WRONG_VERSION_NUMBER:
		return no_tls13(conn, e);
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return no_h2(conn, e);
	case SSL_R_CERTIFICATE_VERIFY_FAILED:
		return err_set(
		    e, TX_ECERT, "the certificate of %s cannot be verified", peer_of(conn));
	default:
		text = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, why));
		return err_set(e, TX_ETLS, "TLS with %s failed: %s", peer_of(conn),
		    text == NULL ? "unknown reason" : text);
	}
}

static int by_socket(const struct tls_conn *conn, short what, struct err *e)
{
	const char *when = conn->established ? "" : " during the TLS handshake";

	switch (conn->io_errno) {
	case 0:
		break;
	case ECONNRESET:
	case EPIPE:
		return err_set(e, TX_ECLOSED, "%s reset the connection%s", peer_of(conn), when);
	default:
		return err_sys(e, conn->io_errno, "the connection failed%s", when);
	}
	if (!conn->established)
		return err_set(e, TX_ECLOSED, "%s closed the connection%s", peer_of(conn),
		    conn->first_len == 0 ? " before it said a word of TLS" : when);
	if ((what & BEV_EVENT_EOF) != 0)
		return err_set(e, TX_ECLOSED, "%s closed the connection", peer_of(conn));
	return err_set(e, TX_ECLOSED, "the connection to %s was cut", peer_of(conn));
}

/* A write that failed says nothing of why; the alert may be there to read. */
static void look_for_alert(SSL *ssl, const struct tls_conn *conn)
{
	char byte;

	if (!conn->established || conn->alert_in != -1 || conn->eof || conn->io_errno == 0)
		return;
	ERR_clear_error();
	(void)SSL_peek(ssl, &byte, 1);
	ERR_clear_error();
}

void tls_failure(struct bufferevent *bev, short what, struct err *e)
{
	SSL *ssl = bufferevent_openssl_get_ssl(bev);
	struct tls_conn *conn = tls_conn_of(ssl);
	struct err mine;
	int why;

	if (e == NULL)
		e = &mine;
	why = ssl_reason(bev);
	if ((what & BEV_EVENT_TIMEOUT) != 0) {
		err_set(e, TX_ETIMEOUT, "%s did not answer in time", peer_of(conn));
		return;
	}
	if (conn->refusal != NULL) {
		*e = *conn->refusal;
		return;
	}
	look_for_alert(ssl, conn);
	if (conn->no_alpn) {
		no_h2(conn, e);
		return;
	}
	if (by_alert(conn, e) != 0 || by_first_bytes(conn, e) != 0 || by_reason(conn, why, e) != 0)
		return;
	by_socket(conn, what, e);
}
