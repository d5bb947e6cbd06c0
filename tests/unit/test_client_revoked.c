/* SPDX-License-Identifier: Apache-2.0 */
/* A client's file of revocation lists: which it goes by, and which it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certs/crl.h"
#include "common/revocation_file.h"
#include "lib/client_revoked.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/alloc_libs.h"

static const char *revoked_serial;

int ledger_crl_number(struct ledger *l, int64_t *number, struct err *e)
{
	(void)l;
	(void)e;
	*number = 1;
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

static struct ca *ours, *second, *foreign;
static char path[] = "/tmp/telex-client-revoked-XXXXXX";
static char both[65536]; /* of ours and the second */
static size_t both_len;

static int make_scene(void **state)
{
	const char *one, *two;
	size_t len[2];
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0 || close(fd) != 0 ||
	    ca_new(&ours, &(struct ca_options){.name = "ours"}, NULL) != 0 ||
	    ca_new(&second, &(struct ca_options){.name = "second"}, NULL) != 0 ||
	    ca_new(&foreign, &(struct ca_options){.name = "foreign"}, NULL) != 0)
		return -1;
	one = ca_certificate(ours, &len[0]);
	two = ca_certificate(second, &len[1]);
	both_len =
	    (size_t)snprintf(both, sizeof(both), "%.*s%.*s", (int)len[0], one, (int)len[1], two);
	return 0;
}

static int end_scene(void **state)
{
	(void)state;
	ca_free(ours);
	ca_free(second);
	ca_free(foreign);
	return unlink(path);
}

static void put(const char *text, size_t len)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(text, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static char *list_of(const struct ca *by, const char *serial, int64_t valid_s, size_t *len)
{
	char *pem = NULL;

	revoked_serial = serial;
	assert_int_equal(crl_make(&pem, len, by, NULL, valid_s, NULL), 0);
	return pem;
}

/* With the keeper's line before it. */
static void add(char *file, size_t size, const struct ca *by, const char *serial, int64_t valid_s)
{
	size_t len, used = strlen(file);
	char issuer[REVOCATION_ISSUER_SIZE];
	char *pem = list_of(by, serial, valid_s, &len);

	memset(issuer, '0' + (by == ours) + 2 * (by == second), sizeof(issuer) - 1);
	issuer[sizeof(issuer) - 1] = '\0';
	snprintf(file + used, size - used, "# telex list %s 1 %zu\n%s", issuer, len, pem);
	free(pem);
}

static int read_it(struct client_revoked **out, struct err *e)
{
	*e = (struct err){.code = 0};
	return client_revoked_read(out, path, both, both_len, e);
}

static void a_list_as_its_authority_writes_it(void **state)
{
	struct client_revoked *r = NULL;
	struct err e;
	size_t len;
	char *pem = list_of(ours, "0A", 3600, &len);

	(void)state;
	put(pem, len);
	assert_int_equal(read_it(&r, &e), 0);
	assert_int_equal(client_revoked_ask("0B", r, &e), 0);
	assert_int_equal(client_revoked_ask("0A", r, &e), TX_ECERT);
	assert_non_null(strstr(e.message, path));
	/* What cannot be read counts as revoked. */
	assert_int_equal(client_revoked_ask("", r, &e), TX_ECERT);
	assert_in_range(client_revoked_next(r), time(NULL) + 3500, time(NULL) + 3600);
	client_revoked_free(r);
	free(pem);
}

static void those_of_two_authorities_beside_anothers(void **state)
{
	static char file[65536];
	struct client_revoked *r = NULL;
	struct err e;

	(void)state;
	file[0] = '\0';
	add(file, sizeof(file), foreign, "0C", 10);
	add(file, sizeof(file), ours, "0A", 3600);
	add(file, sizeof(file), second, "0B", 1800);
	put(file, strlen(file));
	assert_int_equal(read_it(&r, &e), 0);
	assert_int_equal(client_revoked_ask("0A", r, &e), TX_ECERT);
	assert_int_equal(client_revoked_ask("0B", r, &e), TX_ECERT);
	assert_int_equal(client_revoked_ask("0C", r, &e), 0);
	assert_in_range(client_revoked_next(r), time(NULL) + 1700, time(NULL) + 1800);
	client_revoked_free(r);
	/* One that is damaged is not passed over. */
	memcpy(strstr(file, "BEGIN X509 CRL-----") + 40, "####", 4);
	put(file, strlen(file));
	assert_int_equal(read_it(&r, &e), TX_ECERT);
}

static void what_cannot_be_gone_by_is_refused(void **state)
{
	struct client_revoked *r = NULL;
	struct err e;
	size_t len;
	char *pem = list_of(foreign, "0A", 3600, &len);

	(void)state;
	put(pem, len);
	free(pem);
	assert_int_equal(read_it(&r, &e), TX_ECERT);
	assert_non_null(strstr(e.message, "foreign"));
	assert_non_null(strstr(e.message, path));
	put("", 0);
	assert_int_equal(read_it(&r, &e), TX_ECERT);
	assert_non_null(strstr(e.message, "no revocation list in it"));
	assert_int_equal(truncate(path, (off_t)REVOCATION_FILE_MAX + 1), 0);
	assert_int_equal(read_it(&r, &e), TX_ETOOBIG);
	put("", 0);
	assert_int_equal(client_revoked_read(&r, "/tmp", both, both_len, &e), TX_ETOOBIG);
	assert_non_null(strstr(e.message, "/tmp: it is no regular file"));
	assert_int_equal(client_revoked_read(&r, "/no/such", both, both_len, &e), TX_ESYS);
	assert_non_null(strstr(e.message, "/no/such: "));
	assert_null(r);
	client_revoked_free(NULL);
}

static void a_newer_file_takes_the_place_of_what_was_read(void **state)
{
	struct client_revoked *r = NULL;
	struct err e;
	size_t len;
	char *pem = list_of(ours, "0A", 3600, &len), other[sizeof(path) + 8];

	(void)state;
	put(pem, len);
	free(pem);
	assert_int_equal(read_it(&r, &e), 0);
	assert_false(client_revoked_changed(r));
	/* What cannot be gone by changes nothing, nor does a file that is gone. */
	put("no list", 7);
	assert_true(client_revoked_changed(r));
	assert_int_equal(client_revoked_again(r, both, both_len), TX_ECERT);
	assert_int_equal(client_revoked_ask("0A", r, &e), TX_ECERT);
	assert_int_equal(client_revoked_ask("0B", r, &e), 0);
	snprintf(other, sizeof(other), "%s.other", path);
	assert_int_equal(rename(path, other), 0);
	assert_false(client_revoked_changed(r));
	assert_int_equal(rename(other, path), 0);
	pem = list_of(ours, "0B", 3600, &len);
	put(pem, len);
	free(pem);
	assert_int_equal(client_revoked_again(r, both, both_len), 0);
	assert_false(client_revoked_changed(r));
	assert_int_equal(client_revoked_ask("0B", r, &e), TX_ECERT);
	assert_int_equal(client_revoked_ask("0A", r, &e), 0);
	client_revoked_free(r);
}

/* Under valgrind (TELEX_TEST_SLOW) not each, but each of these many. */
static void without_memory_it_says_so(void **state)
{
	const long step = getenv("TELEX_TEST_SLOW") == NULL ? 1 : 17;
	struct client_revoked *r = NULL;
	struct err e;
	size_t len;
	char *pem = list_of(ours, "0A", 3600, &len);
	bool failed = true;
	long n = 1;

	(void)state;
	put(pem, len);
	free(pem);
	for (; failed; n += step) {
		int rc;

		alloc_fail_at(n, false);
		rc = read_it(&r, &e);
		failed = alloc_fail_happened();
		alloc_fail_stop();
		assert_true(rc == 0 || e.message[0] != '\0');
		if (rc == 0)
			assert_int_equal(client_revoked_ask("0A", r, &e), TX_ECERT);
		if (rc == 0)
			client_revoked_free(r);
	}
	assert_true(n > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_list_as_its_authority_writes_it),
	    cmocka_unit_test(those_of_two_authorities_beside_anothers),
	    cmocka_unit_test(what_cannot_be_gone_by_is_refused),
	    cmocka_unit_test(a_newer_file_takes_the_place_of_what_was_read),
	    cmocka_unit_test(without_memory_it_says_so),
	};

	if (!alloc_openssl())
		return 99;
	return cmocka_run_group_tests_name("client_revoked", tests, make_scene, end_scene);
}
