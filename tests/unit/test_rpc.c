/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/h2_pair.h"

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;

/* What the methods and the client saw, in one line of letters and names. */
static char seen[512];

static void note(const char *what)
{
	size_t used = strlen(seen);

	snprintf(seen + used, sizeof(seen) - used, "%s ", what);
}

static void reply(struct rpc_call *c, int status)
{
	Response r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	r.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
	assert_int_equal(rpc_send(c, &r.base), 0);
}

static void m_open(struct rpc_call *c)
{
	note("open");
	assert_non_null(rpc_call_method(c));
}

static void m_closed(struct rpc_call *c)
{
	(void)c;
	note("closed");
}

static void check_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Request *r = (const Request *)msg;

	note(r->service);
	if (strcmp(r->service, "missing") == 0) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_SERVICE", "no service %s", r->service);
		return;
	}
	reply(c, 1);
	rpc_finish(c, NULL);
}

/* Echoes the length of each name. */
static void bidi_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	reply(c, (int)strlen(((const Request *)msg)->service));
}

static void bidi_half_close(struct rpc_call *c)
{
	note("half");
	rpc_finish(c, NULL);
}

#define TYPES                                                                                      \
	.request = &grpc__health__v1__health_check_request__descriptor,                            \
	.response = &grpc__health__v1__health_check_response__descriptor

static const struct rpc_method methods[] = {
    {.name = "Check", TYPES, .open = m_open, .message = check_message, .closed = m_closed},
    {.name = "Bidi",
        TYPES,
        .client_stream = true,
        .server_stream = true,
        .open = m_open,
        .message = bidi_message,
        .half_close = bidi_half_close,
        .closed = m_closed},
};

static const struct rpc_service service = {"test.v1.Test", methods, 2};
static const struct rpc_service *const services[] = {&service};

static int authorize(
    void *peer, const struct rpc_service *s, const struct rpc_method *m, struct rpc_status *refuse)
{
	(void)s;
	(void)m;
	if (strcmp(peer, "stranger") != 0)
		return 0;
	rpc_status_set(refuse, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "not you");
	return -1;
}

static void finished(void *peer, const char *path, const struct rpc_status *status)
{
	(void)peer;
	note(path);
	note(rpc_code_name(status->code));
}

struct fixture {
	struct h2_pair pair;
	struct rpc_server *server;
	const char *peer;
	struct rpc_status status;
	unsigned done, messages;
	int sum;
};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct fixture *f = arg;

	(void)c;
	return rpc_server_stream(f->server, s, (void *)f->peer);
}

static int set_up(void **state)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream};
	static const struct rpc_server_config cfg = {
	    .services = services, .n_services = 1, .authorize = authorize, .finished = finished};
	struct fixture *f = calloc(1, sizeof(*f));

	f->peer = "friend";
	h2_pair_init(&f->pair);
	assert_int_equal(rpc_server_new(&f->server, f->pair.base, &cfg), 0);
	h2_pair_start(&f->pair, &f->pair.server, NULL, &ops, f);
	h2_pair_start(&f->pair, &f->pair.client, NULL, NULL, NULL);
	seen[0] = '\0';
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	h2_pair_free(&f->pair);
	rpc_server_free(f->server);
	free(f);
	return 0;
}

static void c_message(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	struct fixture *f = data;

	(void)c;
	f->messages++;
	f->sum += (int)((const Response *)msg)->status;
}

static void c_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct fixture *f = data;

	(void)c;
	f->done++;
	f->status = *status;
}

static const struct rpc_client_ops client_ops = {.message = c_message, .done = c_done};

static struct rpc_call *open_call(struct fixture *f, const char *svc, const char *method)
{
	struct rpc_client_options o = {.authority = "test:1",
	    .service = svc,
	    .method = method,
	    .response = &grpc__health__v1__health_check_response__descriptor,
	    .server_stream = strcmp(method, "Bidi") == 0};
	struct rpc_call *c = NULL;

	assert_int_equal(rpc_open(&c, f->pair.client.conn, f->pair.base, &o, &client_ops, f), 0);
	return c;
}

static void send_name(struct rpc_call *c, const char *name)
{
	Request r = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

	r.service = (char *)name;
	assert_int_equal(rpc_send(c, &r.base), 0);
}

static void a_unary_call_is_answered(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Check");

	send_name(c, "abc");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->status.code, RPC_OK);
	assert_int_equal(f->messages, 1);
	assert_int_equal(f->sum, 1);
	assert_string_equal(seen, "open abc /test.v1.Test/Check OK closed ");
}

static void a_failure_brings_its_details(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Check");

	send_name(c, "missing");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->status.code, RPC_NOT_FOUND);
	assert_string_equal(f->status.message, "no service missing");
	assert_string_equal(f->status.reason, "NO_SUCH_SERVICE");
	assert_int_equal(f->messages, 0);
	assert_string_equal(seen, "open missing /test.v1.Test/Check NOT_FOUND closed ");
}

static void both_sides_stream(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Bidi");

	send_name(c, "a");
	h2_pair_settle(&f->pair);
	assert_int_equal(f->sum, 1);
	send_name(c, "bb");
	send_name(c, "ccc");
	h2_pair_settle(&f->pair);
	assert_int_equal(f->sum, 6);
	assert_int_equal(f->done, 0);
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->status.code, RPC_OK);
	assert_string_equal(seen, "open half /test.v1.Test/Bidi OK closed ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_unary_call_is_answered, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_failure_brings_its_details, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(both_sides_stream, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}
