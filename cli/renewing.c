/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beside a certificate: CERTIFICATE.renew-lock, held by who renews it, and after a failure
 * CERTIFICATE.renew-failed with the reason (no new attempt for a while) and .renew-said (when it
 * was told last). Beside its key, while there is no answer: KEY.renew-request, the key and the
 * request of the next one.
 */
#include "cli/renewing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "certs/certfile.h"
#include "certs/certshow.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "common/file_put.h"
#include "common/mem.h"
#include "common/renew_frame.h"
#include "common/signals.h"
#include "common/tls.h"
#include "common/tls_cert.h"
#include "lib/renewal.h"

#define AGAIN_S 60   /* after a failure */
#define TELL_S  3600 /* of failures */

struct files {
	char *certificate, *key, *ca;
	size_t certificate_len, key_len, ca_len;
};

static void files_clear(struct files *f)
{
	tls_text_free(f->certificate, f->certificate_len);
	tls_text_free(f->key, f->key_len);
	tls_text_free(f->ca, f->ca_len);
}

static int dates_of(
    const char *text, size_t len, const char *name, int64_t *due, int64_t *not_after, struct err *e)
{
	struct certshow *shown = NULL;
	size_t n = 0;
	int rc = certshow_read(&shown, &n, text, len, name, e);

	if (rc == 0) {
		*due = renew_due(shown[0].not_before, shown[0].not_after, 0.5);
		*not_after = shown[0].not_after;
	}
	certshow_free(shown, n);
	return rc;
}

int renewing_dates(const struct context *c, int64_t *due, int64_t *not_after, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = tls_read_file(c->certificate, &text, &len, e);

	if (rc == 0)
		rc = dates_of(text, len, c->certificate, due, not_after, e);
	tls_text_free(text, len);
	return rc;
}

/* ---- renewing ---- */

static int take_lock(const struct context *c, int *lock, struct err *e)
{
	char *path = xasprintf("%s.renew-lock", c->certificate);
	int rc = 0;

	*lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*lock < 0 || flock(*lock, LOCK_EX) != 0)
		rc = err_sys(e, errno, "%s", path);
	free(path);
	return rc;
}

/* The key and the request that wait for an answer: of an attempt before this one, or new. */
static int open_request(
    const char *path, const struct files *f, char **text, size_t *len, struct err *e)
{
	int rc;

	if (certfile_exists(path))
		return certfile_read_key(path, text, len, e);
	rc = renewal_request_make(
	    text, len, f->certificate, f->certificate_len, f->key, f->key_len, e);
	return rc == 0 ? certfile_write(path, *text, *len, CERTFILE_KEY, true, e) : rc;
}

static int ask(const struct context *c, const struct files *f, const char *path,
    struct renewal_pair *p, struct err *e)
{
	const struct renewal_from from = {
	    .address = c->renew_from, .ca = f->ca, .ca_len = f->ca_len};
	char *request = NULL;
	size_t len = 0;
	bool over = false;
	int rc = open_request(path, f, &request, &len, e);

	if (rc == 0) {
		rc = renewal_get(p, &from, f->certificate, f->certificate_len, f->key, f->key_len,
		    request, len, &over, e);
		if (rc != 0 && rc != TX_ENOENT)
			err_wrap(e, "%s", c->renew_from);
	}
	if (over)
		(void)unlink(path);
	tls_text_free(request, len);
	return rc;
}

static int fetch(const struct context *c, const struct files *f, int64_t *not_after, struct err *e)
{
	struct renewal_pair p = {.certificate = NULL};
	char path[PATH_MAX];
	int rc = file_beside(path, c->key, ".renew-request", e);

	if (rc == 0)
		rc = ask(c, f, path, &p, e);
	/* What is kept is of a certificate that was replaced meanwhile. */
	if (rc == TX_ENOENT)
		rc = ask(c, f, path, &p, e);
	if (rc == 0)
		rc = certfile_write_pair(c->certificate, p.certificate, p.certificate_len, c->key,
		    p.key, p.key_len, true, e);
	if (rc == 0) {
		(void)unlink(path);
		*not_after = p.not_after;
	}
	renewal_pair_clear(&p);
	return rc;
}

int renewing_do(const struct context *c, bool only_due, int64_t *not_after, struct err *e)
{
	struct files f = {.certificate = NULL};
	int lock = -1;
	int64_t due;
	int rc;

	if (c->renew_from == NULL)
		return err_set(e, TX_ESTATE,
		    "context '%s' does not say where its certificate is renewed (`telex cert "
		    "enroll` makes one that does)",
		    c->name);
	rc = take_lock(c, &lock, e);
	if (rc == 0)
		rc = tls_read_pair(c->certificate, &f.certificate, &f.certificate_len, c->key,
		    &f.key, &f.key_len, e);
	if (rc == 0)
		rc = dates_of(f.certificate, f.certificate_len, c->certificate, &due, not_after, e);
	if (rc == 0 && !(only_due && (int64_t)time(NULL) < due)) {
		rc = tls_read_file(c->ca, &f.ca, &f.ca_len, e);
		if (rc == 0)
			rc = fetch(c, &f, not_after, e);
	}
	files_clear(&f);
	if (lock >= 0)
		close(lock);
	return rc;
}

/* ---- aside ---- */

/* Seconds since the file was written; -1: there is none. */
static int64_t age_of(const char *path)
{
	struct stat st;
	int64_t age;

	if (stat(path, &st) != 0)
		return -1;
	age = (int64_t)time(NULL) - (int64_t)st.st_mtime;
	return age >= 0 ? age : 0;
}

void renewing_remember(const struct context *c, const struct err *failure)
{
	char *failed = xasprintf("%s.renew-failed", c->certificate);
	char *said = xasprintf("%s.renew-said", c->certificate);

	if (failure != NULL) {
		(void)paths_write(failed, failure->message, strlen(failure->message), NULL);
	} else {
		(void)unlink(failed);
		(void)unlink(said);
	}
	free(failed);
	free(said);
}

static void tell(const struct context *c, const char *failed, int64_t not_after)
{
	char *said = xasprintf("%s.renew-said", c->certificate);
	char date[TLS_TIME_SIZE], *why = NULL;
	int64_t age = age_of(said);

	if ((age < 0 || age > TELL_S) && paths_read(failed, 4096, &why, NULL) == 0) {
		say_note("your certificate %s could not be renewed and is valid until %s: %s",
		    c->certificate, tls_time_text(date, not_after), why);
		(void)paths_write(said, "", 0, NULL);
	}
	free(why);
	free(said);
}

/* In the child's child: nobody waits for it. */
static void become_renewer(const struct context *c)
{
	char *const argv[] = {(char *)"telex", (char *)"-q", (char *)"--context", c->name,
	    (char *)"cert", (char *)"renew", (char *)"--aside", NULL};
	int null = open("/dev/null", O_RDWR);

	setsid();
	signals_reset();
	for (int fd = 0; fd <= 2; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			_exit(1);
	execv("/proc/self/exe", argv);
	_exit(1);
}

static void start_aside(const struct context *c)
{
	pid_t child = fork();

	if (child == 0) {
		if (fork() == 0)
			become_renewer(c);
		_exit(0);
	}
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

void renewing_aside(const struct context *c, bool quiet)
{
	int64_t due, not_after, age;
	char *failed;

	if (c->renew_from == NULL || c->name == NULL ||
	    renewing_dates(c, &due, &not_after, NULL) != 0 || (int64_t)time(NULL) < due)
		return;
	failed = xasprintf("%s.renew-failed", c->certificate);
	age = age_of(failed);
	if (age >= 0 && !quiet)
		tell(c, failed, not_after);
	if (age < 0 || age >= AGAIN_S)
		start_aside(c);
	free(failed);
}
