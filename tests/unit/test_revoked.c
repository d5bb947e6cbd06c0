/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which revocation lists a worker goes by: of two authorities, damaged, too old, of the future, and
 * none. What the authorities' books say, and what time it is, is the test's own.
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
#include <unistd.h>

#include "agent/worker/revoked.h"
#include "agent/worker/worker.h"
#include "certs/crl.h"
#include "common/duration.h"
#include "common/memfile.h"
#include "common/revocation_file.h"

static int64_t shift_s; /* of the clock */
static int64_t next_number;
static const char *revoked_serial;

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc has it so */
time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += shift_s;
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}

int ledger_crl_number(struct ledger *l, int64_t *number, struct err *e)
{
	(void)l;
	(void)e;
	*number = next_number;
	return 0;
}

int ledger_each(struct ledger *l, bool (*one)(const struct ledger_certificate *c, void *arg),
    void *arg, struct err *e)
{
	struct ledger_certificate c = {.not_after = INT64_MAX / 2, .revoked = 1700000000};

	(void)l;
	(void)e;
	snprintf(c.serial, sizeof(c.serial), "%s", revoked_serial);
	one(&c, arg);
	return 0;
}

static struct ca *old_ca, *new_ca, *foreign;
static struct revoked *r;

static int open_with(uint8_t stale, int64_t max_age_s)
{
	struct km_config config = {
	    .revocations_stale = stale, .revocations_max_age_ns = max_age_s * NS_PER_S};
	size_t len[2];
	const char *one = ca_certificate(old_ca, &len[0]), *two = ca_certificate(new_ca, &len[1]);
	char *both = malloc(len[0] + len[1]);

	assert_non_null(both);
	memcpy(both, one, len[0]);
	memcpy(both + len[0], two, len[1]);
	r = revoked_new(both, len[0] + len[1], &config);
	free(both);
	return 0;
}

static int make_scene(void **state)
{
	(void)state;
	shift_s = 0;
	return ca_new(&old_ca, &(struct ca_options){.name = "old"}, NULL) |
	       ca_new(&new_ca, &(struct ca_options){.name = "new"}, NULL) |
	       ca_new(&foreign, &(struct ca_options){.name = "foreign"}, NULL);
}

static int end_scene(void **state)
{
	(void)state;
	revoked_free(r);
	r = NULL;
	ca_free(old_ca);
	ca_free(new_ca);
	ca_free(foreign);
	return 0;
}

static char *make(const struct ca *by, int64_t number, const char *serial, size_t *len)
{
	char *pem = NULL;

	next_number = number;
	revoked_serial = serial;
	assert_int_equal(crl_make(&pem, len, by, NULL, 3600, NULL), 0);
	return pem;
}

/* As the keeper keeps it: after what is in *file. */
static void keep(
    char **file, size_t *file_len, const struct ca *by, int64_t number, const char *serial)
{
	struct revocation_record record = {.number = number};
	char *merged;
	char *pem = make(by, number, serial, &record.len);
	size_t ca_len;
	const char *ca = ca_certificate(by, &ca_len);
	struct crl *list;

	record.pem = pem;
	assert_int_equal(crl_read(&list, pem, record.len, ca, ca_len, NULL), 0);
	memcpy(record.issuer, crl_issuer(list), sizeof(record.issuer));
	crl_free(list);
	assert_int_equal(revocation_merge(&merged, file_len, *file != NULL ? *file : "", *file_len,
	                     &record, NULL),
	    0);
	free(*file);
	free(pem);
	*file = merged;
}

static int take(const char *text, size_t len, bool *newer)
{
	struct err e = {0};
	int fd, rc;

	assert_int_equal(memfile_new("list", &fd, NULL), 0);
	assert_int_equal(write(fd, text, len), len);
	rc = revoked_take_file(r, fd, newer, &e);
	close(fd);
	assert_true(rc == 0 || e.message[0] != '\0');
	return rc;
}

static const char *asked(void)
{
	static struct rpc_status refuse;
	struct peer who = {.serial = "01"};

	refuse = (struct rpc_status){0};
	return revoked_authorize(r, &who, "telex.v1.SystemService", "GetInfo", &refuse) == 0
	           ? NULL
	           : refuse.message;
}

/* ---- tests ---- */

static void each_authority_has_its_own_numbers(void **state)
{
	char *file = NULL;
	size_t len = 0;
	bool newer;

	(void)state;
	open_with(KM_STALE_WARN, 0);
	keep(&file, &len, old_ca, 50, "0A");
	assert_int_equal(take(file, len, &newer), 0);
	assert_true(newer);
	assert_true(revoked_is(r, "0A"));
	/* The new authority begins at 1, and the old one's are still revoked. */
	keep(&file, &len, new_ca, 1, "0B");
	assert_int_equal(take(file, len, &newer), 0);
	assert_true(newer);
	assert_true(revoked_is(r, "0A"));
	assert_true(revoked_is(r, "0B"));
	assert_int_equal(revoked_number(r), 50);
	assert_int_equal(revoked_count(r), 2);
	keep(&file, &len, new_ca, 2, "0C");
	assert_int_equal(take(file, len, &newer), 0);
	assert_true(newer);
	assert_true(revoked_is(r, "0A") && revoked_is(r, "0C"));
	assert_int_equal(take(file, len, &newer), 0);
	assert_false(newer);
	free(file);
}

static void damage_is_told_and_what_is_good_is_taken(void **state)
{
	char *file = NULL;
	size_t len = 0, behind;
	bool newer;

	(void)state;
	open_with(KM_STALE_WARN, 0);
	assert_true(take("", 0, &newer) < 0);
	assert_false(newer);
	assert_true(take("garbage", 7, &newer) < 0);
	keep(&file, &len, old_ca, 1, "0A");
	keep(&file, &len, new_ca, 1, "0B");
	/* The last one is cut within the list, before the certificate that is behind it. */
	ca_certificate(old_ca, &behind);
	assert_true(take(file, len - behind - 200, &newer) < 0);
	assert_true(newer);
	assert_true(revoked_is(r, "0B"));
	free(file);
}

static void lists_of_authorities_that_are_not_trusted_are_passed_over(void **state)
{
	char *file = NULL;
	size_t len = 0;
	bool newer;

	(void)state;
	open_with(KM_STALE_WARN, 0);
	keep(&file, &len, foreign, 9, "0A");
	keep(&file, &len, new_ca, 1, "0B");
	assert_int_equal(take(file, len, &newer), 0);
	assert_true(newer);
	assert_false(revoked_is(r, "0A"));
	assert_true(revoked_is(r, "0B"));
	free(file);
}

/* What a worker has told the keeper of a list that it had. */
struct lie {
	const struct ca *as, *by; /* as: the one whose place it takes */
	int64_t number, true_number;
	const char *serial;
	bool bare; /* without its signer's certificate */
};

static void lie(char **file, size_t *file_len, const struct lie *l)
{
	struct revocation_record record = {.number = l->number}, other;
	char *merged, *pem = make(l->by, l->true_number, l->serial, &record.len), *its;
	size_t len, at = 0;
	int64_t none;

	its = make(l->as, 1, l->serial, &len);
	assert_int_equal(crl_says(record.issuer, &none, its, len, NULL), 0);
	free(its);
	if (l->bare) {
		ca_certificate(l->by, &len);
		record.len -= len;
	}
	record.pem = pem;
	assert_int_equal(revocation_is_bare(&record), l->bare);
	assert_int_equal(revocation_merge(&merged, &len, *file, *file_len, &record, NULL), 0);
	free(pem);
	free(*file);
	*file = merged;
	*file_len = len;
	assert_true(revocation_next(*file, *file_len, &at, &other));
	assert_int_equal(other.number, l->number);
}

/* As a telex of before kept it, and then the authority was taken out of those that are trusted. */
static void a_foreign_list_without_its_signer_is_passed_over(void **state)
{
	char *file = NULL;
	size_t len = 0;
	bool newer;

	(void)state;
	open_with(KM_STALE_WARN, 0);
	lie(&file, &len, &(struct lie){foreign, foreign, 9, 9, "0A", true});
	keep(&file, &len, new_ca, 1, "0B");
	assert_int_equal(take(file, len, &newer), 0);
	assert_true(newer);
	assert_false(revoked_is(r, "0A"));
	assert_true(revoked_is(r, "0B"));
	free(file);
}

static void a_hostile_worker_takes_back_no_revocation(void **state)
{
	const struct lie lies[] = {{old_ca, old_ca, INT64_MAX, 3, "0B", false},
	    {old_ca, foreign, INT64_MAX, INT64_MAX, "0B", false},
	    {old_ca, foreign, INT64_MAX, 3, "0B", false},
	    {old_ca, old_ca, INT64_MAX, 3, "0B", true},
	    {old_ca, foreign, INT64_MAX, INT64_MAX, "0B", true}};
	bool newer;

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		char *file = NULL;
		size_t len = 0;

		open_with(KM_STALE_WARN, 0);
		lie(&file, &len, &(struct lie){old_ca, old_ca, 5, 5, "0A", lies[i].bare});
		assert_int_equal(take(file, len, &newer), 0);
		lie(&file, &len, &lies[i]);
		/* Who has the true one keeps it. */
		assert_true(take(file, len, &newer) < 0);
		assert_false(newer);
		assert_true(revoked_is(r, "0A"));
		/* Who comes new does not serve. */
		revoked_free(r);
		open_with(KM_STALE_WARN, 0);
		assert_true(take(file, len, &newer) < 0);
		assert_false(newer);
		assert_false(revoked_is(r, "0B"));
		revoked_free(r);
		r = NULL;
		free(file);
	}
}

/* One trusted authority's list in another one's place. */
static void a_list_in_anothers_place_is_damage(void **state)
{
	char *file = NULL;
	size_t len = 0;
	bool newer;

	(void)state;
	open_with(KM_STALE_WARN, 0);
	keep(&file, &len, old_ca, 5, "0A");
	lie(&file, &len, &(struct lie){old_ca, new_ca, 6, 6, "0B", false});
	assert_true(take(file, len, &newer) < 0);
	free(file);
}

static void fail_closed_without_a_list_is_closed_whatever_the_age(void **state)
{
	char *file = NULL;
	size_t len = 0;
	bool newer;

	(void)state;
	open_with(KM_STALE_FAIL_CLOSED, 0);
	assert_true(revoked_stale(r));
	assert_non_null(strstr(asked(), "missing"));
	keep(&file, &len, new_ca, 1, "0B");
	assert_int_equal(take(file, len, &newer), 0);
	assert_null(asked());
	free(file);
}

static void the_oldest_list_counts_and_none_of_the_future(void **state)
{
	char *file = NULL;
	size_t len = 0;
	bool newer;

	(void)state;
	open_with(KM_STALE_FAIL_CLOSED, 3600);
	keep(&file, &len, old_ca, 1, "0A");
	shift_s = 3000;
	keep(&file, &len, new_ca, 1, "0B");
	assert_int_equal(take(file, len, &newer), 0);
	assert_null(asked());
	shift_s = 3700;
	assert_non_null(strstr(asked(), "too old"));
	keep(&file, &len, old_ca, 2, "0A");
	assert_int_equal(take(file, len, &newer), 0);
	assert_null(asked());
	/* The clock was ahead when the lists were made: their age is not known. */
	shift_s = 3700 - 250;
	assert_null(asked());
	shift_s = 3700 - 400;
	assert_non_null(strstr(asked(), "dated in the future"));
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        each_authority_has_its_own_numbers, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        damage_is_told_and_what_is_good_is_taken, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        lists_of_authorities_that_are_not_trusted_are_passed_over, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        a_foreign_list_without_its_signer_is_passed_over, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        a_hostile_worker_takes_back_no_revocation, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        a_list_in_anothers_place_is_damage, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        fail_closed_without_a_list_is_closed_whatever_the_age, make_scene, end_scene),
	    cmocka_unit_test_setup_teardown(
	        the_oldest_list_counts_and_none_of_the_future, make_scene, end_scene),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
