/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: from path to method, and the method's functions in their order: open, message…,
 * half_close, closed. A unary request reaches its method when the client has ended its half, since
 * only then it is known to be the only one.
 *
 * An rpc_call is made with its stream and lives until grpc lets go of it, also when grpc answers a
 * bad request by itself.
 */
#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc_call.h"

/* A row of the dispatch table. */
struct route {
	const char *path;
	size_t len;
	const struct rpc_service *service;
	const struct rpc_method *method;
};

struct rpc_server {
	struct event_base *base;
	struct rpc_server_config config;
	struct route *routes; /* one block, paths behind the array */
	size_t n_routes;
};

/* ---- the server ---- */

static size_t path_size(const struct rpc_service *s, const struct rpc_method *m)
{
	return strlen(s->name) + strlen(m->name) + sizeof("//");
}

static int make_routes(struct rpc_server *s)
{
	const struct rpc_server_config *cfg = &s->config;
	size_t n = 0, size = 0;
	char *at;

	for (size_t i = 0; i < cfg->n_services; i++)
		for (size_t k = 0; k < cfg->services[i]->n_methods; k++, n++)
			size += path_size(cfg->services[i], &cfg->services[i]->methods[k]);
	s->routes = malloc(n * sizeof(*s->routes) + size + 1);
	if (s->routes == NULL)
		return TX_ENOMEM;
	at = (char *)(s->routes + n);
	for (size_t i = 0; i < cfg->n_services; i++) {
		const struct rpc_service *service = cfg->services[i];

		for (size_t k = 0; k < service->n_methods; k++) {
			const struct rpc_method *m = &service->methods[k];
			size_t room = path_size(service, m);

			snprintf(at, room, "/%s/%s", service->name, m->name);
			s->routes[s->n_routes++] = (struct route){at, room - 1, service, m};
			at += room;
		}
	}
	return 0;
}

int rpc_server_new(
    struct rpc_server **out, struct event_base *base, const struct rpc_server_config *cfg)
{
	struct rpc_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return TX_ENOMEM;
	s->base = base;
	s->config = *cfg;
	if (make_routes(s) < 0) {
		free(s);
		return TX_ENOMEM;
	}
	*out = s;
	return 0;
}

void rpc_server_free(struct rpc_server *s)
{
	if (s == NULL)
		return;
	free(s->routes);
	free(s);
}

const struct rpc_server_config *rpc_server_config(const struct rpc_server *s)
{
	return &s->config;
}

/* ---- a call's messages ---- */

static ProtobufCMessage *unpack(struct rpc_call *c, const uint8_t *msg, size_t len)
{
	ProtobufCMessage *m = rpc_arena_unpack(&c->arena, c->method->request, msg, len);

	if (m != NULL)
		return m;
	if (c->arena.exhausted)
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "TOO_LARGE",
		    "a message of %zu bytes takes too much memory", len);
	else
		rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "a message is not a valid %s",
		    c->method->request->name);
	return NULL;
}

static void on_unary(struct rpc_call *c, const uint8_t *msg, size_t len)
{
	if (c->request != NULL) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s takes one request, and a second one came", c->path);
		return;
	}
	c->request = unpack(c, msg, len);
	c->request_size = len;
}

static void on_message(struct grpc_call *g, const uint8_t *msg, size_t len, void *arg)
{
	struct rpc_call *c = arg;
	ProtobufCMessage *m;

	if (!c->method->client_stream) {
		on_unary(c, msg, len);
		grpc_credit(g, len);
		return;
	}
	m = c->method->raw == NULL ? unpack(c, msg, len) : NULL;
	if (m == NULL && c->method->raw == NULL)
		return;
	c->message_size = len;
	if (c->method->raw != NULL)
		c->method->raw(c, msg, len);
	else
		c->method->message(c, m);
	c->message_size = 0;
	rpc_arena_clear(&c->arena);
	if (!c->method->manual_credit)
		grpc_credit(g, len);
}

/* The one request of a unary call is whole. */
static void deliver_unary(struct rpc_call *c)
{
	const ProtobufCMessage *request = c->request;

	if (request == NULL) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s takes one request, and none came", c->path);
		return;
	}
	c->message_size = c->request_size;
	c->method->message(c, request);
	c->message_size = 0;
	c->request = NULL;
	rpc_arena_clear(&c->arena);
}

static void on_half_close(struct grpc_call *g, void *arg)
{
	struct rpc_call *c = arg;

	(void)g;
	if (!c->method->client_stream)
		deliver_unary(c);
	if (!c->finished && c->method->half_close != NULL)
		c->method->half_close(c);
}

static void on_writable(struct grpc_call *g, void *arg)
{
	struct rpc_call *c = arg;

	(void)g;
	if (c->method->writable != NULL)
		c->method->writable(c);
}

static void tell_finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	if (c->server->config.finished != NULL)
		c->server->config.finished(c, path, status);
}

static void on_done(struct grpc_call *g, const struct rpc_status *status, void *arg)
{
	struct rpc_call *c = arg;

	(void)g;
	c->finished = true;
	tell_finished(c, c->path, status);
	if (c->method->closed != NULL)
		c->method->closed(c);
}

static const struct grpc_ops call_ops = {
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_writable = on_writable,
    .on_done = on_done,
};

/* ---- dispatch ---- */

/* Compares lengths first: no two methods of one length differ in more than a memcmp. */
static const struct route *find_route(const struct rpc_server *s, const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < s->n_routes; i++)
		if (s->routes[i].len == len && memcmp(s->routes[i].path, path, len) == 0)
			return &s->routes[i];
	return NULL;
}

static void no_such_method(const struct rpc_server *s, const char *path, struct rpc_status *refuse)
{
	const char *name = path[0] == '/' ? path + 1 : path;
	const char *slash = strchr(name, '/');
	size_t len = slash != NULL ? (size_t)(slash - name) : strlen(name);

	for (size_t i = 0; i < s->config.n_services; i++) {
		const char *service = s->config.services[i]->name;

		if (path[0] != '/' || slash == NULL || strlen(service) != len ||
		    memcmp(service, name, len) != 0)
			continue;
		rpc_status_set(refuse, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD",
		    "service %s has no method \"%.128s\"", service, slash + 1);
		return;
	}
	rpc_status_set(refuse, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD",
	    "there is no service \"%.*s\"%s%s", (int)(len < 128 ? len : 128), name,
	    s->config.hint != NULL ? ": " : "", s->config.hint != NULL ? s->config.hint : "");
}

static void add_id(const struct rpc_call *c, struct rpc_status *status)
{
	if (c->id[0] != '\0' && status->reason[0] != '\0')
		rpc_status_meta(status, "request_id", "%s", c->id);
}

static int on_call(struct grpc_call *g, const char *path, struct rpc_status *refuse, void *arg)
{
	struct rpc_call *c = arg;
	const struct rpc_server_config *cfg = &c->server->config;
	const struct route *route = find_route(c->server, path);

	c->grpc = g;
	c->method = route != NULL ? route->method : NULL;
	if (route == NULL) {
		no_such_method(c->server, path, refuse);
		tell_finished(c, path, refuse);
		add_id(c, refuse);
		return TX_ENOENT;
	}
	if (cfg->authorize != NULL &&
	    cfg->authorize(c, route->service, route->method, refuse) != 0) {
		if (refuse->code == RPC_OK)
			rpc_status_set(refuse, RPC_PERMISSION_DENIED, "NOT_ALLOWED",
			    "%s is not allowed", path);
		tell_finished(c, path, refuse);
		add_id(c, refuse);
		return TX_EPERM;
	}
	c->path = route->path;
	grpc_call_set(g, &call_ops, c);
	if (c->method->max_message > 0)
		grpc_set_max_message(g, c->method->max_message);
	if (c->method->open != NULL)
		c->method->open(c);
	return 0;
}

static void on_end(void *arg)
{
	rpc_call_free(arg);
}

int rpc_server_stream(struct rpc_server *s, struct h2_stream *stream, void *peer)
{
	static const struct grpc_server_ops ops = {.on_call = on_call, .on_end = on_end};
	struct rpc_call *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return TX_ENOMEM;
	c->server = s;
	c->base = s->base;
	c->peer = peer;
	r = grpc_serve(stream, s->base, s->config.max_message, &ops, c);
	if (r < 0)
		rpc_call_free(c);
	return r;
}

/* ---- what methods call ---- */

const ProtobufCMessage *rpc_unpack(struct rpc_call *c, const uint8_t *msg, size_t len)
{
	return unpack(c, msg, len);
}

void rpc_call_set_peer(struct rpc_call *c, void *peer)
{
	c->peer = peer;
}

const char *rpc_call_metadata(struct rpc_call *c, const char *name, size_t *len, size_t *count)
{
	*count = grpc_metadata_count(c->grpc, name);
	return grpc_metadata(c->grpc, name, len);
}

void *rpc_call_context(struct rpc_call *c)
{
	return c->server->config.context;
}

struct rpc_server *rpc_call_server(struct rpc_call *c)
{
	return c->server;
}

void *rpc_call_peer(struct rpc_call *c)
{
	return c->peer;
}

void rpc_call_set_id(struct rpc_call *c, const char *header, const char *id)
{
	snprintf(c->id, sizeof(c->id), "%s", id);
	grpc_respond_with(c->grpc, header, c->id);
}

const char *rpc_call_id(const struct rpc_call *c)
{
	return c->id;
}

int rpc_call_answer(const struct rpc_call *c, const char **reason)
{
	*reason = c->answer_reason;
	return c->answered ? c->answer : -1;
}

bool rpc_call_accepted(const struct rpc_call *c)
{
	return c->path != NULL;
}

void rpc_call_set_data(struct rpc_call *c, void *data)
{
	c->data = data;
}

const struct rpc_method *rpc_call_method(struct rpc_call *c)
{
	return c->method;
}

const char *rpc_call_path(const struct rpc_call *c)
{
	return c->path;
}

bool rpc_half_closed(const struct rpc_call *c)
{
	return grpc_half_closed(c->grpc);
}

void rpc_finish(struct rpc_call *c, const struct rpc_status *status)
{
	static const struct rpc_status ok = {.code = RPC_OK};
	struct rpc_status with_id;

	if (c->finished)
		return;
	c->finished = c->answered = true;
	c->answer = status != NULL ? status->code : RPC_OK;
	if (status != NULL)
		memcpy(c->answer_reason, status->reason, sizeof(c->answer_reason));
	if (status == NULL || status->code == RPC_OK) {
		grpc_finish(c->grpc, status != NULL ? status : &ok);
		return;
	}
	with_id = *status;
	add_id(c, &with_id);
	grpc_finish(c->grpc, &with_id);
}

void rpc_fail(struct rpc_call *c, int code, const char *reason, const char *fmt, ...)
{
	struct rpc_status status;
	char text[sizeof(status.message)];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = '\0';
	va_end(ap);
	rpc_status_set(&status, code, reason, "%s", text);
	rpc_finish(c, &status);
}
