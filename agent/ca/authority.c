/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca/authority.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certs/pem.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/rpc_status.h"
#include "common/tls_cert.h"

/* ---- answers ---- */

void answer_init(struct answer *a)
{
	*a = (struct answer){.list_fd = -1, .act = "none"};
	telex__internal__v1__ca_answer__init(&a->message);
}

void answer_clear(struct answer *a)
{
	if (a->message.certificate_chain != protobuf_c_empty_string)
		free(a->message.certificate_chain);
	if (a->list_fd >= 0)
		close(a->list_fd);
	answer_init(a);
}

/* protobuf-c's structs have no const; packing does not write. */
static void lend(char **place, const char *text)
{
	memcpy(place, &text, sizeof(text));
}

int answer_refuse(
    struct answer *a, int code, const char *reason, const char *text, const struct err *e)
{
	a->message.code = (uint32_t)code;
	snprintf(a->text, sizeof(a->text), "%.*s", (int)sizeof(a->text) - 1, text);
	a->message.message = a->text;
	lend(&a->message.reason, reason);
	snprintf(a->why, sizeof(a->why), "%s", e != NULL ? e->message : text);
	return e != NULL && e->code != 0 ? e->code : TX_EPERM;
}

int answer_unable(struct answer *a, const struct err *e)
{
	log_error("%s", e->message);
	return answer_refuse(a, RPC_UNAVAILABLE, "CA_UNAVAILABLE",
	    "the authority cannot issue certificates now; its log says why", e);
}

int answer_give(struct answer *a, const struct authority *au, char *chain)
{
	X509 *x = NULL;
	struct identity id;
	struct err e;
	int rc = pem_to_certificate(&x, chain, strlen(chain), "the ledger's certificate", &e);

	if (rc == 0)
		rc = tls_cert_identity(x, &id, "the ledger's certificate", &e);
	if (rc != 0) {
		free(chain);
		X509_free(x);
		return answer_unable(a, &e);
	}
	identity_format(a->identity, &id);
	pem_serial(x, a->serial, sizeof(a->serial));
	a->not_after = a->message.not_after = tls_time_epoch(X509_get0_notAfter(x));
	a->message.certificate_chain = chain;
	lend(&a->message.ca, ca_certificate(au->ca, NULL));
	X509_free(x);
	return 0;
}

/* ---- acts ---- */

static void act(
    struct authority *au, const Telex__Internal__V1__CaRequest *request, struct answer *a)
{
	switch (request->what_case) {
	case TELEX__INTERNAL__V1__CA_REQUEST__WHAT_ENROLL:
		a->act = "enroll";
		authority_enroll(au, request->enroll, a);
		break;
	case TELEX__INTERNAL__V1__CA_REQUEST__WHAT_RENEW:
		a->act = "renew";
		authority_renew(au, request->renew, a);
		break;
	case TELEX__INTERNAL__V1__CA_REQUEST__WHAT_GET_REVOCATIONS:
		a->act = "revocations";
		authority_revocations(au, request->get_revocations, a);
		break;
	default:
		answer_refuse(
		    a, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "the request says nothing to do", NULL);
	}
}

static const char *or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static int write_down(struct authority *au, const char *peer, const struct answer *a, struct err *e)
{
	bool refused = a->message.code != RPC_OK;

	if (refused &&
	    !audit_budget_take(au->refusals, AUDIT_CERTIFICATE, peer, clock_monotonic_ns()))
		return 0;
	audit_begin(au->audit, "certificate");
	audit_text(au->audit, "act", a->act);
	audit_text(au->audit, "peer", peer);
	audit_flag(au->audit, "allowed", !refused);
	audit_text(au->audit, "identity", or_null(a->identity));
	audit_text(au->audit, "serial", or_null(a->serial));
	if (refused) {
		audit_text(au->audit, "reason", a->message.reason);
		audit_text(au->audit, "why", a->why);
	} else {
		audit_number(au->audit, "not_after", a->not_after);
		audit_flag(au->audit, "again", a->again);
	}
	return audit_end(au->audit, e);
}

void authority_answer(
    struct authority *au, const Telex__Internal__V1__CaRequest *request, struct answer *a)
{
	bool list = request->what_case == TELEX__INTERNAL__V1__CA_REQUEST__WHAT_GET_REVOCATIONS;
	struct err e;

	act(au, request, a);
	/* A list is public, and asked for by everybody all the time. */
	if (!list || a->message.code != RPC_OK) {
		if (write_down(au, request->peer, a, &e) != 0) {
			answer_clear(a);
			answer_unable(a, &e);
		}
		log_at(a->message.code == RPC_OK ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "%s: %s %s%s%s",
		    request->peer, a->act, a->message.code == RPC_OK ? "" : "refused: ",
		    a->message.code == RPC_OK ? a->identity : a->why, a->again ? " (again)" : "");
	}
	a->message.id = request->id;
}
