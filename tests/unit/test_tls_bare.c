/* SPDX-License-Identifier: Apache-2.0 */
/* A client without a certificate, and the server that takes it: where first certificates come from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "common/tls.h"
#include "tests/support/pki.h"
#include "tests/support/tls_pair.h"

static void pin_of(const char *pem, uint8_t pin[TLS_PIN_SIZE])
{
	BIO *in = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);
	unsigned char *der = NULL;
	int len;

	assert_non_null(x);
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	assert_true(len > 0);
	assert_int_equal(EVP_Digest(der, (size_t)len, pin, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(der);
	X509_free(x);
	BIO_free(in);
}

struct world {
	struct pki *ours, *other;
	struct tls_ctx *server;
	uint8_t pin[TLS_PIN_SIZE], other_pin[TLS_PIN_SIZE];
};

static struct tls_ctx *bare_server(struct pki *pki, const struct pki *trust, unsigned defects)
{
	struct tls_ctx *ctx = NULL;
	struct pki_pair cert;
	struct tls_material m;

	pki_issue(pki, &(struct pki_spec){.agent = true, .defects = defects}, &cert);
	m = pki_material(&cert, trust);
	assert_int_equal(tls_bare_server_ctx_new(&ctx, &m, NULL), 0);
	pki_pair_free(&cert);
	return ctx;
}

static int make_world(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->ours = pki_new("telex test CA");
	w->other = pki_new("another CA");
	w->server = bare_server(w->ours, w->ours, 0);
	pin_of(pki_ca(w->ours), w->pin);
	pin_of(pki_ca(w->other), w->other_pin);
	*state = w;
	return 0;
}

static int free_world(void **state)
{
	struct world *w = *state;

	tls_ctx_free(w->server);
	pki_free(w->ours);
	pki_free(w->other);
	free(w);
	return 0;
}

static struct tls_ctx *client_of(const uint8_t *pin, const char *ca)
{
	const struct tls_trust t = {
	    .pin = pin, .ca = ca, .ca_len = ca != NULL ? strlen(ca) : 0, .ca_name = "ca.pem"};
	struct tls_ctx *ctx = NULL;

	assert_int_equal(tls_bare_client_ctx_new(&ctx, &t, NULL), 0);
	return ctx;
}

static void meets(struct tls_ctx *server, struct tls_ctx *client)
{
	struct tls_pair pair;

	tls_pair_handshake(&pair, server, client, "localhost");
	assert_string_equal(pair.client.e.message, "");
	assert_string_equal(pair.server.e.message, "");
	assert_true(pair.client.heard && pair.server.heard);
	assert_string_equal(pair.client.identity, "spiffe://" PKI_DOMAIN "/agent/web1");
	assert_string_equal(pair.server.identity, "");
	tls_pair_free(&pair);
	tls_ctx_free(client);
}

static void refuses(
    struct tls_ctx *server, struct tls_ctx *client, const char *host, const char *words)
{
	struct tls_pair pair;

	tls_pair_handshake(&pair, server, client, host);
	assert_false(pair.client.connected);
	if (strstr(pair.client.e.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", pair.client.e.message, words);
	tls_pair_free(&pair);
	tls_ctx_free(client);
}

static void the_pin_of_the_root_is_enough(void **state)
{
	struct world *w = *state;

	meets(w->server, client_of(w->pin, NULL));
}

static void the_certificate_of_the_root_is_enough(void **state)
{
	struct world *w = *state;

	meets(w->server, client_of(NULL, pki_ca(w->ours)));
}

static void another_authority_is_refused(void **state)
{
	struct world *w = *state;

	refuses(w->server, client_of(w->other_pin, NULL), "localhost",
	    "not of the authority that made the token");
	refuses(w->server, client_of(NULL, pki_ca(w->other)), "localhost",
	    "that is not the one in ca.pem");
}

/* The pinned root is there, but it did not issue the certificate. */
static void the_root_must_have_issued_it(void **state)
{
	struct world *w = *state;
	struct tls_ctx *forger = bare_server(w->ours, w->ours, PKI_BAD_SIGNATURE);
	uint8_t pin[TLS_PIN_SIZE];

	pin_of(pki_ca(w->ours), pin);
	refuses(forger, client_of(pin, NULL), "localhost", "authority");
	tls_ctx_free(forger);
}

static void the_host_is_checked_with_a_pin_too(void **state)
{
	struct world *w = *state;

	refuses(
	    w->server, client_of(w->pin, NULL), "elsewhere.example", "not for elsewhere.example");
}

static void a_server_that_wants_certificates_refuses_a_client_without(void **state)
{
	struct world *w = *state;
	struct tls_ctx *server = pki_server_ctx(w->ours, w->ours);
	struct tls_ctx *client = client_of(NULL, pki_ca(w->ours));
	struct tls_pair pair;

	tls_pair_handshake(&pair, server, client, "localhost");
	assert_false(pair.server.connected);
	assert_non_null(strstr(pair.server.e.message, "sent no certificate"));
	tls_pair_free(&pair);
	tls_ctx_free(client);
	tls_ctx_free(server);
}

/* And one that has one may come all the same. */
static void a_certificate_is_not_asked_for(void **state)
{
	struct world *w = *state;

	meets(w->server, pki_client_ctx(w->ours, w->ours));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_pin_of_the_root_is_enough),
	    cmocka_unit_test(the_certificate_of_the_root_is_enough),
	    cmocka_unit_test(another_authority_is_refused),
	    cmocka_unit_test(the_root_must_have_issued_it),
	    cmocka_unit_test(the_host_is_checked_with_a_pin_too),
	    cmocka_unit_test(a_server_that_wants_certificates_refuses_a_client_without),
	    cmocka_unit_test(a_certificate_is_not_asked_for),
	};

	return cmocka_run_group_tests(tests, make_world, free_world);
}
