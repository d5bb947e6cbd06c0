/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What a client makes of answers, good and bad; the server is plain HTTP/2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "tests/support/grpc_pair.h"

static int set_up(void **state)
{
	struct grpc_pair *p = malloc(sizeof(*p));

	assert_non_null(p);
	grpc_pair_init(p, 0);
	p->plain_server = true;
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	grpc_pair_free(*state);
	free(*state);
	return 0;
}

/* Opens a call; the server's end of it is p->plain then. */
static void call(struct grpc_pair *p)
{
	memset(&p->plain, 0, sizeof(p->plain));
	memset(&p->client.status, 0, sizeof(p->client.status));
	p->client.dones = p->client.messages = 0;
	grpc_pair_open(p, NULL);
	h2_pair_settle(&p->h2);
	assert_non_null(p->plain.stream);
}

/* Lines "name: value\n", made fields. */
#define MAX_FIELDS 8
static size_t parse(struct h2_field out[MAX_FIELDS], const char *text)
{
	size_t n = 0;

	while (*text != '\0') {
		const char *colon = strstr(text, ": "), *end = strchr(text, '\n');

		assert_true(n < MAX_FIELDS && colon != NULL && end != NULL);
		out[n++] = (struct h2_field){
		    text, colon + 2, (size_t)(colon - text), (size_t)(end - colon - 2)};
		text = end + 1;
	}
	return n;
}

static void respond(struct grpc_pair *p, const char *fields, bool end)
{
	struct h2_field f[MAX_FIELDS];
	size_t n = parse(f, fields);

	assert_int_equal(h2_respond(p->plain.stream, f, n, end), 0);
	h2_pair_settle(&p->h2);
}

static void trailers(struct grpc_pair *p, const char *fields)
{
	struct h2_field f[MAX_FIELDS];
	size_t n = parse(f, fields);

	assert_int_equal(h2_end(p->plain.stream, f, n), 0);
	h2_pair_settle(&p->h2);
}

#define GOOD ":status: 200\ncontent-type: application/grpc\n"

/* The call is over with this status, and the connection goes on. */
static void assert_status(struct grpc_pair *p, int code, const char *message)
{
	assert_int_equal(p->client.dones, 1);
	assert_null(p->client.call);
	assert_int_equal(p->client.status.code, code);
	if (message != NULL)
		assert_string_equal(p->client.status.message, message);
	assert_int_equal(p->h2.client.closed, 0);
}

static void a_request_says_what_grpc_wants(void **state)
{
	static const struct grpc_client_options o = {
	    .authority = "host:8359", .path = "/a.B/C", .timeout_ns = 5 * NS_PER_S, .gzip = true};
	struct grpc_pair *p = *state;

	grpc_pair_open(p, &o);
	h2_pair_settle(&p->h2);
	assert_string_equal(p->plain.headers,
	    ":method: POST\n:scheme: https\n:path: /a.B/C\n:authority: host:8359\nte: trailers\n"
	    "content-type: application/grpc\ngrpc-accept-encoding: identity,gzip\n"
	    "grpc-encoding: gzip\ngrpc-timeout: 5000000u\n");
	respond(p, GOOD "grpc-status: 0\n", true);
	assert_status(p, RPC_OK, "");
}

static void messages_and_trailers_make_an_answer(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	respond(p, GOOD, false);
	grpc_pair_h2_message(p, false, "one", 3);
	grpc_pair_h2_message(p, false, "", 0);
	trailers(p, "grpc-status: 0\n");
	assert_status(p, RPC_OK, "");
	assert_int_equal(p->client.messages, 2);
	assert_int_equal(p->client.bytes, 3);
	/* Our half was ended in order, not reset. */
	assert_true(p->plain.closed);
	assert_int_equal(p->plain.code, H2_NO_ERROR);
}

static void a_status_is_read_with_its_details(void **state)
{
	struct grpc_pair *p = *state;
	struct rpc_status s;
	uint8_t *packed = NULL;
	size_t len = 0;
	char fields[1024], text[1000];
	int n;

	rpc_status_set(&s, RPC_NOT_FOUND, "NO_SUCH_THING", "x");
	rpc_status_meta(&s, "id", "42");
	assert_int_equal(rpc_status_pack(&s, &packed, &len), 0);
	n = grpc_base64_encode(text, packed, len);
	free(packed);
	snprintf(fields, sizeof(fields),
	    GOOD "grpc-status: 5\ngrpc-message: no %%C3%%A9 100%%25\n"
	         "grpc-status-details-bin: %.*s\n",
	    n, text);
	call(p);
	respond(p, fields, true);
	assert_status(p, RPC_NOT_FOUND, "no \xc3\xa9 100%");
	assert_string_equal(p->client.status.reason, "NO_SUCH_THING");
	assert_string_equal(p->client.status.domain, "telex");
	assert_string_equal(rpc_status_get(&p->client.status, "id"), "42");
	/* Details that cannot be read do not hide the rest. */
	call(p);
	respond(p, GOOD "grpc-status: 5\ngrpc-message: m\ngrpc-status-details-bin: ***\n", true);
	assert_status(p, RPC_NOT_FOUND, "m");
	assert_string_equal(p->client.status.reason, "");
	assert_string_equal(p->client.status.domain, "");
}

static void odd_codes_are_unknown(void **state)
{
	static const char *const odd[] = {"17", "99", "-1", "x", "", "0x1", "001", "4294967296"};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		char fields[200];

		snprintf(fields, sizeof(fields), GOOD "grpc-status: %s\n", odd[i]);
		call(p);
		respond(p, fields, true);
		assert_status(p, RPC_UNKNOWN, "");
	}
	call(p);
	respond(p, GOOD "grpc-status: 05\n", true);
	assert_status(p, RPC_NOT_FOUND, "");
}

static void http_answers_become_codes(void **state)
{
	static const struct {
		int http, code;
	} table[] = {
	    {400, RPC_INTERNAL},
	    {401, RPC_UNAUTHENTICATED},
	    {403, RPC_PERMISSION_DENIED},
	    {404, RPC_UNIMPLEMENTED},
	    {429, RPC_UNAVAILABLE},
	    {502, RPC_UNAVAILABLE},
	    {503, RPC_UNAVAILABLE},
	    {504, RPC_UNAVAILABLE},
	    {302, RPC_UNKNOWN},
	    {500, RPC_UNKNOWN},
	};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]) * 2; i++) {
		char fields[100], message[100];
		bool end = i % 2 == 0;

		snprintf(fields, sizeof(fields), ":status: %d\ncontent-type: text/html\n",
		    table[i / 2].http);
		snprintf(message, sizeof(message), "the server answered with HTTP status %d",
		    table[i / 2].http);
		call(p);
		respond(p, fields, end);
		assert_status(p, table[i / 2].code, message);
		assert_true(p->plain.closed);
		assert_int_equal(p->client.messages, 0);
	}
	/* Who knows the status says it, whatever HTTP says. */
	call(p);
	respond(p, ":status: 503\ngrpc-status: 7\n", true);
	assert_status(p, RPC_PERMISSION_DENIED, "");
	call(p);
	respond(p, ":status: 503\ngrpc-status: 7\n", false);
	assert_status(p, RPC_PERMISSION_DENIED, "");
}

static void what_is_not_grpc_is_said_to_be(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	respond(p, ":status: 200\ncontent-type: text/html\n", false);
	assert_status(p, RPC_UNKNOWN, "the server answered with something that is not gRPC");
	call(p);
	respond(p, ":status: 200\n", true);
	assert_status(p, RPC_UNKNOWN, "the server answered with something that is not gRPC");
}

static void missing_trailers_are_noticed(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	respond(p, GOOD, false);
	grpc_pair_h2_message(p, false, "x", 1);
	assert_int_equal(h2_end(p->plain.stream, NULL, 0), 0);
	h2_pair_settle(&p->h2);
	assert_status(p, RPC_INTERNAL, "the server ended the call without trailers");
	assert_int_equal(p->client.messages, 1);
	call(p);
	respond(p, GOOD, false);
	trailers(p, "x-other: 1\n");
	assert_status(p, RPC_UNKNOWN, "the server ended the call without a grpc-status");
	call(p);
	respond(p, GOOD, true);
	assert_status(p, RPC_UNKNOWN, "the server ended the call without a grpc-status");
}

static void an_answer_that_ends_inside_a_message_is_internal(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	respond(p, GOOD, false);
	grpc_pair_h2_send(p, "\0\0\0\0\4abc", 8);
	trailers(p, "grpc-status: 0\n");
	assert_status(p, RPC_INTERNAL, "the response ends inside a message");
	/* A server that failed may stop anywhere: what it says counts. */
	call(p);
	respond(p, GOOD, false);
	grpc_pair_h2_send(p, "\0\0\0\0\4abc", 8);
	trailers(p, "grpc-status: 10\n");
	assert_status(p, RPC_ABORTED, "");
}

static void messages_that_cannot_be_read_are_internal(void **state)
{
	static const struct {
		const char *fields, *body;
		size_t len;
	} bad[] = {
	    {GOOD, "\1\0\0\0\1x", 6},
	    {GOOD "grpc-encoding: identity\n", "\1\0\0\0\1x", 6},
	    {GOOD "grpc-encoding: br\n", "\1\0\0\0\1x", 6},
	    {GOOD "grpc-encoding: gzip\n", "\1\0\0\0\1x", 6},
	    {GOOD, "\7\0\0\0\1x", 6},
	};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		call(p);
		respond(p, bad[i].fields, false);
		grpc_pair_h2_send(p, bad[i].body, bad[i].len);
		h2_pair_settle(&p->h2);
		assert_status(p, RPC_INTERNAL, NULL);
		assert_int_equal(p->client.messages, 0);
		assert_int_equal(p->plain.code, H2_CANCEL);
	}
	/* Also when the trailers came with it. */
	call(p);
	respond(p, GOOD, false);
	grpc_pair_h2_send(p, "\1\0\0\0\1x", 6);
	trailers(p, "grpc-status: 0\n");
	assert_status(p, RPC_INTERNAL, NULL);
	/* An encoding that is not used does no harm. */
	call(p);
	respond(p, GOOD "grpc-encoding: br\n", false);
	grpc_pair_h2_message(p, false, "x", 1);
	trailers(p, "grpc-status: 0\n");
	assert_status(p, RPC_OK, "");
}

static void too_large_an_answer_is_resource_exhausted(void **state)
{
	static const struct grpc_client_options o = {
	    .authority = "a", .path = "/b", .max_message = 10};
	struct grpc_pair *p = *state;

	grpc_pair_open(p, &o);
	h2_pair_settle(&p->h2);
	respond(p, GOOD, false);
	grpc_pair_h2_message(p, false, "0123456789", 10);
	grpc_pair_h2_message(p, false, "0123456789x", 11);
	h2_pair_settle(&p->h2);
	assert_status(p, RPC_RESOURCE_EXHAUSTED, "a message of 11 bytes is over the limit of 10");
	assert_int_equal(p->client.messages, 1);
}

static void resets_become_codes(void **state)
{
	static const struct {
		uint32_t h2;
		int code;
	} table[] = {
	    {H2_NO_ERROR, RPC_INTERNAL},
	    {H2_PROTOCOL_ERROR, RPC_INTERNAL},
	    {H2_INTERNAL_ERROR, RPC_INTERNAL},
	    {3, RPC_INTERNAL}, /* FLOW_CONTROL_ERROR */
	    {H2_REFUSED_STREAM, RPC_UNAVAILABLE},
	    {H2_CANCEL, RPC_CANCELLED},
	    {H2_ENHANCE_YOUR_CALM, RPC_RESOURCE_EXHAUSTED},
	    {12, RPC_PERMISSION_DENIED}, /* INADEQUATE_SECURITY */
	    {13, RPC_UNKNOWN},           /* HTTP_1_1_REQUIRED */
	    {99, RPC_INTERNAL},
	};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		call(p);
		h2_reset(p->plain.stream, table[i].h2);
		h2_pair_settle(&p->h2);
		assert_status(p, table[i].code, NULL);
	}
}

static void a_reset_after_the_trailers_changes_nothing(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	respond(p, GOOD "grpc-status: 9\n", true);
	assert_status(p, RPC_FAILED_PRECONDITION, "");
}

static void informational_headers_are_passed_over(void **state)
{
	struct grpc_pair *p = *state;
	static const uint8_t hundred[] = {0x08, 0x03, '1', '0', '3'};
	static const uint8_t good[] = {0x88, 0x0f, 0x10, 16, 'a', 'p', 'p', 'l', 'i', 'c', 'a', 't',
	    'i', 'o', 'n', '/', 'g', 'r', 'p', 'c', 0x00, 11, 'g', 'r', 'p', 'c', '-', 's', 't',
	    'a', 't', 'u', 's', 1, '0'};

	/* nghttp2 sends no 1xx by h2's API, so the server's frames are by hand. */
	h2_pair_free(&p->h2);
	h2_pair_init(&p->h2);
	h2_pair_start(&p->h2, &p->h2.client, NULL, NULL, NULL);
	h2_raw_frame(&p->h2.server, 4, 0, 0, NULL, 0);
	grpc_pair_open(p, NULL);
	h2_pair_settle(&p->h2);
	h2_raw_frame(&p->h2.server, 1, 4, 1, hundred, sizeof(hundred));
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.dones, 0);
	h2_raw_frame(&p->h2.server, 1, 4 | 1, 1, good, sizeof(good));
	h2_pair_settle(&p->h2);
	assert_status(p, RPC_OK, "");
}

static void a_lost_connection_is_unavailable(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	respond(p, GOOD, false);
	h2_close(p->h2.server.conn, H2_NO_ERROR);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_UNAVAILABLE);
	assert_true(p->client.status.message[0] != '\0');
	assert_int_equal(p->h2.client.closed, 1);
}

static void our_own_close_is_unavailable_too(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	h2_close(p->h2.client.conn, H2_NO_ERROR);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_UNAVAILABLE);
}

static void a_closed_connection_opens_no_call(void **state)
{
	static const struct grpc_client_options o = {.authority = "a", .path = "/b"};
	static const struct grpc_ops ops = {0};
	struct grpc_pair *p = *state;
	struct grpc_call *c = NULL;

	h2_close(p->h2.client.conn, H2_NO_ERROR);
	assert_int_equal(grpc_open(&c, p->h2.client.conn, p->h2.base, &o, &ops, NULL), TX_ECLOSED);
	assert_null(c);
	h2_pair_settle(&p->h2);
}

static void cancel(struct grpc_end *e)
{
	grpc_cancel(e->call);
	grpc_cancel(e->call);
	assert_int_equal(e->dones, 0); /* not from inside */
	assert_int_equal(grpc_send(e->call, "x", 1), TX_ECLOSED);
	grpc_half_close(e->call);
}

static void a_cancelled_call_says_so(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	cancel(&p->client);
	h2_pair_settle(&p->h2);
	assert_status(p, RPC_CANCELLED, "cancelled");
	assert_int_equal(p->plain.code, H2_CANCEL);
	/* From inside a message, with another one and the trailers behind it. */
	p->client.at = ON_MESSAGE;
	p->client.act = cancel;
	call(p);
	respond(p, GOOD, false);
	grpc_pair_h2_message(p, false, "a", 1);
	grpc_pair_h2_message(p, false, "b", 1);
	trailers(p, "grpc-status: 0\n");
	assert_status(p, RPC_CANCELLED, "cancelled");
	assert_int_equal(p->client.messages, 1);
}

static void cancel_at_once(void **state)
{
	struct grpc_pair *p = *state;

	/* Before the request has left. */
	grpc_pair_open(p, NULL);
	grpc_send(p->client.call, "x", 1);
	grpc_cancel(p->client.call);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.dones, 1);
	assert_int_equal(p->client.status.code, RPC_CANCELLED);
}

static void set_flag(struct grpc_end *e)
{
	*(bool *)e->arg = true;
}

static void a_deadline_ends_the_call(void **state)
{
	static const struct grpc_client_options o = {
	    .authority = "a", .path = "/b", .timeout_ns = 1};
	struct grpc_pair *p = *state;
	bool done = false;

	grpc_pair_open(p, &o);
	assert_true(grpc_time_left(p->client.call) >= 0);
	p->client.at = ON_DONE;
	p->client.act = set_flag;
	p->client.arg = &done;
	assert_true(h2_pair_run(&p->h2, &done));
	assert_status(p, RPC_DEADLINE_EXCEEDED, "the deadline passed");
}

static void reopen(struct grpc_end *e)
{
	struct grpc_pair *p = e->arg;

	e->at = ON_NOTHING;
	assert_non_null(grpc_conn(e->call));
	grpc_pair_open(p, NULL);
}

static void a_new_call_may_be_opened_in_on_done(void **state)
{
	struct grpc_pair *p = *state;

	call(p);
	p->client.at = ON_DONE;
	p->client.act = reopen;
	p->client.arg = p;
	h2_reset(p->plain.stream, H2_CANCEL);
	memset(&p->plain, 0, sizeof(p->plain));
	h2_pair_settle(&p->h2);
	assert_int_equal(p->client.dones, 1);
	assert_non_null(p->plain.stream);
	p->client.at = ON_NOTHING;
}

static void mutated_answers_end_in_a_status(void **state)
{
	static const uint8_t good[] = {
	    0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'd'};
	struct grpc_pair *p = *state;
	unsigned int seed = 99;

	for (int round = 0; round < 300; round++) {
		uint8_t body[sizeof(good)];
		size_t n = (size_t)rand_r(&seed) % sizeof(body) + 1;

		memcpy(body, good, sizeof(body));
		for (int i = rand_r(&seed) % 3; i > 0; i--)
			body[(size_t)rand_r(&seed) % sizeof(body)] = (uint8_t)rand_r(&seed);
		call(p);
		respond(p, rand_r(&seed) % 2 ? GOOD : GOOD "grpc-encoding: gzip\n", false);
		if (p->plain.stream != NULL)
			grpc_pair_h2_send(p, body, n);
		h2_pair_settle(&p->h2);
		if (p->plain.stream != NULL)
			trailers(p, "grpc-status: 0\n");
		assert_status(p, p->client.status.code, NULL);
		assert_true(p->client.status.code == RPC_OK ||
		            p->client.status.code == RPC_INTERNAL ||
		            p->client.status.code == RPC_RESOURCE_EXHAUSTED);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_request_says_what_grpc_wants),
	    T(messages_and_trailers_make_an_answer),
	    T(a_status_is_read_with_its_details),
	    T(odd_codes_are_unknown),
	    T(http_answers_become_codes),
	    T(what_is_not_grpc_is_said_to_be),
	    T(missing_trailers_are_noticed),
	    T(an_answer_that_ends_inside_a_message_is_internal),
	    T(messages_that_cannot_be_read_are_internal),
	    T(too_large_an_answer_is_resource_exhausted),
	    T(resets_become_codes),
	    T(a_reset_after_the_trailers_changes_nothing),
	    T(informational_headers_are_passed_over),
	    T(a_lost_connection_is_unavailable),
	    T(our_own_close_is_unavailable_too),
	    T(a_closed_connection_opens_no_call),
	    T(a_cancelled_call_says_so),
	    T(cancel_at_once),
	    T(a_deadline_ends_the_call),
	    T(a_new_call_may_be_opened_in_on_done),
	    T(mutated_answers_end_in_a_status),
	};

	return cmocka_run_group_tests_name("grpc_client", tests, NULL, NULL);
}
