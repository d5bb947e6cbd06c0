/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-worker: serves the API on the keeper's listening sockets. It is started by telexd alone,
 * with its end of their link as descriptor 3, and holds nothing that anybody would miss.
 *
 * It is configured by messages (KM_CONFIG, KM_LISTEN, KM_GO), serves until KM_DRAIN, and ends when
 * its last connection has; or at once when it cannot serve, or soon when the keeper is gone.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/worker/attempts.h"
#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/ca_client.h"
#include "agent/worker/enroll_door.h"
#include "agent/worker/file_call.h"
#include "agent/worker/keeper_client.h"
#include "agent/worker/listener.h"
#include "agent/worker/proxied.h"
#include "agent/worker/revoked.h"
#include "agent/worker/run.h"
#include "agent/worker/sandbox.h"
#include "agent/worker/services.h"
#include "agent/worker/session.h"
#include "agent/worker/shared_answer.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/digest.h"
#include "common/duration.h"
#include "common/helper_process.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "common/tls.h"

/* How long the answers that say so may take when the keeper is gone. */
#define LAST_WORDS_S 1
#define KEPT_FREE    ((size_t)2 << 20) /* an idle worker is small */

enum pem { PEM_CERTIFICATE, PEM_KEY, PEM_CA, PEM_COUNT };

struct program {
	struct worker worker;
	struct listeners *listeners;
	struct sessions *sessions; /* from KM_GO on */
	struct rpc_server *rpc;
	struct tls_ctx *tls;
	struct enroll_door *enroll;
	struct {
		char *text;
		size_t len;
	} pem[PEM_COUNT];         /* from KM_CONFIG to KM_GO */
	int files[KM_FILE_KINDS]; /* by enum km_file_kind; -1: not given */
	char policy_name[KM_TEXT_SIZE];
	struct event *last_words;
	struct event *drained; /* calls may go on until then */
	int audit_fd;          /* the audit log's, from KM_GO on */
	int status;            /* of the process */
};

static const char *const pem_names[PEM_COUNT] = {"certificate", "key", "ca"};

static void stop(struct program *p, int status)
{
	p->status = status;
	event_base_loopbreak(p->worker.base);
}

/* ---- connections ---- */

static void on_accepted(int fd, const struct sockaddr *from, socklen_t len, void *arg)
{
	struct program *p = arg;

	sessions_accept(p->sessions, fd, from, len);
}

static bool has_room(void *arg)
{
	const struct program *p = arg;
	uint32_t max = p->worker.config.max_connections;

	return max == 0 || sessions_count(p->sessions) < max;
}

static const struct listener_ops listener_ops = {.accepted = on_accepted, .room = has_room};

static size_t connections(const struct program *p)
{
	return (p->sessions == NULL ? 0 : sessions_count(p->sessions)) +
	       enroll_door_count(p->enroll);
}

static void stop_if_empty(struct program *p)
{
	if (p->worker.draining && connections(p) == 0)
		stop(p, p->status);
}

static void on_session_ended(void *arg)
{
	struct program *p = arg;

	if (!p->worker.draining)
		listeners_resume(p->listeners);
	stop_if_empty(p);
}

static void on_enroll_ended(void *arg)
{
	stop_if_empty(arg);
}

/* ---- calls ---- */

static int authorize(struct rpc_call *c, const struct rpc_service *s, const struct rpc_method *m,
    struct rpc_status *refuse)
{
	int identified = proxied_identify(c, refuse);
	const struct peer *who = rpc_call_peer(c);
	char rule[POLICY_RULE_SIZE] = "";
	int rc = identified;
	bool begun;

	if (rc == 0)
		rc = revoked_authorize(who->worker->revoked, who, s->name, m->name, refuse);
	if (rc == 0)
		rc = authz_call(who->worker->authz, who->identity, s->name, m->name, rule, refuse);
	begun = rc == 0;
	rc = audit_log_call(c, s->name, m, rc != 0, rule[0] != '\0' ? rule : NULL, refuse);
	if (rc == 0)
		session_called(rpc_call_peer(c));
	if (begun && rc != 0)
		authz_ended(who->worker->authz, who->identity);
	return rc;
}

static void on_finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	struct peer *who = rpc_call_peer(c);

	if (rpc_call_accepted(c))
		authz_ended(who->worker->authz, who->identity);
	who->last_code = status->code;
	log_debug("%s: %s: %s: %s%s%s", who->address, who->identity, path,
	    rpc_code_name(status->code), status->message[0] != '\0' ? ": " : "", status->message);
	audit_log_finished(c, path, status);
}

/* ---- the keeper's word ---- */

static void cannot_serve(struct program *p, const struct err *why)
{
	log_error("%s", why->message);
	keeper_client_failed(p->worker.keeper, why->message);
	stop(p, EXIT_FAILURE);
}

static void forget_pem(struct program *p)
{
	for (int i = 0; i < PEM_COUNT; i++) {
		tls_text_free(p->pem[i].text, p->pem[i].len);
		p->pem[i].text = NULL;
	}
}

static int configure(struct program *p, const struct km_config *m, const int *fds)
{
	struct err e;
	int rc;

	p->worker.config = *m;
	log_open("worker", (enum log_level)m->log_level, m->log_json != 0, STDERR_FILENO);
	rc = sandbox_enter(&p->worker.confinement, m->drop != 0, m->uid, m->gid, &e);
	forget_pem(p);
	for (int i = 0; i < PEM_COUNT && rc == 0; i++)
		rc = tls_read_fd(fds[i], pem_names[i], &p->pem[i].text, &p->pem[i].len, &e);
	if (rc < 0)
		cannot_serve(p, &e);
	return rc;
}

static int make_tls(struct program *p, struct err *e)
{
	const struct tls_material m = {
	    .certificate = p->pem[PEM_CERTIFICATE].text,
	    .key = p->pem[PEM_KEY].text,
	    .ca = p->pem[PEM_CA].text,
	    .certificate_len = p->pem[PEM_CERTIFICATE].len,
	    .key_len = p->pem[PEM_KEY].len,
	    .ca_len = p->pem[PEM_CA].len,
	};
	int rc;

	if (m.certificate == NULL || p->tls != NULL)
		return err_set(e, TX_ESTATE, "told to serve before it was configured, or twice");
	rc = tls_server_ctx_new(&p->tls, &m, e);
	if (rc == 0) {
		p->worker.revoked = revoked_new(m.ca, m.ca_len, &p->worker.config);
		tls_ctx_set_revoked(p->tls, revoked_in_handshake, p->worker.revoked);
		rc = enroll_door_open(p->enroll, &m, e);
	}
	forget_pem(p);
	if (rc == 0)
		snprintf(p->worker.agent_identity, sizeof(p->worker.agent_identity), "%s",
		    tls_ctx_identity(p->tls));
	return rc;
}

/* The keeper's descriptor becomes the writer's. */
static int begin_audit(struct program *p, struct err *e)
{
	int *fd = &p->files[KM_FILE_AUDIT];
	int rc;

	if (*fd < 0)
		return err_set(e, TX_ESTATE, "there is no audit log to write to");
	rc = audit_log_open(&p->worker, *fd, e);
	p->audit_fd = *fd;
	if (rc == 0)
		*fd = -1;
	return rc;
}

/* What is there and cannot be read may revoke somebody: nobody is served by it. */
static int take_revocations(struct program *p, bool *newer, struct err *e)
{
	int fd = p->files[KM_FILE_REVOCATIONS];

	return fd < 0 ? 0 : revoked_take_file(p->worker.revoked, fd, newer, e);
}

static int go(struct program *p)
{
	const struct rpc_server_config cfg = {
	    .services = services_all,
	    .n_services = SERVICES_COUNT,
	    .max_message = WORKER_MAX_MESSAGE,
	    .authorize = authorize,
	    .finished = on_finished,
	    .context = &p->worker,
	};
	struct err e;
	bool newer;
	int rc = make_tls(p, &e);

	if (rc == 0 && digest_prepare() != 0)
		rc = err_set(&e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		rc = take_revocations(p, &newer, &e);
	if (rc == 0)
		rc = begin_audit(p, &e);
	if (rc == 0)
		rc = authz_new(&p->worker.authz, p->policy_name, p->files[KM_FILE_POLICY],
		    p->files[KM_FILE_CEILING], &e);
	if (rc == 0) {
		rc = rpc_server_new(&p->rpc, p->worker.base, &cfg);
		if (rc < 0)
			err_set(&e, rc, "%s", err_name(rc));
	}
	if (rc < 0) {
		cannot_serve(p, &e);
		return rc;
	}
	p->sessions = sessions_new(&p->worker, p->tls, p->rpc, on_session_ended, p);
	p->worker.sessions = p->sessions;
	/* From here on nothing can be opened, and a peer may say its first word. */
	svc_system_look(&p->worker);
	p->worker.groups = tls_ctx_groups(p->tls);
	p->worker.certificate_not_after = tls_ctx_expires(p->tls);
	rc = sandbox_close(&p->worker.confinement,
	    (p->worker.config.can & KM_CAN_EMPTY_NETWORK) != 0, p->audit_fd, &e);
	if (rc < 0) {
		cannot_serve(p, &e);
		return rc;
	}
	listeners_start(p->listeners);
	keeper_client_ready(p->worker.keeper);
	log_info("worker %u of %u serves as %s", p->worker.config.index + 1,
	    p->worker.config.workers, p->worker.agent_identity);
	return 0;
}

/* No new connections; those there are go on until their calls are over. */
static void drain(struct program *p)
{
	if (p->worker.draining)
		return;
	p->worker.draining = true;
	listeners_stop(p->listeners);
	enroll_door_drain(p->enroll);
	if (connections(p) == 0) {
		stop(p, p->status);
		return;
	}
	if (p->sessions == NULL)
		return;
	svc_health_draining(&p->worker);
	sessions_drain(p->sessions);
}

/* Another worker has taken over: whose client can come back goes to it now, the others when the
 * time is over. */
static void move(struct program *p, int64_t timeout_ns)
{
	struct timeval tv = duration_timeval(timeout_ns > 0 ? timeout_ns : 0);

	p->worker.moving = true;
	keeper_client_moving(p->worker.keeper);
	drain(p);
	if (p->sessions == NULL)
		return;
	run_move_all(&p->worker);
	file_call_move_all(&p->worker);
	event_add(p->drained, &tv);
}

/* Their calls end as they would if the keeper were gone; what they had attached to goes on. */
static void on_drained(evutil_socket_t fd, short what, void *arg)
{
	struct program *p = arg;

	(void)fd;
	(void)what;
	log_info("%zu connections are still here and are closed", sessions_count(p->sessions));
	keeper_client_leave(p->worker.keeper);
}

/* The newest of its kind. */
static void keep_file(struct program *p, const struct km_file *m, int fd)
{
	int *place = m->kind < KM_FILE_KINDS ? &p->files[m->kind] : NULL;
	bool newer = false;
	struct err e;

	if (m->kind == KM_FILE_CA) {
		ca_client_take(p->worker.ca, fd);
		return;
	}
	if (place == NULL) {
		close(fd);
		return;
	}
	if (*place >= 0)
		close(*place);
	*place = fd;
	if (m->kind == KM_FILE_POLICY)
		snprintf(p->policy_name, sizeof(p->policy_name), "%s",
		    m->name[0] != '\0' ? m->name : "policy");
	if (m->kind == KM_FILE_REVOCATIONS && p->sessions != NULL) {
		if (take_revocations(p, &newer, &e) != 0)
			log_error("%s; what was in force stays", e.message);
		if (newer)
			sessions_cut_revoked(p->sessions);
	}
}

static int on_control(const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct program *p = arg;
	int rc = 0;

	switch (msg->hdr.type) {
	case KM_CONFIG:
		rc = configure(p, &msg->config, fds);
		break;
	case KM_LISTEN:
		if (msg->listen.kind == KM_LISTEN_ENROLL)
			enroll_door_listen(p->enroll, fds[0], msg->listen.address);
		else
			listeners_add(p->listeners, fds[0], msg->listen.address);
		return 0;
	case KM_FILE:
		keep_file(p, &msg->file, fds[0]);
		return 0;
	case KM_GO:
		rc = go(p);
		break;
	default:
		log_info(msg->drain.move ? "another worker has taken over; draining" : "draining");
		if (msg->drain.move)
			move(p, msg->drain.timeout_ns);
		else
			drain(p);
	}
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	return rc;
}

static void on_last_words(evutil_socket_t fd, short what, void *arg)
{
	struct program *p = arg;

	(void)fd;
	(void)what;
	if (p->sessions != NULL)
		sessions_close(p->sessions);
	enroll_door_close(p->enroll);
}

/* Every call has been told so by now; their connections get a moment to write it. */
static void on_lost(const struct err *why, void *arg)
{
	static const struct timeval moment = {LAST_WORDS_S, 0};
	struct program *p = arg;

	event_del(p->drained);
	if (p->worker.draining && why->code == TX_ECLOSED)
		log_info("the link to the keeper has ended: %s", why->message);
	else
		log_error("the link to the keeper is lost: %s", why->message);
	p->status = p->worker.moving ? EXIT_SUCCESS : EXIT_FAILURE;
	drain(p);
	if (p->sessions != NULL)
		event_add(p->last_words, &moment);
}

/* ---- the program ---- */

static void tell_audit(struct km_pong *m, void *arg)
{
	const struct program *p = arg;

	m->audit_seq = audit_seq(p->worker.audit);
	audit_hash(p->worker.audit, m->audit_hash);
}

static void clean_up(struct program *p)
{
	audit_log_close(&p->worker);
	keeper_client_pong(p->worker.keeper);
	audit_free(p->worker.audit);
	listeners_free(p->listeners);
	enroll_door_free(p->enroll);
	ca_client_free(p->worker.ca);
	attempts_free(p->worker.attempts);
	shared_answer_unref(p->worker.list);
	sessions_free(p->sessions);
	rpc_server_free(p->rpc);
	tls_ctx_free(p->tls);
	revoked_free(p->worker.revoked);
	authz_free(p->worker.authz);
	keeper_client_free(p->worker.keeper);
	svc_reflection_cleanup();
	forget_pem(p);
	for (int i = 0; i < KM_FILE_KINDS; i++)
		if (p->files[i] >= 0)
			close(p->files[i]);
	event_free(p->last_words);
	event_free(p->drained);
	event_base_free(p->worker.base);
}

int main(void)
{
	static const struct keeper_client_ops ops = {
	    .control = on_control, .pong = tell_audit, .lost = on_lost};
	struct program p = {0};
	struct err e;

	mem_keep_freed(KEPT_FREE);
	for (int i = 0; i < KM_FILE_KINDS; i++)
		p.files[i] = -1;
	if (!helper_process_has_link(KM_WORKER_FD, SOCK_SEQPACKET)) {
		fputs("telex-worker is a part of telexd, which starts it; it is not a command.\n",
		    stderr);
		return 2;
	}
	/* The keeper takes the end of the link for the end of this process and makes sure of it:
	 * this keeps it open until then. */
	(void)fcntl(KM_WORKER_FD, F_DUPFD_CLOEXEC, KM_WORKER_FD + 1);
	/* Started by descriptor, it may have been named after its number. */
	(void)prctl(PR_SET_NAME, "telex-worker");
	helper_process_ignore_signals();
	log_open("worker", LOG_LEVEL_INFO, false, STDERR_FILENO);
	p.worker.base = event_base_new();
	if (p.worker.base == NULL)
		abort();
	p.last_words = evtimer_new(p.worker.base, on_last_words, &p);
	p.drained = evtimer_new(p.worker.base, on_drained, &p);
	p.listeners = listeners_new(p.worker.base, &listener_ops, &p);
	p.enroll = enroll_door_new(&p.worker, on_enroll_ended, &p);
	p.worker.ca = ca_client_new(p.worker.base);
	if (keeper_client_new(&p.worker.keeper, p.worker.base, KM_WORKER_FD, &ops, &p, &e) < 0) {
		log_error("%s", e.message);
		return EXIT_FAILURE;
	}
	event_base_dispatch(p.worker.base);
	clean_up(&p);
	return p.status;
}
