/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/revoked.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/worker.h"
#include "certs/crl.h"
#include "common/duration.h"
#include "common/fd_io.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/revocation_file.h"
#include "common/tls_cert.h"

/* How often a list that is too old is told of. */
#define REMIND_NS (3600 * NS_PER_S)
/* How far an authority's clock may be ahead. */
#define SKEW_S 300

struct revoked {
	char *ca;
	size_t ca_len;
	int64_t max_age_s; /* 0: any */
	bool fail_closed;
	int64_t reminded_ns;                       /* monotonic; 0: not yet */
	struct crl *lists[REVOCATION_ISSUERS_MAX]; /* one of each issuer */
	size_t n;
};

struct revoked *revoked_new(const char *ca, size_t ca_len, const struct km_config *config)
{
	struct revoked *r = xcalloc(1, sizeof(*r));

	r->ca = xmemdup0(ca, ca_len);
	r->ca_len = ca_len;
	r->max_age_s = config->revocations_max_age_ns / NS_PER_S;
	if (r->max_age_s == 0 && config->revocations_max_age_ns > 0)
		r->max_age_s = 1;
	r->fail_closed = config->revocations_stale == KM_STALE_FAIL_CLOSED;
	return r;
}

void revoked_free(struct revoked *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->n; i++)
		crl_free(r->lists[i]);
	free(r->ca);
	free(r);
}

/* ---- lists ---- */

int revoked_read(
    const struct revoked *r, struct crl **out, const char *pem, size_t len, struct err *e)
{
	return crl_read(out, pem, len, r->ca, r->ca_len, e);
}

static struct crl **place_of(struct revoked *r, const char *issuer)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(crl_issuer(r->lists[i]), issuer) == 0)
			return &r->lists[i];
	return NULL;
}

int64_t revoked_number_of(const struct revoked *r, const char *issuer)
{
	struct crl **place = place_of((struct revoked *)(uintptr_t)r, issuer);

	return place == NULL ? -1 : crl_number(*place);
}

bool revoked_take(struct revoked *r, struct crl *list)
{
	struct crl **place = place_of(r, crl_issuer(list));
	char date[TLS_TIME_SIZE];

	if (crl_number(list) <= revoked_number_of(r, crl_issuer(list)) ||
	    (place == NULL && r->n == REVOCATION_ISSUERS_MAX)) {
		crl_free(list);
		return false;
	}
	if (place == NULL)
		place = &r->lists[r->n++];
	crl_free(*place);
	*place = list;
	r->reminded_ns = 0;
	log_info("revocation list %" PRId64 " of %s is in force: %zu certificates",
	    crl_number(list), tls_time_text(date, crl_this_update(list)), crl_count(list));
	return true;
}

static int read_all(int fd, char **out, size_t *len, struct err *e)
{
	struct stat st;
	char *text;
	size_t size, got = 0;
	int error;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "the revocation list cannot be read");
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)REVOCATION_FILE_MAX)
		return err_set(e, TX_ETOOBIG, "the revocation list cannot be read: it is %s",
		    S_ISREG(st.st_mode) ? "too long" : "no file");
	size = (size_t)st.st_size;
	text = xmalloc(size + 1);
	error = fd_read_all(fd, text, size, &got);
	if (error != 0 || size == 0) {
		free(text);
		return error != 0 ? err_sys(e, error, "the revocation list cannot be read")
		                  : err_set(e, TX_ECERT,
		                        "the revocation list cannot be read: it is empty");
	}
	*out = text;
	*len = got;
	return 0;
}

/*
 * What stands before a list is what some worker has told the keeper, and one that was broken into
 * tells it anything: the highest number for an old list, or for another authority's. What the list
 * itself says is signed. A record that is not what it is said to be has taken the place of one that
 * was, so there is no going on without it.
 */
static int check_head(
    const struct revocation_record *record, const char *issuer, int64_t number, struct err *e)
{
	if (record->issuer[0] == '\0' ||
	    (strcmp(record->issuer, issuer) == 0 && record->number == number))
		return 0;
	return err_set(e, TX_ECERT,
	    "the revocation list that is kept as number %" PRId64 " of authority %.16s is number "
	    "%" PRId64 " of authority %.16s: the file of lists is not genuine",
	    record->number, record->issuer, number, issuer);
}

/*
 * A list of another authority's with nobody's certificate beside it, as all were once, cannot be
 * held against its record. It may be passed over where it has taken no place of a list that counts:
 * not an authority's whom we trust; and an intermediate one's has the certificate, which the keeper
 * lets no list without take the place of.
 */
static int check_bare(
    const struct revoked *r, const struct revocation_record *record, struct err *e)
{
	bool ours;
	int rc = crl_issuer_trusted(&ours, record->issuer, r->ca, r->ca_len, e);

	if (rc != 0 || !ours)
		return rc;
	return err_set(e, TX_ECERT,
	    "the revocation list that is kept as number %" PRId64 " of authority %.16s is another "
	    "one's: the file of lists is not genuine",
	    record->number, record->issuer);
}

/* Of an authority that is not trusted here, or not any more. */
static int pass_over(
    const struct revoked *r, const struct revocation_record *record, const char *why, struct err *e)
{
	char issuer[REVOCATION_ISSUER_SIZE];
	int64_t number;
	int rc;

	if (record->issuer[0] == '\0') {
		log_warn("a revocation list in the file that \"revocations\" names (telexd.conf) "
		         "is passed over: %s",
		    why);
		return 0;
	}
	if (revocation_is_bare(record)) {
		rc = check_bare(r, record, e);
	} else {
		rc = crl_says(issuer, &number, record->pem, record->len, e);
		if (rc == 0)
			rc = check_head(record, issuer, number, e);
	}
	if (rc == 0)
		log_warn("revocation list %" PRId64 " of authority %.16s in the file that "
		         "\"revocations\" names (telexd.conf) is passed over: %s",
		    record->number, record->issuer, why);
	return rc;
}

static int take_record(
    struct revoked *r, const struct revocation_record *record, bool *newer, struct err *e)
{
	struct crl *list = NULL;
	int rc;

	if (record->len == 0)
		return err_set(e, TX_ECERT, "the revocation list cannot be read: it is empty");
	rc = revoked_read(r, &list, record->pem, record->len, e);
	if (rc == TX_EPERM) {
		struct err why = *e;

		return pass_over(r, record, why.message, e);
	}
	if (rc != 0)
		return rc;
	rc = check_head(record, crl_issuer(list), crl_number(list), e);
	if (rc != 0)
		crl_free(list);
	else if (revoked_take(r, list))
		*newer = true;
	return rc;
}

int revoked_take_file(struct revoked *r, int fd, bool *newer, struct err *e)
{
	struct revocation_record record;
	char *text = NULL;
	size_t len = 0, at = 0;
	int rc = read_all(fd, &text, &len, e);

	*newer = false;
	while (text != NULL && revocation_next(text, len, &at, &record)) {
		struct err why;
		int one = take_record(r, &record, newer, &why);

		if (one == 0 || rc != 0)
			continue;
		rc = one;
		*e = why;
	}
	free(text);
	return rc;
}

/* ---- questions ---- */

int64_t revoked_number(const struct revoked *r)
{
	int64_t number = -1;

	for (size_t i = 0; i < r->n; i++)
		if (crl_number(r->lists[i]) > number)
			number = crl_number(r->lists[i]);
	return number;
}

size_t revoked_count(const struct revoked *r)
{
	size_t count = 0;

	for (size_t i = 0; i < r->n; i++)
		count += crl_count(r->lists[i]);
	return count;
}

bool revoked_is(const struct revoked *r, const char *serial)
{
	for (size_t i = 0; r != NULL && i < r->n; i++)
		if (crl_revoked(r->lists[i], serial))
			return true;
	return false;
}

int revoked_in_handshake(const char *serial, void *arg, struct err *e)
{
	if (!revoked_is(arg, serial))
		return 0;
	return err_set(e, TX_ECERT, "the client's certificate (serial number %s) is revoked",
	    serial[0] == '\0' ? "unreadable" : serial);
}

int64_t revoked_time(const struct revoked *r)
{
	int64_t oldest = r->n == 0 ? 0 : INT64_MAX;

	for (size_t i = 0; i < r->n; i++)
		if (crl_this_update(r->lists[i]) < oldest)
			oldest = crl_this_update(r->lists[i]);
	return oldest;
}

/* Of the future: by more than clocks differ, so its age is not known. */
static bool of_the_future(const struct revoked *r, int64_t now)
{
	for (size_t i = 0; i < r->n; i++)
		if (crl_this_update(r->lists[i]) > now + SKEW_S)
			return true;
	return false;
}

/* Why no list that there is will do; NULL: it will. */
static const char *trouble(const struct revoked *r)
{
	int64_t now = (int64_t)time(NULL);

	if (r->max_age_s == 0 && !r->fail_closed)
		return NULL;
	if (r->n == 0)
		return "missing";
	if (of_the_future(r, now))
		return "dated in the future (is a clock wrong?)";
	return r->max_age_s > 0 && now - revoked_time(r) > r->max_age_s ? "too old" : NULL;
}

bool revoked_stale(const struct revoked *r)
{
	return trouble(r) != NULL;
}

static void remind(struct revoked *r, const char *what)
{
	int64_t now = clock_monotonic_ns();
	char date[TLS_TIME_SIZE];

	if (r->reminded_ns != 0 && now - r->reminded_ns < REMIND_NS)
		return;
	r->reminded_ns = now;
	log_at(r->fail_closed ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
	    "the revocation list is %s%s%s, and revocations_max_age is %" PRId64 " s; %s", what,
	    r->n == 0 ? "" : "; the oldest is of ",
	    r->n == 0 ? "" : tls_time_text(date, revoked_time(r)), r->max_age_s,
	    r->fail_closed ? "calls are refused (revocations_stale = fail-closed)"
	                   : "calls go on (revocations_stale = warn)");
}

/* What brings a newer list: the way back. */
static bool brings_a_list(const char *service, const char *method)
{
	return strcmp(service, "telex.v1.CertificateService") == 0 &&
	       strcmp(method, "PutRevocations") == 0;
}

int revoked_authorize(struct revoked *r, const struct peer *who, const char *service,
    const char *method, struct rpc_status *refuse)
{
	const char *what;

	if (r == NULL)
		return 0;
	if (revoked_is(r, who->serial)) {
		rpc_status_set(
		    refuse, RPC_UNAUTHENTICATED, "REVOKED", "the client certificate is revoked");
		return TX_EPERM;
	}
	what = trouble(r);
	if (what == NULL)
		return 0;
	remind(r, what);
	if (!r->fail_closed || brings_a_list(service, method))
		return 0;
	rpc_status_set(refuse, RPC_FAILED_PRECONDITION, "REVOCATIONS_STALE",
	    "the agent's revocation list is %s, so it cannot tell who is still welcome; `telex "
	    "cert revoke --push -w HOST` gives it a new one",
	    what);
	return TX_EPERM;
}
