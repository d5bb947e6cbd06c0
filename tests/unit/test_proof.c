/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "certs/proof.h"

static const char csr[] = "the bytes of a request";

static EVP_PKEY *key_of(const char *type)
{
	EVP_PKEY *key = strcmp(type, "RSA") == 0  ? EVP_RSA_gen(2048)
	                : strcmp(type, "EC") == 0 ? EVP_EC_gen("P-256")
	                                          : EVP_PKEY_Q_keygen(NULL, NULL, type);

	assert_non_null(key);
	return key;
}

static void only_its_own_key_and_request_fit(void **state)
{
	static const char *const types[] = {"EC", "ED25519", "RSA"};

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		/* Under valgrind the search for primes alone takes half a minute. */
		if (strcmp(types[i], "RSA") == 0 && getenv("TELEX_TEST_SLOW") != NULL)
			continue;
		EVP_PKEY *key = key_of(types[i]), *other = key_of(types[i]);
		uint8_t *signature = NULL;
		size_t len = 0;

		assert_int_equal(proof_make(key, csr, sizeof(csr), &signature, &len, NULL), 0);
		assert_true(len > 0 && len <= PROOF_MAX);
		assert_int_equal(proof_check(key, csr, sizeof(csr), signature, len, NULL), 0);
		assert_int_equal(
		    proof_check(other, csr, sizeof(csr), signature, len, NULL), TX_EPERM);
		assert_int_equal(
		    proof_check(key, csr, sizeof(csr) - 1, signature, len, NULL), TX_EPERM);
		assert_int_equal(
		    proof_check(key, csr, sizeof(csr), signature, len - 1, NULL), TX_EPERM);
		signature[len / 2] ^= 1;
		assert_int_equal(
		    proof_check(key, csr, sizeof(csr), signature, len, NULL), TX_EPERM);
		free(signature);
		EVP_PKEY_free(key);
		EVP_PKEY_free(other);
	}
}

/* A signature over the request alone, as TLS or a request itself has one, is no proof. */
static void the_context_is_signed_too(void **state)
{
	EVP_PKEY *key = key_of("ED25519");
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t signature[64];
	size_t len = sizeof(signature);

	(void)state;
	assert_int_equal(EVP_DigestSignInit(md, NULL, NULL, NULL, key), 1);
	assert_int_equal(EVP_DigestSign(md, signature, &len, (const uint8_t *)csr, sizeof(csr)), 1);
	assert_int_equal(proof_check(key, csr, sizeof(csr), signature, len, NULL), TX_EPERM);
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
}

static void nonsense_is_refused(void **state)
{
	EVP_PKEY *key = key_of("EC");
	uint8_t large[PROOF_MAX + 1] = {0};

	(void)state;
	assert_int_equal(proof_check(key, csr, sizeof(csr), "", 0, NULL), TX_EPERM);
	assert_int_equal(proof_check(key, csr, sizeof(csr), large, sizeof(large), NULL), TX_EPERM);
	assert_int_equal(proof_check(key, "", 0, large, 70, NULL), TX_EPERM);
	EVP_PKEY_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_its_own_key_and_request_fit),
	    cmocka_unit_test(the_context_is_signed_too),
	    cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
