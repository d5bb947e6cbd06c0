/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, and the begins and ends of calls. What calls do is audit_act.c's. */
#include "agent/worker/audit_log.h"

#include <event2/event.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/audit_internal.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/audit_budget.h"
#include "common/duration.h"
#include "common/log.h"

#define ID_HEADER "x-telex-request-id"
#define ID_BYTES  8

/* ---- who has no certificate ---- */

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	audit_budget_tell(w->strangers, clock_monotonic_ns());
}

static void on_denials_due(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	audit_budget_tell(w->denials, clock_monotonic_ns());
}

/* Takes of a budget for `who`, and sees to it that what is counted is told. */
static bool take(
    struct audit_budget *b, struct event *when_due, enum audit_kind kind, const char *who)
{
	int64_t now = clock_monotonic_ns();
	bool yes = audit_budget_take(b, kind, who, now);
	int64_t due = audit_budget_due(b);

	if (due > 0 && !evtimer_pending(when_due, NULL)) {
		struct timeval wait = duration_timeval(due > now ? due - now : 0);

		event_add(when_due, &wait);
	}
	return yes;
}

static bool may_write(struct worker *w, enum audit_kind kind, const struct peer *peer)
{
	return take(w->strangers, w->strangers_due, kind, peer->address);
}

/* A number of the configuration, for identities; 0: its default. */
static uint32_t for_identities(uint32_t n, uint32_t otherwise)
{
	uint32_t many;

	return __builtin_mul_overflow(n > 0 ? n : otherwise, AUDIT_BUDGET_DENIED, &many)
	           ? UINT32_MAX
	           : many;
}

static int open_budgets(struct worker *w, struct err *e)
{
	struct audit_budget_limits limits = {.per_source = w->config.audit_per_source,
	    .total = w->config.audit_total,
	    .interval_ns = w->config.audit_interval_ns};
	int64_t now = clock_monotonic_ns();

	w->strangers_due = evtimer_new(w->base, on_due, w);
	w->denials_due = evtimer_new(w->base, on_denials_due, w);
	if (w->strangers_due == NULL || w->denials_due == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	w->strangers = audit_budget_new(w->audit, &limits, now);
	limits.per_source = for_identities(limits.per_source, AUDIT_BUDGET_PER_SOURCE);
	limits.total = for_identities(limits.total, AUDIT_BUDGET_TOTAL);
	w->denials = audit_budget_new(w->audit, &limits, now);
	return 0;
}

/* Tells what was counted and ends the budget. */
static void close_budget(struct audit_budget **b, struct event **due)
{
	audit_budget_tell(*b, clock_monotonic_ns());
	audit_budget_free(*b);
	*b = NULL;
	if (*due != NULL)
		event_free(*due);
	*due = NULL;
}

int audit_log_open(struct worker *w, int fd, struct err *e)
{
	struct audit_options o = {
	    .writer = w->config.audit_writer,
	    .program = "worker",
	    .fsync = w->config.audit_fsync != 0,
	    .syslog = w->config.audit_syslog != 0,
	    .drop = w->config.audit_full == KM_AUDIT_DROP,
	    .link = AUDIT_LINK_BEGUN,
	};
	int rc;

	memcpy(o.linked, w->config.audit_begun, sizeof(o.linked));
	rc = audit_new(&w->audit, fd, &o, e);
	return rc == 0 ? open_budgets(w, e) : rc;
}

void audit_log_close(struct worker *w)
{
	close_budget(&w->strangers, &w->strangers_due);
	close_budget(&w->denials, &w->denials_due);
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

bool audit_log_handshake(struct worker *w, const struct peer *peer, const char *why)
{
	bool named = peer->identity[0] != '\0';

	if (!may_write(w, named ? AUDIT_HANDSHAKE_NAMED : AUDIT_HANDSHAKE, peer))
		return false;
	begin_peer(w, "handshake", peer);
	audit_text(w->audit, "outcome", "refused");
	audit_text(w->audit, "reason", why);
	(void)audit_end(w->audit, NULL);
	return true;
}

/* Whether a record of a connection may be written, of which nobody knows what it is good for. */
static bool may_write_idle(
    struct worker *w, enum audit_kind unknown, enum audit_kind named, const struct peer *peer)
{
	if (peer->identity[0] == '\0')
		return may_write(w, unknown, peer);
	return peer->called || take(w->denials, w->denials_due, named, peer->identity);
}

static int put_connection(struct worker *w, const struct peer *peer, struct err *e)
{
	begin_peer(w, "handshake", peer);
	audit_text(w->audit, "outcome", "accepted");
	audit_text(w->audit, "tls", peer->tls.version);
	audit_text(w->audit, "cipher", peer->tls.cipher);
	audit_text(w->audit, "group", peer->tls.group);
	return audit_end(w->audit, e);
}

int audit_log_connection(struct worker *w, struct peer *peer, struct err *e)
{
	if (may_write_idle(w, AUDIT_CONNECTION, AUDIT_CONNECTION_NAMED, peer))
		return put_connection(w, peer, e);
	peer->unwritten = peer->identity[0] != '\0';
	return 0;
}

void audit_log_cut(struct worker *w, const struct peer *peer, const char *why)
{
	if (!may_write_idle(w, AUDIT_CUT, AUDIT_CUT_NAMED, peer))
		return;
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

/* A call of somebody without a certificate, or one that is denied to somebody known, when there
 * were many. */
static bool is_counted(struct rpc_call *c, bool denied)
{
	const struct peer *peer = rpc_call_peer(c);
	struct worker *w = rpc_call_context(c);

	if (peer->identity[0] == '\0')
		return !may_write(w, AUDIT_CALL, peer);
	return denied && !take(w->denials, w->denials_due, AUDIT_DENIED, peer->identity);
}

/* Who is known gets another answer, not to ask any more; but who was told when to ask again, that.
 */
static int refuse_counted(struct rpc_call *c, struct rpc_status *refuse)
{
	const struct peer *peer = rpc_call_peer(c);

	if (peer->identity[0] == '\0' || refuse->code == RPC_RESOURCE_EXHAUSTED)
		return TX_EPERM;
	refuse->code = RPC_RESOURCE_EXHAUSTED;
	strcpy(refuse->reason, "DENIALS");
	rpc_status_add(refuse, "; so many calls of this identity were denied that they are only "
	                       "counted");
	return TX_EPERM;
}

/* The connection's, before that of the first call that is allowed on it. */
static int put_due(struct rpc_call *c)
{
	struct peer *peer = rpc_call_peer(c);

	if (peer->proxy != NULL)
		peer = peer->proxy;
	if (!peer->unwritten)
		return 0;
	if (put_connection(rpc_call_context(c), peer, NULL) != 0)
		return TX_ESYS;
	peer->unwritten = false;
	return 0;
}

int audit_log_call(struct rpc_call *c, const char *service, const struct rpc_method *m, bool denied,
    const char *rule, struct rpc_status *refuse)
{
	struct audit *a;

	give_id(c);
	if (is_counted(c, denied))
		return denied ? refuse_counted(c, refuse) : 0;
	if (!denied && put_due(c) != 0)
		return audit_unavailable(refuse);
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
	const struct rpc_method *m = rpc_call_method(c);
	struct audit *a;

	if (is_counted(c, true))
		return refuse_counted(c, refuse);
	a = audit_begin_call(c, "denied");
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
	if (is_counted(c, refused))
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
