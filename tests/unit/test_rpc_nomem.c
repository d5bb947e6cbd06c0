/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * Every allocation of grpc and rpc (and of h2 and nghttp2 below them) fails once, each in its own
 * run of the same calls. A call that was opened ends once, a method that was opened is closed once,
 * no call is said to be OK that was not, and nothing leaks.
 */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/h2_pair.h"

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;

struct fixture {
	struct h2_pair pair;
	struct rpc_server *server;
	unsigned opens, closes;
};

struct client_call {
	struct rpc_call *call;
	unsigned responses, dones;
	size_t bytes;
	int code;
};

/* ---- the server ---- */

static void m_open(struct rpc_call *c)
{
	((struct fixture *)rpc_call_peer(c))->opens++;
	rpc_compress(c, true);
}

static void m_closed(struct rpc_call *c)
{
	((struct fixture *)rpc_call_peer(c))->closes++;
}

static void reply(struct rpc_call *c, int status)
{
	Response r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	r.status = (Grpc__Health__V1__HealthCheckResponse__ServingStatus)status;
	if (rpc_send(c, &r.base) < 0)
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
}

static void check_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Request *r = (const Request *)msg;

	if (strcmp(r->service, "missing") == 0) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_SERVICE", "no service %s", r->service);
		return;
	}
	reply(c, 1);
	rpc_finish(c, NULL);
}

/* Answers with the bytes of the request, uncompressed by rpc, compressible for grpc. */
static void echo_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	if (rpc_send(c, msg) < 0)
		rpc_fail(c, RPC_RESOURCE_EXHAUSTED, "NO_MEMORY", "out of memory");
}

static void echo_half_close(struct rpc_call *c)
{
	rpc_finish(c, NULL);
}

#define TYPES                                                                                      \
	.request = &grpc__health__v1__health_check_request__descriptor,                            \
	.response = &grpc__health__v1__health_check_response__descriptor, .open = m_open,          \
	.closed = m_closed

static const struct rpc_method methods[] = {
    {.name = "Check", TYPES, .message = check_message},
    {.name = "Echo",
        TYPES,
        .client_stream = true,
        .server_stream = true,
        .message = echo_message,
        .half_close = echo_half_close},
};
static const struct rpc_service service = {"test.v1.Test", methods, 2};
static const struct rpc_service *const services[] = {&service};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct fixture *f = arg;

	(void)c;
	return rpc_server_stream(f->server, s, f);
}

/* ---- the client ---- */

static void c_raw(struct rpc_call *c, const uint8_t *msg, size_t len, void *data)
{
	struct client_call *cc = data;

	(void)c;
	(void)msg;
	cc->responses++;
	cc->bytes += len;
}

static void c_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct client_call *cc = data;

	assert_ptr_equal(c, cc->call);
	cc->dones++;
	cc->code = status->code;
	cc->call = NULL;
}

static const struct rpc_client_ops client_ops = {.raw = c_raw, .done = c_done};

static void call(struct fixture *f, struct client_call *cc, const char *method)
{
	struct rpc_client_options o = {.authority = "a",
	    .service = "test.v1.Test",
	    .method = method,
	    .server_stream = strcmp(method, "Echo") == 0,
	    .timeout_ns = INT64_C(60000000000)};

	memset(cc, 0, sizeof(*cc));
	if (f->pair.client.conn == NULL)
		return;
	if (rpc_open(&cc->call, f->pair.client.conn, f->pair.base, &o, &client_ops, cc) < 0)
		assert_null(cc->call);
}

static void ask(struct client_call *cc, const char *name)
{
	Request r = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

	r.service = (char *)(uintptr_t)name;
	if (cc->call != NULL && rpc_send(cc->call, &r.base) < 0)
		rpc_cancel(cc->call);
}

static void half_close(struct client_call *cc)
{
	if (cc->call != NULL)
		rpc_half_close(cc->call);
}

/* One run: three calls, of which one fails by itself and one has large messages. */
static void run(struct fixture *f, char *large)
{
	struct client_call ok, missing, echo;
	bool opened[3];

	call(f, &ok, "Check");
	call(f, &missing, "Check");
	call(f, &echo, "Echo");
	opened[0] = ok.call != NULL;
	opened[1] = missing.call != NULL;
	opened[2] = echo.call != NULL;
	ask(&ok, "x");
	ask(&missing, "missing");
	ask(&echo, large);
	ask(&echo, "y");
	half_close(&ok);
	half_close(&missing);
	h2_pair_settle(&f->pair);
	half_close(&echo);
	h2_pair_settle(&f->pair);
	assert_int_equal(ok.dones, opened[0]);
	assert_int_equal(missing.dones, opened[1]);
	assert_int_equal(echo.dones, opened[2]);
	if (ok.dones > 0 && ok.code == RPC_OK)
		assert_int_equal(ok.responses, 1);
	assert_true(missing.dones == 0 || missing.code != RPC_OK);
	if (echo.dones > 0 && echo.code == RPC_OK) {
		assert_int_equal(echo.responses, 2);
		assert_int_equal(echo.bytes, strlen(large) + 4 + 3);
	}
	if (!alloc_fail_happened()) {
		assert_int_equal(ok.code, RPC_OK);
		assert_int_equal(missing.code, RPC_NOT_FOUND);
		assert_int_equal(echo.code, RPC_OK);
	}
}

static void every_allocation_may_fail(void **state)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream};
	static const struct rpc_server_config cfg = {.services = services, .n_services = 1};
	const struct h2_limits limits = {.stream_window = 16384};
	char *large = malloc(100001);
	long n = 0;

	(void)state;
	assert_non_null(large);
	memset(large, 'l', 100000);
	large[100000] = '\0';
	do {
		struct fixture f = {.opens = 0};

		h2_pair_init(&f.pair);
		assert_int_equal(rpc_server_new(&f.server, f.pair.base, &cfg), 0);
		h2_pair_start(&f.pair, &f.pair.server, &limits, &ops, &f);
		h2_pair_start(&f.pair, &f.pair.client, &limits, NULL, NULL);
		h2_pair_settle(&f.pair);
		alloc_fail_at(++n, false);
		run(&f, large);
		alloc_fail_stop();
		h2_pair_free(&f.pair);
		assert_int_equal(f.opens, f.closes);
		rpc_server_free(f.server);
	} while (alloc_fail_happened());
	/* It was not over before it began. */
	assert_true(n > 50);
	free(large);
}

static void a_server_without_memory_is_not_made(void **state)
{
	static const struct rpc_server_config cfg = {.services = services, .n_services = 1};
	struct rpc_server *s = NULL;

	(void)state;
	for (long n = 1; n <= 2; n++) {
		alloc_fail_at(n, false);
		assert_int_equal(rpc_server_new(&s, NULL, &cfg), TX_ENOMEM);
		assert_null(s);
	}
	alloc_fail_stop();
	rpc_server_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_allocation_may_fail),
	    cmocka_unit_test(a_server_without_memory_is_not_made),
	};

	return cmocka_run_group_tests_name("rpc_nomem", tests, NULL, NULL);
}
