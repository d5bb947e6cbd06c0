/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the authority's code fails once, those of OpenSSL and SQLite too: nothing
 * that is to be refused is taken, what is given out is whole and recorded, and nothing crashes or
 * leaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/csr.h"
#include "certs/ledger.h"
#include "certs/pem.h"
#include "common/tls.h"
#include "common/tls_cert.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/alloc_libs.h"
#include "tests/support/folder.h"

/* ---- the scene ---- */

#define AGENT "spiffe://lab.example/agent/web1"

static struct ca *ca;
static const char *const hosts[] = {"10.0.0.7", "web1.example"};
static const struct issue_request web1 = {
    .kind = IDENTITY_AGENT, .name = "web1", .sans = hosts, .sans_len = 2};

/* Under valgrind (TELEX_TEST_SLOW) not each, but each of these many. */
static long step(void)
{
	return getenv("TELEX_TEST_SLOW") == NULL ? 1 : 53;
}

/* Once with no failure, and again to count: what is made once a process is not counted. Then with
 * each failing once. Returns how many of those made it fail. */
static long each_fails(bool (*act)(void *arg), void *arg)
{
	long all, failed = 0;

	for (int i = 0; i < 2; i++) {
		alloc_fail_at(0, false);
		assert_true(act(arg));
		alloc_fail_stop();
	}
	all = alloc_fail_count();
	for (long n = 1; n <= all; n += step()) {
		alloc_fail_at(n, false);
		failed += !act(arg);
		alloc_fail_stop();
		ERR_clear_error();
	}
	return failed;
}

/* Whole, as it was asked for. */
static void expect_web1(const struct issued *issued)
{
	struct identity id;
	X509 *x = NULL;
	char text[100];

	assert_int_equal(
	    pem_to_certificate(&x, issued->certificate, issued->certificate_len, "it", NULL), 0);
	assert_int_equal(tls_cert_check_leaf(x, true, &id, "it", NULL, NULL), 0);
	assert_string_equal(id.name, "web1");
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
	assert_int_equal(X509_get_key_usage(x), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_check_ca(x), 0);
	tls_cert_hosts(x, text, sizeof(text));
	assert_string_equal(text, "10.0.0.7, web1.example");
	assert_int_equal(X509_verify(x, ca_key(ca)), 1);
	assert_non_null(strstr(issued->certificate + 100, "-----BEGIN CERTIFICATE-----"));
	X509_free(x);
}

static bool issue(void *arg)
{
	struct issued issued;
	int rc = issue_certificate(&issued, ca, &web1, NULL);

	(void)arg;
	alloc_fail_stop();
	if (rc != 0)
		return false;
	expect_web1(&issued);
	issue_free(&issued);
	return true;
}

static void what_is_issued_is_whole(void **state)
{
	(void)state;
	assert_true(each_fails(issue, NULL) > 0);
}

/* ---- requests ---- */

struct request {
	unsigned char *der;
	int len;
	bool good;
};

static void request_make(
    struct request *r, EVP_PKEY *key, EVP_PKEY *signer, const char *names, bool good)
{
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
	X509_REQ *req = X509_REQ_new();

	assert_non_null(ext);
	assert_true(sk_X509_EXTENSION_push(list, ext) > 0);
	assert_int_equal(X509_REQ_add_extensions(req, list), 1);
	assert_int_equal(X509_REQ_set_pubkey(req, key), 1);
	assert_true(X509_REQ_sign(req, signer == NULL ? key : signer, EVP_sha256()) > 0);
	r->der = NULL;
	r->len = i2d_X509_REQ(req, &r->der);
	r->good = good;
	assert_true(r->len > 0);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	EVP_PKEY_free(signer);
}

static bool sign(void *arg)
{
	const struct request *r = arg;
	struct issued issued;
	struct csr csr;
	int rc = csr_read(&csr, r->der, (size_t)r->len, NULL);

	if (rc == 0) {
		rc = csr_sign(&issued, ca, &csr, &web1, NULL);
		alloc_fail_stop();
		csr_clear(&csr);
	}
	alloc_fail_stop();
	if (!r->good) {
		assert_int_not_equal(rc, 0);
		return true;
	}
	if (rc != 0)
		return false;
	expect_web1(&issued);
	issue_free(&issued);
	return true;
}

static void a_good_request_gets_what_is_allowed(void **state)
{
	struct request r;

	(void)state;
	request_make(
	    &r, EVP_EC_gen("P-256"), NULL, "URI:" AGENT ",DNS:web1.example,IP:10.0.0.7", true);
	assert_true(each_fails(sign, &r) > 0);
	OPENSSL_free(r.der);
}

static void a_bad_request_gets_nothing(void **state)
{
	struct request r[5];

	(void)state;
	request_make(
	    &r[0], EVP_EC_gen("P-256"), NULL, "URI:" AGENT ",DNS:evil.example,IP:10.0.0.7", false);
	request_make(&r[1], EVP_EC_gen("P-256"), NULL, "URI:" AGENT "2", false);
	request_make(&r[2], EVP_EC_gen("P-256"), NULL, "URI:" AGENT ",URI:" AGENT, false);
	request_make(&r[3], EVP_EC_gen("P-256"), EVP_EC_gen("P-256"), "URI:" AGENT, false);
	request_make(&r[4], EVP_RSA_gen(1024), NULL, "URI:" AGENT, false);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(each_fails(sign, &r[i]), 0);
		OPENSSL_free(r[i].der);
	}
}

static bool make_request(void *arg)
{
	char *pem = NULL, *key = NULL;
	size_t pem_len = 0, key_len = 0;
	struct csr csr;
	int rc = csr_make(&pem, &pem_len, &key, &key_len, AGENT, hosts, 2, KEY_P256, NULL);

	(void)arg;
	alloc_fail_stop();
	if (rc != 0) {
		assert_null(pem);
		assert_null(key);
		return false;
	}
	assert_int_equal(csr_read(&csr, pem, pem_len, NULL), 0);
	assert_string_equal(csr.identity, AGENT);
	assert_int_equal(csr.n_sans, 2);
	csr_clear(&csr);
	tls_text_free(pem, pem_len);
	tls_text_free(key, key_len);
	return true;
}

static void a_request_is_made_whole(void **state)
{
	(void)state;
	assert_true(each_fails(make_request, NULL) > 0);
}

/* ---- the authority's folder ---- */

static bool load(void *arg)
{
	struct ca *loaded = NULL;
	int rc = ca_load(&loaded, arg, NULL);

	alloc_fail_stop();
	if (rc != 0) {
		assert_null(loaded);
		return false;
	}
	assert_string_equal(ca_chain(loaded, NULL), ca_chain(ca, NULL));
	assert_int_equal(EVP_PKEY_eq(ca_key(loaded), ca_key(ca)), 1);
	ca_free(loaded);
	return true;
}

static void an_authority_is_loaded_whole_or_not(void **state)
{
	assert_int_equal(ca_save(ca, *state, false, NULL), 0);
	assert_true(each_fails(load, *state) > 0);
}

/* Not each: the derivation of the key from the passphrase is slow on purpose. */
static void a_wrong_passphrase_opens_nothing(void **state)
{
	struct key_passphrase wrong = {key_passphrase_text, "battery staple"};
	struct ca *loaded = NULL;
	bool happened = true;

	assert_int_equal(ca_save_with(ca, *state, "correct horse", false, NULL), 0);
	for (long n = 1; happened; n += 251 * step()) {
		alloc_fail_at(n, false);
		assert_int_not_equal(ca_load_with(&loaded, *state, &wrong, NULL), 0);
		happened = alloc_fail_happened();
		alloc_fail_stop();
		assert_null(loaded);
	}
}

/* ---- the ledger ---- */

struct books {
	const char *dir;
	uint8_t token[LEDGER_HASH_SIZE];
	unsigned next;
};

static bool count(const struct ledger_certificate *c, void *arg)
{
	(void)c;
	(*(size_t *)arg)++;
	return true;
}

static size_t certificates(const char *dir)
{
	struct ledger *l = NULL;
	size_t n = 0;

	assert_int_equal(ledger_open(&l, dir, NULL), 0);
	assert_int_equal(ledger_each(l, count, &n, NULL), 0);
	ledger_close(l);
	return n;
}

static void new_token(struct books *b)
{
	struct ledger_token t = {
	    .kind = IDENTITY_AGENT, .name = "web1", .sans = "web1.example", .expires = 1000};
	struct ledger *l = NULL;

	b->next++;
	memset(b->token, 0, sizeof(b->token));
	memcpy(b->token, &b->next, sizeof(b->next));
	memcpy(t.hash, b->token, sizeof(t.hash));
	assert_int_equal(ledger_open(&l, b->dir, NULL), 0);
	assert_int_equal(ledger_add_token(l, &t, NULL), 0);
	ledger_close(l);
}

/* Opens, looks and redeems. */
static int use(struct books *b, uint8_t csr, int64_t now, enum ledger_use *what, char **pem)
{
	const uint8_t csr_hash[LEDGER_HASH_SIZE] = {csr};
	struct ledger_certificate c = {.not_after = INT64_MAX / 2};
	char *sans = NULL, *looked = NULL;
	struct ledger *l = NULL;
	struct ledger_token t;
	int rc = ledger_open(&l, b->dir, NULL);

	snprintf(c.serial, sizeof(c.serial), "%u-%u", b->next, csr);
	snprintf(c.identity, sizeof(c.identity), AGENT);
	if (rc == 0)
		rc = ledger_look_token(l, b->token, csr_hash, now, what, &t, &sans, &looked, NULL);
	if (rc == 0)
		rc = ledger_redeem(l, b->token, csr_hash, &c, "PEM", now, what, pem, NULL);
	free(sans);
	free(looked);
	ledger_close(l);
	return rc;
}

/* A use that was told as good is recorded; one that failed is not, and the token is as it was; a
 * second is refused however it goes. */
static bool redeem(void *arg)
{
	struct books *b = arg;
	enum ledger_use what = LEDGER_USE_UNKNOWN;
	char *pem = NULL;
	int rc = use(b, 1, 500, &what, &pem);

	alloc_fail_stop();
	assert_null(pem);
	if (rc != 0)
		return false;
	assert_int_equal(what, LEDGER_USE_NEW);
	assert_int_equal(use(b, 2, 500, &what, &pem), 0);
	assert_int_equal(what, LEDGER_USE_SPENT);
	assert_int_equal(use(b, 1, 500, &what, &pem), 0);
	assert_int_equal(what, LEDGER_USE_AGAIN);
	assert_string_equal(pem, "PEM");
	free(pem);
	return true;
}

static void a_token_is_spent_and_recorded_or_neither(void **state)
{
	struct books b = {.dir = *state};
	size_t recorded = 0;
	long failed = 0, n = 1;

	new_token(&b);
	assert_true(redeem(&b));
	recorded++;
	for (bool happened = true; happened; n += step()) {
		bool done;

		new_token(&b);
		alloc_fail_at(n, false);
		done = redeem(&b);
		happened = alloc_fail_happened();
		failed += !done;
		/* What failed can be done again, as if nothing had been. */
		if (!done) {
			assert_int_equal(certificates(*state), recorded);
			assert_true(redeem(&b));
		}
		recorded++;
		assert_int_equal(certificates(*state), recorded);
	}
	assert_true(failed > 0);
}

static bool refuse(void *arg)
{
	struct books *b = arg;
	enum ledger_use what = LEDGER_USE_EXPIRED;
	char *pem = NULL;

	/* Spent by another, and then over. */
	if (use(b, 2, 500, &what, &pem) == 0)
		assert_int_equal(what, LEDGER_USE_SPENT);
	assert_null(pem);
	return true;
}

static bool refuse_expired(void *arg)
{
	enum ledger_use what = LEDGER_USE_EXPIRED;
	char *pem = NULL;

	if (use(arg, 1, 5000, &what, &pem) == 0)
		assert_int_equal(what, LEDGER_USE_EXPIRED);
	assert_null(pem);
	return true;
}

static void a_token_that_is_no_good_stays_so(void **state)
{
	struct books b = {.dir = *state};

	new_token(&b);
	assert_int_equal(each_fails(refuse_expired, &b), 0);
	assert_true(redeem(&b));
	assert_int_equal(each_fails(refuse, &b), 0);
	assert_int_equal(certificates(*state), 1);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

static int make_ca(void **state)
{
	struct ca_options o = {.domain = "lab.example", .intermediate = true};

	(void)state;
	return ca_new(&ca, &o, NULL);
}

static int free_ca(void **state)
{
	(void)state;
	ca_free(ca);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_issued_is_whole),
	    cmocka_unit_test(a_good_request_gets_what_is_allowed),
	    cmocka_unit_test(a_bad_request_gets_nothing),
	    cmocka_unit_test(a_request_is_made_whole),
	    IN_FOLDER(an_authority_is_loaded_whole_or_not),
	    IN_FOLDER(a_wrong_passphrase_opens_nothing),
	    IN_FOLDER(a_token_is_spent_and_recorded_or_neither),
	    IN_FOLDER(a_token_that_is_no_good_stays_so),
	};

	if (!alloc_openssl() || !alloc_sqlite())
		return 99;
	return cmocka_run_group_tests_name("certs_no_memory", tests, make_ca, free_ca);
}
