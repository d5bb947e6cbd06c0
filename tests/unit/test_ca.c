/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certs/ca.h"
#include "certs/certfile.h"
#include "common/identity.h"
#include "tests/support/folder.h"

#define DAY INT64_C(86400)

static struct ca *make(const struct ca_options *options)
{
	struct ca *ca = NULL;
	struct err e;

	if (ca_new(&ca, options, &e) != 0)
		fail_msg("%s", e.message);
	return ca;
}

static void a_new_authority_signs_leaves_only(void **state)
{
	struct ca *ca = make(&(struct ca_options){.name = "lab CA"});
	X509 *x = ca_x509(ca);
	BASIC_CONSTRAINTS *basic = X509_get_ext_d2i(x, NID_basic_constraints, NULL, NULL);
	int at = X509_get_ext_by_NID(x, NID_basic_constraints, -1);

	(void)state;
	assert_non_null(basic);
	assert_true(basic->ca != 0);
	assert_int_equal(ASN1_INTEGER_get(basic->pathlen), 0);
	assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(x, at)), 1);
	assert_int_equal(X509_get_key_usage(x), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_non_null(X509_get0_subject_key_id(x));
	assert_non_null(X509_get0_authority_key_id(x));
	assert_int_equal(X509_verify(x, ca_key(ca)), 1);
	assert_string_equal(ca_name(ca), "lab CA");
	assert_string_equal(ca_domain(ca), IDENTITY_DOMAIN);
	BASIC_CONSTRAINTS_free(basic);
	ca_free(ca);
}

static void it_is_valid_from_a_little_ago_for_ten_years(void **state)
{
	struct ca *ca = make(&(struct ca_options){0});
	int64_t now = (int64_t)time(NULL);

	(void)state;
	assert_in_range(ca_expires(ca), now + 3651 * DAY, now + 3653 * DAY);
	assert_true(X509_cmp_current_time(X509_get0_notBefore(ca_x509(ca))) < 0);
	ca_free(ca);
	ca = make(&(struct ca_options){.days = 2});
	assert_in_range(ca_expires(ca), now + 2 * DAY - 60, now + 2 * DAY + 60);
	ca_free(ca);
}

static void serials_are_long_and_never_the_same(void **state)
{
	struct ca *a = make(&(struct ca_options){0}), *b = make(&(struct ca_options){0});
	const ASN1_INTEGER *serial_a = X509_get0_serialNumber(ca_x509(a));
	const ASN1_INTEGER *serial_b = X509_get0_serialNumber(ca_x509(b));

	(void)state;
	/* 128 random bits: fewer than 96 of them once in 2^32. */
	assert_true(ASN1_STRING_length(serial_a) >= 12);
	assert_true(ASN1_STRING_length(serial_a) <= 20);
	assert_int_not_equal(ASN1_INTEGER_cmp(serial_a, serial_b), 0);
	assert_string_not_equal(ca_name(a), ca_name(b));
	ca_free(a);
	ca_free(b);
}

static void both_kinds_of_key_sign(void **state)
{
	struct ca *p256 = make(&(struct ca_options){.key_type = KEY_P256});
	struct ca *ed = make(&(struct ca_options){.key_type = KEY_ED25519});
	char text[32];

	(void)state;
	key_describe(ca_key(p256), text, sizeof(text));
	assert_string_equal(text, "P-256");
	key_describe(ca_key(ed), text, sizeof(text));
	assert_string_equal(text, "Ed25519");
	assert_int_equal(X509_verify(ca_x509(ed), ca_key(ed)), 1);
	ca_free(p256);
	ca_free(ed);
}

static void bad_options_are_refused(void **state)
{
	static const struct ca_options rows[] = {
	    {.domain = ""},
	    {.domain = "Upper.example"},
	    {.domain = "a/b"},
	    {.name = ""},
	    {.name = "bell\a"},
	    {.name = "12345678901234567890123456789012345678901234567890123456789012345"},
	    {.days = -1},
	    {.days = 36501},
	    {.days = INT64_MAX},
	};
	struct ca *ca = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(ca_new(&ca, &rows[i], &e), TX_EINVAL);
		assert_int_equal(e.code, TX_EINVAL);
		assert_null(ca);
	}
}

static void what_is_saved_is_loaded(void **state)
{
	char *dir = folder_path(*state, "pki"), *key = folder_path(*state, "pki/ca.key");
	struct ca *ca = make(&(struct ca_options){.domain = "lab.example"}), *again = NULL;
	struct stat st;

	assert_int_equal(ca_save(ca, dir, false, NULL), 0);
	assert_int_equal(ca_load(&again, dir, NULL), 0);
	assert_string_equal(ca_domain(again), "lab.example");
	assert_string_equal(ca_certificate(again, NULL), ca_certificate(ca, NULL));
	assert_int_equal(EVP_PKEY_eq(ca_key(ca), ca_key(again)), 1);
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	ca_free(ca);
	ca_free(again);
	free(dir);
	free(key);
}

static void an_authority_is_not_written_over_without_force(void **state)
{
	struct ca *one = make(&(struct ca_options){0}), *two = make(&(struct ca_options){0});
	struct ca *found = NULL;
	struct err e;

	assert_int_equal(ca_save(one, *state, false, NULL), 0);
	assert_int_equal(ca_save(two, *state, false, &e), TX_EEXIST);
	assert_int_equal(ca_load(&found, *state, NULL), 0);
	assert_string_equal(ca_name(found), ca_name(one));
	ca_free(found);
	assert_int_equal(ca_save(two, *state, true, NULL), 0);
	assert_int_equal(ca_load(&found, *state, NULL), 0);
	assert_string_equal(ca_name(found), ca_name(two));
	ca_free(found);
	ca_free(one);
	ca_free(two);
}

static void expect_load(const char *dir, int code, const char *sentence)
{
	struct ca *ca = NULL;
	struct err e = {0};

	assert_int_equal(ca_load(&ca, dir, &e), code);
	assert_null(ca);
	if (strstr(e.message, sentence) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", e.message, sentence);
}

static void what_cannot_be_loaded_is_told_apart(void **state)
{
	struct ca *ca = make(&(struct ca_options){0}), *other = make(&(struct ca_options){0});
	char *certificate = folder_path(*state, "ca.pem"), *key = folder_path(*state, "ca.key");
	char *elsewhere = folder_path(*state, "elsewhere");
	char *others_key = folder_path(*state, "elsewhere/ca.key");

	expect_load(*state, TX_ENOENT, "there is no authority in ");
	assert_int_equal(ca_save(ca, *state, false, NULL), 0);
	assert_int_equal(ca_save(other, elsewhere, false, NULL), 0);
	assert_int_equal(chmod(key, 0644), 0);
	expect_load(*state, TX_EPERM, "chmod 600");
	assert_int_equal(rename(others_key, key), 0);
	expect_load(*state, TX_ECERT, "is not the key of the authority beside it");
	assert_int_equal(certfile_write(key, "junk", 4, CERTFILE_KEY, true, NULL), 0);
	expect_load(*state, TX_ECERT, "has no private key in it");
	assert_int_equal(unlink(key), 0);
	expect_load(*state, TX_ESYS, "ca.key");
	assert_int_equal(
	    certfile_write(certificate, "junk", 4, CERTFILE_CERTIFICATE, true, NULL), 0);
	expect_load(*state, TX_ECERT, "has no certificate in it");
	free(certificate);
	free(key);
	free(elsewhere);
	free(others_key);
	ca_free(ca);
	ca_free(other);
}

static long path_length(X509 *x)
{
	BASIC_CONSTRAINTS *basic = X509_get_ext_d2i(x, NID_basic_constraints, NULL, NULL);
	long n;

	assert_non_null(basic);
	assert_true(basic->ca != 0);
	n = basic->pathlen == NULL ? -1 : ASN1_INTEGER_get(basic->pathlen);
	BASIC_CONSTRAINTS_free(basic);
	return n;
}

static void an_intermediate_issues_and_the_roots_key_may_go(void **state)
{
	char *key = folder_path(*state, "ca.key"), *own = folder_path(*state, "intermediate.key");
	struct ca *ca = make(&(struct ca_options){.intermediate = true, .name = "Lab"});
	struct ca *again = NULL, *plain = make(&(struct ca_options){0});
	struct stat st;

	assert_int_equal(path_length(ca_root(ca)), 1);
	assert_int_equal(path_length(ca_x509(ca)), 0);
	assert_int_equal(X509_check_issued(ca_root(ca), ca_x509(ca)), X509_V_OK);
	assert_int_equal(X509_verify(ca_x509(ca), X509_get0_pubkey(ca_root(ca))), 1);
	assert_int_equal(EVP_PKEY_eq(ca_key(ca), X509_get0_pubkey(ca_root(ca))), 0);
	assert_string_equal(ca_name(ca), "Lab");
	assert_int_equal(ca_save(ca, *state, false, NULL), 0);
	assert_int_equal(stat(own, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(unlink(key), 0);
	assert_int_equal(ca_load(&again, *state, NULL), 0);
	assert_string_equal(ca_chain(again, NULL), ca_chain(ca, NULL));
	assert_string_equal(ca_certificate(again, NULL), ca_certificate(ca, NULL));
	assert_string_not_equal(ca_chain(again, NULL), "");
	assert_int_equal(EVP_PKEY_eq(ca_key(again), ca_key(ca)), 1);
	ca_free(again);
	/* One without takes its place whole. */
	assert_int_equal(ca_save(plain, *state, false, NULL), TX_EEXIST);
	assert_int_equal(ca_save(plain, *state, true, NULL), 0);
	assert_int_equal(ca_load(&again, *state, NULL), 0);
	assert_string_equal(ca_chain(again, NULL), "");
	assert_int_equal(folder_count(*state), 2);
	ca_free(again);
	ca_free(plain);
	ca_free(ca);
	free(key);
	free(own);
}

static void anothers_intermediate_is_refused(void **state)
{
	char *other = folder_path(*state, "other"), *here = folder_path(*state, "ca.pem");
	char *theirs = folder_path(*state, "other/ca.pem");
	struct ca *a = make(&(struct ca_options){.intermediate = true, .name = "Lab"});
	struct ca *b = make(&(struct ca_options){.intermediate = true, .name = "Lab"});

	assert_int_equal(ca_save(a, *state, false, NULL), 0);
	assert_int_equal(ca_save(b, other, false, NULL), 0);
	assert_int_equal(rename(theirs, here), 0);
	expect_load(*state, TX_ECERT, "intermediate.pem is not signed by the authority");
	ca_free(a);
	ca_free(b);
	free(other);
	free(here);
	free(theirs);
}

static void expect_passphrase(
    const char *dir, const struct key_passphrase *p, int code, const char *sentence)
{
	struct ca *ca = NULL;
	struct err e = {0};

	assert_int_equal(ca_load_with(&ca, dir, p, &e), code);
	if (strstr(e.message, sentence) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", e.message, sentence);
	assert_true((ca != NULL) == (code == 0));
	ca_free(ca);
}

static void an_encrypted_key_wants_its_passphrase(void **state)
{
	char *file = folder_path(*state, "passphrase"), *empty = folder_path(*state, "empty");
	struct key_passphrase text = {key_passphrase_text, "correct horse"};
	struct key_passphrase wrong = {key_passphrase_text, "battery staple"};
	struct key_passphrase none = {key_passphrase_text, ""};
	struct key_passphrase from = {key_passphrase_file, file};
	struct key_passphrase from_empty = {key_passphrase_file, empty};
	struct ca *ca = make(&(struct ca_options){.intermediate = true});
	char got[KEY_PASSPHRASE_SIZE];
	int fd;

	assert_int_equal(ca_save_with(ca, *state, "short", false, NULL), TX_EINVAL);
	assert_int_equal(folder_count(*state), 0);
	assert_int_equal(ca_save_with(ca, *state, "correct horse", false, NULL), 0);
	assert_int_equal(
	    certfile_write(file, "correct horse\nmore\n", 19, CERTFILE_KEY, false, NULL), 0);
	assert_int_equal(certfile_write(empty, "\n", 1, CERTFILE_KEY, false, NULL), 0);
	expect_load(*state, TX_EPERM, "protected by a passphrase, and none was given");
	expect_passphrase(*state, &text, 0, "");
	expect_passphrase(*state, &from, 0, "");
	expect_passphrase(*state, &wrong, TX_EPERM, "the passphrase is not that of ");
	expect_passphrase(*state, &none, TX_EINVAL, "no passphrase");
	expect_passphrase(*state, &from_empty, TX_EINVAL, "has no passphrase in its first line");
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(key_passphrase_fd(fd, "it", got, sizeof(got), NULL), 0);
	assert_string_equal(got, "correct horse");
	assert_int_equal(chmod(file, 0640), 0);
	assert_int_equal(key_passphrase_fd(fd, "it", got, sizeof(got), NULL), TX_EPERM);
	close(fd);
	expect_passphrase(*state, &from, TX_EPERM, "chmod 600");
	ca_free(ca);
	free(file);
	free(empty);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_new_authority_signs_leaves_only),
	    cmocka_unit_test(it_is_valid_from_a_little_ago_for_ten_years),
	    cmocka_unit_test(serials_are_long_and_never_the_same),
	    cmocka_unit_test(both_kinds_of_key_sign),
	    cmocka_unit_test(bad_options_are_refused),
	    IN_FOLDER(what_is_saved_is_loaded),
	    IN_FOLDER(an_authority_is_not_written_over_without_force),
	    IN_FOLDER(what_cannot_be_loaded_is_told_apart),
	    IN_FOLDER(an_intermediate_issues_and_the_roots_key_may_go),
	    IN_FOLDER(anothers_intermediate_is_refused),
	    IN_FOLDER(an_encrypted_key_wants_its_passphrase),
	};

	return cmocka_run_group_tests_name("ca", tests, NULL, NULL);
}
