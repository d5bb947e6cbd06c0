/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/revoked.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/worker.h"
#include "certs/crl.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls_cert.h"

/* How often a list that is too old is told of. */
#define REMIND_NS (3600 * NS_PER_S)

struct revoked {
	char *ca;
	size_t ca_len;
	int64_t max_age_s; /* 0: any */
	bool fail_closed;
	int64_t reminded_ns; /* monotonic; 0: not yet */
	struct crl *list;    /* NULL: none */
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
	crl_free(r->list);
	free(r->ca);
	free(r);
}

/* ---- lists ---- */

int revoked_read(
    const struct revoked *r, struct crl **out, const char *pem, size_t len, struct err *e)
{
	return crl_read(out, pem, len, r->ca, r->ca_len, e);
}

bool revoked_take(struct revoked *r, struct crl *list)
{
	char date[TLS_TIME_SIZE];

	if (crl_number(list) <= revoked_number(r)) {
		crl_free(list);
		return false;
	}
	crl_free(r->list);
	r->list = list;
	r->reminded_ns = 0;
	log_info("revocation list %" PRId64 " of %s is in force: %zu certificates",
	    crl_number(list), tls_time_text(date, crl_this_update(list)), crl_count(list));
	return true;
}

/* Several workers share the place in the file, so none uses it. */
static int read_all(int fd, char **out, size_t *len, struct err *e)
{
	char *text = xmalloc(CRL_MAX + 1);
	size_t got = 0;
	ssize_t n = 1;

	while (n != 0 && got <= CRL_MAX) {
		n = pread(fd, text + got, CRL_MAX + 1 - got, (off_t)got);
		if (n > 0)
			got += (size_t)n;
		else if (n < 0 && errno != EINTR)
			break;
	}
	if (n < 0) {
		free(text);
		return err_sys(e, errno, "the revocation list cannot be read");
	}
	*out = text;
	*len = got;
	return 0;
}

bool revoked_take_file(struct revoked *r, int fd)
{
	struct crl *list = NULL;
	char *text = NULL;
	size_t len = 0;
	struct err e;
	int rc = read_all(fd, &text, &len, &e);

	if (rc == 0 && len == 0) {
		free(text);
		return false;
	}
	if (rc == 0)
		rc = revoked_read(r, &list, text, len, &e);
	free(text);
	if (rc == 0)
		return revoked_take(r, list);
	log_error("%s; %s", e.message,
	    r->list == NULL ? "there is none in force" : "the one that was in force stays");
	return false;
}

/* ---- questions ---- */

int64_t revoked_number(const struct revoked *r)
{
	return r->list == NULL ? -1 : crl_number(r->list);
}

size_t revoked_count(const struct revoked *r)
{
	return r->list == NULL ? 0 : crl_count(r->list);
}

bool revoked_is(const struct revoked *r, const char *serial)
{
	return r != NULL && r->list != NULL && crl_revoked(r->list, serial);
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
	return r->list == NULL ? 0 : crl_this_update(r->list);
}

bool revoked_stale(const struct revoked *r)
{
	return r->max_age_s > 0 &&
	       (r->list == NULL || (int64_t)time(NULL) - crl_this_update(r->list) > r->max_age_s);
}

static void remind(struct revoked *r)
{
	int64_t now = clock_monotonic_ns();
	char date[TLS_TIME_SIZE];

	if (r->reminded_ns != 0 && now - r->reminded_ns < REMIND_NS)
		return;
	r->reminded_ns = now;
	log_at(r->fail_closed ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
	    "the revocation list %s%s, and revocations_max_age is %" PRId64 " s; %s",
	    r->list == NULL ? "is missing" : "is of ",
	    r->list == NULL ? "" : tls_time_text(date, crl_this_update(r->list)), r->max_age_s,
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
	if (r == NULL)
		return 0;
	if (revoked_is(r, who->serial)) {
		rpc_status_set(
		    refuse, RPC_UNAUTHENTICATED, "REVOKED", "the client certificate is revoked");
		return TX_EPERM;
	}
	if (!revoked_stale(r))
		return 0;
	remind(r);
	if (!r->fail_closed || brings_a_list(service, method))
		return 0;
	rpc_status_set(refuse, RPC_FAILED_PRECONDITION, "REVOCATIONS_STALE",
	    "the agent's revocation list is %s, so it cannot tell who is still welcome; `telex "
	    "cert revoke --push -w HOST` gives it a new one",
	    r->list == NULL ? "missing" : "too old");
	return TX_EPERM;
}
