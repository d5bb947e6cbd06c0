/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An enrolment token: a text as it is, or, behind a first byte 1, the bytes within one, so that the
 * check sum is no wall.
 */
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "certs/token.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

#define SUM 8 /* bytes of the SHA-256 */

static void put(uint8_t **at, const void *data, size_t len)
{
	memcpy(*at, data, len);
	*at += len;
}

static void put_text(uint8_t **at, const char *text)
{
	*(*at)++ = (uint8_t)strlen(text);
	put(at, text, strlen(text));
}

/* What is read is all that there is: nothing of a token's bytes is without a meaning. */
static void check_whole(const struct token *t, const uint8_t *data, size_t size)
{
	uint8_t *bytes = xmalloc(2 * TOKEN_TEXT_MAX), *at = bytes;

	*at++ = (uint8_t)t->kind;
	put_text(&at, t->domain);
	put_text(&at, t->name);
	put_text(&at, t->address);
	put(&at, t->pin, sizeof(t->pin));
	put(&at, t->secret, sizeof(t->secret));
	for (int i = 56; i >= 0; i -= 8)
		*at++ = (uint8_t)((uint64_t)t->expires >> i);
	*at++ = (uint8_t)t->n_sans;
	for (size_t i = 0; i < t->n_sans; i++)
		put_text(&at, t->sans[i]);
	fuzz_require((size_t)(at - bytes) == size && memcmp(bytes, data, size) == 0);
	free(bytes);
}

static char *encode(const uint8_t *data, size_t size)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char *text = xmalloc(size * 2 + 16), *at = text;
	uint32_t bits = 0;
	int n = 0;

	memcpy(at, "telex1.", 7);
	at += 7;
	for (size_t i = 0; i < size; i++) {
		bits = bits << 8 | data[i];
		for (n += 8; n >= 6; n -= 6)
			*at++ = alphabet[bits >> (n - 6) & 63];
	}
	if (n > 0)
		*at++ = alphabet[bits << (6 - n) & 63];
	*at = '\0';
	return text;
}

/* The same with a new secret. */
static void check_made(struct token *t)
{
	struct token again;
	char *text = NULL;
	uint8_t hash[32];

	if (token_make(t, &text, NULL) != 0)
		return;
	fuzz_require(token_parse(&again, text, NULL) == 0);
	fuzz_require(again.kind == t->kind && strcmp(again.name, t->name) == 0);
	fuzz_require(again.n_sans == t->n_sans && again.expires == t->expires);
	token_hash(again.secret, hash);
	token_clear(&again);
	token_text_free(text);
}

static void parse(const char *text, const uint8_t *data, size_t size)
{
	struct err e = {0};
	struct token t;

	if (token_parse(&t, text, &e) != 0) {
		fuzz_require(e.message[0] != '\0');
		return;
	}
	fuzz_require(t.address[0] != '\0' && t.expires >= 0);
	if (data != NULL)
		check_whole(&t, data, size);
	check_made(&t);
	token_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t hash[SHA256_DIGEST_LENGTH], *sealed;
	char *text;

	if (size == 0 || data[0] != 1) {
		text = xmemdup0(data, size);
		parse(text, NULL, 0);
		free(text);
		return 0;
	}
	sealed = xmalloc(size + SUM);
	memcpy(sealed, data + 1, size - 1);
	SHA256(sealed, size - 1, hash);
	memcpy(sealed + size - 1, hash, SUM);
	text = encode(sealed, size - 1 + SUM);
	parse(text, data + 1, size - 1);
	free(text);
	free(sealed);
	return 0;
}
