/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc.h"
#include "grpc/health/v1/health.pb-c.h"
#include "tests/support/h2_pair.h"

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;

/* What the methods and the client saw, in one line of letters and names. */
static char seen[8192];

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

static void refuse_open(struct rpc_call *c)
{
	rpc_fail(c, RPC_FAILED_PRECONDITION, "NO", "the %s", "first");
	rpc_fail(c, RPC_ABORTED, "NO", "the second");
	rpc_finish(c, NULL);
}

static void never(struct rpc_call *c, const ProtobufCMessage *msg)
{
	(void)c;
	(void)msg;
	note("never");
}

static void silent_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	(void)msg;
	rpc_finish(c, NULL);
}

static void twice_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	(void)msg;
	reply(c, 1);
	reply(c, 2);
	rpc_finish(c, NULL);
}

static void garbage_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	struct evbuffer *b = evbuffer_new();

	(void)msg;
	assert_non_null(b);
	evbuffer_add(b, "\x08", 1);
	assert_int_equal(rpc_send_encoded(c, b), 0);
	evbuffer_free(b);
	rpc_finish(c, NULL);
}

static void manual_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	size_t size = rpc_message_size(c);
	char text[16];

	snprintf(text, sizeof(text), "%zu", size);
	note(text);
	bidi_message(c, msg);
	rpc_credit(c, size);
}

static void manual_half_close(struct rpc_call *c)
{
	assert_ptr_equal(rpc_call_data(c), NULL);
	rpc_call_set_data(c, c);
	assert_ptr_equal(rpc_call_data(c), c);
	assert_string_equal(rpc_call_context(c), "context");
	assert_string_equal(rpc_call_peer(c), "friend");
	assert_string_equal(rpc_server_config(rpc_call_server(c))->context, "context");
	rpc_finish(c, NULL);
}

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
    {.name = "Refuses", TYPES, .open = refuse_open, .message = never, .closed = m_closed},
    {.name = "Silent", TYPES, .message = silent_message},
    {.name = "Twice", TYPES, .message = twice_message},
    {.name = "Garbage", TYPES, .message = garbage_message},
    {.name = "Manual",
        TYPES,
        .client_stream = true,
        .server_stream = true,
        .manual_credit = true,
        .message = manual_message,
        .half_close = manual_half_close},
};

static const struct rpc_service service = {
    "test.v1.Test", methods, sizeof(methods) / sizeof(methods[0])};
static const struct rpc_service *const services[] = {&service};

static int authorize(struct rpc_call *c, const struct rpc_service *s, const struct rpc_method *m,
    struct rpc_status *refuse)
{
	(void)s;
	(void)m;
	rpc_call_set_id(c, "x-test-id", "0123456789abcdef");
	if (strcmp(rpc_call_peer(c), "stranger") != 0)
		return 0;
	rpc_status_set(refuse, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "not you");
	return -1;
}

static void finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	(void)c;
	note(path);
	note(rpc_code_name(status->code));
}

struct fixture {
	struct h2_pair pair;
	struct rpc_server *server;
	const char *peer;
	struct rpc_status status;
	unsigned done, messages;
	bool over;
	int sum;
};

static int on_stream(struct h2_conn *c, struct h2_stream *s, void *arg)
{
	struct fixture *f = arg;

	(void)c;
	return rpc_server_stream(f->server, s, (void *)f->peer);
}

static char context[] = "context";

static int set_up(void **state)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream};
	static const struct rpc_server_config cfg = {.services = services,
	    .n_services = 1,
	    .authorize = authorize,
	    .finished = finished,
	    .context = context};
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
	f->over = true;
	f->status = *status;
}

static void plain_done(struct grpc_call *c, const struct rpc_status *status, void *data)
{
	(void)c;
	c_done(NULL, status, data);
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

static void a_method_that_is_not_there_is_named(void **state)
{
	struct fixture *f = *state;

	open_call(f, "test.v1.Other", "Check");
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_UNIMPLEMENTED);
	assert_string_equal(f->status.message, "there is no service \"test.v1.Other\"");
	open_call(f, "test.v1.Test", "Chec");
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_UNIMPLEMENTED);
	assert_string_equal(f->status.message, "service test.v1.Test has no method \"Chec\"");
	assert_string_equal(f->status.reason, "NO_SUCH_METHOD");
	assert_string_equal(
	    seen, "/test.v1.Other/Check UNIMPLEMENTED /test.v1.Test/Chec UNIMPLEMENTED ");
}

/* Only the exact path is the method: nothing may slip past rules that are made for names. */
static void odd_paths_reach_no_method(void **state)
{
	static const char *const paths[] = {"/test.v1.Test/Check/", "//test.v1.Test/Check",
	    "/test.v1.Test//Check", "/test.v1.Test/check", "/Test.v1.Test/Check",
	    "/test.v1.Test/Check?x", "/test.v1.Test/%43heck", "/", "/test.v1.Test/",
	    "/test.v1.Test", "/./test.v1.Test/Check", "/test.v1.Test/Check "};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct grpc_client_options o = {.authority = "a", .path = paths[i]};
		static const struct grpc_ops ops = {.on_done = plain_done};
		struct grpc_call *g = NULL;

		f->done = 0;
		seen[0] = '\0';
		assert_int_equal(grpc_open(&g, f->pair.client.conn, f->pair.base, &o, &ops, f), 0);
		h2_pair_settle(&f->pair);
		assert_int_equal(f->done, 1);
		assert_int_not_equal(f->status.code, RPC_OK);
		assert_null(strstr(seen, "open"));
	}
}

static void a_stranger_gets_nowhere(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c;

	f->peer = "stranger";
	c = open_call(f, "test.v1.Test", "Check");
	send_name(c, "abc");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_PERMISSION_DENIED);
	assert_string_equal(f->status.reason, "NOT_ALLOWED");
	assert_string_equal(seen, "/test.v1.Test/Check PERMISSION_DENIED ");
}

static void a_unary_call_takes_one_request(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Check");

	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_INVALID_ARGUMENT);
	assert_string_equal(
	    f->status.message, "/test.v1.Test/Check takes one request, and none came");
	c = open_call(f, "test.v1.Test", "Check");
	send_name(c, "first");
	send_name(c, "second");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_INVALID_ARGUMENT);
	assert_string_equal(
	    f->status.message, "/test.v1.Test/Check takes one request, and a second one came");
	/* The method saw neither. */
	assert_null(strstr(seen, "first"));
	assert_null(strstr(seen, "second"));
	assert_int_equal(f->messages, 0);
}

static void send_bytes(struct rpc_call *c, const void *bytes, size_t len)
{
	struct evbuffer *b = evbuffer_new();

	assert_non_null(b);
	evbuffer_add(b, bytes, len);
	assert_int_equal(rpc_send_encoded(c, b), 0);
	evbuffer_free(b);
}

static void bad_protobuf_is_an_invalid_argument(void **state)
{
	static const char *const methods_to_try[] = {"Check", "Bidi"};
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct rpc_call *c = open_call(f, "test.v1.Test", methods_to_try[i]);

		send_bytes(c, "\x0a\x7fx", 3);
		rpc_half_close(c);
		h2_pair_settle(&f->pair);
		assert_int_equal(f->done, i + 1);
		assert_int_equal(f->status.code, RPC_INVALID_ARGUMENT);
		assert_string_equal(f->status.reason, "BAD_REQUEST");
		assert_string_equal(f->status.message,
		    "a message is not a valid grpc.health.v1.HealthCheckRequest");
	}
	assert_int_equal(f->pair.server.closed, 0);
}

static void large_messages_go_both_ways(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Bidi");
	char *name = malloc(3000001);

	assert_non_null(name);
	memset(name, 'n', 3000000);
	name[3000000] = '\0';
	send_name(c, name);
	send_name(c, "x");
	rpc_half_close(c);
	for (int i = 0; i < 100 && f->done == 0; i++)
		h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_OK);
	assert_int_equal(f->sum, 3000001);
	free(name);
}

static void too_large_a_request_is_refused(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Check");
	char *bytes = calloc(1, GRPC_MAX_MESSAGE + 1);

	assert_non_null(bytes);
	send_bytes(c, bytes, GRPC_MAX_MESSAGE + 1);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(seen, "open /test.v1.Test/Check RESOURCE_EXHAUSTED closed ");
	free(bytes);
}

static void a_client_that_leaves_closes_the_method(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Bidi");

	h2_pair_settle(&f->pair);
	rpc_cancel(c);
	assert_int_equal(f->done, 0); /* not from inside */
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->status.code, RPC_CANCELLED);
	assert_string_equal(seen, "open /test.v1.Test/Bidi CANCELLED closed ");
	/* The connection goes while a call is open. */
	seen[0] = '\0';
	open_call(f, "test.v1.Test", "Bidi");
	h2_pair_settle(&f->pair);
	h2_close(f->pair.client.conn, H2_NO_ERROR);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_UNAVAILABLE);
	assert_string_equal(seen, "open /test.v1.Test/Bidi CANCELLED closed ");
}

static void ends_in_open_send_nothing_more(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Refuses");

	send_name(c, "abc");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_FAILED_PRECONDITION);
	assert_string_equal(f->status.message, "the first");
	assert_int_equal(f->messages, 0);
	assert_string_equal(seen, "/test.v1.Test/Refuses FAILED_PRECONDITION closed ");
}

static void a_unary_answer_is_one_message(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Silent");

	send_name(c, "");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_INTERNAL);
	assert_string_equal(f->status.message, "the call ended well, but without a response");
	c = open_call(f, "test.v1.Test", "Twice");
	send_name(c, "");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 2);
	assert_int_equal(f->status.code, RPC_INTERNAL);
	assert_string_equal(f->status.message, "a second response came where there is one");
	assert_int_equal(f->messages, 1);
}

static void raw_message(struct rpc_call *c, const uint8_t *msg, size_t len, void *data)
{
	struct fixture *f = data;

	(void)msg;
	assert_int_equal(rpc_message_size(c), len);
	f->messages++;
	f->sum += (int)len;
}

static void raw_and_manual_credit_are_the_callers(void **state)
{
	static const struct rpc_client_ops ops = {
	    .raw = raw_message, .done = c_done, .manual_credit = true};
	struct fixture *f = *state;
	struct rpc_client_options o = {
	    .authority = "a", .service = "test.v1.Test", .method = "Manual", .server_stream = true};
	struct rpc_call *c = NULL;

	assert_int_equal(rpc_open(&c, f->pair.client.conn, f->pair.base, &o, &ops, f), 0);
	assert_ptr_equal(rpc_call_data(c), f);
	assert_ptr_equal(rpc_call_base(c), f->pair.base);
	assert_ptr_equal(rpc_call_conn(c), f->pair.client.conn);
	send_name(c, "abcde");
	h2_pair_settle(&f->pair);
	assert_int_equal(f->messages, 1);
	assert_int_equal(f->sum, 2);
	rpc_credit(c, 2);
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->status.code, RPC_OK);
	assert_string_equal(seen, "7 /test.v1.Test/Manual OK ");
}

static void unreadable_answers_are_internal(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *c = open_call(f, "test.v1.Test", "Garbage");

	send_name(c, "");
	rpc_half_close(c);
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->status.code, RPC_INTERNAL);
	assert_string_equal(f->status.message, "a response cannot be read");
}

static void too_long_a_method_is_refused(void **state)
{
	struct fixture *f = *state;
	char name[300];
	struct rpc_client_options o = {.authority = "a", .service = name, .method = "x"};
	struct rpc_call *c = NULL;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(
	    rpc_open(&c, f->pair.client.conn, f->pair.base, &o, &client_ops, f), TX_EINVAL);
	assert_null(c);
}

static void a_deadline_reaches_both_ends(void **state)
{
	struct fixture *f = *state;
	struct rpc_client_options o = {.authority = "a",
	    .service = "test.v1.Test",
	    .method = "Bidi",
	    .server_stream = true,
	    .timeout_ns = 1000000};
	struct rpc_call *c = NULL;

	assert_int_equal(rpc_open(&c, f->pair.client.conn, f->pair.base, &o, &client_ops, f), 0);
	assert_true(h2_pair_run(&f->pair, &f->over));
	assert_int_equal(f->status.code, RPC_DEADLINE_EXCEEDED);
	assert_string_equal(f->status.reason, ""); /* the client's own */
}

/* Many calls at once, each with its own answer, and none left over. */
static void calls_do_not_mix(void **state)
{
	struct fixture *f = *state;

	for (int i = 1; i <= 100; i++) {
		struct rpc_call *c = open_call(f, "test.v1.Test", i % 2 ? "Check" : "Bidi");

		send_name(c, "abc");
		rpc_half_close(c);
		if (i % 10 == 0)
			rpc_cancel(c);
	}
	h2_pair_settle(&f->pair);
	assert_int_equal(f->done, 100);
	assert_int_equal(f->sum, 50 * 1 + 40 * 3);
	assert_int_equal(h2_stream_count(f->pair.client.conn), 0);
	assert_int_equal(h2_stream_count(f->pair.server.conn), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_unary_call_is_answered, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_failure_brings_its_details, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(both_sides_stream, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_method_that_is_not_there_is_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(odd_paths_reach_no_method, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_stranger_gets_nowhere, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_unary_call_takes_one_request, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(bad_protobuf_is_an_invalid_argument, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(large_messages_go_both_ways, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(too_large_a_request_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_client_that_leaves_closes_the_method, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(ends_in_open_send_nothing_more, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_unary_answer_is_one_message, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        raw_and_manual_credit_are_the_callers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(unreadable_answers_are_internal, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(too_long_a_method_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_deadline_reaches_both_ends, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(calls_do_not_mix, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("rpc", tests, NULL, NULL);
}
