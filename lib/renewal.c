/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/renewal.h"

#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/certshow.h"
#include "certs/crl.h"
#include "certs/csr.h"
#include "certs/key.h"
#include "certs/proof.h"
#include "common/revocation_file.h"
#include "common/rpc_status.h"
#include "common/tls.h"
#include "lib/telex.h"

#define TIMEOUT_MS INT64_C(20000)
#define HEAD       "# telex renewal of "

/* ---- one question, and its answer ---- */

struct asking {
	struct event_base *base;
	struct telex_client *client;
	bool done, failed;
	struct telex_error error;
	char *text; /* what was answered */
	size_t len;
};

static int no_memory(struct err *e)
{
	return err_set(e, TX_ENOMEM, "out of memory");
}

/* What the authority refuses, and asking again does not change, is TX_EPERM. */
static int failed(const struct asking *a, struct err *e)
{
	return err_set(
	    e, a->error.kind == TELEX_ERROR_STATUS ? TX_EPERM : TX_ECLOSED, "%s", a->error.message);
}

static int begin(struct asking *a, const struct renewal_from *from, struct err *e)
{
	const struct telex_authority authority = {.address = from->address,
	    .server_name = from->server_name,
	    .ca = from->ca,
	    .ca_len = from->ca_len,
	    .connect_timeout_ms = from->timeout_ms};

	a->base = event_base_new();
	if (a->base == NULL)
		return no_memory(e);
	return telex_authority_new(&a->client, a->base, &authority, &a->error) == 0 ? 0
	                                                                            : failed(a, e);
}

static void on_done(const struct telex_error *error, void *arg)
{
	struct asking *a = arg;

	a->done = true;
	a->failed = error != NULL;
	if (error != NULL)
		a->error = *error;
	event_base_loopbreak(a->base);
}

static int wait_for(struct asking *a, int asked, struct err *e)
{
	if (asked < 0)
		return failed(a, e);
	while (!a->done && event_base_loop(a->base, EVLOOP_ONCE) == 0)
		;
	if (!a->done)
		return err_set(e, TX_ESTATE, "the event loop ended without an answer");
	if (a->failed)
		return failed(a, e);
	return a->text == NULL ? no_memory(e) : 0;
}

static void end(struct asking *a)
{
	telex_client_free(a->client);
	if (a->base != NULL)
		event_base_free(a->base);
	free(a->text);
}

static void keep(struct asking *a, const char *text, size_t len)
{
	free(a->text);
	a->text = malloc(len + 1);
	if (a->text == NULL)
		return;
	memcpy(a->text, text, len);
	a->text[len] = '\0';
	a->len = len;
}

static void on_certificate(const struct telex_certificate *c, void *arg)
{
	keep(arg, c->chain, strlen(c->chain));
}

static void on_revocations(const char *pem, size_t len, void *arg)
{
	keep(arg, pem, len);
}

/* ---- the next certificate ---- */

struct next {
	struct certshow *now;
	size_t n_now;
	EVP_PKEY *key;
	unsigned char *csr;
	int csr_len;
	uint8_t *proof;
	size_t proof_len;
};

static void next_clear(struct next *n)
{
	certshow_free(n->now, n->n_now);
	EVP_PKEY_free(n->key);
	OPENSSL_free(n->csr);
	free(n->proof);
}

static enum key_type same_type(EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "ED25519"))
		return KEY_ED25519;
	return EVP_PKEY_is_a(key, "RSA") ? KEY_RSA : KEY_P256;
}

static int read_now(struct next *n, const char *certificate, size_t certificate_len,
    const char *key, size_t key_len, struct err *e)
{
	int rc =
	    certshow_read(&n->now, &n->n_now, certificate, certificate_len, "the certificate", e);

	if (rc == 0 && n->now[0].flaw[0] != '\0')
		rc = err_set(e, TX_ECERT, "the certificate %s", n->now[0].flaw);
	return rc == 0 ? key_from_pem(&n->key, key, key_len, "the key", e) : rc;
}

/* "# telex renewal of FINGERPRINT", and the two in PEM. */
static int make_request(const struct next *n, char **text, size_t *len, struct err *e)
{
	const struct certshow *now = &n->now[0];
	char *csr = NULL, *key = NULL, *both;
	size_t csr_len = 0, key_len = 0, size;
	int rc = csr_make(&csr, &csr_len, &key, &key_len, now->identity,
	    (const char *const *)now->hosts, now->hosts_len, same_type(n->key), e);

	if (rc != 0)
		return rc;
	size = sizeof(HEAD) + sizeof(now->fingerprint) + 1 + key_len + csr_len;
	both = malloc(size);
	if (both == NULL) {
		rc = no_memory(e);
	} else {
		*len = (size_t)snprintf(both, size, HEAD "%s\n%s%s", now->fingerprint, key, csr);
		*text = both;
	}
	tls_text_free(key, key_len);
	tls_text_free(csr, csr_len);
	return rc;
}

int renewal_request_make(char **text, size_t *len, const char *certificate, size_t certificate_len,
    const char *key, size_t key_len, struct err *e)
{
	struct next n = {.now = NULL};
	int rc = read_now(&n, certificate, certificate_len, key, key_len, e);

	if (rc == 0)
		rc = make_request(&n, text, len, e);
	next_clear(&n);
	return rc;
}

static bool is_of(const struct next *n, const char *text, size_t len)
{
	char head[sizeof(HEAD) + sizeof(n->now[0].fingerprint) + 1];
	size_t size = (size_t)snprintf(head, sizeof(head), HEAD "%s\n", n->now[0].fingerprint);

	return len > size && memcmp(text, head, size) == 0;
}

/* TX_ENOENT: it is none of this certificate's. */
static int take_request(
    struct next *n, struct renewal_pair *out, const char *text, size_t len, struct err *e)
{
	struct csr csr = {0};
	EVP_PKEY *key = NULL;
	int rc = is_of(n, text, len) ? csr_read(&csr, text, len, e) : TX_ENOENT;

	if (rc == 0)
		rc = key_from_pem(&key, text, len, "the kept key", e);
	if (rc == 0 && X509_REQ_check_private_key(csr.req, key) != 1)
		rc = TX_ENOENT;
	if (rc == 0 && (n->csr_len = i2d_X509_REQ(csr.req, &n->csr)) <= 0)
		rc = no_memory(e);
	if (rc == 0)
		rc = key_to_pem(key, &out->key, &out->key_len, e);
	EVP_PKEY_free(key);
	csr_clear(&csr);
	ERR_clear_error();
	return rc == 0 || rc == TX_ENOMEM
	           ? rc
	           : err_set(e, TX_ENOENT, "the request that was kept is of another certificate");
}

/* The request, and the old key's word for it. */
static int prepare(struct next *n, struct renewal_pair *out, const char *request,
    size_t request_len, struct err *e)
{
	char *made = NULL;
	size_t len = 0;
	int rc = 0;

	if (request_len == 0) {
		rc = make_request(n, &made, &len, e);
		if (rc == 0)
			rc = take_request(n, out, made, len, e);
		tls_text_free(made, len);
	} else {
		rc = take_request(n, out, request, request_len, e);
	}
	return rc != 0
	           ? rc
	           : proof_make(n->key, n->csr, (size_t)n->csr_len, &n->proof, &n->proof_len, e);
}

/* An authority that is in trouble may have signed all the same; one that says no has not, or not
 * for us. */
static bool is_final(const struct asking *a)
{
	return a->error.kind == TELEX_ERROR_STATUS &&
	       (a->error.code == RPC_INVALID_ARGUMENT || a->error.code == RPC_PERMISSION_DENIED ||
	           a->error.code == RPC_UNAUTHENTICATED);
}

/* As whoever is to use it will. */
static int check_pair(
    struct renewal_pair *p, const struct next *n, const struct renewal_from *from, struct err *e)
{
	const struct tls_material m = {.certificate = p->certificate,
	    .certificate_len = p->certificate_len,
	    .key = p->key,
	    .key_len = p->key_len,
	    .ca = from->ca,
	    .ca_len = from->ca_len,
	    .certificate_name = "the new certificate",
	    .key_name = "the new key"};
	struct tls_ctx *tls = NULL;
	int rc =
	    n->now[0].server ? tls_server_ctx_new(&tls, &m, e) : tls_client_ctx_new(&tls, &m, e);

	if (rc != 0)
		return rc;
	p->not_after = tls_ctx_expires(tls);
	if (strcmp(tls_ctx_identity(tls), n->now[0].identity) != 0)
		rc =
		    err_set(e, TX_ECERT, "the authority gave a certificate of another identity: %s",
		        tls_ctx_identity(tls));
	tls_ctx_free(tls);
	return rc;
}

int renewal_get(struct renewal_pair *out, const struct renewal_from *from, const char *certificate,
    size_t certificate_len, const char *key, size_t key_len, const char *request,
    size_t request_len, bool *over, struct err *e)
{
	struct asking a = {.base = NULL};
	struct renewal_pair p = {.certificate = NULL};
	struct next n = {.now = NULL};
	int rc = read_now(&n, certificate, certificate_len, key, key_len, e);

	*over = false;
	if (rc == 0) {
		rc = prepare(&n, &p, request, request_len, e);
		*over = rc == TX_ENOENT;
	}
	if (rc == 0)
		rc = begin(&a, from, e);
	if (rc == 0) {
		rc = wait_for(&a,
		    telex_renew(a.client, certificate, n.csr, (size_t)n.csr_len, n.proof,
		        n.proof_len, from->timeout_ms == 0 ? TIMEOUT_MS : from->timeout_ms,
		        on_certificate, on_done, &a, &a.error),
		    e);
		*over = rc != 0 && is_final(&a);
	}
	if (rc == 0) {
		p.certificate = a.text;
		p.certificate_len = a.len;
		a.text = NULL;
		rc = check_pair(&p, &n, from, e);
		*over = rc != 0 && rc != TX_ENOMEM;
	}
	end(&a);
	next_clear(&n);
	if (rc == 0)
		*out = p;
	else
		renewal_pair_clear(&p);
	return rc;
}

void renewal_pair_clear(struct renewal_pair *p)
{
	tls_text_free(p->certificate, p->certificate_len);
	tls_text_free(p->key, p->key_len);
	*p = (struct renewal_pair){0};
}

/* ---- revocations ---- */

/* What the caller has of an issuer's (NULL: of the only one), in a file as revocation_file.h has
 * it. What cannot be read counts as nothing. */
static int64_t number_of(
    const struct renewal_from *from, const char *issuer, const char *text, size_t len)
{
	struct revocation_record r;
	size_t at = 0, lists = 0;
	int64_t number = -1;

	while (revocation_next(text, len, &at, &r)) {
		struct crl *c = NULL;

		if (r.len == 0 || crl_read(&c, r.pem, r.len, from->ca, from->ca_len, NULL) != 0)
			continue;
		lists++;
		if (crl_number(c) > number &&
		    (issuer == NULL || strcmp(issuer, crl_issuer(c)) == 0))
			number = crl_number(c);
		crl_free(c);
	}
	return issuer == NULL && lists > 1 ? -1 : number;
}

int renewal_get_revocations(char **pem, struct revocation_record *list,
    const struct renewal_from *from, const char *held, size_t held_len, struct err *e)
{
	int64_t have = number_of(from, NULL, held, held_len);
	struct asking a = {.base = NULL};
	struct crl *c = NULL;
	int rc = begin(&a, from, e);

	if (rc == 0)
		rc = wait_for(&a,
		    telex_get_revocations(a.client, have > 0 ? have : 0,
		        from->timeout_ms == 0 ? TIMEOUT_MS : from->timeout_ms, on_revocations,
		        on_done, &a, &a.error),
		    e);
	if (rc == 0 && a.len > 0)
		rc = crl_read(&c, a.text, a.len, from->ca, from->ca_len, e);
	if (rc == 0) {
		*list = (struct revocation_record){.pem = a.text};
		if (c != NULL && crl_number(c) > number_of(from, crl_issuer(c), held, held_len)) {
			memcpy(list->issuer, crl_issuer(c), sizeof(list->issuer));
			list->number = crl_number(c);
			list->len = a.len;
		}
		*pem = a.text;
		a.text = NULL;
	}
	crl_free(c);
	end(&a);
	return rc;
}
