/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a revocation list, for workers, telex-renew and clients, so the library links it, too:
 * PEM, then who signed it, then the serials as a sorted table. A list
 * that was read needs no memory to be asked, so no want of it can make a revoked certificate a good
 * one; and a serial that cannot be read counts as revoked.
 */
#include "certs/crl.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/sort.h"
#include "common/tls_cert.h"

#define SERIAL_MAX 32 /* bytes; RFC 5280 allows 20 */

_Static_assert(REVOCATION_ISSUER_SIZE == 2 * SHA256_DIGEST_LENGTH + 1, "a SHA-256 and its NUL");

struct serial {
	uint8_t len; /* without zeros in front */
	uint8_t bytes[SERIAL_MAX];
};

struct crl {
	char issuer[REVOCATION_ISSUER_SIZE];
	int64_t number, this_update, next_update;
	size_t n;
	struct serial *serials; /* sorted */
};

static int no_memory(struct err *e)
{
	ERR_clear_error();
	return err_set(e, TX_ENOMEM, "out of memory");
}

static int refused(struct err *e, const char *why)
{
	ERR_clear_error();
	return err_set(e, TX_ECERT, "the revocation list %s", why);
}

static bool is_no_memory(void)
{
	return ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
}

/* ---- serials ---- */

static int by_serial(const void *a, const void *b)
{
	const struct serial *one = a, *two = b;

	if (one->len != two->len)
		return one->len < two->len ? -1 : 1;
	return memcmp(one->bytes, two->bytes, one->len);
}

static bool serial_from_bytes(struct serial *out, const uint8_t *bytes, size_t len)
{
	while (len > 0 && bytes[0] == 0) {
		bytes++;
		len--;
	}
	if (len > SERIAL_MAX)
		return false;
	out->len = (uint8_t)len;
	memcpy(out->bytes, bytes, len);
	return true;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool serial_from_text(struct serial *out, const char *text)
{
	size_t len = strlen(text), n = 0;
	uint8_t bytes[SERIAL_MAX];

	if (len == 0 || len > 2 * sizeof(bytes))
		return false;
	for (size_t at = 0; at < len; n++) {
		/* An odd number of digits: the first stands alone. */
		bool alone = at == 0 && len % 2 != 0;
		int high = alone ? 0 : digit(text[at++]);
		int low = digit(text[at++]);

		if (high < 0 || low < 0)
			return false;
		bytes[n] = (uint8_t)(high << 4 | low);
	}
	return serial_from_bytes(out, bytes, n);
}

/* ---- the parts of a list ---- */

/* One list, and no second. */
static int find_list(X509_CRL **out, const char *pem, size_t len, struct err *e)
{
	BIO *in = BIO_new_mem_buf(pem, (int)len);
	X509_CRL *more = NULL;
	int rc = 0;

	if (in == NULL)
		return no_memory(e);
	*out = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL);
	if (*out == NULL)
		rc = is_no_memory() ? no_memory(e)
		                    : refused(e, "cannot be read (PEM, BEGIN X509 CRL)");
	else
		more = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL);
	if (more != NULL) {
		rc = refused(e, "is two lists in one text");
		X509_CRL_free(more);
	}
	BIO_free(in);
	ERR_clear_error();
	return rc;
}

static int read_certificates(STACK_OF(X509) * to, const char *pem, size_t len, struct err *e)
{
	BIO *in = len > INT32_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
	int rc = 0;
	X509 *x;

	if (in == NULL)
		return no_memory(e);
	while (rc == 0 && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(to, x) > 0)
			continue;
		X509_free(x);
		rc = no_memory(e);
	}
	if (rc == 0 && is_no_memory())
		rc = no_memory(e);
	BIO_free(in);
	ERR_clear_error();
	return rc;
}

static bool signed_by(X509_CRL *list, X509 *x)
{
	EVP_PKEY *key = X509_get0_pubkey(x);

	return key != NULL &&
	       X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(x)) == 0 &&
	       (X509_get_extension_flags(x) & EXFLAG_CA) != 0 &&
	       (X509_get_key_usage(x) & KU_CRL_SIGN) != 0 && X509_CRL_verify(list, key) == 1;
}

/* Whether a certificate that came along with the list leads to one that is trusted. */
static bool leads_to(X509 *x, STACK_OF(X509) * trusted, STACK_OF(X509) * along)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool ok = store != NULL && ctx != NULL;

	for (int i = 0; ok && i < sk_X509_num(trusted); i++)
		ok = X509_STORE_add_cert(store, sk_X509_value(trusted, i)) == 1;
	ok = ok && X509_STORE_CTX_init(ctx, store, x, along) == 1 && X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return ok;
}

static int issuer_of(
    char out[REVOCATION_ISSUER_SIZE], const X509_NAME *name, X509 *x, struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char hash[2][EVP_MAX_MD_SIZE], both[SHA256_DIGEST_LENGTH];
	unsigned int n[2], size;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = ctx != NULL && X509_NAME_digest(name, EVP_sha256(), hash[0], &n[0]) == 1 &&
	          X509_pubkey_digest(x, EVP_sha256(), hash[1], &n[1]) == 1 &&
	          EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	          EVP_DigestUpdate(ctx, hash[0], n[0]) == 1 &&
	          EVP_DigestUpdate(ctx, hash[1], n[1]) == 1 &&
	          EVP_DigestFinal_ex(ctx, both, &size) == 1;

	EVP_MD_CTX_free(ctx);
	if (!ok)
		return no_memory(e);
	for (size_t i = 0; i < sizeof(both); i++) {
		out[2 * i] = digits[both[i] >> 4];
		out[2 * i + 1] = digits[both[i] & 15];
	}
	out[2 * sizeof(both)] = '\0';
	return 0;
}

static int take_issuer(struct crl *c, X509_CRL *list, X509 *x, struct err *e)
{
	return issuer_of(c->issuer, X509_CRL_get_issuer(list), x, e);
}

static int check_signer(
    struct crl *c, X509_CRL *list, STACK_OF(X509) * trusted, STACK_OF(X509) * along, struct err *e)
{
	char issuer[TLS_NAME_SIZE];
	bool known = false;
	X509 *x;

	for (int i = 0; i < sk_X509_num(trusted) + sk_X509_num(along); i++) {
		bool root = i < sk_X509_num(trusted);

		x = root ? sk_X509_value(trusted, i)
		         : sk_X509_value(along, i - sk_X509_num(trusted));
		known |=
		    root && X509_NAME_cmp(X509_CRL_get_issuer(list), X509_get_subject_name(x)) == 0;
		if (signed_by(list, x) && (root || leads_to(x, trusted, along))) {
			ERR_clear_error();
			return take_issuer(c, list, x, e);
		}
	}
	ERR_clear_error();
	if (known)
		return refused(e, "is not signed by the authority that it names");
	tls_name_text(X509_CRL_get_issuer(list), issuer, sizeof(issuer));
	return err_set(e, TX_EPERM,
	    "the revocation list is of an authority (\"%s\") that is not trusted here", issuer);
}

static int verify(struct crl *c, X509_CRL *list, const char *pem, size_t len, const char *ca_pem,
    size_t ca_len, struct err *e)
{
	STACK_OF(X509) *trusted = sk_X509_new_null(), *along = sk_X509_new_null();
	int rc = trusted == NULL || along == NULL ? no_memory(e) : 0;

	if (rc == 0)
		rc = read_certificates(trusted, ca_pem, ca_len, e);
	if (rc == 0)
		rc = read_certificates(along, pem, len, e);
	if (rc == 0)
		rc = check_signer(c, list, trusted, along, e);
	sk_X509_pop_free(trusted, X509_free);
	sk_X509_pop_free(along, X509_free);
	return rc;
}

static int read_number(struct crl *c, X509_CRL *list, struct err *e)
{
	ASN1_INTEGER *number = X509_CRL_get_ext_d2i(list, NID_crl_number, NULL, NULL);
	int rc = 0;

	if (number == NULL || ASN1_INTEGER_get_int64(&c->number, number) != 1 || c->number < 0)
		rc = refused(e, "has no number");
	ASN1_INTEGER_free(number);
	return rc;
}

static int read_own_signer(
    struct crl *c, X509_CRL *list, const char *pem, size_t len, struct err *e)
{
	STACK_OF(X509) *along = sk_X509_new_null();
	int rc = along == NULL ? no_memory(e) : read_certificates(along, pem, len, e);
	bool found = false;

	for (int i = 0; rc == 0 && !found && i < sk_X509_num(along); i++) {
		found = signed_by(list, sk_X509_value(along, i));
		if (found)
			rc = take_issuer(c, list, sk_X509_value(along, i), e);
	}
	ERR_clear_error();
	sk_X509_pop_free(along, X509_free);
	return rc != 0 || found ? rc : refused(e, "is signed by nobody whose certificate it has");
}

int crl_says(char issuer[REVOCATION_ISSUER_SIZE], int64_t *number, const char *pem, size_t len,
    struct err *e)
{
	struct crl c = {.number = -1};
	X509_CRL *list = NULL;
	int rc = len > CRL_MAX ? refused(e, "is too long") : find_list(&list, pem, len, e);

	if (rc == 0)
		rc = read_own_signer(&c, list, pem, len, e);
	if (rc == 0)
		rc = read_number(&c, list, e);
	X509_CRL_free(list);
	if (rc != 0)
		return rc;
	memcpy(issuer, c.issuer, sizeof(c.issuer));
	*number = c.number;
	return 0;
}

int crl_issuer_trusted(
    bool *trusted, const char *issuer, const char *ca_pem, size_t ca_len, struct err *e)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	char one[REVOCATION_ISSUER_SIZE];
	int rc = all == NULL ? no_memory(e) : read_certificates(all, ca_pem, ca_len, e);

	*trusted = false;
	for (int i = 0; rc == 0 && !*trusted && i < sk_X509_num(all); i++) {
		X509 *x = sk_X509_value(all, i);

		rc = issuer_of(one, X509_get_subject_name(x), x, e);
		*trusted = rc == 0 && strcmp(one, issuer) == 0;
	}
	sk_X509_pop_free(all, X509_free);
	return rc;
}

/* What changes what a list means is not passed over: a part of a list, a list of some only. */
static int check_extensions(const STACK_OF(X509_EXTENSION) * all, struct err *e)
{
	for (int i = 0; i < sk_X509_EXTENSION_num(all); i++)
		if (X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(all, i)) != 0)
			return refused(e, "is of a kind that telex does not know");
	return 0;
}

static int read_serials(struct crl *c, X509_CRL *list, struct err *e)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(list);
	int count = sk_X509_REVOKED_num(all), rc;

	if (count <= 0)
		return 0;
	c->serials = calloc((size_t)count, sizeof(*c->serials));
	if (c->serials == NULL)
		return no_memory(e);
	for (int i = 0; i < count; i++) {
		const X509_REVOKED *r = sk_X509_REVOKED_value(all, i);
		const ASN1_INTEGER *number = X509_REVOKED_get0_serialNumber(r);

		rc = check_extensions(X509_REVOKED_get0_extensions(r), e);
		if (rc != 0)
			return rc;
		if (number->length < 0 ||
		    !serial_from_bytes(&c->serials[i], number->data, (size_t)number->length))
			return refused(e, "has a serial number that is too long");
	}
	c->n = (size_t)count;
	sort_in_place(c->serials, c->n, sizeof(*c->serials), by_serial);
	return 0;
}

/* ---- the whole ---- */

int crl_read(
    struct crl **out, const char *pem, size_t len, const char *ca_pem, size_t ca_len, struct err *e)
{
	X509_CRL *list = NULL;
	struct crl *c;
	int rc = 0;

	if (len > CRL_MAX)
		return refused(e, "is too long");
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return no_memory(e);
	c->number = -1;
	ERR_clear_error();
	if (len > 0) {
		rc = find_list(&list, pem, len, e);
		if (rc == 0)
			rc = verify(c, list, pem, len, ca_pem, ca_len, e);
		if (rc == 0)
			rc = read_number(c, list, e);
		if (rc == 0)
			rc = check_extensions(X509_CRL_get0_extensions(list), e);
		if (rc == 0)
			rc = read_serials(c, list, e);
		if (rc == 0) {
			c->this_update = tls_time_epoch(X509_CRL_get0_lastUpdate(list));
			c->next_update = tls_time_epoch(X509_CRL_get0_nextUpdate(list));
		}
		X509_CRL_free(list);
	}
	if (rc == 0)
		*out = c;
	else
		crl_free(c);
	return rc;
}

void crl_free(struct crl *c)
{
	if (c == NULL)
		return;
	free(c->serials);
	free(c);
}

const char *crl_issuer(const struct crl *c)
{
	return c->issuer;
}

int64_t crl_number(const struct crl *c)
{
	return c->number;
}

int64_t crl_this_update(const struct crl *c)
{
	return c->this_update;
}

int64_t crl_next_update(const struct crl *c)
{
	return c->next_update;
}

size_t crl_count(const struct crl *c)
{
	return c->n;
}

bool crl_revoked(const struct crl *c, const char *serial)
{
	struct serial s = {0};

	if (!serial_from_text(&s, serial))
		return true;
	return c->n > 0 && bsearch(&s, c->serials, c->n, sizeof(s), by_serial) != NULL;
}
