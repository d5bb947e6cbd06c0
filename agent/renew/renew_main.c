/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-renew: asks an authority for the agent's next certificate, or for its revocation list.
 * telexd starts it as the workers' user, gives it what it needs as descriptors, and takes what it
 * writes to its standard output (renew_frame.h); it opens no file of the agent's itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/renew_frame.h"
#include "common/revocation_file.h"
#include "common/signals.h"
#include "common/tls.h"
#include "lib/renewal.h"

struct text {
	char *at;
	size_t len;
};

static bool write_all(const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, at, len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return true;
}

static int put(const char *first, size_t first_len, const char *second, size_t second_len)
{
	struct renew_frame f = {.magic = RENEW_FRAME_MAGIC,
	    .first = (uint32_t)first_len,
	    .second = (uint32_t)second_len};

	if (write_all(&f, sizeof(f)) && write_all(first, first_len) &&
	    write_all(second, second_len))
		return EXIT_SUCCESS;
	log_error("the answer cannot be handed over: %s", strerror(errno));
	return EXIT_FAILURE;
}

/* A whole file, of up to `max` bytes; what is not there, or is longer, is as empty. */
static struct text read_list(int fd, size_t max)
{
	struct text t = {malloc(max + 1), 0};
	ssize_t n = 1;

	while (t.at != NULL && n != 0 && t.len <= max) {
		n = pread(fd, t.at + t.len, max + 1 - t.len, (off_t)t.len);
		if (n > 0)
			t.len += (size_t)n;
		else if (n < 0 && errno != EINTR)
			break;
	}
	if (t.len > max)
		t.len = 0;
	return t;
}

static int renew_certificate(const struct renewal_from *from)
{
	struct text certificate = {0}, key = {0};
	struct renewal_pair p = {.certificate = NULL};
	struct err e;
	int status = EXIT_FAILURE;
	int rc = tls_read_fd(
	    RENEW_FD_CERTIFICATE, "the certificate", &certificate.at, &certificate.len, &e);

	if (rc == 0)
		rc = tls_read_key_fd(RENEW_FD_KEY, "the key", &key.at, &key.len, &e);
	if (rc == 0)
		rc = renewal_get(&p, from, certificate.at, certificate.len, key.at, key.len, &e);
	if (rc == 0)
		status = put(p.certificate, p.certificate_len, p.key, p.key_len);
	else
		log_warn("%s: %s", from->address, e.message);
	renewal_pair_clear(&p);
	tls_text_free(certificate.at, certificate.len);
	tls_text_free(key.at, key.len);
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
		snprintf(about, sizeof(about), "%s %" PRId64, list.issuer, list.number);
		status = put(list.pem, list.len, about, list.len > 0 ? strlen(about) : 0);
	} else
		log_warn("%s: the revocation list: %s", from->address, e.message);
	free(pem);
	free(held.at);
	return status;
}

/* What it handles is a private key. */
static void close_up(void)
{
	const struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NAME, "telex-renew");
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
	close_up();
	signals_ignore(SIGPIPE);
	log_open("renew", LOG_LEVEL_INFO, getenv("TELEX_LOG_JSON") != NULL, STDERR_FILENO);
	if (tls_read_fd(RENEW_FD_CA, "ca", &ca.at, &ca.len, &e) != 0) {
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
