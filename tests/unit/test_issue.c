/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "certs/ca.h"
#include "certs/issue.h"
#include "certs/pem.h"
#include "common/tls_cert.h"
#include "tests/support/pki.h"
#include "tests/support/tls_pair.h"

#define HOUR INT64_C(3600)

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

static X509 *issue(const struct ca *ca, const struct issue_request *request, struct issued *out)
{
	X509 *x = NULL;
	struct err e;

	if (issue_certificate(out, ca, request, &e) != 0)
		fail_msg("%s", e.message);
	assert_int_equal(
	    pem_to_certificate(&x, out->certificate, out->certificate_len, "issued", NULL), 0);
	return x;
}

static void an_agent_is_a_server_with_hosts_and_one_identity(void **state)
{
	static const char *const sans[] = {"web1.example", "*.web.example", "10.0.0.7", "fe80::7"};
	struct issue_request request = {
	    .kind = IDENTITY_AGENT, .name = "web1", .sans = sans, .sans_len = 4};
	struct issued issued;
	X509 *x = issue(*state, &request, &issued);
	struct identity id;
	char hosts[200];

	assert_int_equal(tls_cert_check_leaf(x, true, &id, "it", NULL, NULL), 0);
	assert_string_equal(id.name, "web1");
	assert_string_equal(id.domain, "lab.example");
	assert_string_equal(issued.identity, "spiffe://lab.example/agent/web1");
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
	assert_int_equal(X509_get_key_usage(x), KU_DIGITAL_SIGNATURE);
	tls_cert_hosts(x, hosts, sizeof(hosts));
	assert_string_equal(hosts, "web1.example, *.web.example, 10.0.0.7, fe80::7");
	assert_int_equal(X509_verify(x, ca_key(*state)), 1);
	assert_non_null(X509_get0_subject_key_id(x));
	assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(x),
	                     X509_get0_subject_key_id(ca_x509(*state))),
	    0);
	X509_free(x);
	issue_free(&issued);
}

static void a_user_is_a_client_without_hosts(void **state)
{
	struct issue_request request = {.kind = IDENTITY_USER, .name = "alice"};
	struct issued issued;
	X509 *x = issue(*state, &request, &issued);
	struct identity id;
	char hosts[64];

	assert_int_equal(tls_cert_check_leaf(x, false, &id, "it", NULL, NULL), 0);
	assert_int_equal(id.kind, IDENTITY_USER);
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_CLIENT);
	tls_cert_hosts(x, hosts, sizeof(hosts));
	assert_string_equal(hosts, "");
	X509_free(x);
	issue_free(&issued);
}

static void an_agent_without_sans_is_its_own_name(void **state)
{
	struct issue_request request = {.kind = IDENTITY_AGENT, .name = "web1.example"};
	struct issued issued;
	X509 *x = issue(*state, &request, &issued);
	char hosts[64];
	struct err e;

	tls_cert_hosts(x, hosts, sizeof(hosts));
	assert_string_equal(hosts, "web1.example");
	X509_free(x);
	issue_free(&issued);
	request.name = "-web-";
	assert_int_equal(issue_certificate(&issued, *state, &request, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, "give it with --san"));
}

static void expect_span(const struct ca *ca, const struct issue_request *request, int64_t span)
{
	int64_t now = (int64_t)time(NULL);
	struct issued issued;
	X509 *x = issue(ca, request, &issued);

	assert_in_range(issued.not_after, now + span - 60, now + span + 60);
	assert_int_equal(tls_time_epoch(X509_get0_notAfter(x)), issued.not_after);
	assert_int_equal(tls_time_epoch(X509_get0_notBefore(x)), issued.not_before);
	/* A few minutes back, for clocks that are behind. */
	assert_in_range(issued.not_before, now - 600, now - 60);
	assert_false(issued.shortened);
	X509_free(x);
	issue_free(&issued);
}

static void they_last_as_long_as_asked_or_by_default(void **state)
{
	expect_span(
	    *state, &(struct issue_request){.kind = IDENTITY_AGENT, .name = "a"}, 7 * 24 * HOUR);
	expect_span(*state, &(struct issue_request){.kind = IDENTITY_USER, .name = "u"}, 24 * HOUR);
	expect_span(*state,
	    &(struct issue_request){.kind = IDENTITY_USER, .name = "u", .ttl_s = HOUR}, HOUR);
}

static void none_outlives_its_authority(void **state)
{
	struct issue_request request = {.kind = IDENTITY_USER, .name = "u", .ttl_s = 48 * HOUR};
	struct issued issued;
	struct ca *ca = NULL;

	(void)state;
	assert_int_equal(ca_new(&ca, &(struct ca_options){.days = 1}, NULL), 0);
	assert_int_equal(issue_certificate(&issued, ca, &request, NULL), 0);
	assert_true(issued.shortened);
	assert_int_equal(issued.not_after, ca_expires(ca));
	issue_free(&issued);
	request.ttl_s = INT64_MAX;
	assert_int_equal(issue_certificate(&issued, ca, &request, NULL), 0);
	assert_true(issued.shortened);
	assert_int_equal(issued.not_after, ca_expires(ca));
	issue_free(&issued);
	ca_free(ca);
}

static void an_authority_that_is_over_issues_nothing(void **state)
{
	struct issue_request request = {.kind = IDENTITY_USER, .name = "u"};
	struct issued issued;
	struct ca *ca = NULL;
	struct err e;

	(void)state;
	assert_int_equal(ca_new(&ca, &(struct ca_options){.name = "Old", .days = 1}, NULL), 0);
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(ca_x509(ca)), -60));
	assert_int_equal(issue_certificate(&issued, ca, &request, &e), TX_ECERT);
	assert_non_null(strstr(e.message, "the authority \"Old\" expired on 20"));
	ca_free(ca);
}

static void each_has_its_own_serial_and_key(void **state)
{
	struct issue_request request = {.kind = IDENTITY_USER, .name = "u"};
	struct issued one, two;

	assert_int_equal(issue_certificate(&one, *state, &request, NULL), 0);
	assert_int_equal(issue_certificate(&two, *state, &request, NULL), 0);
	assert_string_not_equal(one.serial, two.serial);
	assert_true(strlen(one.serial) >= 24);
	assert_string_not_equal(one.key, two.key);
	issue_free(&one);
	issue_free(&two);
}

static void bad_requests_are_refused(void **state)
{
	static const char *const bad_hosts[] = {"", ".", "a..b", "-a.example", "a-.example",
	    "a b.example", "http://a", "a.example:8359", "*", "*.example", "a.*.example", "w*.a.b",
	    "10.0.0.256", "::g", "1.2.3", "\x1b[31m", "a.example/x",
	    "label-of-sixty-four-characters-0123456789-0123456789-0123456789-x.a"};
	static const char *const host[] = {"a.example"};
	struct issue_request request = {.kind = IDENTITY_AGENT, .name = "a", .sans_len = 1};
	struct issued issued;
	struct err e;

	for (size_t i = 0; i < sizeof(bad_hosts) / sizeof(bad_hosts[0]); i++) {
		request.sans = &bad_hosts[i];
		if (issue_certificate(&issued, *state, &request, &e) != TX_EINVAL)
			fail_msg("\"%s\" was taken", bad_hosts[i]);
		assert_null(strchr(e.message, '\x1b'));
	}
	request =
	    (struct issue_request){.kind = IDENTITY_USER, .name = "u", .sans = host, .sans_len = 1};
	assert_int_equal(issue_certificate(&issued, *state, &request, &e), TX_EINVAL);
	assert_non_null(strstr(e.message, "names no host"));
	request = (struct issue_request){.kind = IDENTITY_USER, .name = "u", .ttl_s = 59};
	assert_int_equal(issue_certificate(&issued, *state, &request, &e), TX_EINVAL);
	request = (struct issue_request){.kind = IDENTITY_USER, .name = "u", .ttl_s = -HOUR};
	assert_int_equal(issue_certificate(&issued, *state, &request, &e), TX_EINVAL);
	request = (struct issue_request){.kind = IDENTITY_USER, .name = "a/b"};
	assert_int_equal(issue_certificate(&issued, *state, &request, &e), TX_EINVAL);
	request = (struct issue_request){.kind = (enum identity_kind)9, .name = "a"};
	assert_int_equal(issue_certificate(&issued, *state, &request, &e), TX_EINVAL);
}

static void too_many_hosts_are_refused(void **state)
{
	const char *sans[ISSUE_SANS_MAX + 1];
	struct issue_request request = {
	    .kind = IDENTITY_AGENT, .name = "a", .sans = sans, .sans_len = ISSUE_SANS_MAX};
	struct issued issued;

	for (size_t i = 0; i <= ISSUE_SANS_MAX; i++)
		sans[i] = "a.example";
	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), 0);
	issue_free(&issued);
	request.sans_len++;
	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), TX_EINVAL);
}

static struct tls_material material(const struct issued *issued, const struct ca *ca)
{
	struct tls_material m = {
	    .certificate = issued->certificate,
	    .certificate_len = issued->certificate_len,
	    .key = issued->key,
	    .key_len = issued->key_len,
	};

	m.ca = ca_certificate(ca, &m.ca_len);
	return m;
}

/* The two sides trust the root alone. */
static void talk(const struct ca *ca, enum key_type type)
{
	static const char *const host[] = {"localhost"};
	struct issue_request agent = {
	    .kind = IDENTITY_AGENT, .name = "web1", .sans = host, .sans_len = 1, .key_type = type};
	struct issue_request user = {.kind = IDENTITY_USER, .name = "alice", .key_type = type};
	struct tls_ctx *server = NULL, *client = NULL;
	struct issued a, u;
	struct tls_material m;
	struct tls_pair pair;

	assert_int_equal(issue_certificate(&a, ca, &agent, NULL), 0);
	assert_int_equal(issue_certificate(&u, ca, &user, NULL), 0);
	m = material(&a, ca);
	assert_int_equal(tls_server_ctx_new(&server, &m, NULL), 0);
	m = material(&u, ca);
	assert_int_equal(tls_client_ctx_new(&client, &m, NULL), 0);
	tls_pair_handshake(&pair, server, client, NULL);
	assert_string_equal(pair.client.e.message, "");
	assert_string_equal(pair.client.identity, "spiffe://lab.example/agent/web1");
	assert_string_equal(pair.server.identity, "spiffe://lab.example/user/alice");
	tls_pair_free(&pair);
	tls_ctx_free(server);
	tls_ctx_free(client);
	issue_free(&a);
	issue_free(&u);
}

static void what_is_issued_is_taken_by_both_sides_with_any_key(void **state)
{
	for (int type = KEY_P256; type <= KEY_RSA; type++)
		talk(*state, (enum key_type)type);
}

static void behind_an_intermediate_the_root_alone_is_trusted(void **state)
{
	for (int type = KEY_P256; type <= KEY_RSA; type++) {
		struct ca_options o = {
		    .domain = "lab.example", .intermediate = true, .key_type = (enum key_type)type};
		struct ca *ca = NULL;

		(void)state;
		assert_int_equal(ca_new(&ca, &o, NULL), 0);
		talk(ca, (enum key_type)type);
		ca_free(ca);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_agent_is_a_server_with_hosts_and_one_identity),
	    cmocka_unit_test(a_user_is_a_client_without_hosts),
	    cmocka_unit_test(an_agent_without_sans_is_its_own_name),
	    cmocka_unit_test(they_last_as_long_as_asked_or_by_default),
	    cmocka_unit_test(none_outlives_its_authority),
	    cmocka_unit_test(an_authority_that_is_over_issues_nothing),
	    cmocka_unit_test(each_has_its_own_serial_and_key),
	    cmocka_unit_test(bad_requests_are_refused),
	    cmocka_unit_test(too_many_hosts_are_refused),
	    cmocka_unit_test(what_is_issued_is_taken_by_both_sides_with_any_key),
	    cmocka_unit_test(behind_an_intermediate_the_root_alone_is_trusted),
	};

	return cmocka_run_group_tests_name("issue", tests, make_ca, free_ca);
}
