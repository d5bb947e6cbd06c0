/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/enroll_door.h"

#include <stdlib.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/listener.h"
#include "agent/worker/services.h"
#include "agent/worker/session.h"
#include "agent/worker/worker.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rpc.h"
#include "common/tls.h"

#define CONNECTIONS_MAX 1024u
#define STREAMS_MAX     8u
#define LIFE_S          60  /* once a call was accepted */
#define A_SOURCE_MAX    32u /* connections */
#define MESSAGE_MAX     ((size_t)128 << 10)

struct enroll_door {
	struct worker *worker;
	void (*ended)(void *arg);
	void *arg;
	struct listeners *listeners;
	struct sessions *sessions; /* these three: once it is open */
	struct rpc_server *rpc;
	struct tls_ctx *tls;
	bool any, stopped;
};

static void on_accepted(int fd, const struct sockaddr *from, socklen_t len, void *arg)
{
	struct enroll_door *d = arg;

	sessions_accept(d->sessions, fd, from, len);
}

static bool has_room(void *arg)
{
	const struct enroll_door *d = arg;
	uint32_t max = d->worker->config.max_connections;

	if (max == 0 || max > CONNECTIONS_MAX)
		max = CONNECTIONS_MAX;
	return sessions_count(d->sessions) < max;
}

static const struct listener_ops listener_ops = {.accepted = on_accepted, .room = has_room};

static void on_session_ended(void *arg)
{
	struct enroll_door *d = arg;

	if (!d->stopped)
		listeners_resume(d->listeners);
	d->ended(d->arg);
}

/* Nobody here has an identity: telex-ca decides by what they show it. */
static int authorize(struct rpc_call *c, const struct rpc_service *s, const struct rpc_method *m,
    struct rpc_status *refuse)
{
	int rc = audit_log_call(c, s->name, m, false, "anybody may ask the authority", refuse);

	if (rc == 0)
		session_called(rpc_call_peer(c));
	return rc;
}

static void on_finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	const struct peer *who = rpc_call_peer(c);

	log_debug("%s: %s: %s%s%s", who->address, path, rpc_code_name(status->code),
	    status->message[0] != '\0' ? ": " : "", status->message);
	audit_log_finished(c, path, status);
}

struct enroll_door *enroll_door_new(struct worker *w, void (*ended)(void *arg), void *arg)
{
	struct enroll_door *d = xcalloc(1, sizeof(*d));

	d->worker = w;
	d->ended = ended;
	d->arg = arg;
	d->listeners = listeners_new(w->base, &listener_ops, d);
	return d;
}

void enroll_door_free(struct enroll_door *d)
{
	if (d == NULL)
		return;
	listeners_free(d->listeners);
	sessions_free(d->sessions);
	rpc_server_free(d->rpc);
	tls_ctx_free(d->tls);
	free(d);
}

void enroll_door_listen(struct enroll_door *d, int fd, const char *address)
{
	d->any = true;
	listeners_add(d->listeners, fd, address);
}

int enroll_door_open(struct enroll_door *d, const struct tls_material *m, struct err *e)
{
	static const struct rpc_service *const services[] = {&svc_certificate};
	const struct rpc_server_config cfg = {
	    .services = services,
	    .n_services = 1,
	    .max_message = MESSAGE_MAX,
	    .authorize = authorize,
	    .finished = on_finished,
	    .hint = "this is an authority's listener, which gives out certificates and nothing "
	            "else; the agent listens on another port",
	    .context = d->worker,
	};
	int rc;

	if (!d->any)
		return 0;
	rc = tls_bare_server_ctx_new(&d->tls, m, e);
	if (rc != 0)
		return rc;
	rc = rpc_server_new(&d->rpc, d->worker->base, &cfg);
	if (rc != 0)
		return err_set(e, rc, "%s", err_name(rc));
	d->sessions = sessions_new(d->worker, d->tls, d->rpc, on_session_ended, d);
	sessions_set_limits(d->sessions, STREAMS_MAX, LIFE_S, A_SOURCE_MAX);
	listeners_start(d->listeners);
	return 0;
}

size_t enroll_door_count(const struct enroll_door *d)
{
	return d->sessions == NULL ? 0 : sessions_count(d->sessions);
}

void enroll_door_drain(struct enroll_door *d)
{
	d->stopped = true;
	listeners_stop(d->listeners);
	if (d->sessions != NULL)
		sessions_drain(d->sessions);
}

void enroll_door_close(struct enroll_door *d)
{
	if (d->sessions != NULL)
		sessions_close(d->sessions);
}
