/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts and good handshakes. What goes wrong is in test_tls_failure.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/tls.h"
#include "common/tls_internal.h"
#include "tests/support/pki.h"
#include "tests/support/tls_pair.h"

struct world {
	struct pki *ours, *other;
	struct tls_ctx *server, *client;
};

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->ours = pki_new("telex test CA");
	w->other = pki_new("another CA");
	*state = w;
	return 0;
}

static int free_world(void **state)
{
	struct world *w = *state;

	pki_free(w->ours);
	pki_free(w->other);
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

/* ---- good handshakes ---- */

static void both_ends_learn_the_other_s_identity(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	tls_pair_handshake(&pair, w->server, w->client, "localhost");
	assert_string_equal(pair.client.e.message, "");
	assert_string_equal(pair.server.e.message, "");
	assert_true(pair.client.connected && pair.server.connected);
	assert_true(pair.client.heard && pair.server.heard);
	assert_string_equal(pair.client.identity, "spiffe://" PKI_DOMAIN "/agent/web1");
	assert_string_equal(pair.server.identity, "spiffe://" PKI_DOMAIN "/user/alice");
	tls_pair_free(&pair);
}

static void addresses_and_dotted_names_are_checked_as_the_certificate_has_them(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "localhost.", "LOCALHOST"};
	struct world *w = *state;
	struct tls_pair pair;

	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		tls_pair_handshake(&pair, w->server, w->client, hosts[i]);
		assert_string_equal(pair.client.e.message, "");
		assert_true(pair.client.connected);
		tls_pair_free(&pair);
	}
}

static void an_agent_with_both_uses_may_be_a_client(void **state)
{
	struct world *w = *state;
	struct pki_pair cert;
	struct tls_material m;
	struct tls_ctx *agent = NULL;
	struct tls_pair pair;

	/* An agent's name in a client's certificate. */
	pki_issue(w->ours,
	    &(struct pki_spec){.name = "x", .uri = "spiffe://" PKI_DOMAIN "/agent/relay"}, &cert);
	m = pki_material(&cert, w->ours);
	assert_int_equal(tls_client_ctx_new(&agent, &m, NULL), 0);
	tls_pair_handshake(&pair, w->server, agent, NULL);
	assert_string_equal(pair.server.identity, "spiffe://" PKI_DOMAIN "/agent/relay");
	tls_pair_free(&pair);
	tls_ctx_free(agent);
	pki_pair_free(&cert);
}

static void the_connection_is_described(void **state)
{
	struct world *w = *state;
	struct tls_description d;
	struct tls_pair pair;

	tls_pair_handshake(&pair, w->server, w->client, NULL);
	tls_describe(pair.server.bev, &d);
	assert_string_equal(d.version, "TLSv1.3");
	assert_string_equal(d.cipher, "TLS_AES_128_GCM_SHA256");
	assert_non_null(strstr(d.group, "X25519"));
	tls_pair_free(&pair);
}

static int tickets_seen;

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	(void)session;
	tickets_seen++;
	return 0;
}

static void no_ticket_is_issued_and_no_session_can_be_resumed(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	SSL_SESSION *session;

	tickets_seen = 0;
	SSL_CTX_set_session_cache_mode(w->client->ssl, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(w->client->ssl, on_ticket);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	session = SSL_get1_session(bufferevent_openssl_get_ssl(pair.client.bev));
	assert_int_equal(SSL_SESSION_is_resumable(session), 0);
	assert_int_equal(tickets_seen, 0);
	SSL_SESSION_free(session);
	tls_pair_free(&pair);
}

/* A client that claims to share a key with the agent. */
static int claim_psk(
    SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len, SSL_SESSION **session)
{
	static const unsigned char key[32] = {1, 2, 3};
	static const unsigned char cipher[] = {0x13, 0x01};
	SSL_SESSION *s = SSL_SESSION_new();

	(void)md;
	assert_int_equal(SSL_SESSION_set1_master_key(s, key, sizeof(key)), 1);
	assert_int_equal(SSL_SESSION_set_cipher(s, SSL_CIPHER_find(ssl, cipher)), 1);
	assert_int_equal(SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION), 1);
	*id = (const unsigned char *)"shared";
	*id_len = 6;
	*session = s;
	return 1;
}

static void a_claimed_psk_gets_a_full_handshake(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;

	SSL_CTX_set_psk_use_session_callback(w->client->ssl, claim_psk);
	tls_pair_handshake(&pair, w->server, w->client, NULL);
	assert_true(pair.server.connected);
	assert_string_equal(pair.server.identity, "spiffe://" PKI_DOMAIN "/user/alice");
	assert_false(SSL_session_reused(bufferevent_openssl_get_ssl(pair.server.bev)));
	tls_pair_free(&pair);
}

static void a_context_may_go_before_its_connections(void **state)
{
	struct world *w = *state;
	struct tls_ctx *server = pki_server_ctx(w->ours, w->ours);
	struct tls_ctx *client = pki_client_ctx(w->ours, w->ours);
	struct tls_pair pair;
	int fds[2];

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	tls_pair_connect(&pair, client, fds[0], "localhost");
	tls_pair_serve(&pair, server, fds[1]);
	tls_ctx_free(server);
	tls_ctx_free(client);
	tls_pair_run(&pair);
	assert_true(pair.client.connected && pair.server.connected);
	tls_pair_free(&pair);
}

static void freeing_closes_the_socket(void **state)
{
	struct world *w = *state;
	struct tls_pair pair;
	evutil_socket_t fd;

	tls_pair_handshake(&pair, w->server, w->client, NULL);
	fd = bufferevent_getfd(pair.client.bev);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	tls_pair_free(&pair);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
}

static void a_bad_host_name_is_refused_and_the_socket_closed(void **state)
{
	struct world *w = *state;
	struct bufferevent *bev = NULL;
	char big[400];
	struct err e;
	int fds[2];

	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	tls_pair_tcp(fds);
	assert_int_equal(tls_connect(&bev, NULL, w->client, fds[0], big, &e), TX_EINVAL);
	assert_int_equal(tls_connect(&bev, NULL, w->client, fds[1], "", &e), TX_EINVAL);
	assert_null(bev);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	assert_int_equal(fcntl(fds[1], F_GETFD), -1);
}

static void established_says_no_before_the_handshake_is_done(void **state)
{
	struct world *w = *state;
	char identity[TLS_IDENTITY_SIZE];
	struct tls_description d;
	struct tls_pair pair;
	struct err e;
	int fds[2];

	tls_pair_tcp(fds);
	tls_pair_init(&pair);
	tls_pair_serve(&pair, w->server, fds[1]);
	assert_int_equal(tls_established(pair.server.bev, identity, &e), TX_ESTATE);
	tls_describe(pair.server.bev, &d);
	assert_string_equal(d.version, "");
	close(fds[0]);
	tls_pair_free(&pair);
}

/* ---- contexts ---- */

static void a_context_knows_its_identity_and_its_end(void **state)
{
	struct world *w = *state;
	int64_t now = (int64_t)time(NULL);

	assert_string_equal(tls_ctx_identity(w->server), "spiffe://" PKI_DOMAIN "/agent/web1");
	assert_string_equal(tls_ctx_identity(w->client), "spiffe://" PKI_DOMAIN "/user/alice");
	assert_in_range(tls_ctx_expires(w->client), now + 1800, now + 7200);
}

static void expect_refused(
    struct world *w, bool server, const struct pki_spec *spec, const char *sentence)
{
	struct tls_ctx *ctx = NULL;
	struct pki_pair cert;
	struct tls_material m;
	struct err e = {0};

	pki_issue(w->ours, spec, &cert);
	m = pki_material(&cert, w->ours);
	m.certificate_name = "mine.pem";
	assert_int_equal(
	    (server ? tls_server_ctx_new : tls_client_ctx_new)(&ctx, &m, &e), TX_ECERT);
	assert_null(ctx);
	assert_int_equal(e.code, TX_ECERT);
	assert_non_null(strstr(e.message, "mine.pem"));
	if (strstr(e.message, sentence) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", e.message, sentence);
	pki_pair_free(&cert);
}

static void our_own_unfit_certificate_is_refused_by_name(void **state)
{
	static const struct {
		bool server;
		struct pki_spec spec;
		const char *sentence;
	} rows[] = {
	    {false, {.defects = PKI_EXPIRED}, "expired on 20"},
	    {true, {.agent = true, .defects = PKI_NOT_YET}, "is not valid before 20"},
	    {false, {.defects = PKI_NO_URI}, "has no identity"},
	    {false, {.defects = PKI_TWO_URIS}, "has 2 URI names"},
	    {false, {.defects = PKI_CA_TRUE}, "is an authority's"},
	    {false, {.defects = PKI_WRONG_EKU}, "clientAuth is missing"},
	    {false, {.defects = PKI_NO_EKU}, "clientAuth is missing"},
	    {true, {.agent = true, .defects = PKI_WRONG_EKU}, "serverAuth is missing"},
	    {true, {.agent = true, .uri = "spiffe://" PKI_DOMAIN "/user/bob"}, "is a user's (bob)"},
	    {false, {.uri = "https://test.internal/user/bob"}, "does not begin with spiffe://"},
	    {false, {.uri = "spiffe://" PKI_DOMAIN "/robot/bob"}, "neither /agent/ nor /user/"},
	    {false, {.uri = "spiffe://" PKI_DOMAIN "/user/a%2fb"}, "the name has a character"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect_refused(*state, rows[i].server, &rows[i].spec, rows[i].sentence);
}

static void expect_material(const struct tls_material *m, int code, const char *sentence)
{
	struct tls_ctx *ctx = NULL;
	struct err e = {0};

	assert_int_equal(tls_client_ctx_new(&ctx, m, &e), code);
	assert_null(ctx);
	if (strstr(e.message, sentence) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", e.message, sentence);
}

static void set_text(const char **text, size_t *len, const char *to)
{
	*text = to;
	*len = strlen(to);
}

static void unusable_texts_are_refused_by_name(void **state)
{
	struct world *w = *state;
	struct tls_material good, m;
	struct pki_pair cert, another;
	char *damaged;

	pki_issue(w->ours, &(struct pki_spec){0}, &cert);
	pki_issue(w->ours, &(struct pki_spec){0}, &another);
	good = pki_material(&cert, w->ours);
	good.certificate_name = "a.pem";
	good.key_name = "a.key";
	good.ca_name = "ca.pem";

	m = good;
	set_text(&m.key, &m.key_len, another.key);
	expect_material(&m, TX_ECERT, "a.key is not the key of the certificate in a.pem");
	m = good;
	set_text(&m.key, &m.key_len, cert.certificate);
	expect_material(&m, TX_ECERT, "a.key has no private key in it");
	m = good;
	set_text(&m.certificate, &m.certificate_len, "");
	expect_material(&m, TX_ECERT, "a.pem has no certificate in it");
	m = good;
	set_text(&m.certificate, &m.certificate_len, cert.key);
	expect_material(&m, TX_ECERT, "a.pem has no certificate in it");
	m = good;
	set_text(&m.ca, &m.ca_len, "nothing\n");
	expect_material(&m, TX_ECERT, "ca.pem has no certificate of an authority in it");
	damaged = strdup(cert.certificate);
	memset(damaged + strlen(damaged) / 2, '!', 8);
	m = good;
	set_text(&m.certificate, &m.certificate_len, damaged);
	expect_material(&m, TX_ECERT, "a.pem has a damaged certificate");
	m = good;
	set_text(&m.ca, &m.ca_len, damaged);
	expect_material(&m, TX_ECERT, "ca.pem has a damaged certificate");
	free(damaged);
	pki_pair_free(&cert);
	pki_pair_free(&another);
}

static void a_key_with_a_passphrase_is_refused_and_none_is_asked_for(void **state)
{
	struct world *w = *state;
	struct tls_material m;
	struct pki_pair cert;
	BIO *bio = BIO_new(BIO_s_mem());
	BIO *in;
	EVP_PKEY *key;
	char *text;

	pki_issue(w->ours, &(struct pki_spec){0}, &cert);
	in = BIO_new_mem_buf(cert.key, -1);
	key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, EVP_aes_128_cbc(),
	                     (const unsigned char *)"secret", 6, NULL, NULL),
	    1);
	m = pki_material(&cert, w->ours);
	m.key_len = (size_t)BIO_get_mem_data(bio, &text);
	m.key = text;
	expect_material(&m, TX_ECERT, "is protected by a passphrase");
	EVP_PKEY_free(key);
	BIO_free(in);
	BIO_free(bio);
	pki_pair_free(&cert);
}

/* ---- files ---- */

static int file_of(const char *text, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	return fd;
}

static void a_shared_open_file_is_read_whole_by_each(void **state)
{
	int fd = file_of("one\0two", 7);
	size_t len = 0;
	char *text;

	(void)state;
	for (int i = 0; i < 2; i++) {
		text = NULL;
		assert_int_equal(tls_read_fd(fd, "f", &text, &len, NULL), 0);
		assert_int_equal(len, 7);
		assert_memory_equal(text, "one\0two", 8);
		tls_text_free(text, len);
	}
	close(fd);
}

static void what_is_no_small_regular_file_is_refused(void **state)
{
	char *text = NULL;
	size_t len = 0;
	struct err e;
	int fds[2], big = file_of("", 0);

	(void)state;
	assert_int_equal(tls_read_file("/", &text, &len, &e), TX_EINVAL);
	assert_string_equal(e.message, "/ is not a regular file");
	assert_int_equal(tls_read_file("/no/such/file", &text, &len, &e), TX_ESYS);
	assert_int_equal(e.sys_errno, ENOENT);
	assert_int_equal(tls_read_file("/dev/zero", &text, &len, &e), TX_EINVAL);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(tls_read_fd(fds[0], "pipe", &text, &len, &e), TX_EINVAL);
	assert_int_equal(ftruncate(big, (1 << 20) + 1), 0);
	assert_int_equal(tls_read_fd(big, "big", &text, &len, &e), TX_ETOOBIG);
	assert_null(text);
	tls_text_free(NULL, 0);
	close(fds[0]);
	close(fds[1]);
	close(big);
}

#define WITH_CONTEXTS(test) cmocka_unit_test_setup_teardown(test, make_contexts, free_contexts)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_CONTEXTS(both_ends_learn_the_other_s_identity),
	    WITH_CONTEXTS(addresses_and_dotted_names_are_checked_as_the_certificate_has_them),
	    WITH_CONTEXTS(an_agent_with_both_uses_may_be_a_client),
	    WITH_CONTEXTS(the_connection_is_described),
	    WITH_CONTEXTS(no_ticket_is_issued_and_no_session_can_be_resumed),
	    WITH_CONTEXTS(a_claimed_psk_gets_a_full_handshake),
	    cmocka_unit_test(a_context_may_go_before_its_connections),
	    WITH_CONTEXTS(freeing_closes_the_socket),
	    WITH_CONTEXTS(a_bad_host_name_is_refused_and_the_socket_closed),
	    WITH_CONTEXTS(established_says_no_before_the_handshake_is_done),
	    WITH_CONTEXTS(a_context_knows_its_identity_and_its_end),
	    cmocka_unit_test(our_own_unfit_certificate_is_refused_by_name),
	    cmocka_unit_test(unusable_texts_are_refused_by_name),
	    cmocka_unit_test(a_key_with_a_passphrase_is_refused_and_none_is_asked_for),
	    cmocka_unit_test(a_shared_open_file_is_read_whole_by_each),
	    cmocka_unit_test(what_is_no_small_regular_file_is_refused),
	};

	return cmocka_run_group_tests_name("tls", tests, make_world, free_world);
}
