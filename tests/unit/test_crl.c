/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revocation lists. The CA's book-keeping is the test's own here: what it says is what the list is
 * to say. Allocations of OpenSSL go the way of ours, so that each can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/crl.h"
#include "common/duration.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/alloc_libs.h"

/* Under valgrind not as many, and not each allocation. */
static bool slow(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL;
}

/* ---- the book-keeping ---- */

static struct ledger_certificate books[8];
static size_t n_books;
static int64_t last_number;
static uint32_t n_made_up; /* that many revoked ones more */

int ledger_crl_number(struct ledger *l, int64_t *number, struct err *e)
{
	(void)l;
	(void)e;
	*number = ++last_number;
	return 0;
}

/* As random serials are: 128 bits, told apart in the middle. */
static void made_up_serial(uint32_t i, char out[LEDGER_SERIAL_SIZE])
{
	snprintf(out, LEDGER_SERIAL_SIZE, "7A%08X5566778899AABBCCDDEEFF", i * 2654435761u);
}

int ledger_each(struct ledger *l, bool (*one)(const struct ledger_certificate *c, void *arg),
    void *arg, struct err *e)
{
	struct ledger_certificate c = {.not_after = INT64_MAX / 2, .revoked = 1700000000};

	(void)l;
	(void)e;
	for (size_t i = 0; i < n_books; i++)
		if (!one(&books[i], arg))
			return 0;
	for (uint32_t i = 0; i < n_made_up; i++) {
		made_up_serial(i, c.serial);
		if (!one(&c, arg))
			return 0;
	}
	return 0;
}

static void keep(const char *serial, int64_t revoked, int64_t ends_in, int reason)
{
	struct ledger_certificate *c = &books[n_books++];

	memset(c, 0, sizeof(*c));
	snprintf(c->serial, sizeof(c->serial), "%s", serial);
	c->revoked = revoked;
	c->not_after = (int64_t)time(NULL) + ends_in;
	c->reason = reason;
}

/* ---- the scene ---- */

static struct ca *ca, *other;

static int make_scene(void **state)
{
	(void)state;
	n_books = 0;
	n_made_up = 0;
	last_number = 0;
	return ca_new(&ca, &(struct ca_options){.name = "ours"}, NULL) |
	       ca_new(&other, &(struct ca_options){.name = "other"}, NULL);
}

static int end_scene(void **state)
{
	(void)state;
	ca_free(ca);
	ca_free(other);
	return 0;
}

static char *make(const struct ca *by, size_t *len)
{
	char *pem = NULL;
	struct err e;

	if (crl_make(&pem, len, by, NULL, 3600, &e) != 0)
		fail_msg("%s", e.message);
	return pem;
}

/* Of who signed a list, behind it. */
static size_t certificate_size(void)
{
	size_t len;

	ca_certificate(ca, &len);
	return len;
}

static int read_as(struct crl **out, const char *pem, size_t len, struct err *e)
{
	size_t ca_len;
	const char *text = ca_certificate(ca, &ca_len);

	return crl_read(out, pem, len, text, ca_len, e);
}

static struct crl *read_good(const char *pem, size_t len)
{
	struct crl *c = NULL;
	struct err e;

	if (read_as(&c, pem, len, &e) != 0)
		fail_msg("%s", e.message);
	return c;
}

static void refuses_as(int code, const char *pem, size_t len, const char *words)
{
	struct crl *c = NULL;
	struct err e = {0};

	assert_int_equal(read_as(&c, pem, len, &e), code);
	assert_null(c);
	if (strstr(e.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.message, words);
}

static void refuses(const char *pem, size_t len, const char *words)
{
	refuses_as(TX_ECERT, pem, len, words);
}

/* ---- tests ---- */

static void what_is_revoked_is_listed_and_nothing_else(void **state)
{
	int64_t now = (int64_t)time(NULL);
	struct crl *c;
	size_t len;
	char *pem;

	(void)state;
	keep("0A", now, 1000, 1);
	keep("7F00112233445566778899AABBCCDDEE", now, 1000, 0);
	/* Expired, and an agent whose clock is days behind does not know. */
	keep("FF00", now, 60 - LEDGER_MARGIN_S, 4);
	keep("0B", 0, 1000, 0);                             /* not revoked */
	keep("0C", now - 9999999, -LEDGER_MARGIN_S - 1, 1); /* long expired */
	pem = make(ca, &len);
	c = read_good(pem, len);
	assert_int_equal(crl_count(c), 3);
	assert_true(crl_revoked(c, "0A"));
	assert_true(crl_revoked(c, "a"));
	assert_true(crl_revoked(c, "7F00112233445566778899AABBCCDDEE"));
	assert_true(crl_revoked(c, "FF00"));
	assert_false(crl_revoked(c, "0B"));
	assert_false(crl_revoked(c, "0C"));
	assert_false(crl_revoked(c, "FF"));
	assert_in_range(crl_this_update(c), now, now + 60);
	assert_int_equal(crl_next_update(c) - crl_this_update(c), 3600);
	crl_free(c);
	free(pem);
}

static void a_serial_that_cannot_be_read_counts_as_revoked(void **state)
{
	struct crl *c = read_good("", 0);
	char longer[100];

	(void)state;
	memset(longer, 'A', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_true(crl_revoked(c, ""));
	assert_true(crl_revoked(c, "-1"));
	assert_true(crl_revoked(c, "0x1"));
	assert_true(crl_revoked(c, "12 "));
	assert_true(crl_revoked(c, longer));
	assert_false(crl_revoked(c, "12"));
	crl_free(c);
}

static void each_list_has_a_higher_number(void **state)
{
	int64_t before = -1;

	(void)state;
	for (int i = 0; i < 3; i++) {
		size_t len;
		char *pem = make(ca, &len);
		struct crl *c = read_good(pem, len);

		assert_true(crl_number(c) > before);
		before = crl_number(c);
		crl_free(c);
		free(pem);
	}
}

static void no_text_is_no_list(void **state)
{
	struct crl *c = read_good("", 0);

	(void)state;
	assert_int_equal(crl_number(c), -1);
	assert_int_equal(crl_this_update(c), 0);
	assert_int_equal(crl_count(c), 0);
	crl_free(c);
}

static void a_list_of_another_authority_is_refused(void **state)
{
	size_t len;
	char *pem = make(other, &len);

	(void)state;
	refuses_as(TX_EPERM, pem, len, "\"other\"");
	free(pem);
}

static void one_with_our_name_and_another_key_is_refused(void **state)
{
	struct ca *double_ca = NULL;
	size_t len;
	char *pem;

	(void)state;
	assert_int_equal(ca_new(&double_ca, &(struct ca_options){.name = "ours"}, NULL), 0);
	pem = make(double_ca, &len);
	refuses(pem, len, "not signed by the authority that it names");
	free(pem);
	ca_free(double_ca);
}

/* Its certificate beside the list makes nobody an authority. */
static void a_signer_that_comes_along_must_lead_to_ours(void **state)
{
	size_t len, ca_len;
	char *pem = make(other, &len);
	const char *its = ca_certificate(other, &ca_len);
	char *both = malloc(len + ca_len + 1);

	(void)state;
	assert_non_null(both);
	memcpy(both, pem, len);
	memcpy(both + len, its, ca_len + 1);
	refuses_as(TX_EPERM, both, len + ca_len, "\"other\"");
	free(both);
	free(pem);
}

static void a_list_says_whose_it_is_to_who_does_not_trust_it(void **state)
{
	char ours[REVOCATION_ISSUER_SIZE], others[REVOCATION_ISSUER_SIZE],
	    issuer[REVOCATION_ISSUER_SIZE];
	size_t len, frame;
	char *pem = make(ca, &len);
	struct crl *c = read_good(pem, len);
	int64_t number = -1;
	struct err e;

	(void)state;
	assert_int_equal(crl_says(ours, &number, pem, len, NULL), 0);
	assert_string_equal(ours, crl_issuer(c));
	assert_int_equal(number, crl_number(c));
	crl_free(c);
	/* Without who signed it, it says nothing that holds. */
	frame = len - certificate_size();
	assert_int_equal(crl_says(issuer, &number, pem, frame, &e), TX_ECERT);
	assert_int_equal(crl_says(issuer, &number, "", 0, &e), TX_ECERT);
	free(pem);
	pem = make(other, &len);
	assert_int_equal(crl_says(others, &number, pem, len, NULL), 0);
	assert_string_not_equal(ours, others);
	free(pem);
}

static void a_changed_byte_is_refused(void **state)
{
	size_t len, frame, refused = 0;
	char *pem;

	(void)state;
	keep("0A", 1700000000, 1000, 1);
	pem = make(ca, &len);
	/* Behind it is who signed it: nobody's to trust for that. */
	frame = len - certificate_size();
	for (size_t i = 0; i < frame; i++) {
		struct crl *c = NULL;
		char was = pem[i];

		pem[i] = was == 'A' ? 'B' : 'A';
		if (read_as(&c, pem, len, NULL) == 0)
			/* White space and what is outside of the frame: the list is the same. */
			assert_true(crl_revoked(c, "0A"));
		else
			refused++;
		crl_free(c);
		pem[i] = was;
	}
	assert_true(refused > frame / 2);
	free(pem);
}

static void what_is_no_list_is_refused(void **state)
{
	size_t ca_len, len;
	const char *text = ca_certificate(ca, &ca_len);
	char *pem = make(ca, &len), *twice = malloc(2 * len + 1);

	(void)state;
	refuses("garbage", 7, "cannot be read");
	refuses(text, ca_len, "cannot be read");
	refuses(pem, (len - certificate_size()) / 2, "cannot be read");
	refuses(pem, CRL_MAX + 1, "too long");
	assert_non_null(twice);
	memcpy(twice, pem, len);
	memcpy(twice + len, pem, len + 1);
	refuses(twice, 2 * len, "two lists");
	free(twice);
	free(pem);
}

static void a_hundred_thousand_are_found_fast(void **state)
{
	const uint32_t many = slow() ? 2000 : 100000;
	char serial[LEDGER_SERIAL_SIZE];
	struct crl *c;
	int64_t start;
	size_t len;
	char *pem;

	(void)state;
	n_made_up = many;
	pem = make(ca, &len);
	assert_true(len < CRL_MAX);
	c = read_good(pem, len);
	assert_int_equal(crl_count(c), many);
	start = clock_monotonic_ns();
	for (uint32_t i = 0; i < many; i++) {
		made_up_serial(i, serial);
		assert_true(crl_revoked(c, serial));
		serial[0] = '6';
		assert_false(crl_revoked(c, serial));
	}
	/* Each one after the other would be 10^10 comparisons: minutes. */
	assert_true(clock_monotonic_ns() - start < 20 * NS_PER_S);
	crl_free(c);
	free(pem);
}

/* Each allocation of reading fails once: there is an error, or a list that knows what is revoked.
 */
static void without_memory_nothing_revoked_is_good(void **state)
{
	size_t len, good = 0, failed = 0;
	struct err e;
	char *pem;

	(void)state;
	keep("0A", 1700000000, 1000, 1);
	pem = make(ca, &len);
	for (long n = 1;; n += slow() ? 7 : 1) {
		struct crl *c = NULL;
		bool happened;
		int rc;

		alloc_fail_at(n, false);
		rc = read_as(&c, pem, len, &e);
		happened = alloc_fail_happened();
		if (rc == 0) {
			assert_true(crl_revoked(c, "0A"));
			good++;
		} else {
			failed++;
		}
		alloc_fail_stop();
		crl_free(c);
		if (!happened)
			break;
	}
	assert_true(good > 0);
	assert_true(failed > 10);
	free(pem);
}

/* A list that lacks one of them is not made. */
static void without_memory_no_shorter_list_is_made(void **state)
{
	size_t failed = 0;

	(void)state;
	keep("0A", 1700000000, 1000, 1);
	keep("0B", 1700000000, 1000, 1);
	for (long n = 1;; n += slow() ? 7 : 1) {
		char *pem = NULL;
		struct crl *c = NULL;
		bool happened;
		size_t len;
		int rc;

		alloc_fail_at(n, false);
		rc = crl_make(&pem, &len, ca, NULL, 3600, NULL);
		happened = alloc_fail_happened();
		alloc_fail_stop();
		if (rc == 0) {
			c = read_good(pem, len);
			assert_true(crl_revoked(c, "0A") && crl_revoked(c, "0B"));
		} else {
			failed++;
		}
		crl_free(c);
		free(pem);
		if (!happened)
			break;
	}
	assert_true(failed > 10);
}

static void a_long_list_has_less_of_what_is_over(void **state)
{
	int64_t now = (int64_t)time(NULL);
	struct crl *c;
	size_t len;
	char *pem;

	(void)state;
	keep("FF00", now, -1000, 4);
	keep("FF01", now, -2 * 86400, 4);
	n_made_up = 110000;
	pem = make(ca, &len);
	c = read_good(pem, len);
	assert_int_equal(crl_count(c), n_made_up + 1);
	assert_true(crl_revoked(c, "FF00"));
	assert_false(crl_revoked(c, "FF01"));
	assert_int_equal(last_number, crl_number(c));
	crl_free(c);
	free(pem);
}

/* Neither of the two that were tried is left to the caller, who frees what he has. */
static void a_list_over_the_limit_is_none(void **state)
{
	struct err e = {0};
	char *pem = NULL;
	size_t len;

	(void)state;
	/* Two lists of that length take valgrind a minute; the sanitizers see it, too. */
	if (slow())
		skip();
	n_made_up = 200000;
	assert_int_equal(crl_make(&pem, &len, ca, NULL, 3600, &e), TX_ETOOBIG);
	assert_null(pem);
	assert_non_null(strstr(e.message, "longer than 8 MiB"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_scene, end_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(what_is_revoked_is_listed_and_nothing_else),
	    CASE(a_serial_that_cannot_be_read_counts_as_revoked),
	    CASE(each_list_has_a_higher_number),
	    CASE(no_text_is_no_list),
	    CASE(a_list_of_another_authority_is_refused),
	    CASE(one_with_our_name_and_another_key_is_refused),
	    CASE(a_signer_that_comes_along_must_lead_to_ours),
	    CASE(a_list_says_whose_it_is_to_who_does_not_trust_it),
	    CASE(a_changed_byte_is_refused),
	    CASE(what_is_no_list_is_refused),
	    CASE(a_hundred_thousand_are_found_fast),
	    CASE(a_long_list_has_less_of_what_is_over),
	    CASE(a_list_over_the_limit_is_none),
	    CASE(without_memory_nothing_revoked_is_good),
	    CASE(without_memory_no_shorter_list_is_made),
	};

	if (!alloc_openssl())
		return 99;
	return cmocka_run_group_tests_name("crl", tests, NULL, NULL);
}
