/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The revocation list: made when it is asked for and the ledger has changed since the last one, or
 * that one is older than a minute, so that those who are strict about a list's age get a young one.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/ca/authority.h"
#include "certs/crl.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "common/rpc_status.h"

#define VALID_S (INT64_C(7) * 86400)
#define YOUNG_S 60
#define WARN_S  3600

/* The root, and what issues for it. */
static char *issuers(const struct ca *ca)
{
	return xasprintf("%s%s", ca_certificate(ca, NULL), ca_chain(ca, NULL));
}

/* Beyond CRL_MAX no list is made, and nobody hears of what is revoked from then on. */
static void warn_if_long(struct authority *au, size_t revoked, int64_t now)
{
	if (au->list_len < CRL_LONG) {
		au->list_warned = 0;
		return;
	}
	if (au->list_warned != 0 && now - au->list_warned < WARN_S && now >= au->list_warned)
		return;
	au->list_warned = now;
	log_warn("the revocation list has %zu certificates and %zu bytes of the %zu that it may "
	         "have; shorter lives of certificates make it shorter, or a new authority does",
	    revoked, au->list_len, CRL_MAX);
}

static int make(struct authority *au, int64_t version, int64_t now, struct err *e)
{
	char *pem = NULL;
	size_t len = 0;
	int64_t number;
	size_t revoked;
	struct crl *made = NULL;
	char *ca = issuers(au->ca);
	int rc = crl_make(&pem, &len, au->ca, au->ledger, VALID_S, e);

	if (rc == 0)
		rc = crl_read(&made, pem, len, ca, strlen(ca), e);
	free(ca);
	if (rc != 0) {
		free(pem);
		return rc;
	}
	number = crl_number(made);
	revoked = crl_count(made);
	crl_free(made);
	free(au->list);
	au->list = pem;
	au->list_len = len;
	au->list_number = number;
	au->list_version = version;
	au->list_made = now;
	warn_if_long(au, revoked, now);
	return 0;
}

void authority_revocations(
    struct authority *au, const Telex__V1__GetRevocationsRequest *request, struct answer *a)
{
	int64_t now = (int64_t)time(NULL), version = 0;
	struct err e;
	int rc = ledger_version(au->ledger, &version, &e);

	if (rc == 0 && (au->list == NULL || version != au->list_version ||
	                   now - au->list_made >= YOUNG_S || now < au->list_made))
		rc = make(au, version, now, &e);
	if (rc == 0 && request->number < au->list_number) {
		rc = memfile_freeze("revocations", au->list, au->list_len, &a->list_fd, &e);
		a->message.list = rc == 0;
	}
	if (rc != 0)
		answer_unable(a, &e);
}
