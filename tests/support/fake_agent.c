/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_agent.h"

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "common/h2.h"
#include "common/rpc.h"
#include "common/tls.h"
#include "grpc/health/v1/health.pb-c.h"
#include "telex/v1/process.pb-c.h"
#include "telex/v1/system.pb-c.h"
#include "tests/support/fake_acts.h"
#include "tests/support/fake_download.h"
#include "tests/support/fake_flow.h"
#include "tests/support/fake_questions.h"
#include "tests/support/fake_say.h"
#include "tests/support/fake_upload.h"
#include "tests/support/fake_watch.h"

struct peer {
	TAILQ_ENTRY(peer) entry;
	struct fake_agent *agent;
	struct bufferevent *bev; /* until it is established */
	struct h2_conn *h2;
	int fd;
};

struct run {
	TAILQ_ENTRY(run) entry;
	struct fake_agent *agent;
	struct rpc_call *call;
	struct act_run *act; /* NULL, both: nothing was begun */
	struct flow_run *flow;
};

struct fake_agent {
	struct event_base *base;
	struct tls_ctx *ctx;
	struct evconnlistener *listener;
	struct rpc_server *server;
	TAILQ_HEAD(, peer) peers;
	TAILQ_HEAD(, run) runs;
	struct fake_seen seen;
	struct h2_limits limits;
	struct flow_table *flows;
	unsigned refuse;
	const char *refuse_reason;
	struct rpc_method methods[32]; /* of ProcessService */
	struct rpc_service process_service;
	struct fake_upload upload;
	struct fake_download download;
	struct rpc_method file_methods[8];
	struct rpc_service file_service;
	struct fake_watch watch;
	struct rpc_service watch_service;
	const struct rpc_service *services[5];
};

static void *need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- ProcessService ---- */

static void run_open(struct rpc_call *c)
{
	struct run *r = need(calloc(1, sizeof(*r)));

	r->agent = rpc_call_context(c);
	r->call = c;
	r->agent->seen.calls++;
	r->agent->seen.open++;
	TAILQ_INSERT_TAIL(&r->agent->runs, r, entry);
	rpc_call_set_data(c, r);
}

static void run_closed(struct rpc_call *c)
{
	struct run *r = rpc_call_data(c);

	r->agent->seen.open--;
	if (r->flow != NULL)
		flow_closed(r->flow);
	act_closed(r->act);
	TAILQ_REMOVE(&r->agent->runs, r, entry);
	free(r);
}

/* The first message. */
static void run_first(struct run *r, const Telex__V1__RunRequest *m)
{
	struct fake_agent *a = r->agent;

	if (a->refuse > 0) {
		a->refuse--;
		rpc_fail(r->call, RPC_UNAVAILABLE, a->refuse_reason, "not now");
		return;
	}
	if (m->request_case == TELEX__V1__RUN_REQUEST__REQUEST_ATTACH)
		r->flow = flow_attach(a->flows, r->call, m->attach);
	else if (m->start->spec->argv[0].len == 4 &&
	         memcmp(m->start->spec->argv[0].data, "flow", 4) == 0)
		r->flow = flow_start(a->flows, r->call, m->start);
	else
		r->act = act_start(a, r->call, m->start);
}

static void run_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__RunRequest *m = (const Telex__V1__RunRequest *)msg;
	struct run *r = rpc_call_data(c);
	struct fake_seen *seen = &r->agent->seen;

	if (r->flow != NULL) {
		flow_message(r->flow, m);
		return;
	}
	if (r->act == NULL && m->request_case != TELEX__V1__RUN_REQUEST__REQUEST_START &&
	    m->request_case != TELEX__V1__RUN_REQUEST__REQUEST_ATTACH)
		return; /* it was refused */
	switch (m->request_case) {
	case TELEX__V1__RUN_REQUEST__REQUEST_START:
	case TELEX__V1__RUN_REQUEST__REQUEST_ATTACH:
		run_first(r, m);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_EXIT_ACK:
		seen->exit_acks++;
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_STDIN:
		act_input(r->act, m->stdin);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL:
		seen->signo = (int)m->signal->signal;
		seen->process_only =
		    m->signal->target == TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
		act_signal(r->act, seen->signo);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_ACK:
		seen->acked[m->ack->stream] = m->ack->offset;
		seen->acks++;
		break;
	default:
		abort();
	}
}

static void run_writable(struct rpc_call *c)
{
	struct run *r = rpc_call_data(c);

	if (r->flow != NULL)
		flow_writable(r->flow);
	else if (r->act != NULL)
		act_writable(r->act);
}

static const struct rpc_method run_method = {
    .name = "Run",
    .request = &telex__v1__run_request__descriptor,
    .response = &telex__v1__run_response__descriptor,
    .client_stream = true,
    .server_stream = true,
    .open = run_open,
    .message = run_message,
    .writable = run_writable,
    .closed = run_closed,
};

/* ---- the other services ---- */

static void info_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	Telex__V1__GetInfoResponse out = TELEX__V1__GET_INFO_RESPONSE__INIT;
	Telex__V1__Machine machine = TELEX__V1__MACHINE__INIT;
	char *capabilities[] = {fake_text("user-switching")};

	(void)msg;
	out.version = fake_text("9.9.9");
	out.machine = &machine;
	machine.hostname = fake_text("web1");
	machine.processors = 2;
	out.n_capabilities = 1;
	out.capabilities = capabilities;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

static void check_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Grpc__Health__V1__HealthCheckRequest *m =
	    (const Grpc__Health__V1__HealthCheckRequest *)msg;
	Grpc__Health__V1__HealthCheckResponse out = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	if (strcmp(m->service, "nope") == 0) {
		rpc_fail(c, RPC_NOT_FOUND, NULL, "no such service");
		return;
	}
	out.status = m->service[0] == '\0'
	                 ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
	                 : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

static const struct rpc_method system_methods[] = {
    {.name = "GetInfo",
        .request = &telex__v1__get_info_request__descriptor,
        .response = &telex__v1__get_info_response__descriptor,
        .message = info_message},
};
static const struct rpc_method health_methods[] = {
    {.name = "Check",
        .request = &grpc__health__v1__health_check_request__descriptor,
        .response = &grpc__health__v1__health_check_response__descriptor,
        .message = check_message},
};
static const struct rpc_service system_service = {"telex.v1.SystemService", system_methods, 1};
static const struct rpc_service health_service = {"grpc.health.v1.Health", health_methods, 1};

static int authorize(struct rpc_call *c, const struct rpc_service *s, const struct rpc_method *m,
    struct rpc_status *refuse)
{
	(void)c;
	(void)s;
	(void)m;
	(void)refuse;
	return 0;
}

/* ---- connections ---- */

static void peer_free(struct peer *p)
{
	TAILQ_REMOVE(&p->agent->peers, p, entry);
	free(p);
}

static int on_stream(struct h2_conn *h2, struct h2_stream *s, void *arg)
{
	struct peer *p = arg;

	(void)h2;
	return rpc_server_stream(p->agent->server, s, p);
}

static void on_closed(struct h2_conn *h2, const struct err *why, void *arg)
{
	(void)h2;
	(void)why;
	peer_free(arg);
}

static const struct h2_conn_ops peer_ops = {.on_stream = on_stream, .on_closed = on_closed};

static void on_tls(struct bufferevent *bev, short what, void *arg)
{
	struct peer *p = arg;
	char identity[TLS_IDENTITY_SIZE];
	struct err e;

	if ((what & BEV_EVENT_CONNECTED) != 0 && tls_established(bev, identity, &e) == 0) {
		p->bev = NULL;
		p->agent->seen.connections++;
		if (h2_conn_new(&p->h2, p->agent->base, bev, true, &p->agent->limits, &peer_ops, p,
		        tls_free, &e) < 0)
			abort();
		return;
	}
	tls_free(bev);
	peer_free(p);
}

static void on_accept(
    struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *addr, int len, void *arg)
{
	struct fake_agent *a = arg;
	struct peer *p = need(calloc(1, sizeof(*p)));
	struct err e;

	(void)l;
	(void)addr;
	(void)len;
	p->agent = a;
	p->fd = fd;
	if (tls_accept(&p->bev, a->base, a->ctx, fd, &e) < 0)
		abort();
	bufferevent_setcb(p->bev, NULL, NULL, on_tls, p);
	bufferevent_enable(p->bev, EV_READ | EV_WRITE);
	TAILQ_INSERT_TAIL(&a->peers, p, entry);
}

/* ---- the agent ---- */

struct fake_agent *fake_agent_new(struct event_base *base, struct tls_ctx *ctx)
{
	struct fake_agent *a = need(calloc(1, sizeof(*a)));
	const struct rpc_server_config cfg = {
	    .services = a->services, .n_services = 5, .authorize = authorize, .context = a};
	struct sockaddr_in sin = {.sin_family = AF_INET};

	a->base = base;
	a->ctx = ctx;
	TAILQ_INIT(&a->peers);
	TAILQ_INIT(&a->runs);
	a->flows = flow_table_new(a);
	a->methods[0] = run_method;
	memcpy(a->methods + 1, fake_questions, n_fake_questions * sizeof(a->methods[0]));
	a->process_service =
	    (struct rpc_service){"telex.v1.ProcessService", a->methods, 1 + n_fake_questions};
	memcpy(a->file_methods, fake_uploads, n_fake_uploads * sizeof(fake_uploads[0]));
	memcpy(a->file_methods + n_fake_uploads, fake_downloads,
	    n_fake_downloads * sizeof(fake_downloads[0]));
	a->file_service = (struct rpc_service){
	    "telex.v1.FileService", a->file_methods, n_fake_uploads + n_fake_downloads};
	a->services[0] = &a->process_service;
	a->services[1] = &system_service;
	a->services[2] = &health_service;
	a->services[3] = &a->file_service;
	a->watch_service =
	    (struct rpc_service){"telex.v1.WatchService", fake_watches, n_fake_watches};
	a->services[4] = &a->watch_service;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a->listener = need(evconnlistener_new_bind(base, on_accept, a,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, (struct sockaddr *)&sin,
	    sizeof(sin)));
	if (rpc_server_new(&a->server, base, &cfg) < 0)
		abort();
	return a;
}

void fake_agent_free(struct fake_agent *a)
{
	struct peer *p, *next;

	if (a == NULL)
		return;
	evconnlistener_free(a->listener);
	for (p = TAILQ_FIRST(&a->peers); p != NULL; p = next) {
		next = TAILQ_NEXT(p, entry);
		if (p->h2 != NULL) {
			h2_close(p->h2, H2_NO_ERROR);
		} else {
			tls_free(p->bev);
			peer_free(p);
		}
	}
	/* The connections end in the loop. */
	while (!TAILQ_EMPTY(&a->peers))
		event_base_loop(a->base, EVLOOP_ONCE);
	rpc_server_free(a->server);
	flow_table_free(a->flows);
	free(a);
}

uint16_t fake_agent_port(const struct fake_agent *a)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	if (getsockname(evconnlistener_get_fd(a->listener), (struct sockaddr *)&sin, &len) < 0)
		abort();
	return ntohs(sin.sin_port);
}

struct fake_seen *fake_agent_seen(struct fake_agent *a)
{
	return &a->seen;
}

void fake_agent_limit(struct fake_agent *a, uint32_t max_streams)
{
	a->limits.max_streams = max_streams;
}

void fake_agent_drain(struct fake_agent *a)
{
	struct peer *p;

	TAILQ_FOREACH(p, &a->peers, entry)
	if (p->h2 != NULL)
		h2_drain(p->h2);
}

void fake_agent_cut(struct fake_agent *a)
{
	struct peer *p;

	TAILQ_FOREACH(p, &a->peers, entry)
	shutdown(p->fd, SHUT_RDWR);
}

void fake_agent_ack(struct fake_agent *a)
{
	struct run *r;

	TAILQ_FOREACH(r, &a->runs, entry)
	if (r->act != NULL)
		act_ack(r->act);
}

void fake_agent_refuse(struct fake_agent *a, unsigned n, const char *reason)
{
	a->refuse = n;
	a->refuse_reason = reason;
}

void fake_agent_fail(struct fake_agent *a, int code, const char *reason)
{
	struct run *r;

	TAILQ_FOREACH(r, &a->runs, entry)
	rpc_fail(r->call, code, reason, "it was ended");
}

void fake_agent_release(struct fake_agent *a)
{
	a->seen.released = true;
	flow_queue(a->flows, false);
	flow_hold(a->flows, false);
}

struct flow_table *fake_agent_flows(struct fake_agent *a)
{
	return a->flows;
}

struct fake_upload *fake_agent_upload(struct fake_agent *a)
{
	return &a->upload;
}

struct fake_download *fake_agent_download(struct fake_agent *a)
{
	return &a->download;
}

struct fake_watch *fake_agent_watch(struct fake_agent *a)
{
	return &a->watch;
}

void fake_agent_stop(struct fake_agent *a)
{
	struct peer *p;

	TAILQ_FOREACH(p, &a->peers, entry)
	if (p->h2 != NULL)
		bufferevent_disable(h2_bufferevent(p->h2), EV_READ);
}
