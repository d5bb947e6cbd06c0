/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-renew: asks an authority for the agent's next certificate, or for its revocation list; or
 * reads the dates of the certificate that there is, or a revocation list that was brought; or
 * makes the request of the next certificate.
 * telexd starts it as the workers' user, gives it what it needs as descriptors, and takes what it
 * writes to its standard output (renew_frame.h); it opens no file of the agent's itself.
 */
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/renew/sandbox.h"
#include "certs/crl.h"
#include "common/fd_io.h"
#include "common/log.h"
#include "common/renew_frame.h"
#include "common/revocation_file.h"
#include "common/signals.h"
#include "common/tls.h"
#include "common/tls_cert.h"
#include "lib/renewal.h"

struct text {
	char *at;
	size_t len;
};

static int put(const char *first, size_t first_len, const char *second, size_t second_len)
{
	struct renew_frame f = {.magic = RENEW_FRAME_MAGIC,
	    .first = (uint32_t)first_len,
	    .second = (uint32_t)second_len};
	int error = fd_write_all(STDOUT_FILENO, &f, sizeof(f));

	if (error == 0)
		error = fd_write_all(STDOUT_FILENO, first, first_len);
	if (error == 0)
		error = fd_write_all(STDOUT_FILENO, second, second_len);
	if (error == 0)
		return EXIT_SUCCESS;
	log_error("the answer cannot be handed over: %s", strerror(error));
	return EXIT_FAILURE;
}

/* A whole file, of up to `max` bytes; what is not there, or is longer, is as empty. */
static struct text read_list(int fd, size_t max)
{
	struct text t = {malloc(max + 1), 0};

	if (t.at != NULL)
		(void)fd_read_all(fd, t.at, max + 1, &t.len);
	if (t.len > max)
		t.len = 0;
	return t;
}

static int read_pair(struct text *certificate, struct text *key, struct err *e)
{
	int rc = tls_read_fd(
	    RENEW_FD_CERTIFICATE, "the certificate", &certificate->at, &certificate->len, e);

	return rc == 0 ? tls_read_fd(RENEW_FD_KEY, "the key", &key->at, &key->len, e) : rc;
}

static int renew_certificate(const struct renewal_from *from)
{
	struct text certificate = {0}, key = {0},
	            request = read_list(RENEW_FD_REQUEST, RENEWAL_REQUEST_MAX);
	struct renewal_pair p = {.certificate = NULL};
	bool over = false;
	struct err e;
	int status = EXIT_FAILURE;
	int rc = read_pair(&certificate, &key, &e);

	if (rc == 0)
		rc = renewal_get(&p, from, certificate.at, certificate.len, key.at, key.len,
		    request.at, request.len, &over, &e);
	if (rc == 0)
		status = put(p.certificate, p.certificate_len, p.key, p.key_len);
	else
		log_warn("%s: %s", from->address, e.message);
	if (over)
		status = put("", 0, "", 0);
	renewal_pair_clear(&p);
	tls_text_free(certificate.at, certificate.len);
	tls_text_free(key.at, key.len);
	tls_text_free(request.at, request.len);
	return status;
}

/* What the agent's next certificate is asked for with, until there is an answer. */
static int make_request(void)
{
	struct text certificate = {0}, key = {0}, request = {0};
	int status = EXIT_FAILURE;
	struct err e;
	int rc = read_pair(&certificate, &key, &e);

	if (rc == 0)
		rc = renewal_request_make(&request.at, &request.len, certificate.at,
		    certificate.len, key.at, key.len, &e);
	if (rc == 0)
		status = put(request.at, request.len, "", 0);
	else
		log_warn("the agent's certificate: %s", e.message);
	tls_text_free(certificate.at, certificate.len);
	tls_text_free(key.at, key.len);
	tls_text_free(request.at, request.len);
	return status;
}

static int fetch_revocations(const struct renewal_from *from)
{
	struct text held = read_list(RENEW_FD_CERTIFICATE, REVOCATION_FILE_MAX);
	int status = EXIT_FAILURE;
	struct revocation_record list;
	char about[RENEW_FRAME_ABOUT_MAX];
	char *pem = NULL;
	struct err e;

	if (renewal_get_revocations(&pem, &list, from, held.at, held.len, &e) == 0) {
		const uint32_t about_len = renew_about_write(about, &list);

		status = put(list.pem, list.len, about, list.len > 0 ? about_len : 0);
	} else
		log_warn("%s: the revocation list: %s", from->address, e.message);
	free(pem);
	free(held.at);
	return status;
}

static int certificate_dates(int64_t *not_before, int64_t *not_after, struct err *e)
{
	struct text pem = {0};
	X509 *x = NULL;
	BIO *b = NULL;
	int rc = tls_read_fd(RENEW_FD_CERTIFICATE, "the certificate", &pem.at, &pem.len, e);

	if (rc != 0)
		return rc;
	b = BIO_new_mem_buf(pem.at, (int)pem.len);
	if (b != NULL)
		x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	if (x != NULL) {
		*not_before = tls_time_epoch(X509_get0_notBefore(x));
		*not_after = tls_time_epoch(X509_get0_notAfter(x));
	} else {
		rc = err_set(e, TX_ECERT, "it is no certificate");
	}
	X509_free(x);
	BIO_free(b);
	tls_text_free(pem.at, pem.len);
	return rc;
}

static int report_dates(void)
{
	char text[RENEW_FRAME_DATES_MAX];
	int64_t not_before = 0, not_after = 0;
	struct err e;

	if (certificate_dates(&not_before, &not_after, &e) == 0)
		return put(text, renew_dates_write(text, not_before, not_after), "", 0);
	log_warn("the agent's certificate: %s", e.message);
	return EXIT_FAILURE;
}

/* Whose the list is, and which number it has: what a worker says of it nobody needs to believe. */
static int check_list(void)
{
	struct text pem = read_list(RENEW_FD_CERTIFICATE, REVOCATION_LIST_MAX), ca = {0};
	struct revocation_record list = {.number = -1};
	char about[RENEW_FRAME_ABOUT_MAX];
	struct crl *crl = NULL;
	int status = EXIT_FAILURE;
	struct err e;
	int rc = tls_read_fd(RENEW_FD_CA, "ca", &ca.at, &ca.len, &e);

	if (rc == 0 && pem.len == 0)
		rc = err_set(&e, TX_ECERT, "it is empty, or too long");
	if (rc == 0)
		rc = crl_read(&crl, pem.at, pem.len, ca.at, ca.len, &e);
	if (rc == 0) {
		memcpy(list.issuer, crl_issuer(crl), sizeof(list.issuer));
		list.number = crl_number(crl);
		status = put("", 0, about, renew_about_write(about, &list));
	} else {
		log_warn("a revocation list that a worker has brought is not kept: %s", e.message);
	}
	crl_free(crl);
	free(pem.at);
	tls_text_free(ca.at, ca.len);
	return status;
}

static int lock_in(const char *address, struct err *e)
{
	struct confine_report r = {0};
	int rc = renew_sandbox_enter(&r, e);

	return rc == 0 ? renew_sandbox_close(&r, address, e) : rc;
}

/* What needs no authority. */
static const struct {
	const char *mode;
	int (*run)(void);
} alone[] = {{"dates", report_dates}, {"list", check_list}, {"request", make_request}};

static int run_alone(int (*run)(void))
{
	struct err e;

	if (lock_in(NULL, &e) == 0)
		return run();
	log_error("%s", e.message);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct renewal_from from = {0};
	struct text ca = {0};
	struct stat st;
	struct err e;
	int status;

	if (argc != 3 || fstat(RENEW_FD_CA, &st) != 0) {
		fputs("telex-renew is a part of telexd, which starts it; it is not a command.\n",
		    stderr);
		return 2;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NAME, "telex-renew");
	signals_ignore(SIGPIPE);
	log_open("renew", LOG_LEVEL_INFO, getenv("TELEX_LOG_JSON") != NULL, STDERR_FILENO);
	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
		if (strcmp(argv[1], alone[i].mode) == 0)
			return run_alone(alone[i].run);
	/* What it handles is a private key. */
	if (lock_in(argv[2], &e) != 0 || tls_read_fd(RENEW_FD_CA, "ca", &ca.at, &ca.len, &e) != 0) {
		log_error("%s", e.message);
		return EXIT_FAILURE;
	}
	from.address = argv[2];
	from.ca = ca.at;
	from.ca_len = ca.len;
	status = strcmp(argv[1], "revocations") == 0 ? fetch_revocations(&from)
	                                             : renew_certificate(&from);
	tls_text_free(ca.at, ca.len);
	return status;
}
