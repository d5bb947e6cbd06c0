/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/certshow.h"
#include "certs/issue.h"
#include "tests/support/pki.h"

static int make_ca(void **state)
{
	struct ca *ca = NULL;
	int rc = ca_new(&ca, &(struct ca_options){.name = "lab CA"}, NULL);

	*state = ca;
	return rc;
}

static int free_ca(void **state)
{
	ca_free(*state);
	return 0;
}

static void expect_words(const struct certshow *s, int64_t now, const char *const *words, size_t n)
{
	char *text = certshow_words(s, now);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++) {
		if (strstr(text, words[i]) == NULL)
			fail_msg("lacks \"%s\": %s", words[i], text);
	}
	free(text);
}

static void an_agent_s_certificate_is_put_in_words(void **state)
{
	static const char *const sans[] = {"web1.example", "10.0.0.7"};
	static const char *const words[] = {"agent (server): spiffe://telex.internal/agent/web1\n",
	    "  hosts      web1.example, 10.0.0.7\n", "  issued by  lab CA\n", "P-256",
	    "expires in 7 days, on "};
	struct issue_request request = {
	    .kind = IDENTITY_AGENT, .name = "web1", .sans = sans, .sans_len = 2};
	struct issued issued;
	struct certshow *s = NULL;
	size_t n = 0;

	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), 0);
	assert_int_equal(
	    certshow_read(&s, &n, issued.certificate, issued.certificate_len, "f", NULL), 0);
	assert_int_equal(n, 1);
	assert_true(s->server);
	assert_false(s->client || s->authority);
	assert_string_equal(s->flaw, "");
	assert_string_equal(s->serial, issued.serial);
	assert_int_equal(strlen(s->fingerprint), 64);
	assert_int_equal(s->hosts_len, 2);
	assert_string_equal(s->hosts[1], "10.0.0.7");
	expect_words(s, s->not_after - INT64_C(7) * 86400, words, 5);
	certshow_free(s, n);
	issue_free(&issued);
}

static void states_follow_the_clock(void **state)
{
	static const char *const gone[] = {"EXPIRED", "(3 hours ago)"};
	static const char *const early[] = {"NOT YET", "(in 1 minute)"};
	static const char *const last[] = {"expires in 59 seconds, on "};
	struct issue_request request = {.kind = IDENTITY_USER, .name = "u"};
	struct issued issued;
	struct certshow *s = NULL;
	size_t n = 0;

	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), 0);
	assert_int_equal(
	    certshow_read(&s, &n, issued.certificate, issued.certificate_len, "f", NULL), 0);
	assert_int_equal(certshow_state(s, s->not_before - 1), CERTSHOW_NOT_YET);
	assert_int_equal(certshow_state(s, s->not_before), CERTSHOW_VALID);
	assert_int_equal(certshow_state(s, s->not_after), CERTSHOW_VALID);
	assert_int_equal(certshow_state(s, s->not_after + 1), CERTSHOW_EXPIRED);
	expect_words(s, s->not_after + INT64_C(3) * 3600 + 10, gone, 2);
	expect_words(s, s->not_before - 60, early, 2);
	expect_words(s, s->not_after - 59, last, 1);
	certshow_free(s, n);
	issue_free(&issued);
}

static void a_bundle_is_shown_in_its_order(void **state)
{
	struct issue_request request = {.kind = IDENTITY_USER, .name = "u"};
	struct issued issued;
	struct certshow *s = NULL;
	size_t n = 0, len;
	char *bundle;

	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), 0);
	len = (size_t)asprintf(
	    &bundle, "%s\njunk between\n%s", issued.certificate, ca_certificate(*state, NULL));
	assert_int_equal(certshow_read(&s, &n, bundle, len, "f", NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(s[0].identity, "spiffe://telex.internal/user/u");
	assert_true(s[1].authority);
	assert_string_equal(s[1].identity, "spiffe://telex.internal");
	assert_string_equal(s[1].subject, "lab CA");
	assert_true(s[0].signer_follows);
	assert_true(s[1].self_signed);
	assert_false(s[0].self_signed || s[1].signer_follows);
	certshow_free(s, n);
	free(bundle);
	issue_free(&issued);
}

static void flaws_are_named_and_foreign_bytes_are_safe(void **state)
{
	static const char *const words[] = {"FLAW       the certificate has no identity",
	    "FLAW       it names no host", "evil?[31m"};
	struct pki *pki = pki_new("evil\x1b[31m");
	struct pki_pair pair;
	struct certshow *s = NULL;
	size_t n = 0;

	(void)state;
	pki_issue(pki, &(struct pki_spec){.agent = true, .sans = "", .defects = PKI_NO_URI}, &pair);
	assert_int_equal(
	    certshow_read(&s, &n, pair.certificate, strlen(pair.certificate), "f", NULL), 0);
	expect_words(s, 0, words, 3);
	certshow_free(s, n);
	pki_pair_free(&pair);
	pki_free(pki);
}

static void what_is_no_certificate_is_refused(void **state)
{
	struct issue_request request = {.kind = IDENTITY_USER, .name = "u"};
	struct issued issued;
	struct certshow *s = NULL;
	size_t n = 0;
	struct err e;

	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), 0);
	assert_int_equal(certshow_read(&s, &n, issued.key, issued.key_len, "u.key", &e), TX_ECERT);
	assert_string_equal(e.message, "u.key holds a private key, not a certificate");
	assert_int_equal(certshow_read(&s, &n, "", 0, "empty", &e), TX_ECERT);
	assert_non_null(strstr(e.message, "empty has no certificate in it"));
	/* A text ends where it says. */
	assert_int_equal(certshow_read(&s, &n, "some PRIVATE KEY", 9, "cut", &e), TX_ECERT);
	assert_non_null(strstr(e.message, "cut has no certificate in it"));
	assert_null(s);
	issue_free(&issued);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_agent_s_certificate_is_put_in_words),
	    cmocka_unit_test(states_follow_the_clock),
	    cmocka_unit_test(a_bundle_is_shown_in_its_order),
	    cmocka_unit_test(flaws_are_named_and_foreign_bytes_are_safe),
	    cmocka_unit_test(what_is_no_certificate_is_refused),
	};

	return cmocka_run_group_tests_name("certshow", tests, make_ca, free_ca);
}
