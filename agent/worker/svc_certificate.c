/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CertificateService as an authority's own listener has it: Enroll, Renew and GetRevocations, for
 * whoever comes. Nothing is decided here: telex-ca is asked. What a worker can do against a flood
 * is done before that: a token bucket, one a source of what is asked in vain (attempts), and a
 * maximum of questions at once (ca_client). The list is in memory once, however slow its readers.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/attempts.h"
#include "agent/worker/ca_client.h"
#include "agent/worker/services.h"
#include "agent/worker/shared_answer.h"
#include "agent/worker/worker.h"
#include "common/duration.h"
#include "common/mem.h"
#include "common/memfile.h"
#include "common/revocation_file.h"
#include "telex/v1/certificate.pb-c.h"

#define RATE     200 /* of calls, a second */
#define BURST    1000
#define CSR_MAX  ((size_t)32 << 10)
#define TEXT_MAX ((size_t)64 << 10)

/* ---- how many ---- */

static bool may_ask(struct worker *w)
{
	int64_t now = clock_monotonic_ns();
	int64_t most = NS_PER_S / RATE * BURST;

	/* What was earned since, up to the burst. */
	if (w->enroll_paid < now - most)
		w->enroll_paid = now - most;
	if (w->enroll_paid > now)
		return false;
	w->enroll_paid += NS_PER_S / RATE;
	return true;
}

static void refuse_busy(struct rpc_call *c)
{
	rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "TOO_MANY",
	    "the authority has too much to do; try again in a moment");
}

/* Who asks in vain again and again. */
static bool may_try(struct rpc_call *c)
{
	struct worker *w = rpc_call_context(c);
	const struct peer *peer = rpc_call_peer(c);
	struct rpc_status status;
	int64_t wait_ns;
	double wait;

	if (w->attempts == NULL)
		w->attempts = attempts_new(w->config.enroll_attempts);
	if (attempts_take(w->attempts, peer->address, clock_monotonic_ns(), &wait_ns))
		return true;
	wait = (double)wait_ns / (double)NS_PER_S;
	rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_ATTEMPTS",
	    "too many attempts from your address have failed; try again in %.3f s", wait);
	rpc_status_meta(&status, "retry_after", "%.3f", wait);
	rpc_finish(c, &status);
	return false;
}

static void refuse_gone(struct rpc_call *c)
{
	rpc_fail(c, RPC_UNAVAILABLE, "CA_UNAVAILABLE",
	    "the authority does not answer now; try again in a moment");
}

/* ---- answers ---- */

static void set_time(Google__Protobuf__Timestamp *t, int64_t seconds)
{
	google__protobuf__timestamp__init(t);
	t->seconds = seconds;
}

static void answer_enroll(struct rpc_call *c, const Telex__Internal__V1__CaAnswer *a)
{
	Telex__V1__EnrollResponse r = TELEX__V1__ENROLL_RESPONSE__INIT;
	Google__Protobuf__Timestamp end;

	set_time(&end, a->not_after);
	r.certificate_chain = a->certificate_chain;
	r.ca = a->ca;
	r.not_after = &end;
	rpc_send(c, &r.base);
	rpc_finish(c, NULL);
}

static void answer_renew(struct rpc_call *c, const Telex__Internal__V1__CaAnswer *a)
{
	Telex__V1__RenewResponse r = TELEX__V1__RENEW_RESPONSE__INIT;
	Google__Protobuf__Timestamp end;

	set_time(&end, a->not_after);
	r.certificate_chain = a->certificate_chain;
	r.ca = a->ca;
	r.not_after = &end;
	rpc_send(c, &r.base);
	rpc_finish(c, NULL);
}

static void answer_list(struct rpc_call *c, int fd)
{
	Telex__V1__GetRevocationsResponse r = TELEX__V1__GET_REVOCATIONS_RESPONSE__INIT;
	struct worker *w = rpc_call_context(c);
	uint8_t *data = NULL;
	char *text = NULL;
	size_t len = 0;
	struct err e;

	if (fd >= 0 && memfile_load(fd, REVOCATION_LIST_MAX, &data, &len, &e) != 0) {
		rpc_fail(c, RPC_UNAVAILABLE, "CA_UNAVAILABLE", "%s", e.message);
		return;
	}
	if (data != NULL) {
		text = xmemdup0((const char *)data, len);
		r.revocations = text;
	}
	/* "Nothing new" is not to take the list's place. */
	if (text != NULL)
		shared_answer_send(&w->list, c, &r.base);
	else
		rpc_send(c, &r.base);
	rpc_finish(c, NULL);
	free(text);
	free(data);
}

static void on_answer(const Telex__Internal__V1__CaAnswer *a, int list_fd, void *arg)
{
	struct rpc_call *c = arg;
	const ProtobufCMessageDescriptor *response = rpc_call_method(c)->response;
	bool is_list = response == &telex__v1__get_revocations_response__descriptor;
	struct worker *w = rpc_call_context(c);
	const struct peer *peer = rpc_call_peer(c);

	rpc_call_set_data(c, NULL);
	/* Not in vain, or not by the client's doing. */
	if (w->attempts != NULL && !is_list &&
	    (a == NULL || a->code == RPC_OK || a->code == RPC_UNAVAILABLE))
		attempts_give_back(w->attempts, peer->address);
	if (a == NULL)
		refuse_gone(c);
	else if (a->code != 0)
		rpc_fail(c, (int)(a->code & 0xff), a->reason, "%s", a->message);
	else if (response == &telex__v1__enroll_response__descriptor)
		answer_enroll(c, a);
	else if (response == &telex__v1__renew_response__descriptor)
		answer_renew(c, a);
	else
		answer_list(c, list_fd);
}

/* ---- questions ---- */

static void ask(struct rpc_call *c, Telex__Internal__V1__CaRequest *request)
{
	struct worker *w = rpc_call_context(c);
	struct peer *peer = rpc_call_peer(c);
	const bool counted =
	    request->what_case != TELEX__INTERNAL__V1__CA_REQUEST__WHAT_GET_REVOCATIONS;
	struct ca_call *asked = NULL;
	int rc;

	if (!may_ask(w)) {
		refuse_busy(c);
		return;
	}
	if (counted && !may_try(c))
		return;
	request->peer = peer->address;
	rc = ca_client_ask(w->ca, request, on_answer, c, &asked);
	rpc_call_set_data(c, asked);
	if (rc != 0 && counted)
		attempts_give_back(w->attempts, peer->address);
	if (rc == TX_ELIMIT)
		refuse_busy(c);
	else if (rc == TX_ETOOBIG)
		rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_CSR", "the request is too large");
	else if (rc != 0)
		refuse_gone(c);
}

static bool csr_fits(struct rpc_call *c, size_t len)
{
	if (len > 0 && len <= CSR_MAX)
		return true;
	rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_CSR",
	    "csr: a certificate signing request has 1 to %zu bytes", CSR_MAX);
	return false;
}

static void enroll(struct rpc_call *c, const ProtobufCMessage *msg)
{
	Telex__Internal__V1__CaRequest request = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__EnrollRequest *m = (Telex__V1__EnrollRequest *)(uintptr_t)msg;

	if (!csr_fits(c, m->csr.len))
		return;
	request.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_ENROLL;
	request.enroll = m;
	ask(c, &request);
}

static void renew(struct rpc_call *c, const ProtobufCMessage *msg)
{
	Telex__Internal__V1__CaRequest request = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__RenewRequest *m = (Telex__V1__RenewRequest *)(uintptr_t)msg;

	if (!csr_fits(c, m->csr.len))
		return;
	if (strlen(m->certificate_chain) > TEXT_MAX) {
		rpc_fail(c, RPC_UNAUTHENTICATED, "NOT_YOURS",
		    "certificate_chain: longer than %zu bytes", TEXT_MAX);
		return;
	}
	request.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_RENEW;
	request.renew = m;
	ask(c, &request);
}

static void get_revocations(struct rpc_call *c, const ProtobufCMessage *msg)
{
	Telex__Internal__V1__CaRequest request = TELEX__INTERNAL__V1__CA_REQUEST__INIT;

	request.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_GET_REVOCATIONS;
	request.get_revocations = (Telex__V1__GetRevocationsRequest *)(uintptr_t)msg;
	ask(c, &request);
}

static void closed(struct rpc_call *c)
{
	ca_call_forget(rpc_call_data(c));
}

static const struct rpc_method methods[] = {
    {
        .name = "Enroll",
        .request = &telex__v1__enroll_request__descriptor,
        .response = &telex__v1__enroll_response__descriptor,
        .message = enroll,
        .closed = closed,
    },
    {
        .name = "Renew",
        .request = &telex__v1__renew_request__descriptor,
        .response = &telex__v1__renew_response__descriptor,
        .message = renew,
        .closed = closed,
    },
    {
        .name = "GetRevocations",
        .request = &telex__v1__get_revocations_request__descriptor,
        .response = &telex__v1__get_revocations_response__descriptor,
        .message = get_revocations,
        .closed = closed,
    },
};

const struct rpc_service svc_certificate = {"telex.v1.CertificateService", methods, 3};
