/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/proof.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "certs/pem.h"

/* PROOF_CONTEXT, its NUL, the request; NULL when out of memory. */
static uint8_t *message(const void *csr, size_t csr_len, size_t *len)
{
	uint8_t *m;

	if (__builtin_add_overflow(sizeof(PROOF_CONTEXT), csr_len, len))
		return NULL;
	m = malloc(*len);
	if (m == NULL)
		return NULL;
	memcpy(m, PROOF_CONTEXT, sizeof(PROOF_CONTEXT));
	if (csr_len > 0)
		memcpy(m + sizeof(PROOF_CONTEXT), csr, csr_len);
	return m;
}

static bool begin(EVP_MD_CTX *md, EVP_PKEY *key, bool sign)
{
	const EVP_MD *hash = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
	EVP_PKEY_CTX *ctx = NULL;
	int ok = sign ? EVP_DigestSignInit(md, &ctx, hash, NULL, key)
	              : EVP_DigestVerifyInit(md, &ctx, hash, NULL, key);

	if (ok != 1 || !EVP_PKEY_is_a(key, "RSA"))
		return ok == 1;
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(
	           ctx, sign ? RSA_PSS_SALTLEN_DIGEST : RSA_PSS_SALTLEN_AUTO) == 1;
}

int proof_make(
    EVP_PKEY *key, const void *csr, size_t csr_len, uint8_t **signature, size_t *len, struct err *e)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t *m, *made = malloc(PROOF_MAX);
	size_t m_len, made_len = PROOF_MAX;
	int rc = 0;

	m = message(csr, csr_len, &m_len);
	if (md == NULL || m == NULL || made == NULL) {
		rc = err_set(e, TX_ENOMEM, "out of memory");
	} else if (!begin(md, key, true) || EVP_DigestSign(md, made, &made_len, m, m_len) != 1) {
		rc = pem_openssl_error(e, "the key cannot sign");
	} else {
		*signature = made;
		*len = made_len;
		made = NULL;
	}
	free(m);
	free(made);
	EVP_MD_CTX_free(md);
	return rc;
}

int proof_check(EVP_PKEY *key, const void *csr, size_t csr_len, const void *signature, size_t len,
    struct err *e)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	size_t m_len;
	uint8_t *m = message(csr, csr_len, &m_len);
	int rc = 0;

	if (md == NULL || m == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	else if (len > PROOF_MAX || !begin(md, key, false) ||
	         EVP_DigestVerify(md, signature, len, m, m_len) != 1)
		rc = err_set(e, TX_EPERM, "the signature is not of the certificate's key");
	ERR_clear_error();
	free(m);
	EVP_MD_CTX_free(md);
	return rc;
}
