/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, and the begins and ends of calls. What calls do is audit_act.c's. */
#include "agent/worker/audit_log.h"

#include <openssl/rand.h>
#include <string.h>

#include "agent/worker/audit_internal.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/log.h"

#define ID_HEADER "x-telex-request-id"
#define ID_BYTES  8

int audit_log_open(struct worker *w, int fd, struct err *e)
{
	const struct audit_options o = {
	    .writer = w->config.audit_writer,
	    .program = "worker",
	    .fsync = w->config.audit_fsync != 0,
	    .syslog = w->config.audit_syslog != 0,
	    .drop = w->config.audit_full == KM_AUDIT_DROP,
	};

	return audit_new(&w->audit, fd, &o, e);
}

void audit_log_close(struct worker *w)
{
	audit_finish(w->audit);
}

int audit_unavailable(struct rpc_status *refuse)
{
	rpc_status_set(refuse, RPC_UNAVAILABLE, "AUDIT_UNAVAILABLE",
	    "the agent's audit log cannot be written to, so it does nothing; its administrator has "
	    "to "
	    "make room");
	return TX_ESYS;
}

/* ---- connections ---- */

static void begin_peer(struct worker *w, const char *event, const struct peer *peer)
{
	audit_begin(w->audit, event);
	if (peer->identity[0] != '\0')
		audit_text(w->audit, "identity", peer->identity);
	audit_text(w->audit, "peer", peer->address);
}

void audit_log_handshake(struct worker *w, const struct peer *peer, const char *why)
{
	begin_peer(w, "handshake", peer);
	audit_text(w->audit, "outcome", "refused");
	audit_text(w->audit, "reason", why);
	(void)audit_end(w->audit, NULL);
}

int audit_log_connection(struct worker *w, const struct peer *peer, struct err *e)
{
	begin_peer(w, "handshake", peer);
	audit_text(w->audit, "outcome", "accepted");
	audit_text(w->audit, "tls", peer->tls.version);
	audit_text(w->audit, "cipher", peer->tls.cipher);
	audit_text(w->audit, "group", peer->tls.group);
	return audit_end(w->audit, e);
}

void audit_log_cut(struct worker *w, const struct peer *peer, const char *why)
{
	begin_peer(w, "cut", peer);
	audit_text(w->audit, "reason", why);
	(void)audit_end(w->audit, NULL);
}

/* ---- calls ---- */

static void give_id(struct rpc_call *c)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char random[ID_BYTES];
	char id[2 * ID_BYTES + 1];

	if (RAND_bytes(random, sizeof(random)) != 1)
		memset(random, 0, sizeof(random));
	for (int i = 0; i < ID_BYTES; i++) {
		id[2 * i] = digits[random[i] >> 4];
		id[2 * i + 1] = digits[random[i] & 15];
	}
	id[2 * ID_BYTES] = '\0';
	rpc_call_set_id(c, ID_HEADER, id);
}

struct audit *audit_begin_call(struct rpc_call *c, const char *event)
{
	struct worker *w = rpc_call_context(c);

	begin_peer(w, event, rpc_call_peer(c));
	audit_text(w->audit, "request", rpc_call_id(c));
	return w->audit;
}

static void put_refusal(struct audit *a, const struct rpc_status *status)
{
	audit_text(a, "code", rpc_code_name(status->code));
	if (status->reason[0] != '\0')
		audit_text(a, "reason", status->reason);
	if (status->message[0] != '\0')
		audit_text(a, "message", status->message);
}

int audit_log_call(struct rpc_call *c, const char *service, const struct rpc_method *m, bool denied,
    const char *rule, struct rpc_status *refuse)
{
	struct audit *a;

	give_id(c);
	a = audit_begin_call(c, "call");
	audit_text(a, "service", service);
	audit_text(a, "method", m->name);
	audit_text(a, "decision", denied ? "denied" : "allowed");
	audit_text(a, "rule", rule);
	if (denied)
		put_refusal(a, refuse);
	if (audit_end(a, NULL) != 0)
		return audit_unavailable(refuse);
	return denied ? TX_EPERM : 0;
}

int audit_log_denied(struct rpc_call *c, const char *rule, struct rpc_status *refuse)
{
	struct audit *a = audit_begin_call(c, "denied");
	const struct rpc_method *m = rpc_call_method(c);

	if (m != NULL)
		audit_text(a, "method", m->name);
	audit_text(a, "rule", rule);
	put_refusal(a, refuse);
	if (audit_end(a, NULL) != 0)
		return audit_unavailable(refuse);
	return TX_EPERM;
}

static bool is_stream(const struct rpc_method *m)
{
	return m->client_stream || m->server_stream;
}

void audit_log_finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	const struct rpc_method *m = rpc_call_method(c);
	const bool refused = rpc_call_id(c)[0] == '\0'; /* before it was asked about */
	const char *reason;
	int answer = rpc_call_answer(c, &reason);
	struct audit *a;

	if (refused)
		give_id(c);
	else if (m == NULL || !is_stream(m) || !rpc_call_accepted(c))
		return;
	a = audit_begin_call(c, refused ? "call" : "call-end");
	if (refused) {
		audit_text(a, "path", path);
		audit_text(a, "decision", "denied");
	}
	/* What was answered says more than that the client had left before it came. */
	if (answer < 0) {
		put_refusal(a, status);
	} else {
		audit_text(a, "code", rpc_code_name(answer));
		audit_text(a, "reason", reason[0] != '\0' ? reason : NULL);
	}
	(void)audit_end(a, NULL);
}
