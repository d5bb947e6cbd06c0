/* SPDX-License-Identifier: Apache-2.0 */
/* What telex-ca does with its authority, without its links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/ca/authority.h"
#include "agent/ca/sandbox.h"
#include "agent/worker/sandbox.h"
#include "certs/ca.h"
#include "certs/certfile.h"
#include "certs/crl.h"
#include "certs/csr.h"
#include "certs/issue.h"
#include "certs/ledger.h"
#include "certs/proof.h"
#include "certs/record.h"
#include "certs/token.h"
#include "common/rpc_status.h"
#include "common/tls.h"
#include "tests/support/folder.h"

#define DOMAIN "lab.example"
#define ALICE  "spiffe://" DOMAIN "/user/alice"
#define MANY   200 /* more than a kilobyte of anything */

static void must(int rc, const struct err *e)
{
	if (rc != 0)
		fail_msg("%s", e->message);
}

static void open_authority(struct authority *au, const char *dir)
{
	const struct ca_options o = {.domain = DOMAIN};
	struct err e;

	*au = (struct authority){.ca = NULL};
	must(ca_new(&au->ca, &o, &e), &e);
	must(ca_save(au->ca, dir, false, &e), &e);
	must(ledger_open(&au->ledger, dir, &e), &e);
}

static void close_authority(struct authority *au)
{
	ledger_close(au->ledger);
	ca_free(au->ca);
	free(au->list);
}

/* ---- lists ---- */

static void revoke_many(struct ledger *l)
{
	struct ledger_certificate c = {.issued = (int64_t)time(NULL)};
	struct err e;

	c.not_before = c.issued;
	c.not_after = c.issued + 86400;
	c.revoked = c.issued;
	snprintf(c.identity, sizeof(c.identity), "%s", ALICE);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(c.serial, sizeof(c.serial), "%08X", (i * 7919) % 100003 + 1);
		must(ledger_add(l, &c, "PEM", &e), &e);
	}
}

/* Nothing of libc's may have been sorted before: it asks once. */
static int in_child(int (*act)(const char *dir), const char *dir)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(act(dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int make_list_locked_in(const char *dir)
{
	Telex__V1__GetRevocationsRequest ask = TELEX__V1__GET_REVOCATIONS_REQUEST__INIT;
	struct confine_report r = {0};
	struct authority au = {.ca = NULL};
	struct answer a;
	struct err e;

	answer_init(&a);
	if (chdir(dir) != 0 || ca_load(&au.ca, ".", &e) != 0 ||
	    ledger_open(&au.ledger, ".", &e) != 0 || ca_sandbox_enter(&r, &e) != 0 ||
	    ca_sandbox_close(&r, &e) != 0)
		return 2;
	authority_revocations(&au, &ask, &a);
	return a.message.list && a.list_fd >= 0 ? 0 : 1;
}

/* valgrind's own system calls would be refused. */
static void not_under_valgrind(void)
{
	if (getenv("TELEX_TEST_SLOW") == NULL)
		return;
	print_message("valgrind cannot be locked in\n");
	skip();
}

static void telex_ca_makes_long_lists(void **state)
{
	struct authority au;
	int status;

	not_under_valgrind();
	open_authority(&au, *state);
	revoke_many(au.ledger);
	status = in_child(make_list_locked_in, *state);
	if (WIFSIGNALED(status))
		fail_msg("it died of signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close_authority(&au);
}

/* In a process of its own: it sorts. */
static int write_list(const char *dir)
{
	struct ledger *l = NULL;
	struct ca *ca = NULL;
	char *text = NULL;
	size_t len = 0;
	struct err e;

	if (chdir(dir) != 0 || ca_load(&ca, ".", &e) != 0 || ledger_open(&l, ".", &e) != 0 ||
	    crl_make(&text, &len, ca, l, 3600, &e) != 0 ||
	    certfile_write("list.pem", text, len, CERTFILE_CERTIFICATE, false, &e) != 0)
		return 1;
	return 0;
}

static int read_list_locked_in(const char *dir)
{
	struct confine_report r = {0};
	char *list = NULL, *ca = NULL;
	size_t list_len, ca_len;
	struct crl *c = NULL;
	struct err e;

	if (chdir(dir) != 0 || tls_read_file("list.pem", &list, &list_len, &e) != 0 ||
	    tls_read_file(CA_CERTIFICATE_FILE, &ca, &ca_len, &e) != 0 ||
	    confine_give_up(&r, &e) != 0 ||
	    confine_calls(&r, "telex-worker", sandbox_calls, &e) != 0)
		return 2;
	if (crl_read(&c, list, list_len, ca, ca_len, &e) != 0)
		return 1;
	return crl_count(c) == MANY && crl_revoked(c, "00000001") && !crl_revoked(c, "FFFFFF") ? 0
	                                                                                       : 3;
}

static void a_worker_reads_long_lists(void **state)
{
	struct authority au;
	int status;

	not_under_valgrind();
	open_authority(&au, *state);
	revoke_many(au.ledger);
	assert_int_equal(in_child(write_list, *state), 0);
	status = in_child(read_list_locked_in, *state);
	if (WIFSIGNALED(status))
		fail_msg("it died of signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close_authority(&au);
}

/* ---- revoked in the middle ---- */

/* What another program does to the ledger at the moment when telex-ca begins to write. */
static const char *meanwhile_dir, *meanwhile_what;
static struct ledger_revoked meanwhile;

static int on_statement(unsigned type, void *arg, void *statement, void *text)
{
	struct ledger *l = NULL;
	struct err e;

	(void)type;
	(void)arg;
	(void)statement;
	if (meanwhile_what == NULL || strcmp(text, "BEGIN IMMEDIATE") != 0)
		return 0;
	must(ledger_open(&l, meanwhile_dir, &e), &e);
	must(ledger_revoke(l, DOMAIN, meanwhile_what, 0, &meanwhile, &e), &e);
	meanwhile_what = NULL;
	ledger_close(l);
	return 0;
}

static int watch(sqlite3 *db, const char **message, const struct sqlite3_api_routines *api)
{
	(void)message;
	(void)api;
	return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_statement, NULL);
}

static void open_watched(struct authority *au, const char *dir)
{
	typedef void (*entry)(void);

	assert_int_equal(sqlite3_auto_extension((entry)watch), SQLITE_OK);
	open_authority(au, dir);
	sqlite3_reset_auto_extension();
	meanwhile_dir = dir;
	meanwhile = (struct ledger_revoked){.tokens = 0};
}

static size_t to_der(const char *pem, unsigned char **der)
{
	BIO *in = BIO_new_mem_buf(pem, -1);
	X509_REQ *req = PEM_read_bio_X509_REQ(in, NULL, NULL, NULL);
	int len;

	assert_non_null(req);
	len = i2d_X509_REQ(req, der);
	assert_true(len > 0);
	X509_REQ_free(req);
	BIO_free(in);
	return (size_t)len;
}

static size_t request_for(const char *identity, unsigned char **der)
{
	char *pem = NULL, *key = NULL;
	size_t pem_len, key_len, len;
	struct err e;

	must(csr_make(&pem, &pem_len, &key, &key_len, identity, NULL, 0, KEY_P256, &e), &e);
	len = to_der(pem, der);
	tls_text_free(pem, pem_len);
	tls_text_free(key, key_len);
	return len;
}

static void issue(struct authority *au, const char *dir, struct issued *out)
{
	const struct issue_request want = {.kind = IDENTITY_USER, .name = "alice"};
	struct err e;

	*out = (struct issued){.key = NULL};
	must(issue_certificate(out, au->ca, &want, &e), &e);
	must(record_issued(dir, out, &e), &e);
}

static void renew(struct authority *au, const struct issued *old, struct answer *a)
{
	Telex__V1__RenewRequest ask = TELEX__V1__RENEW_REQUEST__INIT;
	BIO *in = BIO_new_mem_buf(old->key, -1);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	struct err e;

	ask.certificate_chain = old->certificate;
	ask.csr.len = request_for(ALICE, &ask.csr.data);
	must(
	    proof_make(key, ask.csr.data, ask.csr.len, &ask.signature.data, &ask.signature.len, &e),
	    &e);
	answer_init(a);
	authority_renew(au, &ask, a);
	free(ask.signature.data);
	OPENSSL_free(ask.csr.data);
	EVP_PKEY_free(key);
	BIO_free(in);
}

static bool good(const struct ledger_certificate *c, void *arg)
{
	*(size_t *)arg += c->revoked == 0;
	return true;
}

static size_t good_ones(struct authority *au)
{
	size_t n = 0;
	struct err e;

	must(ledger_each(au->ledger, good, &n, &e), &e);
	return n;
}

static void a_renewal_does_not_outrun_a_revocation(void **state)
{
	struct authority au;
	struct issued old;
	struct answer a;

	open_watched(&au, *state);
	issue(&au, *state, &old);
	renew(&au, &old, &a);
	assert_int_equal(a.message.code, RPC_OK);
	assert_int_equal(good_ones(&au), 2);
	answer_clear(&a);
	meanwhile_what = ALICE;
	renew(&au, &old, &a);
	assert_int_equal(meanwhile.certificates, 2);
	assert_int_equal(a.message.code, RPC_PERMISSION_DENIED);
	assert_string_equal(a.message.reason, "REVOKED");
	assert_int_equal(good_ones(&au), 0);
	answer_clear(&a);
	issue_free(&old);
	close_authority(&au);
}

static void who_renews_again_and_again_is_told_when_to_come_back(void **state)
{
	struct authority au;
	struct issued old;
	struct answer a;

	open_authority(&au, *state);
	issue(&au, *state, &old);
	for (int i = 1; i < LEDGER_LIVE_MAX; i++) {
		renew(&au, &old, &a);
		assert_int_equal(a.message.code, RPC_OK);
		answer_clear(&a);
	}
	renew(&au, &old, &a);
	assert_int_equal(a.message.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(a.message.reason, "TOO_EARLY");
	assert_non_null(strstr(a.message.message, "come back after 20"));
	assert_int_equal(good_ones(&au), LEDGER_LIVE_MAX);
	answer_clear(&a);
	issue_free(&old);
	close_authority(&au);
}

static void enroll_as(
    struct authority *au, const struct token *t, const char *identity, struct answer *a)
{
	Telex__V1__EnrollRequest ask = TELEX__V1__ENROLL_REQUEST__INIT;
	uint8_t secret[TOKEN_SECRET_SIZE];

	memcpy(secret, t->secret, sizeof(secret));
	ask.secret = (ProtobufCBinaryData){sizeof(secret), secret};
	ask.csr.len = request_for(identity, &ask.csr.data);
	answer_init(a);
	authority_enroll(au, &ask, a);
	OPENSSL_free(ask.csr.data);
}

static void enroll(struct authority *au, const struct token *t, struct answer *a)
{
	enroll_as(au, t, ALICE, a);
}

static void new_token(struct authority *au, struct token *t, char id[LEDGER_TOKEN_ID_SIZE])
{
	struct ledger_token row = {.kind = IDENTITY_USER, .name = "alice", .ttl_s = 3600};
	char *text = NULL;
	struct err e;

	*t = (struct token){.kind = IDENTITY_USER,
	    .domain = DOMAIN,
	    .name = "alice",
	    .address = "localhost:1",
	    .expires = (int64_t)time(NULL) + 900};
	must(token_make(t, &text, &e), &e);
	token_hash(t->secret, row.hash);
	row.expires = t->expires;
	must(ledger_add_token(au->ledger, &row, &e), &e);
	ledger_token_id(id, row.hash);
	token_text_free(text);
}

static void a_request_for_other_names_leaves_the_token_good(void **state)
{
	char id[LEDGER_TOKEN_ID_SIZE];
	struct authority au;
	struct answer a;
	struct token t;

	open_authority(&au, *state);
	new_token(&au, &t, id);
	enroll_as(&au, &t, "spiffe://" DOMAIN "/user/mallory", &a);
	assert_int_equal(a.message.code, RPC_PERMISSION_DENIED);
	assert_string_equal(a.message.reason, "OTHER_NAMES");
	assert_int_equal(good_ones(&au), 0);
	answer_clear(&a);
	enroll(&au, &t, &a);
	assert_int_equal(a.message.code, RPC_OK);
	assert_string_equal(a.identity, ALICE);
	assert_int_equal(good_ones(&au), 1);
	answer_clear(&a);
	/* Now it is spent. */
	enroll(&au, &t, &a);
	assert_string_equal(a.message.reason, "TOKEN_REFUSED");
	answer_clear(&a);
	close_authority(&au);
}

static void a_revoked_identity_has_no_tokens_left(void **state)
{
	char id[LEDGER_TOKEN_ID_SIZE];
	struct authority au;
	struct answer a;
	struct token t;

	open_watched(&au, *state);
	new_token(&au, &t, id);
	enroll(&au, &t, &a);
	assert_int_equal(a.message.code, RPC_OK);
	answer_clear(&a);
	new_token(&au, &t, id);
	meanwhile_what = ALICE;
	enroll(&au, &t, &a);
	assert_int_equal(meanwhile.tokens, 1);
	assert_int_equal(meanwhile.certificates, 1);
	assert_int_equal(a.message.code, RPC_PERMISSION_DENIED);
	assert_string_equal(a.message.reason, "TOKEN_REFUSED");
	assert_non_null(strstr(a.why, "withdrawn"));
	assert_int_equal(good_ones(&au), 0);
	answer_clear(&a);
	close_authority(&au);
}

int main(void)
{
	/* The lists first: what is said of in_child. */
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(telex_ca_makes_long_lists, folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(a_worker_reads_long_lists, folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_renewal_does_not_outrun_a_revocation, folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_revoked_identity_has_no_tokens_left, folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        a_request_for_other_names_leaves_the_token_good, folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(
	        who_renews_again_and_again_is_told_when_to_come_back, folder_make, folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
