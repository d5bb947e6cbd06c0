/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CertificateService as every listener has it: PutRevocations. A list is verified here and kept by
 * the keeper, which gives it to the other workers; when it has answered, those that the list
 * revokes are cut off, and then the caller is answered.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/process_call.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/revoked.h"
#include "agent/worker/services.h"
#include "agent/worker/session.h"
#include "agent/worker/worker.h"
#include "certs/crl.h"
#include "common/memfile.h"
#include "telex/v1/certificate.pb-c.h"

struct put {
	struct process_call base; /* the first, for process_call_new */
	struct crl *list;         /* verified; NULL once it is in force */
};

static void answer(struct put *p, int64_t number, size_t cut)
{
	Telex__V1__PutRevocationsResponse r = TELEX__V1__PUT_REVOCATIONS_RESPONSE__INIT;
	const struct worker *w = process_call_worker(&p->base);

	r.number = number;
	r.revoked = (uint32_t)revoked_count(w->revoked);
	r.connections_cut = (uint32_t)cut;
	process_call_answer(&p->base, &r.base);
}

/* It is in force here, whatever became of it there. */
static void on_kept(const union km_any *msg, int fd, void *arg)
{
	struct put *p = arg;
	struct worker *w = process_call_worker(&p->base);
	const struct peer *caller = rpc_call_peer(p->base.call);
	struct crl *list = p->list;
	int64_t number = crl_number(list);
	bool itself;
	size_t cut;

	(void)fd;
	p->base.asked = NULL;
	p->list = NULL;
	revoked_take(w->revoked, list);
	itself = revoked_is(w->revoked, caller->serial);
	cut = w->sessions == NULL ? 0 : sessions_cut_revoked(w->sessions);
	if (itself)
		return; /* its call is over, and p with it */
	if (msg != NULL && msg->hdr.type == KM_DONE)
		answer(p, number, cut);
	else
		process_call_refuse(&p->base, msg);
}

static void refuse_older(struct put *p, int64_t number, int64_t have)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_FAILED_PRECONDITION, "OLDER",
	    "the revocation list has number %" PRId64 ", and the agent has number %" PRId64, number,
	    have);
	rpc_status_meta(&status, "number", "%" PRId64, have);
	process_call_fail(&p->base, &status);
}

static void ask_keeper(struct put *p, const char *text, size_t len)
{
	struct km_revocations m = {.number = crl_number(p->list)};
	struct rpc_status status;
	struct err e;
	int fd;

	memcpy(m.issuer, crl_issuer(p->list), sizeof(m.issuer));
	if (memfile_freeze("telex-revocations", text, len, &fd, &e) != 0) {
		rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "SYSTEM", "%s", e.message);
		process_call_fail(&p->base, &status);
		return;
	}
	process_call_ask(&p->base, KM_REVOCATIONS, &m, fd, on_kept);
	close(fd);
}

static void put_revocations(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__PutRevocationsRequest *request =
	    (const Telex__V1__PutRevocationsRequest *)msg;
	struct put *p = process_call_new(c, sizeof(*p));
	const struct worker *w = rpc_call_context(c);
	size_t len = strlen(request->revocations);
	int64_t have = -1;
	struct err e = {.code = 0};

	if (len == 0 || len > CRL_MAX)
		err_set(&e, TX_EINVAL, "a revocation list has 1 byte to %zu MiB", CRL_MAX >> 20);
	else if (revoked_read(w->revoked, &p->list, request->revocations, len, &e) == 0)
		err_clear(&e);
	if (e.code == 0)
		have = revoked_number_of(w->revoked, crl_issuer(p->list));
	if (e.code != 0)
		rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_REVOCATIONS", "%s", e.message);
	else if (crl_number(p->list) < have)
		refuse_older(p, crl_number(p->list), have);
	else if (crl_number(p->list) == have)
		answer(p, have, 0);
	else
		ask_keeper(p, request->revocations, len);
}

static void closed(struct rpc_call *c)
{
	struct put *p = rpc_call_data(c);

	if (p != NULL)
		crl_free(p->list);
	process_call_closed(c);
}

static const struct rpc_method methods[] = {{
    .name = "PutRevocations",
    .request = &telex__v1__put_revocations_request__descriptor,
    .response = &telex__v1__put_revocations_response__descriptor,
    .message = put_revocations,
    .max_message = REVOCATION_MESSAGE_MAX,
    .closed = closed,
}};

const struct rpc_service svc_revocations = {"telex.v1.CertificateService", methods, 1};
