/* SPDX-License-Identifier: Apache-2.0 */
#include "common/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/err.h"

struct digest {
	EVP_MD_CTX *ctx;
	bool broken;
};

int digest_prepare(void)
{
	struct digest *d;
	uint8_t out[DIGEST_SIZE];
	int rc = TX_ENOMEM;

	/* openssl.cnf is none of our business. */
	if (OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
		return TX_ENOMEM;
	d = digest_new();
	if (d != NULL)
		rc = digest_end(d, out);
	digest_free(d);
	return rc;
}

struct digest *digest_new(void)
{
	struct digest *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->ctx = EVP_MD_CTX_new();
	if (d->ctx != NULL && digest_reset(d) == 0)
		return d;
	digest_free(d);
	return NULL;
}

void digest_free(struct digest *d)
{
	if (d == NULL)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

int digest_reset(struct digest *d)
{
	d->broken = EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) != 1;
	return d->broken ? TX_ENOMEM : 0;
}

int digest_add(struct digest *d, const void *data, size_t len)
{
	if (EVP_DigestUpdate(d->ctx, data, len) != 1)
		d->broken = true;
	return d->broken ? TX_ENOMEM : 0;
}

int digest_end(struct digest *d, uint8_t out[DIGEST_SIZE])
{
	if (d->broken || EVP_DigestFinal_ex(d->ctx, out, NULL) != 1)
		return TX_ENOMEM;
	return 0;
}

void digest_hex(char out[DIGEST_HEX_SIZE], const uint8_t digest[DIGEST_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_SIZE; i++) {
		out[2 * i] = digits[digest[i] >> 4];
		out[2 * i + 1] = digits[digest[i] & 15];
	}
	out[DIGEST_HEX_SIZE - 1] = '\0';
}
