/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/revocation_file.h"

static struct revocation_record record(char digit, int64_t number, const char *pem)
{
	struct revocation_record r = {.number = number, .pem = pem, .len = strlen(pem)};

	memset(r.issuer, digit, sizeof(r.issuer) - 1);
	return r;
}

static char *text;
static size_t text_len;

static int merge(const struct revocation_record *r)
{
	struct err e;
	char *out = NULL;
	size_t len = 0;
	int rc = revocation_merge(&out, &len, text != NULL ? text : "", text_len, r, &e);

	if (rc == 0) {
		free(text);
		text = out;
		text_len = len;
	}
	return rc;
}

static int forget(void **state)
{
	(void)state;
	free(text);
	text = NULL;
	text_len = 0;
	return 0;
}

/* Whether the i-th record is this. */
static void assert_record(size_t i, const struct revocation_record *r)
{
	struct revocation_record got;
	size_t at = 0;

	for (size_t n = 0; n <= i; n++)
		assert_true(revocation_next(text, text_len, &at, &got));
	assert_string_equal(got.issuer, r->issuer);
	assert_int_equal(got.number, r->number);
	assert_int_equal(got.len, r->len);
	assert_memory_equal(got.pem, r->pem, r->len);
}

static void each_authority_has_its_place(void **state)
{
	struct revocation_record a = record('a', 5, "list a5\n"), b = record('b', 2, "list b2\n");
	struct revocation_record newer = record('a', 6, "# telex list x\nlist a6");

	(void)state;
	assert_int_equal(merge(&a), 0);
	assert_int_equal(merge(&b), 0);
	assert_record(0, &b);
	assert_record(1, &a);
	assert_int_equal(merge(&newer), 0);
	assert_record(0, &newer);
	assert_record(1, &b);
}

static void a_number_never_goes_back(void **state)
{
	struct revocation_record a = record('a', 5, "five"), older = record('a', 4, "four");
	struct revocation_record other = record('b', 1, "one");

	(void)state;
	assert_int_equal(merge(&a), 0);
	assert_int_equal(merge(&older), TX_ESTATE);
	assert_int_equal(merge(&other), 0);
	assert_int_equal(merge(&older), TX_ESTATE);
	assert_int_equal(merge(&a), 0);
	assert_record(0, &a);
	assert_record(1, &other);
}

static void what_somebody_else_has_put_there_stays(void **state)
{
	struct revocation_record a = record('a', 5, "five");
	struct revocation_record plain = {.number = -1, .pem = "a list", .len = 6};

	(void)state;
	text = strdup("a list");
	text_len = 6;
	assert_record(0, &plain);
	assert_int_equal(merge(&a), 0);
	assert_record(0, &a);
	assert_record(1, &plain);
}

static void a_file_has_an_end(void **state)
{
	struct revocation_record r = record('0', 1, "x");

	(void)state;
	for (int i = 0; i < REVOCATION_ISSUERS_MAX; i++) {
		memset(r.issuer, "0123456789abcdef"[i], sizeof(r.issuer) - 1);
		assert_int_equal(merge(&r), 0);
	}
	r.issuer[0] = 'f' - r.issuer[0] == 0 ? 'e' : 'f';
	assert_int_equal(merge(&r), TX_ELIMIT);
}

/* Four are nearly as much as there may be, and each can be replaced all the same. */
static void what_is_replaced_takes_no_room(void **state)
{
	size_t len = REVOCATION_LIST_MAX - 256;
	char *pem = malloc(len);
	struct revocation_record r = record('a', 1, "");

	(void)state;
	assert_non_null(pem);
	memset(pem, 'x', len);
	r.pem = pem;
	r.len = len;
	for (char digit = 'a'; digit <= 'd'; digit++) {
		memset(r.issuer, digit, sizeof(r.issuer) - 1);
		assert_int_equal(merge(&r), 0);
	}
	r.number = 2;
	assert_int_equal(merge(&r), 0);
	assert_record(0, &r);
	memset(r.issuer, 'e', sizeof(r.issuer) - 1);
	assert_int_equal(merge(&r), TX_ELIMIT);
	free(pem);
}

/* An intermediate authority's has who signed it: none without, anybody's, takes its place. */
static void what_has_its_signer_is_not_replaced_by_what_has_none(void **state)
{
	static const char list[] = "-----BEGIN X509 CRL-----\n";
	static const char both[] = "-----BEGIN X509 CRL-----\n-----BEGIN CERTIFICATE-----\n";
	struct revocation_record bare = record('a', 2, list), whole = record('a', 3, both);

	(void)state;
	assert_true(revocation_is_bare(&bare));
	assert_false(revocation_is_bare(&whole));
	assert_int_equal(merge(&bare), 0);
	assert_int_equal(merge(&whole), 0);
	bare.number = 4;
	assert_int_equal(merge(&bare), TX_ESTATE);
	assert_record(0, &whole);
	whole.number = 4;
	assert_int_equal(merge(&whole), 0);
}

static void a_damaged_head_is_no_head(void **state)
{
	static const char *const heads[] = {"# telex list ", "# telex list aa 1 1\nx",
	    "# telex list aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1 99\nx",
	    "# telex list aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -1 1\nx",
	    "# telex list aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1 1 "
	    "1\nx"};
	struct revocation_record got;

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		size_t at = 0;

		assert_true(revocation_next(heads[i], strlen(heads[i]), &at, &got));
		assert_string_equal(got.issuer, "");
		assert_int_equal(got.len, strlen(heads[i]));
		assert_false(revocation_next(heads[i], strlen(heads[i]), &at, &got));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(each_authority_has_its_place, forget),
	    cmocka_unit_test_teardown(a_number_never_goes_back, forget),
	    cmocka_unit_test_teardown(what_somebody_else_has_put_there_stays, forget),
	    cmocka_unit_test_teardown(a_file_has_an_end, forget),
	    cmocka_unit_test_teardown(what_is_replaced_takes_no_room, forget),
	    cmocka_unit_test_teardown(what_has_its_signer_is_not_replaced_by_what_has_none, forget),
	    cmocka_unit_test(a_damaged_head_is_no_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
