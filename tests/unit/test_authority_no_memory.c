/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of telex-ca's decisions fails once, those of OpenSSL and SQLite too: who is to
 * be refused gets no certificate, whatever else is answered; who is not gets a whole one or may
 * come again; and a list knows what is revoked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/ca/authority.h"
#include "certs/crl.h"
#include "certs/csr.h"
#include "certs/pem.h"
#include "certs/proof.h"
#include "certs/record.h"
#include "certs/token.h"
#include "common/log.h"
#include "common/memfile.h"
#include "common/rpc_status.h"
#include "common/tls.h"
#include "common/tls_cert.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/alloc_libs.h"
#include "tests/support/folder.h"

#define AGENT "spiffe://lab.example/agent/web1"

/* One who asks: with a key, and a certificate of it. */
struct holder {
	char *csr, *key, *next_csr;
	size_t csr_len, key_len, next_len;
	EVP_PKEY *pkey;
	struct issued issued;
};

struct scene {
	struct authority au;
	uint8_t secret[TOKEN_SECRET_SIZE];
	struct holder good, revoked, foreign, unknown;
};

static struct scene *s;

/* Under valgrind (TELEX_TEST_SLOW) not each, but each of these many. */
static long step(void)
{
	return getenv("TELEX_TEST_SLOW") == NULL ? 1 : 53;
}

/* ---- the scene ---- */

static void make_csr(char **csr, size_t *len, char **key, size_t *key_len)
{
	static const char *const hosts[] = {"web1.example"};

	assert_int_equal(csr_make(csr, len, key, key_len, AGENT, hosts, 1, KEY_P256, NULL), 0);
}

static void hold(struct holder *h, const struct ca *ca)
{
	static const char *const hosts[] = {"web1.example"};
	const struct issue_request want = {
	    .kind = IDENTITY_AGENT, .name = "web1", .sans = hosts, .sans_len = 1, .ttl_s = 3600};
	char *other_key = NULL;
	size_t other_len = 0;

	make_csr(&h->csr, &h->csr_len, &h->key, &h->key_len);
	make_csr(&h->next_csr, &h->next_len, &other_key, &other_len);
	tls_text_free(other_key, other_len);
	assert_int_equal(key_from_pem(&h->pkey, h->key, h->key_len, "key", NULL), 0);
	assert_int_equal(issue_for_key(&h->issued, ca, &want, h->pkey, NULL), 0);
}

static void let_go(struct holder *h)
{
	tls_text_free(h->csr, h->csr_len);
	tls_text_free(h->key, h->key_len);
	tls_text_free(h->next_csr, h->next_len);
	EVP_PKEY_free(h->pkey);
	issue_free(&h->issued);
}

static void add_token(const char *sans, int64_t expires)
{
	struct ledger_token t = {.kind = IDENTITY_AGENT,
	    .name = "web1",
	    .sans = sans,
	    .ttl_s = 3600,
	    .expires = expires};

	s->secret[0]++;
	if (s->secret[0] == 0)
		s->secret[1]++;
	token_hash(s->secret, t.hash);
	assert_int_equal(ledger_add_token(s->au.ledger, &t, NULL), 0);
}

static int set_up(void **state)
{
	const struct ca_options o = {.domain = "lab.example"};
	struct ledger_revoked revoked;
	struct ca *other = NULL;
	void *folder;

	s = calloc(1, sizeof(*s));
	assert_non_null(s);
	if (folder_make(&folder) != 0)
		return -1;
	*state = folder;
	assert_int_equal(ca_new(&s->au.ca, &o, NULL), 0);
	assert_int_equal(ca_new(&other, &o, NULL), 0);
	assert_int_equal(ledger_open(&s->au.ledger, folder, NULL), 0);
	hold(&s->revoked, s->au.ca);
	assert_int_equal(record_issued(folder, &s->revoked.issued, NULL), 0);
	assert_int_equal(
	    ledger_revoke(s->au.ledger, "lab.example", s->revoked.issued.serial, 0, &revoked, NULL),
	    0);
	hold(&s->good, s->au.ca);
	assert_int_equal(record_issued(folder, &s->good.issued, NULL), 0);
	hold(&s->foreign, other);
	hold(&s->unknown, s->au.ca);
	ca_free(other);
	return 0;
}

static int tear_down(void **state)
{
	let_go(&s->good);
	let_go(&s->revoked);
	let_go(&s->foreign);
	let_go(&s->unknown);
	ledger_close(s->au.ledger);
	ca_free(s->au.ca);
	free(s->au.list);
	free(s);
	return folder_remove(state);
}

/* ---- what is asked ---- */

/* Whether a certificate came; then it is whole, and of nobody else. */
static bool was_given(const struct answer *a)
{
	const char *pem = a->message.certificate_chain;
	struct identity id;
	char hosts[100];
	X509 *x = NULL;

	if (pem[0] == '\0') {
		assert_true(a->message.code != RPC_OK && a->message.reason[0] != '\0');
		return false;
	}
	assert_int_equal(a->message.code, RPC_OK);
	assert_int_equal(pem_to_certificate(&x, pem, strlen(pem), "it", NULL), 0);
	assert_int_equal(tls_cert_check_leaf(x, true, &id, "it", NULL, NULL), 0);
	assert_string_equal(id.name, "web1");
	tls_cert_hosts(x, hosts, sizeof(hosts));
	assert_string_equal(hosts, "web1.example");
	X509_free(x);
	return true;
}

static bool ask(Telex__Internal__V1__CaRequest *q)
{
	struct answer a;
	bool given;

	q->id = 1;
	q->peer = (char[]){"192.0.2.1:5"};
	answer_init(&a);
	authority_answer(&s->au, q, &a);
	alloc_fail_stop();
	given = was_given(&a);
	answer_clear(&a);
	ERR_clear_error();
	return given;
}

static bool enroll(const char *csr, size_t len)
{
	Telex__Internal__V1__CaRequest q = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__EnrollRequest m = TELEX__V1__ENROLL_REQUEST__INIT;

	m.secret = (ProtobufCBinaryData){sizeof(s->secret), s->secret};
	m.csr = (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)csr};
	q.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_ENROLL;
	q.enroll = &m;
	return ask(&q);
}

/* The nth allocation fails from the question on; 0: none. */
static bool renew(const struct holder *h, EVP_PKEY *signer, long n)
{
	Telex__Internal__V1__CaRequest q = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__RenewRequest m = TELEX__V1__RENEW_REQUEST__INIT;
	bool given;

	m.certificate_chain = h->issued.certificate;
	m.csr = (ProtobufCBinaryData){h->next_len, (uint8_t *)h->next_csr};
	assert_int_equal(
	    proof_make(signer, m.csr.data, m.csr.len, &m.signature.data, &m.signature.len, NULL),
	    0);
	q.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_RENEW;
	q.renew = &m;
	if (n > 0)
		alloc_fail_at(n, false);
	given = ask(&q);
	free(m.signature.data);
	return given;
}

/* ---- the tests ---- */

static void a_token_gets_its_one_certificate_in_the_end(void **state)
{
	long failed = 0, n;
	bool happened = true;

	(void)state;
	for (n = 1; happened; n += step()) {
		bool given;

		add_token("web1.example", (int64_t)time(NULL) + 600);
		alloc_fail_at(n, false);
		given = enroll(s->good.csr, s->good.csr_len);
		happened = alloc_fail_happened();
		failed += !given;
		/* The same request again gets it; another one does not. */
		assert_true(enroll(s->good.csr, s->good.csr_len));
		assert_false(enroll(s->unknown.csr, s->unknown.csr_len));
	}
	assert_true(failed > 10);
}

static void a_token_for_other_names_or_of_before_gets_nothing(void **state)
{
	bool happened = true;

	(void)state;
	for (long n = 1; happened; n += step()) {
		add_token("web2.example", (int64_t)time(NULL) + 600);
		alloc_fail_at(n, false);
		assert_false(enroll(s->good.csr, s->good.csr_len));
		happened = alloc_fail_happened();
	}
	add_token("web1.example", (int64_t)time(NULL) - 600);
	happened = true;
	for (long n = 1; happened; n += step()) {
		alloc_fail_at(n, false);
		assert_false(enroll(s->good.csr, s->good.csr_len));
		happened = alloc_fail_happened();
	}
}

static void who_may_renew_does_so_in_the_end(void **state)
{
	long failed = 0;
	bool happened = true;

	(void)state;
	assert_true(renew(&s->good, s->good.pkey, 0));
	for (long n = 1; happened; n += step()) {
		failed += !renew(&s->good, s->good.pkey, n);
		happened = alloc_fail_happened();
		assert_true(renew(&s->good, s->good.pkey, 0));
	}
	assert_true(failed > 10);
}

static void who_may_not_renew_gets_nothing(void **state)
{
	const struct {
		const struct holder *of;
		EVP_PKEY *signer;
	} cases[] = {
	    {&s->good, s->unknown.pkey}, /* has not its key */
	    {&s->revoked, s->revoked.pkey},
	    {&s->foreign, s->foreign.pkey}, /* of another authority of that name */
	    {&s->unknown, s->unknown.pkey}, /* is in no ledger */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool happened = true;

		for (long n = 1; happened; n += step()) {
			assert_false(renew(cases[i].of, cases[i].signer, n));
			happened = alloc_fail_happened();
		}
	}
}

/* A list that is handed out has whom it must have. */
static void a_list_that_is_given_is_whole(void **state)
{
	Telex__V1__GetRevocationsRequest m = TELEX__V1__GET_REVOCATIONS_REQUEST__INIT;
	long failed = 0;
	bool happened = true;

	(void)state;
	for (long n = 1; happened; n += step()) {
		const char *ca = ca_certificate(s->au.ca, NULL);
		struct crl *list = NULL;
		uint8_t *pem = NULL;
		struct answer a;
		size_t len;

		free(s->au.list);
		s->au.list = NULL;
		answer_init(&a);
		alloc_fail_at(n, false);
		authority_revocations(&s->au, &m, &a);
		happened = alloc_fail_happened();
		alloc_fail_stop();
		ERR_clear_error();
		failed += !a.message.list;
		assert_int_equal(a.message.list, a.message.code == RPC_OK);
		if (a.message.list) {
			assert_int_equal(memfile_load(a.list_fd, 1 << 20, &pem, &len, NULL), 0);
			assert_int_equal(
			    crl_read(&list, (char *)pem, len, ca, strlen(ca), NULL), 0);
			assert_true(crl_revoked(list, s->revoked.issued.serial));
			assert_false(crl_revoked(list, s->good.issued.serial));
			crl_free(list);
			free(pem);
		}
		answer_clear(&a);
	}
	assert_true(failed > 10);
}

#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_SCENE(a_token_gets_its_one_certificate_in_the_end),
	    IN_SCENE(a_token_for_other_names_or_of_before_gets_nothing),
	    IN_SCENE(who_may_renew_does_so_in_the_end),
	    IN_SCENE(who_may_not_renew_gets_nothing),
	    IN_SCENE(a_list_that_is_given_is_whole),
	};

	if (!alloc_openssl() || !alloc_sqlite())
		return 99;
	/* Each refusal would be a line. */
	log_open("test", LOG_LEVEL_ERROR, false, open("/dev/null", O_WRONLY | O_CLOEXEC));
	return cmocka_run_group_tests_name("authority_no_memory", tests, NULL, NULL);
}
