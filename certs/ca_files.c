/* SPDX-License-Identifier: Apache-2.0 */
/* An authority's folder. */
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certs/ca_internal.h"
#include "certs/certfile.h"
#include "certs/pem.h"
#include "common/tls.h"

struct paths {
	char root[PATH_MAX], root_key[PATH_MAX];
	char intermediate[PATH_MAX], intermediate_key[PATH_MAX];
};

static int paths_in(struct paths *p, const char *dir, struct err *e)
{
	int rc = certfile_path(p->root, dir, CA_CERTIFICATE_FILE, "", e);

	if (rc == 0)
		rc = certfile_path(p->root_key, dir, CA_KEY_FILE, "", e);
	if (rc == 0)
		rc = certfile_path(p->intermediate, dir, CA_INTERMEDIATE_FILE, "", e);
	if (rc == 0)
		rc = certfile_path(p->intermediate_key, dir, CA_INTERMEDIATE_KEY_FILE, "", e);
	return rc;
}

/* ---- load ---- */

static int read_authority(X509 **out, const char *path, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = tls_read_file(path, &text, &len, e);

	if (rc == 0)
		rc = pem_to_certificate(out, text, len, path, e);
	tls_text_free(text, len);
	if (rc == 0 && (X509_get_extension_flags(*out) & EXFLAG_CA) == 0)
		rc = err_set(e, TX_ECERT, "%s is not the certificate of an authority", path);
	return rc;
}

static int read_intermediate(struct ca *ca, const struct paths *p, struct err *e)
{
	int rc = read_authority(&ca->x, p->intermediate, e);
	EVP_PKEY *key = X509_get0_pubkey(ca->root);

	if (rc == 0 && (X509_check_issued(ca->root, ca->x) != X509_V_OK || key == NULL ||
	                   X509_verify(ca->x, key) != 1))
		rc = err_set(e, TX_ECERT, "%s is not signed by the authority in %s beside it",
		    p->intermediate, CA_CERTIFICATE_FILE);
	ERR_clear_error();
	return rc;
}

static int read_key(struct ca *ca, const char *path, const struct key_passphrase *p, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = certfile_read_key(path, &text, &len, e);

	if (rc == 0)
		rc = key_from_pem_with(&ca->key, text, len, path, p, e);
	tls_text_free(text, len);
	if (rc == 0 && X509_check_private_key(ca->x, ca->key) != 1)
		rc = err_set(e, TX_ECERT, "%s is not the key of the authority beside it", path);
	ERR_clear_error();
	return rc;
}

static int read_all(
    struct ca *ca, const struct paths *p, const struct key_passphrase *passphrase, struct err *e)
{
	bool intermediate = certfile_exists(p->intermediate);
	int rc = read_authority(&ca->root, p->root, e);

	if (rc == 0 && intermediate)
		rc = read_intermediate(ca, p, e);
	if (rc == 0 && !intermediate) {
		X509_up_ref(ca->root);
		ca->x = ca->root;
	}
	if (rc == 0)
		rc = ca_complete(ca, p->root, e);
	if (rc == 0)
		rc = read_key(ca, intermediate ? p->intermediate_key : p->root_key, passphrase, e);
	return rc;
}

int ca_load_with(struct ca **out, const char *dir, const struct key_passphrase *p, struct err *e)
{
	struct paths *paths = malloc(sizeof(*paths));
	struct ca *ca = calloc(1, sizeof(*ca));
	int rc = paths == NULL || ca == NULL ? err_set(e, TX_ENOMEM, "out of memory")
	                                     : paths_in(paths, dir, e);

	if (rc == 0 && access(paths->root, F_OK) < 0 && errno == ENOENT)
		rc = err_set(
		    e, TX_ENOENT, "there is no authority in %s (no %s)", dir, CA_CERTIFICATE_FILE);
	if (rc == 0)
		rc = read_all(ca, paths, p, e);
	free(paths);
	if (rc == 0)
		*out = ca;
	else
		ca_free(ca);
	return rc;
}

int ca_load(struct ca **out, const char *dir, struct err *e)
{
	return ca_load_with(out, dir, NULL, e);
}

/* ---- save ---- */

static int write_pair(const char *certificate, const char *pem, size_t pem_len,
    const char *key_path, EVP_PKEY *key, const char *passphrase, bool force, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = passphrase == NULL ? key_to_pem(key, &text, &len, e)
	                            : key_to_pem_encrypted(key, passphrase, &text, &len, e);

	if (rc == 0)
		rc = certfile_write_pair(certificate, pem, pem_len, key_path, text, len, force, e);
	tls_text_free(text, len);
	return rc;
}

static int refuse_there(const struct paths *p, struct err *e)
{
	const char *const all[] = {p->root, p->root_key, p->intermediate, p->intermediate_key};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (certfile_exists(all[i]))
			return err_set(
			    e, TX_EEXIST, "%s is there already; --force writes over it", all[i]);
	}
	return 0;
}

/* An authority without an intermediate has none of another's. */
static int remove_intermediate(const struct paths *p, struct err *e)
{
	const char *const both[] = {p->intermediate, p->intermediate_key};

	for (size_t i = 0; i < 2; i++) {
		if (unlink(both[i]) < 0 && errno != ENOENT)
			return err_sys(e, errno, "cannot remove the old %s", both[i]);
	}
	return 0;
}

static int write_all(
    const struct ca *ca, const struct paths *p, const char *passphrase, bool force, struct err *e)
{
	EVP_PKEY *root_key = ca->root_key == NULL ? ca->key : ca->root_key;
	int rc = 0;

	/* Nothing can be issued before the root is there, and it comes last. */
	if (ca->x != ca->root)
		rc = write_pair(p->intermediate, ca->chain, ca->chain_len, p->intermediate_key,
		    ca->key, passphrase, force, e);
	if (rc == 0)
		rc = write_pair(
		    p->root, ca->pem, ca->pem_len, p->root_key, root_key, passphrase, force, e);
	if (rc == 0 && ca->x == ca->root && force)
		rc = remove_intermediate(p, e);
	return rc;
}

int ca_save_with(
    const struct ca *ca, const char *dir, const char *passphrase, bool force, struct err *e)
{
	struct paths *p = malloc(sizeof(*p));
	int rc = p == NULL ? err_set(e, TX_ENOMEM, "out of memory") : paths_in(p, dir, e);

	if (rc == 0 && ca->x != ca->root && ca->root_key == NULL)
		rc = err_set(e, TX_ESTATE, "the root's key is not at hand");
	if (rc == 0)
		rc = certfile_make_dir(dir, e);
	if (rc == 0 && !force)
		rc = refuse_there(p, e);
	if (rc == 0)
		rc = write_all(ca, p, passphrase, force, e);
	free(p);
	return rc;
}

int ca_save(const struct ca *ca, const char *dir, bool force, struct err *e)
{
	return ca_save_with(ca, dir, NULL, force, e);
}
