/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
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
#include "tests/support/fake_flow.h"
#include "tests/support/fake_questions.h"
#include "tests/support/fake_say.h"

#define GEN_CHUNK 65536

struct peer {
	TAILQ_ENTRY(peer) entry;
	struct fake_agent *agent;
	struct bufferevent *bev; /* until it is established */
	struct h2_conn *h2;
	int fd;
};

struct run;
struct act {
	const char *name;
	void (*start)(struct run *r);
	void (*input)(struct run *r, const Telex__V1__StdinChunk *chunk);
	void (*signal)(struct run *r, int signo);
};

struct run {
	TAILQ_ENTRY(run) entry;
	struct fake_agent *agent;
	struct rpc_call *call;
	const struct act *act;
	struct flow_run *flow; /* then the rest is not used */
	char arg[3][64];       /* argv[1..3] */
	uint64_t offset[3];
	uint64_t in, gen_left;
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
	const struct rpc_service *services[3];
};

static void *need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

/* ---- what a run may say ---- */

static void say_started(struct run *r, bool created, uint64_t stdin_offset)
{
	const struct fake_started s = {.created = created, .stdin_offset = stdin_offset};

	fake_say_started(r->call, &s);
}

static void say_at(
    struct run *r, int stream, uint64_t offset, const void *data, size_t len, bool eof)
{
	fake_say_output(r->call, stream, offset, data, len, eof);
}

static void say_output(struct run *r, int stream, const void *data, size_t len, bool eof)
{
	say_at(r, stream, r->offset[stream], data, len, eof);
	r->offset[stream] += len;
}

static void say_ack(struct run *r, uint64_t offset, bool closed)
{
	fake_say_ack(r->call, offset, closed);
}

static void say_exit(struct run *r, int code, int signo)
{
	fake_say_exit(r->call, code, signo, r->offset[1], r->offset[2]);
	rpc_finish(r->call, NULL);
}

static void say_ends(struct run *r, int code)
{
	say_output(r, 1, "", 0, true);
	say_output(r, 2, "", 0, true);
	say_exit(r, code, 0);
}

/* ---- the acts ---- */

static void act_started(struct run *r)
{
	say_started(r, true, 0);
}

static void act_exit(struct run *r)
{
	act_started(r);
	say_ends(r, atoi(r->arg[0]));
}

static void act_echo(struct run *r)
{
	act_started(r);
	say_output(r, 1, r->arg[0], strlen(r->arg[0]), false);
	say_output(r, 2, r->arg[1], strlen(r->arg[1]), false);
	say_ends(r, 0);
}

static void act_twice(struct run *r)
{
	act_started(r);
	say_at(r, 1, 0, "abc", 3, false);
	say_at(r, 1, 0, "abc", 3, false);
	say_at(r, 1, 1, "bcde", 4, false);
	say_at(r, 77, 0, "x", 1, false);
	say_at(r, 1, 5, "", 0, true);
	say_at(r, 1, 5, "", 0, true);
	say_exit(r, 0, 0);
}

static void act_gap(struct run *r)
{
	act_started(r);
	say_at(r, 1, 5, "abc", 3, false);
}

static void act_again(struct run *r)
{
	act_started(r);
	act_started(r);
}

static void act_bad(struct run *r)
{
	/* Not a message: this field's length goes beyond the end. */
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	ProtobufCMessageUnknownField f = {
	    .tag = 3, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 1};
	uint8_t byte[] = {0x7f};

	f.data = byte;
	m.base.n_unknown_fields = 1;
	m.base.unknown_fields = &f;
	if (rpc_send(r->call, &m.base) == TX_ENOMEM)
		abort();
}

static void act_found(struct run *r)
{
	say_started(r, false, 1000);
}

static void act_fail(struct run *r)
{
	struct rpc_status s;

	rpc_status_set(&s, RPC_NOT_FOUND, "START_FAILED", "cannot run \"nope\": no such file");
	rpc_status_meta(&s, "stage", "exec");
	rpc_status_meta(&s, "errno", "%d", ENOENT);
	rpc_finish(r->call, &s);
}

static void act_status(struct run *r)
{
	rpc_fail(r->call, atoi(r->arg[0]), r->arg[1][0] != '\0' ? r->arg[1] : NULL, "said so");
}

static void act_ok(struct run *r)
{
	act_started(r);
	rpc_finish(r->call, NULL);
}

static void act_nothing(struct run *r)
{
	(void)r;
}

static void act_cut(struct run *r)
{
	act_started(r);
	say_output(r, 1, "some", 4, false);
}

static void act_gen_die(struct run *r)
{
	act_started(r);
	say_output(r, 1, "some", 4, false);
	say_exit(r, 0, SIGTERM);
}

static void act_drain(struct run *r)
{
	act_started(r);
	fake_agent_drain(r->agent);
}

static void gen_more(struct run *r)
{
	uint8_t data[GEN_CHUNK];

	while (r->gen_left > 0 && rpc_pending(r->call) < H2_SEND_HIGH) {
		size_t n = r->gen_left < GEN_CHUNK ? (size_t)r->gen_left : GEN_CHUNK;

		for (size_t i = 0; i < n; i++)
			data[i] = fake_pattern(r->offset[1] + i);
		r->gen_left -= n;
		say_output(r, 1, data, n, false);
		if (r->gen_left == 0)
			say_ends(r, 0);
	}
}

static void act_gen(struct run *r)
{
	act_started(r);
	r->gen_left = strtoull(r->arg[0], NULL, 10);
	gen_more(r);
}

static void closes_stdin(struct run *r, const Telex__V1__StdinChunk *chunk)
{
	(void)chunk;
	say_ack(r, r->in, true);
}

static void cat_input(struct run *r, const Telex__V1__StdinChunk *chunk)
{
	if (chunk->data.len > 0)
		say_output(r, 1, chunk->data.data, chunk->data.len, false);
	say_ack(r, r->in, false);
	if (chunk->eof)
		say_ends(r, 0);
}

static void ignores_input(struct run *r, const Telex__V1__StdinChunk *chunk)
{
	(void)r;
	(void)chunk;
}

/* Acknowledged by fake_agent_ack; the end acknowledges itself. */
static void hold_input(struct run *r, const Telex__V1__StdinChunk *chunk)
{
	if (!chunk->eof)
		return;
	say_ack(r, r->in, false);
	say_ends(r, 0);
}

static void dies_of_it(struct run *r, int signo)
{
	say_exit(r, 0, signo);
}

static void ignores_it(struct run *r, int signo)
{
	(void)r;
	(void)signo;
}

static const struct act acts[] = {
    {"exit", act_exit, ignores_input, ignores_it},
    {"echo", act_echo, ignores_input, ignores_it},
    {"twice", act_twice, ignores_input, ignores_it},
    {"gap", act_gap, ignores_input, ignores_it},
    {"again", act_again, ignores_input, ignores_it},
    {"bad", act_bad, ignores_input, ignores_it},
    {"found", act_found, cat_input, ignores_it},
    {"fail", act_fail, ignores_input, ignores_it},
    {"status", act_status, ignores_input, ignores_it},
    {"ok", act_ok, ignores_input, ignores_it},
    {"mute", act_nothing, ignores_input, ignores_it},
    {"cut", act_cut, ignores_input, ignores_it},
    {"drain", act_drain, cat_input, ignores_it},
    {"gen-die", act_gen_die, ignores_input, ignores_it},
    {"gen", act_gen, ignores_input, ignores_it},
    {"cat", act_started, cat_input, dies_of_it},
    {"hold", act_started, hold_input, ignores_it},
    {"close", act_started, closes_stdin, dies_of_it},
    {"sleep", act_started, ignores_input, dies_of_it},
};

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
	TAILQ_REMOVE(&r->agent->runs, r, entry);
	free(r);
}

static void run_begin(struct run *r, const Telex__V1__RunStart *m)
{
	const Telex__V1__ProcessSpec *spec = m->spec;

	snprintf(r->agent->seen.process_id, sizeof(r->agent->seen.process_id), "%s", m->process_id);
	for (size_t i = 1; i < spec->n_argv && i < 4; i++)
		snprintf(r->arg[i - 1], sizeof(r->arg[0]), "%.*s", (int)spec->argv[i].len,
		    (const char *)spec->argv[i].data);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (strlen(acts[i].name) == spec->argv[0].len &&
		    memcmp(acts[i].name, spec->argv[0].data, spec->argv[0].len) == 0)
			r->act = &acts[i];
	if (r->act == NULL)
		abort();
	r->act->start(r);
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
		run_begin(r, m->start);
}

static void run_input(struct run *r, const Telex__V1__StdinChunk *m)
{
	struct fake_seen *seen = &r->agent->seen;

	seen->stdin_wrong = seen->stdin_wrong || m->offset != r->in || seen->stdin_eof;
	for (size_t i = 0; i < m->data.len; i++)
		if (m->data.data[i] != fake_pattern(m->offset + i))
			seen->stdin_wrong = true;
	r->in += m->data.len;
	seen->stdin_bytes += m->data.len;
	seen->stdin_chunks++;
	seen->stdin_eof = m->eof;
	r->act->input(r, m);
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
		run_input(r, m->stdin);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL:
		seen->signo = (int)m->signal->signal;
		seen->process_only =
		    m->signal->target == TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
		r->act->signal(r, seen->signo);
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
	else
		gen_more(r);
}

static void list_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ListRequest *m = (const Telex__V1__ListRequest *)msg;
	static char ids[][3] = {"p1", "p2", "p3"};
	Telex__V1__Process p;

	for (size_t i = 0; i < (m->include_ended ? 3 : 2); i++) {
		Telex__V1__ListResponse out = TELEX__V1__LIST_RESPONSE__INIT;

		fake_fill_process(&p, ids[i]);
		out.item_case = TELEX__V1__LIST_RESPONSE__ITEM_PROCESS;
		out.process = &p;
		rpc_send(c, &out.base);
	}
	rpc_finish(c, NULL);
}

static void get_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__GetRequest *m = (const Telex__V1__GetRequest *)msg;
	Telex__V1__GetResponse out = TELEX__V1__GET_RESPONSE__INIT;
	Telex__V1__Process p;

	if (strcmp(m->process_id, "mute") == 0)
		return;
	if (strcmp(m->process_id, "p1") != 0 && strcmp(m->process_id, "empty") != 0) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_PROCESS", "there is no process \"%s\"",
		    m->process_id);
		return;
	}
	fake_fill_process(&p, m->process_id);
	if (strcmp(m->process_id, "p1") == 0)
		out.process = &p;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

/* READ_LEN bytes of the pattern of each output from the offset on; of "gone" they are dropped, and
 * of "wild" the answer is no message. */
#define READ_LEN   1000000
#define READ_PIECE 100000

static void read_send(struct rpc_call *c, int stream, uint64_t offset)
{
	static uint8_t data[READ_PIECE];
	Telex__V1__ReadOutputResponse out = TELEX__V1__READ_OUTPUT_RESPONSE__INIT;
	Telex__V1__Output piece = TELEX__V1__OUTPUT__INIT;

	out.response_case = TELEX__V1__READ_OUTPUT_RESPONSE__RESPONSE_OUTPUT;
	out.output = &piece;
	piece.stream = (Telex__V1__OutputStream)stream;
	while (offset < READ_LEN) {
		size_t n = READ_LEN - offset < READ_PIECE ? READ_LEN - offset : READ_PIECE;

		for (size_t i = 0; i < n; i++)
			data[i] = fake_pattern(offset + i);
		piece.offset = offset;
		piece.data = (ProtobufCBinaryData){n, data};
		rpc_send(c, &out.base);
		offset += n;
	}
}

static void read_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ReadOutputRequest *m = (const Telex__V1__ReadOutputRequest *)msg;
	static uint8_t wild[] = {0xff, 0xff};
	struct evbuffer *message;

	if (strcmp(m->process_id, "wild") == 0) {
		message = need(evbuffer_new());
		evbuffer_add(message, wild, sizeof(wild));
		rpc_send_encoded(c, message);
		evbuffer_free(message);
		return;
	}
	if (strcmp(m->process_id, "gone") == 0) {
		rpc_fail(c, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", "offset 0 is no longer held");
		return;
	}
	if (m->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR)
		read_send(c, 1, m->from != NULL ? m->from->stdout_offset : 0);
	if (m->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT)
		read_send(c, 2, m->from != NULL ? m->from->stderr_offset : 0);
	rpc_finish(c, NULL);
}

static void signal_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__SignalRequest *m = (const Telex__V1__SignalRequest *)msg;
	struct fake_agent *a = rpc_call_context(c);
	Telex__V1__SignalResponse out = TELEX__V1__SIGNAL_RESPONSE__INIT;

	a->seen.signo = (int)m->signal;
	a->seen.process_only = m->target == TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

static const struct rpc_method process_methods[] = {
    {.name = "Run",
        .request = &telex__v1__run_request__descriptor,
        .response = &telex__v1__run_response__descriptor,
        .client_stream = true,
        .server_stream = true,
        .open = run_open,
        .message = run_message,
        .writable = run_writable,
        .closed = run_closed},
    {.name = "List",
        .request = &telex__v1__list_request__descriptor,
        .response = &telex__v1__list_response__descriptor,
        .server_stream = true,
        .message = list_message},
    {.name = "Get",
        .request = &telex__v1__get_request__descriptor,
        .response = &telex__v1__get_response__descriptor,
        .message = get_message},
    {.name = "ReadOutput",
        .request = &telex__v1__read_output_request__descriptor,
        .response = &telex__v1__read_output_response__descriptor,
        .server_stream = true,
        .message = read_message},
    {.name = "Signal",
        .request = &telex__v1__signal_request__descriptor,
        .response = &telex__v1__signal_response__descriptor,
        .message = signal_message},
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

static int authorize(
    void *peer, const struct rpc_service *s, const struct rpc_method *m, struct rpc_status *refuse)
{
	(void)peer;
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
	    .services = a->services, .n_services = 3, .authorize = authorize, .context = a};
	const size_t own = sizeof(process_methods) / sizeof(process_methods[0]);
	struct sockaddr_in sin = {.sin_family = AF_INET};

	a->base = base;
	a->ctx = ctx;
	TAILQ_INIT(&a->peers);
	TAILQ_INIT(&a->runs);
	a->flows = flow_table_new(a);
	memcpy(a->methods, process_methods, sizeof(process_methods));
	memcpy(a->methods + own, fake_questions, n_fake_questions * sizeof(a->methods[0]));
	a->process_service =
	    (struct rpc_service){"telex.v1.ProcessService", a->methods, own + n_fake_questions};
	a->services[0] = &a->process_service;
	a->services[1] = &system_service;
	a->services[2] = &health_service;
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
	if (r->act != NULL && strcmp(r->act->name, "hold") == 0)
		say_ack(r, r->in, false);
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

void fake_agent_stop(struct fake_agent *a)
{
	struct peer *p;

	TAILQ_FOREACH(p, &a->peers, entry)
	if (p->h2 != NULL)
		bufferevent_disable(h2_bufferevent(p->h2), EV_READ);
}
