/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/client_revoked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs/crl.h"
#include "common/fd_io.h"
#include "common/revocation_file.h"

struct client_revoked {
	char *path;
	struct stat stat; /* of the file that was read */
	struct crl *lists[REVOCATION_ISSUERS_MAX];
	size_t n;
};

static int read_open(int fd, struct stat *st, char **text, size_t *len, struct err *e)
{
	int error;

	if (fstat(fd, st) != 0)
		return err_sys(e, errno, "it cannot be read");
	if (!S_ISREG(st->st_mode) || st->st_size > (off_t)REVOCATION_FILE_MAX)
		return err_set(e, TX_ETOOBIG, "it is %s",
		    S_ISREG(st->st_mode) ? "too long" : "no regular file");
	*text = malloc((size_t)st->st_size + 1);
	if (*text == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	error = fd_read_all(fd, *text, (size_t)st->st_size, len);
	return error == 0 ? 0 : err_sys(e, error, "it cannot be read");
}

static int take(struct client_revoked *r, const struct revocation_record *record, const char *ca,
    size_t ca_len, struct err *e)
{
	int rc = record->len == 0
	             ? err_set(e, TX_ECERT, "the revocation list is empty")
	             : crl_read(&r->lists[r->n], record->pem, record->len, ca, ca_len, e);

	if (rc == 0)
		r->n++;
	return rc;
}

static int take_all(struct client_revoked *r, const char *text, size_t len, const char *ca,
    size_t ca_len, struct err *e)
{
	struct revocation_record record;
	size_t at = 0;
	int rc = 0;

	err_set(e, TX_ECERT, "there is no revocation list in it");
	while (rc == 0 && revocation_next(text, len, &at, &record)) {
		if (r->n == REVOCATION_ISSUERS_MAX)
			return err_set(e, TX_ETOOBIG, "it has too many lists");
		rc = take(r, &record, ca, ca_len, e);
		if (rc == TX_EPERM)
			rc = 0;
	}
	return rc != 0 || r->n > 0 ? rc : TX_ECERT;
}

int client_revoked_read(
    struct client_revoked **out, const char *path, const char *ca, size_t ca_len, struct err *e)
{
	struct client_revoked *r = calloc(1, sizeof(*r));
	char *text = NULL;
	size_t len = 0;
	int rc = 0, fd = -1;

	if (r == NULL || (r->path = strdup(path)) == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		rc = fd >= 0 ? read_open(fd, &r->stat, &text, &len, e)
		             : err_sys(e, errno, "it cannot be opened");
	}
	if (rc == 0)
		rc = take_all(r, text, len, ca, ca_len, e);
	if (fd >= 0)
		close(fd);
	free(text);
	if (rc == 0) {
		*out = r;
		return 0;
	}
	client_revoked_free(r);
	e->code = rc;
	return err_wrap(e, "%s", path);
}

bool client_revoked_changed(const struct client_revoked *r)
{
	struct stat now;

	return stat(r->path, &now) == 0 &&
	       (now.st_dev != r->stat.st_dev || now.st_ino != r->stat.st_ino ||
	           now.st_size != r->stat.st_size || now.st_mtim.tv_sec != r->stat.st_mtim.tv_sec ||
	           now.st_mtim.tv_nsec != r->stat.st_mtim.tv_nsec);
}

int client_revoked_again(struct client_revoked *r, const char *ca, size_t ca_len)
{
	struct client_revoked *fresh = NULL, old = *r;
	struct err e;
	int rc = client_revoked_read(&fresh, r->path, ca, ca_len, &e);

	if (rc != 0)
		return rc;
	*r = *fresh;
	*fresh = old;
	client_revoked_free(fresh);
	return 0;
}

void client_revoked_free(struct client_revoked *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n; i++)
		crl_free(r->lists[i]);
	free(r->path);
	free(r);
}

int64_t client_revoked_next(const struct client_revoked *r)
{
	int64_t next = 0;

	for (size_t i = 0; i < r->n; i++)
		if (i == 0 || crl_next_update(r->lists[i]) < next)
			next = crl_next_update(r->lists[i]);
	return next;
}

int client_revoked_ask(const char *serial, void *arg, struct err *e)
{
	const struct client_revoked *r = arg;

	for (size_t i = 0; i < r->n; i++)
		if (crl_revoked(r->lists[i], serial))
			return err_set(e, TX_ECERT,
			    "the agent's certificate (serial number %s) is revoked, by %s",
			    serial[0] == '\0' ? "unreadable" : serial, r->path);
	return 0;
}
