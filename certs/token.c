/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text is "telex1." and base64url, without padding, of: kind, domain, name, address (each text
 * with its length before it), pin, secret, expires (64 bits, big-endian), number of hosts, the
 * hosts, and at the end the first CHECK_SIZE bytes of the SHA-256 of all of it. Only what
 * token_make would write is read: bits that mean nothing must be 0, so that no two texts are the
 * same token.
 */
#include "certs/token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX     "telex1."
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define CHECK_SIZE 8
#define BYTES_MAX  (TOKEN_TEXT_MAX / 4 * 3)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- the bytes ---- */

struct bytes {
	uint8_t at[BYTES_MAX];
	size_t len, read;
	bool bad; /* more than fits, or read beyond the end */
};

static void put(struct bytes *b, const void *data, size_t len)
{
	b->bad = b->bad || len > sizeof(b->at) - b->len;
	if (b->bad)
		return;
	memcpy(b->at + b->len, data, len);
	b->len += len;
}

static void put_byte(struct bytes *b, size_t value)
{
	uint8_t byte = (uint8_t)value;

	b->bad = b->bad || value > UINT8_MAX;
	put(b, &byte, 1);
}

static void put_text(struct bytes *b, const char *text)
{
	put_byte(b, strlen(text));
	put(b, text, strlen(text));
}

static void get(struct bytes *b, void *out, size_t len)
{
	b->bad = b->bad || len > b->len - b->read;
	if (b->bad) {
		memset(out, 0, len);
		return;
	}
	memcpy(out, b->at + b->read, len);
	b->read += len;
}

static size_t get_byte(struct bytes *b)
{
	uint8_t byte;

	get(b, &byte, 1);
	return byte;
}

/* size: of out, with room for a NUL. */
static void get_text(struct bytes *b, char *out, size_t size)
{
	size_t len = get_byte(b);

	b->bad = b->bad || len >= size;
	if (b->bad)
		len = 0;
	get(b, out, len);
	out[len] = '\0';
	b->bad = b->bad || strlen(out) != len;
}

static void check_sum(const struct bytes *b, size_t len, uint8_t out[CHECK_SIZE])
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	SHA256(b->at, len, hash);
	memcpy(out, hash, CHECK_SIZE);
	OPENSSL_cleanse(hash, sizeof(hash));
}

/* ---- base64url ---- */

static void encode(char *out, const struct bytes *b)
{
	uint32_t bits = 0;
	int n = 0;

	for (size_t i = 0; i < b->len; i++) {
		bits = bits << 8 | b->at[i];
		for (n += 8; n >= 6; n -= 6)
			*out++ = alphabet[bits >> (n - 6) & 63];
	}
	if (n > 0)
		*out++ = alphabet[bits << (6 - n) & 63];
	*out = '\0';
}

static bool decode(struct bytes *b, const char *text, size_t len)
{
	uint32_t bits = 0;
	int n = 0;

	for (size_t i = 0; i < len; i++) {
		const char *at = strchr(alphabet, text[i]);

		if (text[i] == '\0' || at == NULL)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		n += 6;
		if (n >= 8) {
			put_byte(b, bits >> (n - 8) & 255);
			n -= 8;
		}
	}
	/* What is left over of the last character means nothing. */
	return !b->bad && n < 6 && (bits & ((1u << n) - 1)) == 0;
}

/* ---- making ---- */

static void fill(struct bytes *b, const struct token *t)
{
	uint8_t sum[CHECK_SIZE], time[8];

	put_byte(b, (size_t)t->kind);
	put_text(b, t->domain);
	put_text(b, t->name);
	put_text(b, t->address);
	put(b, t->pin, sizeof(t->pin));
	put(b, t->secret, sizeof(t->secret));
	for (int i = 0; i < 8; i++)
		time[i] = (uint8_t)((uint64_t)t->expires >> (56 - 8 * i));
	put(b, time, sizeof(time));
	put_byte(b, t->n_sans);
	for (size_t i = 0; i < t->n_sans; i++)
		put_text(b, t->sans[i]);
	check_sum(b, b->len, sum);
	put(b, sum, sizeof(sum));
}

int token_make(struct token *t, char **text, struct err *e)
{
	struct bytes *b;
	char *out;
	int rc = 0;

	if (RAND_priv_bytes(t->secret, sizeof(t->secret)) != 1)
		return err_set(e, TX_ESYS, "no random bytes");
	b = calloc(1, sizeof(*b));
	out = malloc(TOKEN_TEXT_MAX + 1);
	if (b == NULL || out == NULL) {
		rc = err_set(e, TX_ENOMEM, "out of memory");
		goto out;
	}
	fill(b, t);
	if (b->bad || (b->len * 4 + 2) / 3 + PREFIX_LEN > TOKEN_TEXT_MAX) {
		rc = err_set(e, TX_EINVAL, "so many and long names do not fit in a token");
		goto out;
	}
	memcpy(out, PREFIX, PREFIX_LEN);
	encode(out + PREFIX_LEN, b);
	*text = out;
	out = NULL;
out:
	free(out);
	OPENSSL_clear_free(b, sizeof(*b));
	return rc;
}

void token_text_free(char *text)
{
	if (text != NULL)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

/* ---- reading ---- */

static int get_sans(struct token *t, struct bytes *b, struct err *e)
{
	char host[256];
	size_t n = get_byte(b);

	if (b->bad || n == 0)
		return 0;
	t->sans = calloc(n, sizeof(*t->sans));
	if (t->sans == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	for (size_t i = 0; i < n && !b->bad; i++) {
		get_text(b, host, sizeof(host));
		t->sans[i] = strdup(host);
		if (t->sans[i] == NULL)
			return err_set(e, TX_ENOMEM, "out of memory");
		t->n_sans = i + 1;
	}
	return 0;
}

/* Whether what fits its check sum also makes sense: any program can compute a sum. */
static int get_all(struct token *t, struct bytes *b, struct err *e)
{
	struct identity id;
	uint8_t time[8];
	int rc;

	t->kind = (enum identity_kind)get_byte(b);
	get_text(b, t->domain, sizeof(t->domain));
	get_text(b, t->name, sizeof(t->name));
	get_text(b, t->address, sizeof(t->address));
	get(b, t->pin, sizeof(t->pin));
	get(b, t->secret, sizeof(t->secret));
	get(b, time, sizeof(time));
	for (int i = 0; i < 8; i++)
		t->expires = (int64_t)((uint64_t)t->expires << 8 | time[i]);
	rc = get_sans(t, b, e);
	if (rc != 0)
		return rc;
	if (b->bad || b->read != b->len || t->address[0] == '\0' || t->expires < 0 ||
	    identity_make(&id, t->kind, t->domain, t->name, NULL) != 0)
		return err_set(e, TX_EINVAL, "the token is not one that telex makes");
	return 0;
}

/* What begins with "telex" and a number is a token of some version. */
static int check_prefix(const char *text, struct err *e)
{
	size_t digits;

	if (strncmp(text, PREFIX, PREFIX_LEN) == 0)
		return 0;
	digits = strncmp(text, "telex", 5) == 0 ? strspn(text + 5, "0123456789") : 0;
	if (digits > 0 && text[5 + digits] == '.')
		return err_set(e, TX_EINVAL,
		    "the token is of another version of telex, or mistyped: this one reads tokens "
		    "that begin with \"" PREFIX "\"");
	return err_set(e, TX_EINVAL, "that is no token: it does not begin with \"" PREFIX "\"");
}

static int parse(struct token *t, struct bytes *b, const char *text, struct err *e)
{
	uint8_t sum[CHECK_SIZE];
	size_t len = strlen(text);
	int rc = check_prefix(text, e);

	if (rc != 0)
		return rc;
	if (len > TOKEN_TEXT_MAX || !decode(b, text + PREFIX_LEN, len - PREFIX_LEN) ||
	    b->len <= CHECK_SIZE)
		return err_set(e, TX_EINVAL,
		    "the token is cut, mistyped or too long; copy the whole line once more");
	b->len -= CHECK_SIZE;
	check_sum(b, b->len, sum);
	if (CRYPTO_memcmp(sum, b->at + b->len, CHECK_SIZE) != 0)
		return err_set(e, TX_EINVAL,
		    "the token is cut or mistyped (its check sum is not right); copy the whole "
		    "line once more");
	return get_all(t, b, e);
}

int token_parse(struct token *out, const char *text, struct err *e)
{
	struct bytes *b = calloc(1, sizeof(*b));
	struct token t = {.n_sans = 0};
	int rc;

	if (b == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = parse(&t, b, text, e);
	OPENSSL_clear_free(b, sizeof(*b));
	if (rc == 0)
		*out = t;
	else
		token_clear(&t);
	return rc;
}

void token_clear(struct token *t)
{
	for (size_t i = 0; i < t->n_sans; i++)
		free(t->sans[i]);
	free(t->sans);
	OPENSSL_cleanse(t, sizeof(*t));
}

void token_hash(const uint8_t secret[TOKEN_SECRET_SIZE], uint8_t out[32])
{
	SHA256(secret, TOKEN_SECRET_SIZE, out);
}
