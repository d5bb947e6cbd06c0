/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/enroll_request.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certs/certfile.h"
#include "certs/csr.h"
#include "certs/sans.h"
#include "common/mem.h"
#include "common/tls.h"

struct wanted {
	const char *identity;
	const char *const *sans;
	size_t n_sans;
	enum key_type type;
};

/* ---- one that is there ---- */

/* "spiffe://lab.example/agent/db1 (db1.example, 10.0.0.9)" */
static char *names_of(const struct csr *csr)
{
	char *text = xstrdup(csr->identity[0] != '\0' ? csr->identity : "nobody"), *longer;

	for (size_t i = 0; i < csr->n_sans; i++) {
		longer = xasprintf("%s%s%s", text, i == 0 ? " (" : ", ", csr->sans[i]);
		free(text);
		text = longer;
	}
	longer = xasprintf("%s%s", text, csr->n_sans > 0 ? ")" : "");
	free(text);
	return longer;
}

static int anothers(const struct enroll_request *r, const struct csr *csr, struct err *e)
{
	char *names = names_of(csr);

	err_set(e, TX_EEXIST,
	    "%s is the request of another enrolment that has no answer yet, of %.200s: enroll with "
	    "its token again to end it; --out names another folder, --force gives it up. Your "
	    "token "
	    "is still good",
	    r->path, names);
	free(names);
	return TX_EEXIST;
}

static int check(const struct enroll_request *r, const struct csr *csr, EVP_PKEY *key,
    const struct wanted *w, struct err *e)
{
	if (strcmp(csr->identity, w->identity) != 0 ||
	    !sans_same((const char *const *)csr->sans, csr->n_sans, w->sans, w->n_sans))
		return anothers(r, csr, e);
	if (X509_REQ_check_private_key(csr->req, key) == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, TX_ECERT, "its key is not that of its request");
}

/* text: a key and a request. What is not as wanted changes nothing. */
static int take(
    struct enroll_request *r, const char *text, size_t len, const struct wanted *w, struct err *e)
{
	EVP_PKEY *key = NULL;
	struct csr csr = {0};
	int rc = csr_read(&csr, text, len, e);

	if (rc != 0)
		return rc;
	rc = key_from_pem(&key, text, len, r->path, e);
	if (rc == 0)
		rc = check(r, &csr, key, w, e);
	if (rc == 0)
		r->der_len = i2d_X509_REQ(csr.req, &r->der);
	if (rc == 0 && r->der_len <= 0)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		rc = key_to_pem(key, &r->key, &r->key_len, e);
	EVP_PKEY_free(key);
	csr_clear(&csr);
	return rc;
}

static int no_request(const struct enroll_request *r, struct err *e)
{
	const struct err why = *e;

	return err_set(e, TX_EEXIST,
	    "%s is there already and is no request of an enrolment (%.150s); --out names another "
	    "folder, --force writes over it. The token is still good",
	    r->path, why.message);
}

/* TX_EEXIST: it is another's, or none. */
static int take_file(struct enroll_request *r, const struct wanted *w, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = certfile_read_key(r->path, &text, &len, e);

	if (rc != 0)
		return rc;
	rc = take(r, text, len, w, e);
	tls_text_free(text, len);
	return rc == 0 || rc == TX_EEXIST || rc == TX_ENOMEM ? rc : no_request(r, e);
}

/* ---- a new one ---- */

/* TX_EEXIST: somebody else has made one meanwhile. */
static int make(struct enroll_request *r, const struct wanted *w, bool force, struct err *e)
{
	char *csr = NULL, *key = NULL, *both;
	size_t csr_len = 0, key_len = 0;
	int rc =
	    csr_make(&csr, &csr_len, &key, &key_len, w->identity, w->sans, w->n_sans, w->type, e);

	if (rc != 0)
		return rc;
	both = xasprintf("%s%s", key, csr);
	rc = certfile_write(r->path, both, key_len + csr_len, CERTFILE_KEY, force, e);
	if (rc == 0)
		rc = take(r, both, key_len + csr_len, w, e);
	r->made = rc == 0;
	tls_text_free(both, key_len + csr_len);
	tls_text_free(key, key_len);
	tls_text_free(csr, csr_len);
	return rc;
}

int enroll_request_open(struct enroll_request *r, const char *identity, const char *const *sans,
    size_t n_sans, enum key_type type, bool force, struct err *e)
{
	const struct wanted w = {identity, sans, n_sans, type};
	int rc = 0;

	if (certfile_exists(r->path)) {
		rc = take_file(r, &w, e);
		return rc == TX_EEXIST && force ? make(r, &w, true, e) : rc;
	}
	rc = make(r, &w, false, e);
	return rc == TX_EEXIST ? take_file(r, &w, e) : rc;
}

static EVP_PKEY *key_at(const char *path)
{
	EVP_PKEY *key = NULL;
	char *text = NULL;
	size_t len = 0;

	if (certfile_read_key(path, &text, &len, NULL) == 0)
		(void)key_from_pem(&key, text, len, path, NULL);
	tls_text_free(text, len);
	return key;
}

bool enroll_request_answered(const struct enroll_request *r, const char *key_path)
{
	EVP_PKEY *ours = key_at(r->path), *there = ours != NULL ? key_at(key_path) : NULL;
	bool same = there != NULL && EVP_PKEY_eq(ours, there) == 1;

	ERR_clear_error();
	EVP_PKEY_free(ours);
	EVP_PKEY_free(there);
	return same;
}

void enroll_request_remove(const struct enroll_request *r)
{
	unlink(r->path);
}

void enroll_request_clear(struct enroll_request *r)
{
	OPENSSL_free(r->der);
	tls_text_free(r->key, r->key_len);
	r->der = NULL;
	r->key = NULL;
}
