/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/csr.h"
#include "certs/pem.h"
#include "common/tls.h"
#include "common/tls_cert.h"

#define WEB1 "spiffe://lab.example/agent/web1"

static int make_ca(void **state)
{
	struct ca *ca = NULL;
	int rc = ca_new(&ca, &(struct ca_options){.domain = "lab.example"}, NULL);

	*state = ca;
	return rc;
}

static int free_ca(void **state)
{
	ca_free(*state);
	return 0;
}

/* ---- requests as others make them, with OpenSSL alone ---- */

struct ask {
	EVP_PKEY *key;        /* NULL: a new P-256 */
	const char *names;    /* OpenSSL's subjectAltName */
	const char *more;     /* a second subjectAltName */
	const char *other[2]; /* name and value of another extension */
	const char *digest;   /* NULL: SHA256; "": none (Ed25519) */
	bool twist;           /* the signature is another key's */
};

static void push(STACK_OF(X509_EXTENSION) * list, int nid, const char *value)
{
	X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(x);
	assert_true(sk_X509_EXTENSION_push(list, x) > 0);
}

/* DER, malloc'd by OpenSSL. */
static int ask_der(const struct ask *a, unsigned char **der)
{
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	EVP_PKEY *key = a->key == NULL ? EVP_EC_gen("P-256") : a->key;
	EVP_PKEY *signer = a->twist ? EVP_EC_gen("P-256") : key;
	const EVP_MD *digest = EVP_get_digestbyname(a->digest == NULL ? "SHA256" : a->digest);
	X509_REQ *req = X509_REQ_new();
	int len;

	if (a->names != NULL)
		push(list, NID_subject_alt_name, a->names);
	if (a->more != NULL)
		push(list, NID_subject_alt_name, a->more);
	if (a->other[0] != NULL)
		push(list, OBJ_txt2nid(a->other[0]), a->other[1]);
	if (sk_X509_EXTENSION_num(list) > 0)
		assert_int_equal(X509_REQ_add_extensions(req, list), 1);
	assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
	assert_true(X509_REQ_sign(req, signer, digest) > 0);
	*der = NULL;
	len = i2d_X509_REQ(req, der);
	assert_true(len > 0);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	X509_REQ_free(req);
	if (a->twist)
		EVP_PKEY_free(signer);
	EVP_PKEY_free(key);
	return len;
}

static int read_ask(const struct ask *a, struct csr *csr, struct err *e)
{
	unsigned char *der;
	int len = ask_der(a, &der);
	int rc = csr_read(csr, der, (size_t)len, e);

	OPENSSL_free(der);
	return rc;
}

static void expect_refused(const struct ask *a, const char *words)
{
	struct csr csr;
	struct err e;

	assert_int_equal(read_ask(a, &csr, &e), TX_EINVAL);
	if (strstr(e.message, words) == NULL)
		fail_msg("\"%s\" is not in: %s", words, e.message);
}

/* ---- make and read ---- */

static void make_and_read(enum key_type type)
{
	static const char *const sans[] = {
	    "Web1.Example", "10.0.0.7", "web1.example", "*.b.example", "2001:DB8:0::7"};
	char *pem = NULL, *key = NULL;
	size_t pem_len = 0, key_len = 0;
	struct csr csr;
	struct err e;

	if (csr_make(&pem, &pem_len, &key, &key_len, WEB1, sans, 5, type, &e) != 0 ||
	    csr_read(&csr, pem, pem_len, &e) != 0)
		fail_msg("%s", e.message);
	assert_string_equal(csr.identity, WEB1);
	assert_int_equal(csr.n_sans, 4);
	assert_string_equal(csr.sans[0], "*.b.example");
	assert_string_equal(csr.sans[1], "10.0.0.7");
	assert_string_equal(csr.sans[2], "2001:db8::7");
	assert_string_equal(csr.sans[3], "web1.example");
	csr_clear(&csr);
	tls_text_free(pem, pem_len);
	tls_text_free(key, key_len);
}

/* Under valgrind, where the search for an RSA key's primes takes half a minute. */
static bool slow(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL;
}

static void what_we_make_we_read(void **state)
{
	(void)state;
	make_and_read(KEY_P256);
	make_and_read(KEY_ED25519);
	if (!slow())
		make_and_read(KEY_RSA);
}

static void what_we_do_not_make(void **state)
{
	static const char *const bad[] = {"not a host"};
	char *pem = NULL, *key = NULL;
	size_t a = 0, b = 0;

	(void)state;
	assert_int_equal(csr_make(&pem, &a, &key, &b, "alice", NULL, 0, KEY_P256, NULL), TX_EINVAL);
	assert_int_equal(csr_make(&pem, &a, &key, &b, WEB1, bad, 1, KEY_P256, NULL), TX_EINVAL);
	assert_null(pem);
	assert_null(key);
}

/* ---- strangers ---- */

static void names_are_hosts_and_one_identity(void **state)
{
	struct csr csr;
	struct err e;

	(void)state;
	assert_int_equal(read_ask(&(struct ask){.names = NULL}, &csr, NULL), 0);
	assert_string_equal(csr.identity, "");
	assert_int_equal(csr.n_sans, 0);
	csr_clear(&csr);
	if (read_ask(&(struct ask){.names = "URI:" WEB1 ",DNS:WEB1.example,IP:10.0.0.7,IP:fe80::1"},
	        &csr, &e) != 0)
		fail_msg("%s", e.message);
	assert_string_equal(csr.identity, WEB1);
	assert_int_equal(csr.n_sans, 3);
	csr_clear(&csr);
	expect_refused(&(struct ask){.names = "URI:" WEB1 ",URI:" WEB1}, "two identities");
	expect_refused(
	    &(struct ask){.names = "URI:https://lab.example/agent/web1"}, "none of telex's");
	expect_refused(&(struct ask){.names = "DNS:*.com"}, "\"*.com\", which is none");
	expect_refused(&(struct ask){.names = "DNS:10.0.0.7"}, "which is none");
	expect_refused(&(struct ask){.names = "DNS:a b"}, "which is none");
	expect_refused(
	    &(struct ask){.names = "email:a@lab.example"}, "no identity, DNS name or IP");
	expect_refused(
	    &(struct ask){.names = "DNS:a.example", .more = "DNS:b.example"}, "two lists of them");
}

static void too_many_hosts_are_refused(void **state)
{
	char names[2048] = "DNS:h0.example";
	size_t used = strlen(names);

	(void)state;
	for (int i = 1; i <= SANS_MAX; i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, ",DNS:h%d.example", i);
	expect_refused(&(struct ask){.names = names}, "more than 64 hosts");
}

static void weak_keys_are_refused(void **state)
{
	(void)state;
	expect_refused(&(struct ask){.key = EVP_RSA_gen(1024)}, "RSA 1024");
	expect_refused(&(struct ask){.key = EVP_EC_gen("P-224")}, "secp224r1");
	expect_refused(&(struct ask){.key = EVP_EC_gen("secp256k1")}, "secp256k1");
}

static void strong_keys_are_taken(void **state)
{
	struct ask asks[] = {{.key = slow() ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048)},
	    {.key = EVP_EC_gen("P-384")},
	    {.key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), .digest = ""}};
	struct csr csr;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		if (read_ask(&asks[i], &csr, &e) != 0)
			fail_msg("%s", e.message);
		csr_clear(&csr);
	}
}

static void the_signature_is_the_keys(void **state)
{
	(void)state;
	expect_refused(&(struct ask){.twist = true}, "not that of its key");
	expect_refused(&(struct ask){.digest = "SHA1"}, "SHA1, which is broken");
}

static void hostile_bytes_are_refused(void **state)
{
	static const char encrypted[] =
	    "-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\n"
	    "DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n"
	    "-----END CERTIFICATE REQUEST-----\n";
	char *huge = calloc(1, CSR_MAX + 1);
	unsigned char *der;
	struct csr csr;
	struct err e;
	int len;

	(void)state;
	assert_non_null(huge);
	assert_int_equal(csr_read(&csr, huge, CSR_MAX + 1, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, "larger"));
	assert_int_equal(csr_read(&csr, huge, CSR_MAX, NULL), TX_EINVAL);
	assert_int_equal(csr_read(&csr, "", 0, NULL), TX_EINVAL);
	/* Nobody is asked for its passphrase. */
	assert_int_equal(csr_read(&csr, encrypted, sizeof(encrypted) - 1, NULL), TX_EINVAL);
	free(huge);
	len = ask_der(&(struct ask){.names = "URI:" WEB1 ",DNS:web1.example"}, &der);
	for (int i = 0; i < len; i++) {
		assert_int_not_equal(csr_read(&csr, der, (size_t)i, NULL), 0);
		der[i] ^= 0x40;
		assert_int_not_equal(csr_read(&csr, der, (size_t)len, NULL), 0);
		der[i] ^= 0x40;
	}
	assert_int_equal(csr_read(&csr, der, (size_t)len, NULL), 0);
	csr_clear(&csr);
	der = OPENSSL_realloc(der, (size_t)len + 1);
	assert_non_null(der);
	der[len] = 0;
	assert_int_equal(csr_read(&csr, der, (size_t)len + 1, NULL), TX_EINVAL);
	OPENSSL_free(der);
}

/* ---- sign ---- */

static X509 *sign(const struct ca *ca, const struct ask *a, const struct issue_request *allowed)
{
	struct issued issued;
	X509 *x = NULL;
	struct csr csr;
	struct err e;

	if (read_ask(a, &csr, &e) != 0 || csr_sign(&issued, ca, &csr, allowed, &e) != 0)
		fail_msg("%s", e.message);
	assert_null(issued.key);
	assert_int_equal(
	    pem_to_certificate(&x, issued.certificate, issued.certificate_len, "it", NULL), 0);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(x), X509_REQ_get0_pubkey(csr.req)), 1);
	assert_int_equal(X509_verify(x, ca_key(ca)), 1);
	csr_clear(&csr);
	issue_free(&issued);
	return x;
}

static const char *const hosts[] = {"web1.example", "10.0.0.7"};
static const struct issue_request web1 = {
    .kind = IDENTITY_AGENT, .name = "web1", .sans = hosts, .sans_len = 2};

static void it_signs_what_is_allowed_and_nothing_else(void **state)
{
	struct ask asks[] = {
	    {.names = NULL},
	    {.names = "URI:" WEB1},
	    {.names = "IP:10.0.0.7,DNS:WEB1.example"},
	    {.names = "URI:" WEB1 ",IP:10.0.0.7,DNS:web1.example",
	        .other = {"basicConstraints", "critical,CA:TRUE"}},
	    {.other = {"extendedKeyUsage", "clientAuth,codeSigning"}},
	};

	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		X509 *x = sign(*state, &asks[i], &web1);
		struct identity id;
		char text[100];

		assert_int_equal(tls_cert_check_leaf(x, true, &id, "it", NULL, NULL), 0);
		assert_string_equal(id.name, "web1");
		assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
		assert_int_equal(X509_check_ca(x), 0);
		tls_cert_hosts(x, text, sizeof(text));
		assert_string_equal(text, "10.0.0.7, web1.example");
		X509_free(x);
	}
}

static void other_names_are_refused(void **state)
{
	static const char *const asks[] = {"URI:spiffe://lab.example/agent/web2",
	    "URI:spiffe://lab.example/user/web1", "URI:spiffe://other.example/agent/web1",
	    "DNS:web2.example", "DNS:web1.example",
	    "DNS:web1.example,IP:10.0.0.7,DNS:more.example"};

	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		struct issued issued;
		struct csr csr;
		struct err e;

		assert_int_equal(read_ask(&(struct ask){.names = asks[i]}, &csr, NULL), 0);
		assert_int_equal(csr_sign(&issued, *state, &csr, &web1, &e), TX_EPERM);
		assert_non_null(strstr(e.message, "the request asks for"));
		csr_clear(&csr);
	}
}

static void a_user_gets_no_host(void **state)
{
	struct issue_request alice = {.kind = IDENTITY_USER, .name = "alice"};
	X509 *x = sign(*state, &(struct ask){.names = NULL}, &alice);
	struct issued issued;
	struct csr csr;

	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_CLIENT);
	X509_free(x);
	assert_int_equal(read_ask(&(struct ask){.names = "DNS:web1.example"}, &csr, NULL), 0);
	assert_int_equal(csr_sign(&issued, *state, &csr, &alice, NULL), TX_EPERM);
	csr_clear(&csr);
}

static void an_agent_without_hosts_is_its_own_name(void **state)
{
	struct issue_request named = {.kind = IDENTITY_AGENT, .name = "web1.example"};
	X509 *x = sign(*state, &(struct ask){.names = "DNS:web1.example"}, &named);
	struct issued issued;
	struct csr csr;
	struct err e;

	X509_free(x);
	named.name = "-web-";
	assert_int_equal(read_ask(&(struct ask){.names = NULL}, &csr, NULL), 0);
	assert_int_equal(csr_sign(&issued, *state, &csr, &named, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, "--san"));
	csr_clear(&csr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_we_make_we_read),
	    cmocka_unit_test(what_we_do_not_make),
	    cmocka_unit_test(names_are_hosts_and_one_identity),
	    cmocka_unit_test(too_many_hosts_are_refused),
	    cmocka_unit_test(weak_keys_are_refused),
	    cmocka_unit_test(strong_keys_are_taken),
	    cmocka_unit_test(the_signature_is_the_keys),
	    cmocka_unit_test(hostile_bytes_are_refused),
	    cmocka_unit_test(it_signs_what_is_allowed_and_nothing_else),
	    cmocka_unit_test(other_names_are_refused),
	    cmocka_unit_test(a_user_gets_no_host),
	    cmocka_unit_test(an_agent_without_hosts_is_its_own_name),
	};

	return cmocka_run_group_tests(tests, make_ca, free_ca);
}
