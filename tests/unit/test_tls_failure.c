/* SPDX-License-Identifier: Apache-2.0 */
/* Every way a connection fails, and the sentence each side then says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/util.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/tls.h"
#include "common/tls_internal.h"
#include "tests/support/pki.h"
#include "tests/support/tls_pair.h"

struct world {
	struct pki *ours, *other, *namesake;
	struct tls_ctx *server, *client;
};

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->ours = pki_new("telex test CA");
	w->other = pki_new("another CA");
	w->namesake = pki_new("telex test CA");
	*state = w;
	return 0;
}

static int free_world(void **state)
{
	struct world *w = *state;

	pki_free(w->ours);
	pki_free(w->other);
	pki_free(w->namesake);
	free(w);
	return 0;
}

static int make_contexts(void **state)
{
	struct world *w = *state;

	w->server = pki_server_ctx(w->ours, w->ours);
	w->client = pki_client_ctx(w->ours, w->ours);
	return 0;
}

static int free_contexts(void **state)
{
	struct world *w = *state;

	tls_ctx_free(w->server);
	tls_ctx_free(w->client);
	w->server = w->client = NULL;
	return 0;
}

/* Puts a certificate into a context that would not have taken it. */
static void swap_certificate(struct tls_ctx *ctx, struct pki *pki, const struct pki_spec *spec)
{
	struct pki_pair pair;
	BIO *certificate, *key;
	EVP_PKEY *k;
	X509 *x;

	pki_issue(pki, spec, &pair);
	certificate = BIO_new_mem_buf(pair.certificate, -1);
	key = BIO_new_mem_buf(pair.key, -1);
	x = PEM_read_bio_X509(certificate, NULL, NULL, NULL);
	k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
	assert_int_equal(SSL_CTX_use_cert_and_key(ctx->ssl, x, k, NULL, 1), 1);
	ctx->not_before = tls_time_epoch(X509_get0_notBefore(x));
	ctx->not_after = tls_time_epoch(X509_get0_notAfter(x));
	tls_name_text(X509_get_issuer_name(x), ctx->issuer, sizeof(ctx->issuer));
	X509_free(x);
	EVP_PKEY_free(k);
	BIO_free(certificate);
	BIO_free(key);
	pki_pair_free(&pair);
}

static void expect(const struct tls_end *end, int code, const char *sentence)
{
	assert_false(end->heard);
	if (strstr(end->e.message, sentence) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", end->e.message, sentence);
	assert_int_equal(end->e.code, code);
}

/* ---- certificates, both directions ---- */

struct row {
	struct pki_spec spec;
	enum { OURS, OTHER, NAMESAKE } from;
	const char *refuser; /* what the side that looks says */
	const char *refused; /* what the side that is looked at says */
};

static struct pki *pki_of(const struct world *w, const struct row *row)
{
	return row->from == OURS ? w->ours : row->from == OTHER ? w->other : w->namesake;
}

/* The tables are wider than the code. */
/* clang-format off */
static void clients_with_an_unfit_certificate_are_refused(void **state)
{
	static const struct row rows[] = {
	    {{0}, OTHER, "the client's certificate (spiffe://test.internal/user/alice) is from an authority (\"another CA\") that is not the one in ca",
		"the agent does not know the authority (\"another CA\") that issued our certificate"},
	    {{0}, NAMESAKE, "is from an authority (\"telex test CA\") that is not the one in ca",
		"the agent does not know the authority (\"telex test CA\")"},
	    {{.defects = PKI_BAD_SIGNATURE}, OURS, "is from an authority (\"telex test CA\")",
		"the agent refused our certificate (certificate): its signature is not right"},
	    {{.defects = PKI_EXPIRED}, OURS, "the client's certificate (spiffe://test.internal/user/alice) expired on 20",
		"the agent refused our certificate (certificate): it expired on 20"},
	    {{.defects = PKI_NOT_YET}, OURS, "/user/alice) is not valid before 20",
		"by the agent's clock it is not yet valid"},
	    {{.defects = PKI_WRONG_EKU}, OURS, "is not for a client (extended key usage clientAuth is missing)",
		"the agent refused our certificate (certificate): it is not for this side"},
	    {{.defects = PKI_NO_EKU}, OURS, "is not for a client (extended key usage clientAuth is missing)",
		"the agent refused our certificate (certificate): it is not for this side"},
	    {{.defects = PKI_CA_TRUE}, OURS, "is an authority's (CA:TRUE) and may not be used by a client",
		"the agent refused our certificate (certificate): it is not for this side"},
	    {{.defects = PKI_NO_URI}, OURS, "the client's certificate has no identity",
		"the agent refused our certificate (certificate): the identity in it is missing"},
	    {{.defects = PKI_TWO_URIS}, OURS, "the client's certificate has 2 URI names",
		"the agent refused our certificate (certificate): the identity in it is missing"},
	    {{.uri = "spiffe://test.internal/user/"}, OURS, "is not an identity: the name is empty",
		"the identity in it is missing, not single or not acceptable"},
	    {{.uri = "spiffe://test.internal/root"}, OURS, "neither /agent/ nor /user/",
		"the identity in it is missing"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_pair pair;

		make_contexts(state);
		swap_certificate(w->client, pki_of(w, &rows[i]), &rows[i].spec);
		tls_pair_handshake(&pair, w->server, w->client, NULL);
		expect(&pair.server, TX_ECERT, rows[i].refuser);
		expect(&pair.client, TX_ECERT, rows[i].refused);
		assert_false(pair.server.connected);
		tls_pair_free(&pair);
		free_contexts(state);
	}
}

static void agents_with_an_unfit_certificate_are_refused(void **state)
{
	static const struct row rows[] = {
	    {{.agent = true}, OTHER, "the agent's certificate (spiffe://test.internal/agent/web1) is from an authority (\"another CA\")",
		"the client does not know the authority (\"another CA\")"},
	    {{.agent = true}, NAMESAKE, "is from an authority (\"telex test CA\") that is not the one in ca",
		"the client does not know the authority"},
	    {{.agent = true, .defects = PKI_EXPIRED}, OURS, "the agent's certificate (spiffe://test.internal/agent/web1) expired on 20",
		"the client refused our certificate (certificate): it expired on"},
	    {{.agent = true, .defects = PKI_NOT_YET}, OURS, "is not valid before 20",
		"the client refused our certificate (certificate) as bad"},
	    {{.agent = true, .defects = PKI_WRONG_EKU}, OURS, "is not for a server (extended key usage serverAuth is missing)",
		"the client refused our certificate (certificate): it is not for this side"},
	    {{.agent = true, .defects = PKI_CA_TRUE}, OURS, "is an authority's (CA:TRUE) and may not be used by a server",
		"the client refused our certificate (certificate): it is not for this side"},
	    {{.agent = true, .defects = PKI_NO_URI}, OURS, "the agent's certificate has no identity",
		"the client refused our certificate (certificate): the identity in it is missing"},
	    {{.agent = true, .defects = PKI_TWO_URIS}, OURS, "the agent's certificate has 2 URI names",
		"the client refused our certificate (certificate): the identity in it is missing"},
	    {{.agent = true, .uri = "spiffe://test.internal/user/mallory"}, OURS, "the agent's certificate is a user's (mallory), not an agent's",
		"the client refused our certificate (certificate): the identity in it is missing"},
	    {{.agent = true, .sans = "DNS:web1.example,DNS:*.prod.example,IP:10.0.0.1,IP:fe80::1"}, OURS,
		"the agent's certificate is for web1.example, *.prod.example, 10.0.0.1, fe80::1 and not for localhost",
		"it does not name the host that the client asked for"},
	    {{.agent = true, .sans = ""}, OURS, "the agent's certificate names no host, so it is not for localhost",
		"it does not name the host that the client asked for"},
	    /* The common name is never looked at. */
	    {{.agent = true, .name = "localhost", .sans = "DNS:web1.example"}, OURS, "is for web1.example and not for localhost", "as bad"},
	    {{.agent = true, .sans = "DNS:l*host"}, OURS, "is for l*host and not for localhost", "as bad"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_pair pair;

		make_contexts(state);
		swap_certificate(w->server, pki_of(w, &rows[i]), &rows[i].spec);
		tls_pair_handshake(&pair, w->server, w->client, NULL);
		expect(&pair.client, TX_ECERT, rows[i].refuser);
		expect(&pair.server, TX_ECERT, rows[i].refused);
		assert_false(pair.client.connected);
		tls_pair_free(&pair);
		free_contexts(state);
	}
}
/* clang-format on */

static void a_root_that_is_sent_along_is_not_trusted_for_it(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	BIO *in = BIO_new_mem_buf(pki_ca(w->other), -1);
	X509 *root = PEM_read_bio_X509(in, NULL, NULL, NULL);

	swap_certificate(w->server, w->other, &(struct pki_spec){.agent = true});
	assert_int_equal(SSL_CTX_add0_chain_cert(w->server->ssl, root), 1);
	BIO_free(in);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.client, TX_ECERT,
	    "the agent's certificate (spiffe://test.internal/agent/web1) is from an authority "
	    "(\"another CA\") that is not the one in ca");
	tls_pair_free(&pair);
}

static void an_address_that_the_certificate_does_not_name_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	tls_pair_handshake(&pair, w->server, w->client, "127.0.0.2");
	expect(&pair.client, TX_ECERT, "is for localhost, 127.0.0.1 and not for 127.0.0.2");
	tls_pair_free(&pair);
}

static void many_and_hostile_names_are_cut_and_printable(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	char sans[1000] = "DNS:a\x1b[31mred";

	for (int i = 0; i < 30; i++)
		snprintf(sans + strlen(sans), sizeof(sans) - strlen(sans),
		    ",DNS:host%d.of.a.long.domain", i);
	swap_certificate(w->server, w->ours, &(struct pki_spec){.agent = true, .sans = sans});
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.client, TX_ECERT, "is for a?[31mred, host0");
	expect(&pair.client, TX_ECERT, " more and not for localhost");
	tls_pair_free(&pair);
}

static int send_no_certificate(SSL *ssl, void *arg)
{
	(void)arg;
	SSL_certs_clear(ssl);
	return 1;
}

static void a_client_without_a_certificate_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	SSL_CTX_set_cert_cb(w->client->ssl, send_no_certificate, NULL);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.server, TX_ECERT, "the client sent no certificate");
	expect(&pair.client, TX_ECERT, "the agent requires a certificate and got none from us");
	tls_pair_free(&pair);
}

static void a_clock_that_differs_is_named_as_the_reason(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	swap_certificate(w->client, w->ours, &(struct pki_spec){.defects = PKI_EXPIRED});
	w->client->not_after += 2 * 86400;
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.client, TX_ECERT, "so one of the two clocks is wrong");
	tls_pair_free(&pair);
}

/* ---- versions and ALPN ---- */

static void only_tls_1_2(SSL_CTX *ssl)
{
	SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ssl, TLS1_2_VERSION);
}

static void a_client_with_tls_1_2_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	only_tls_1_2(w->client->ssl);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.server, TX_ETLS, "the client does not speak TLS 1.3");
	expect(&pair.client, TX_ETLS, "does not speak TLS 1.3");
	tls_pair_free(&pair);
}

static void a_server_with_tls_1_2_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	only_tls_1_2(w->server->ssl);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.client, TX_ETLS, "the agent does not speak TLS 1.3");
	tls_pair_free(&pair);
}

static void a_client_without_alpn_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	SSL_CTX_set_alpn_protos(w->client->ssl, NULL, 0);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.server, TX_ETLS, "the client does not speak HTTP/2 (TLS ALPN \"h2\")");
	expect(&pair.client, TX_ETLS, "does not speak HTTP/2");
	tls_pair_free(&pair);
}

static void a_client_with_another_alpn_is_refused(void **state)
{
	static const unsigned char http1[] = "\x08http/1.1";
	struct world *w = *state;
	struct tls_pair pair;

	SSL_CTX_set_alpn_protos(w->client->ssl, http1, sizeof(http1) - 1);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.server, TX_ETLS, "the client does not speak HTTP/2");
	expect(&pair.client, TX_ETLS, "does not speak HTTP/2");
	tls_pair_free(&pair);
}

static void a_server_without_alpn_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	SSL_CTX_set_alpn_select_cb(w->server->ssl, NULL, NULL);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	expect(&pair.client, TX_ETLS, "did not agree to HTTP/2 (TLS ALPN \"h2\")");
	expect(&pair.server, TX_ETLS, "did not agree to HTTP/2");
	tls_pair_free(&pair);
}

/* ---- what is no TLS, and sockets that end ---- */

static void say_bytes(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

static void an_agent_that_speaks_something_else_is_told_apart(void **state)
{
	static const char *const rows[][2] = {
	    {"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
	        "the other side does not speak TLS: it said \"SSH-2.0-OpenSSH_9.2p1 De\""},
	    {"HTTP/1.1 400 Bad Request\r\n\r\n", "it said \"HTTP/1.1 400 Bad Request\""},
	    {"\x1b]0;owned\x07 and so on and on", "the other side does not speak TLS"},
	    {"\n\n\n\n\n\n\n\n\n\n\n\n", "the other side does not speak TLS"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_pair pair;
		int fds[2];

		tls_pair_tcp(fds);
		tls_pair_init(&pair);
		say_bytes(fds[1], rows[i][0]);
		tls_pair_connect(&pair, w->client, fds[0], "localhost");
		tls_pair_run(&pair);
		expect(&pair.client, TX_ETLS, rows[i][1]);
		assert_null(strchr(pair.client.e.message, '\x1b'));
		tls_pair_free(&pair);
		close(fds[1]);
	}
}

static void a_client_that_speaks_something_else_is_told_apart(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	int fds[2];

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	say_bytes(fds[0], "GET /metrics HTTP/1.1\r\n\r\n");
	tls_pair_serve(&pair, w->server, fds[1]);
	tls_pair_run(&pair);
	expect(&pair.server, TX_ETLS,
	    "the client does not speak TLS: it said \"GET /metrics HTTP/1.1\"");
	tls_pair_free(&pair);
	close(fds[0]);
}

static void end_of_file_and_reset_in_the_handshake_are_told_apart(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	int fds[2];

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	close(fds[0]);
	tls_pair_serve(&pair, w->server, fds[1]);
	tls_pair_run(&pair);
	expect(&pair.server, TX_ECLOSED,
	    "the client closed the connection before it said a word of TLS");
	tls_pair_free(&pair);

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	say_bytes(fds[0], "\x16\x03\x01\x02");
	close(fds[0]);
	tls_pair_serve(&pair, w->server, fds[1]);
	tls_pair_run(&pair);
	expect(
	    &pair.server, TX_ECLOSED, "the client closed the connection during the TLS handshake");
	tls_pair_free(&pair);

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	reset(fds[0]);
	tls_pair_serve(&pair, w->server, fds[1]);
	tls_pair_run(&pair);
	expect(
	    &pair.server, TX_ECLOSED, "the client reset the connection during the TLS handshake");
	tls_pair_free(&pair);
}

static void a_connect_that_fails_keeps_its_errno(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	struct world *w = *state;
	struct tls_pair pair;
	int unheard = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

	/* Bound and not listening: nobody else can have the port. */
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(unheard, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(unheard, (struct sockaddr *)&address, &len), 0);
	evutil_make_socket_nonblocking(fd);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, len), -1);
	assert_int_equal(errno, EINPROGRESS);
	tls_pair_init(&pair);
	tls_pair_connect(&pair, w->client, fd, "localhost");
	tls_pair_run(&pair);
	expect(&pair.client, TX_ESYS, "Connection refused");
	assert_int_equal(pair.client.e.sys_errno, ECONNREFUSED);
	tls_pair_free(&pair);
	close(unheard);
}

/* ---- after the handshake ---- */

static void end_established(struct tls_end *end)
{
	assert_true(end->connected);
	end->heard = false;
}

static void closed_and_cut_connections_are_told_apart(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	tls_pair_handshake(&pair, w->server, w->client, NULL);
	end_established(&pair.client);
	tls_free(pair.server.bev);
	pair.server.bev = NULL;
	tls_pair_run_until_failure(&pair, &pair.client);
	expect(&pair.client, TX_ECLOSED, "the agent closed the connection");
	tls_pair_free(&pair);

	tls_pair_handshake(&pair, w->server, w->client, NULL);
	end_established(&pair.client);
	shutdown(bufferevent_getfd(pair.server.bev), SHUT_WR);
	tls_pair_run_until_failure(&pair, &pair.client);
	expect(&pair.client, TX_ECLOSED, "the connection to the agent was cut");
	tls_pair_free(&pair);
}

static void a_write_after_a_reset_raises_no_sigpipe(void **state)
{
	struct world *w = *state;
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	socklen_t len = sizeof(int);
	struct tls_pair pair;
	int error = 0;

	signal(SIGPIPE, SIG_DFL);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	end_established(&pair.client);
	bufferevent_disable(pair.client.bev, EV_READ);
	setsockopt(bufferevent_getfd(pair.server.bev), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	bufferevent_free(pair.server.bev);
	pair.server.bev = NULL;
	event_base_loop(pair.base, EVLOOP_NONBLOCK);
	/* Takes the reset away, so that the write meets EPIPE. */
	assert_int_equal(
	    getsockopt(bufferevent_getfd(pair.client.bev), SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, ECONNRESET);
	bufferevent_write(pair.client.bev, "y", 1);
	tls_pair_run_until_failure(&pair, &pair.client);
	expect(&pair.client, TX_ECLOSED, "the agent reset the connection");
	tls_pair_free(&pair);
}

static void a_timeout_is_its_own_sentence(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	struct err e;
	int fds[2];

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	tls_pair_connect(&pair, w->client, fds[0], "localhost");
	tls_failure(pair.client.bev, BEV_EVENT_TIMEOUT, &e);
	assert_int_equal(e.code, TX_ETIMEOUT);
	assert_string_equal(e.message, "the agent did not answer in time");
	tls_failure(pair.client.bev, BEV_EVENT_TIMEOUT, NULL);
	close(fds[1]);
	tls_pair_free(&pair);
}

#define WITH_CONTEXTS(test) cmocka_unit_test_setup_teardown(test, make_contexts, free_contexts)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(clients_with_an_unfit_certificate_are_refused),
	    cmocka_unit_test(agents_with_an_unfit_certificate_are_refused),
	    WITH_CONTEXTS(a_root_that_is_sent_along_is_not_trusted_for_it),
	    WITH_CONTEXTS(an_address_that_the_certificate_does_not_name_is_refused),
	    WITH_CONTEXTS(many_and_hostile_names_are_cut_and_printable),
	    WITH_CONTEXTS(a_client_without_a_certificate_is_refused),
	    WITH_CONTEXTS(a_clock_that_differs_is_named_as_the_reason),
	    WITH_CONTEXTS(a_client_with_tls_1_2_is_refused),
	    WITH_CONTEXTS(a_server_with_tls_1_2_is_refused),
	    WITH_CONTEXTS(a_client_without_alpn_is_refused),
	    WITH_CONTEXTS(a_client_with_another_alpn_is_refused),
	    WITH_CONTEXTS(a_server_without_alpn_is_refused),
	    WITH_CONTEXTS(an_agent_that_speaks_something_else_is_told_apart),
	    WITH_CONTEXTS(a_client_that_speaks_something_else_is_told_apart),
	    WITH_CONTEXTS(end_of_file_and_reset_in_the_handshake_are_told_apart),
	    WITH_CONTEXTS(a_connect_that_fails_keeps_its_errno),
	    WITH_CONTEXTS(closed_and_cut_connections_are_told_apart),
	    WITH_CONTEXTS(a_write_after_a_reset_raises_no_sigpipe),
	    WITH_CONTEXTS(a_timeout_is_its_own_sentence),
	};

	return cmocka_run_group_tests_name("tls_failure", tests, make_world, free_world);
}
