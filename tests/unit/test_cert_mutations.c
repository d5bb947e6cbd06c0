/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in certificates that others made, or mangled: whatever it is, it is read within its
 * bounds (a sanitizer looks) and nothing but printable ASCII comes out of it. The mutations are the
 * same in each run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/certshow.h"
#include "certs/issue.h"
#include "certs/pem.h"
#include "common/tls_cert.h"
#include "tests/support/pki.h"

#define DER_MAX 8192

static uint32_t random_state = 2463534242u;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static unsigned mutations(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL ? 200 : 4000;
}

/* ---- what comes out ---- */

static void expect_printable(const char *what, const char *text, bool lines)
{
	for (const char *c = text; *c != '\0'; c++)
		if ((*c < 0x20 || *c > 0x7e) && !(lines && *c == '\n'))
			fail_msg("%s has the byte %02x: %s", what, (unsigned char)*c, text);
}

static void look_at_fields(X509 *x)
{
	char text[512];
	struct identity id;
	struct err e;

	err_clear(&e);
	for (int server = 0; server < 2; server++)
		if (tls_cert_check_leaf(x, server != 0, &id, "the certificate", NULL, &e) != 0)
			expect_printable("a refusal", e.message, false);
	tls_cert_hosts(x, text, sizeof(text));
	expect_printable("hosts", text, false);
	tls_cert_hosts(x, text, 40);
	expect_printable("hosts that do not fit", text, false);
	tls_cert_label(x, text, sizeof(text));
	expect_printable("a label", text, false);
	tls_cert_serial(x, text, sizeof(text));
	expect_printable("a serial number", text, false);
}

static void look_at_words(const char *pem, size_t len)
{
	struct certshow *shown = NULL;
	size_t n = 0;

	if (certshow_read(&shown, &n, pem, len, "f", NULL) != 0)
		return;
	for (size_t i = 0; i < n; i++) {
		char *words = certshow_words(&shown[i], shown[i].not_after);

		assert_non_null(words);
		expect_printable("words", words, true);
		expect_printable("a subject", shown[i].subject, false);
		expect_printable("a flaw", shown[i].flaw, false);
		for (size_t j = 0; j < shown[i].hosts_len; j++)
			expect_printable("a host", shown[i].hosts[j], false);
		free(words);
	}
	certshow_free(shown, n);
}

/* True: it was a certificate. */
static bool look_at(const uint8_t *der, size_t len)
{
	const unsigned char *at = der;
	X509 *x = d2i_X509(NULL, &at, (long)len);
	char *pem = NULL;
	size_t pem_len = 0;
	struct err e;

	if (x == NULL) {
		ERR_clear_error();
		return false;
	}
	look_at_fields(x);
	if (pem_from_certificate(x, &pem, &pem_len, &e) == 0)
		look_at_words(pem, pem_len);
	free(pem);
	X509_free(x);
	ERR_clear_error();
	return true;
}

/* ---- what goes in ---- */

static size_t der_of(uint8_t out[DER_MAX], const char *pem, size_t len)
{
	unsigned char *at = out;
	X509 *x = NULL;
	struct err e;
	int n;

	assert_int_equal(pem_to_certificate(&x, pem, len, "f", &e), 0);
	n = i2d_X509(x, NULL);
	assert_in_range(n, 1, DER_MAX);
	n = i2d_X509(x, &at);
	X509_free(x);
	return (size_t)n;
}

static bool is_string_tag(uint8_t tag)
{
	/* INTEGER, BIT and OCTET STRING, the text types, the times; a name's [1] to [7] */
	static const uint8_t tags[] = {0x02, 0x03, 0x04, 0x0c, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1c,
	    0x1e, 0x81, 0x82, 0x86, 0x87};

	return memchr(tags, tag, sizeof(tags)) != NULL;
}

/* One string of another type: the structure stays one. */
static void change_a_tag(uint8_t *der, size_t len)
{
	static const uint8_t tags[] = {
	    0x02, 0x03, 0x04, 0x05, 0x0c, 0x13, 0x16, 0x17, 0x1c, 0x1e, 0x82, 0x86, 0x87};

	for (size_t i = 0, at = next_random() % len; i < len; i++, at = (at + 1) % len)
		if (is_string_tag(der[at])) {
			der[at] = tags[next_random() % sizeof(tags)];
			return;
		}
}

static void mutate(uint8_t *der, size_t len)
{
	unsigned n = 1 + next_random() % 3;

	for (unsigned i = 0; i < n; i++) {
		size_t at = next_random() % len;

		switch (next_random() % 5) {
		case 0:
			der[at] ^= (uint8_t)(1u << next_random() % 8);
			break;
		case 1:
			der[at] = (uint8_t)next_random();
			break;
		case 2: /* a shorter or longer string, mostly */
			der[at] = (uint8_t)(der[at] + next_random() % 3 - 1);
			break;
		default:
			change_a_tag(der, len);
		}
	}
}

static void look_at_mutations_of(const char *pem, size_t pem_len)
{
	uint8_t der[DER_MAX];
	size_t len = der_of(der, pem, pem_len);
	unsigned good = 0;

	assert_true(look_at(der, len));
	for (unsigned i = 0; i < mutations(); i++) {
		/* Of its own size, so that a sanitizer sees where it ends. */
		uint8_t *copy = malloc(len);

		assert_non_null(copy);
		memcpy(copy, der, len);
		mutate(copy, len);
		good += look_at(copy, len);
		free(copy);
	}
	/* Else nothing was looked at. */
	assert_true(good > mutations() / 20);
}

static void an_agent_s(void **state)
{
	static const char *const sans[] = {"web1.example", "10.0.0.7", "2001:db8::7"};
	struct issue_request request = {
	    .kind = IDENTITY_AGENT, .name = "web1", .sans = sans, .sans_len = 3};
	struct issued issued;

	assert_int_equal(issue_certificate(&issued, *state, &request, NULL), 0);
	look_at_mutations_of(issued.certificate, issued.certificate_len);
	issue_free(&issued);
}

static void an_authority_s(void **state)
{
	const char *pem = ca_certificate(*state, NULL);

	look_at_mutations_of(pem, strlen(pem));
}

/* Bytes that drive a terminal, in a name of a foreign one. */
static void one_that_is_meant_badly(void **state)
{
	struct pki *pki = pki_new("evil\x1b]0;x\x07\n\xc2\x9b");
	struct pki_pair pair;

	(void)state;
	pki_issue(pki, &(struct pki_spec){.agent = true, .sans = "DNS:a.example"}, &pair);
	look_at_mutations_of(pair.certificate, strlen(pair.certificate));
	pki_pair_free(&pair);
	pki_free(pki);
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_agent_s),
	    cmocka_unit_test(an_authority_s),
	    cmocka_unit_test(one_that_is_meant_badly),
	};

	return cmocka_run_group_tests_name("cert_mutations", tests, make_ca, free_ca);
}
