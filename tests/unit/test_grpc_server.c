/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* What a server makes of requests, good and bad; the client is plain HTTP/2 where gRPC would not
 * do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/grpc_pair.h"

static int set_up(void **state)
{
	struct grpc_pair *p = malloc(sizeof(*p));

	assert_non_null(p);
	grpc_pair_init(p, 0);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	grpc_pair_free(*state);
	free(*state);
	return 0;
}

#define MAX_FIELDS 12

struct request {
	struct h2_field fields[MAX_FIELDS];
	size_t n;
};

static void put(struct request *q, const char *name, const char *value)
{
	for (size_t i = 0; i < q->n; i++) {
		if (strcmp(q->fields[i].name, name) != 0)
			continue;
		q->fields[i].value = value;
		q->fields[i].value_len = strlen(value);
		return;
	}
	q->fields[q->n++] = (struct h2_field){name, value, strlen(name), strlen(value)};
}

static struct request request(void)
{
	struct request q = {.n = 0};

	put(&q, ":method", "POST");
	put(&q, ":scheme", "https");
	put(&q, ":path", "/a.B/C");
	put(&q, ":authority", "test:1");
	put(&q, "content-type", "application/grpc");
	return q;
}

/* Sends a request with one field more, or changed; the answer's fields are in p->plain.headers. */
static void ask(struct grpc_pair *p, const char *name, const char *value)
{
	struct request q = request();

	if (name != NULL)
		put(&q, name, value);
	memset(&p->plain, 0, sizeof(p->plain));
	grpc_pair_h2(p, q.fields, q.n);
	h2_pair_settle(&p->h2);
}

static void assert_answer(struct grpc_pair *p, const char *line)
{
	if (strstr(p->plain.headers, line) == NULL)
		fail_msg("no \"%s\" in\n%s", line, p->plain.headers);
}

static void finish_ok(struct grpc_end *e)
{
	struct rpc_status ok;

	rpc_status_set(&ok, RPC_OK, NULL, "%s", "");
	grpc_finish(e->call, &ok);
}

static void content_types_of_grpc_are_taken(void **state)
{
	static const char *const good[] = {"application/grpc", "application/grpc+proto",
	    "application/grpc;charset=utf-8", "application/grpc+proto; x=y", "application/grpc ;x"};
	struct grpc_pair *p = *state;

	p->server.at = ON_CALL;
	p->server.act = finish_ok;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ask(p, "content-type", good[i]);
		assert_answer(p, ":status: 200\n");
		assert_answer(p, "content-type: application/grpc\n");
		assert_answer(p, "grpc-status: 0\n");
		assert_string_equal(p->path, "/a.B/C");
	}
	assert_int_equal(p->server.dones, 5);
	assert_int_equal(p->ends, 5);
}

static void other_content_types_get_415(void **state)
{
	static const char *const bad[] = {"application/json", "application/grpc+json", "",
	    "application/grpc-web", "application/grpcx", "text/plain", "application/grp"};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask(p, "content-type", bad[i]);
		assert_answer(p, ":status: 415\n");
		assert_true(p->plain.closed);
	}
	assert_int_equal(p->server.dones, 0);
	assert_int_equal(p->ends, 7);
	assert_string_equal(p->path, "");
}

static void other_methods_get_405(void **state)
{
	static const char *const bad[] = {"GET", "PUT", "post", "POSTS", "HEAD"};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask(p, ":method", bad[i]);
		assert_answer(p, ":status: 405\n");
		assert_answer(p, "allow: POST\n");
	}
	assert_int_equal(p->ends, 5);
	/* The connection is as good as before. */
	p->server.at = ON_CALL;
	p->server.act = finish_ok;
	ask(p, NULL, NULL);
	assert_answer(p, "grpc-status: 0\n");
}

static void a_bad_timeout_is_an_invalid_argument(void **state)
{
	static const char *const bad[] = {"1", "x", "100000000S", "-1S", "1s"};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask(p, "grpc-timeout", bad[i]);
		assert_answer(p, ":status: 200\n");
		assert_answer(p, "grpc-status: 3\n");
		assert_answer(p, "grpc-message: grpc-timeout is not");
		assert_answer(p, "grpc-status-details-bin: ");
	}
	assert_string_equal(p->path, "");
	assert_int_equal(p->h2.server.closed, 0);
}

static void an_unknown_encoding_is_unimplemented(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, "grpc-encoding", "snappy");
	assert_answer(p, "grpc-status: 12\n");
	assert_answer(p, "grpc-accept-encoding: identity,gzip\n");
	assert_answer(p, "grpc-message: grpc-encoding \"snappy\" is not supported\n");
	assert_string_equal(p->path, "");
}

static void a_refusal_has_no_body(void **state)
{
	struct grpc_pair *p = *state;

	rpc_status_set(&p->refuse, RPC_PERMISSION_DENIED, "NOT_ALLOWED", "no: 100%%, \xc3\xa9");
	rpc_status_meta(&p->refuse, "who", "you");
	ask(p, NULL, NULL);
	assert_answer(p, "grpc-status: 7\n");
	assert_answer(p, "grpc-message: no: 100%25, %C3%A9\n");
	assert_answer(p, "grpc-status-details-bin: ");
	assert_int_equal(p->plain.bytes, 0);
	assert_true(p->plain.ended);
	assert_int_equal(p->server.dones, 0);
	assert_int_equal(p->ends, 1);
}

static void metadata_is_read_and_binary_is_decoded(void **state)
{
	static const struct {
		const char *name, *value, *meta;
		size_t len;
	} cases[] = {
	    {"x-text", "some words", "some words", 10},
	    {"x-bin", "AAEC/w", "\0\1\2\377", 4},
	    {"x-bin", "AAEC/w==", "\0\1\2\377", 4},
	    {"x-bin", "Zm9v,YmFy", "foo", 3},
	    {"x-empty", "", "", 0},
	};
	struct grpc_pair *p = *state;

	p->server.at = ON_CALL;
	p->server.act = finish_ok;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(p->meta_name, sizeof(p->meta_name), "%s", cases[i].name);
		p->meta_len = 99;
		ask(p, cases[i].name, cases[i].value);
		assert_int_equal(p->meta_len, cases[i].len);
		assert_memory_equal(p->meta, cases[i].meta, cases[i].len);
	}
	/* What is no base64 is not there; pseudo-header fields are no metadata. */
	p->meta_len = 99;
	ask(p, "x-empty-bin", "***");
	snprintf(p->meta_name, sizeof(p->meta_name), ":path");
	ask(p, NULL, NULL);
	assert_int_equal(p->meta_len, 99);
}

static void send_hello(struct grpc_end *e)
{
	assert_int_equal(grpc_send(e->call, "hello", 5), 0);
	finish_ok(e);
}

static void an_answer_is_headers_messages_trailers(void **state)
{
	struct grpc_pair *p = *state;

	p->server.at = ON_HALF_CLOSE;
	p->server.act = send_hello;
	ask(p, NULL, NULL);
	grpc_pair_h2_message(p, false, "ping", 4);
	assert_int_equal(h2_end(p->plain.stream, NULL, 0), 0);
	h2_pair_settle(&p->h2);
	assert_string_equal(p->plain.headers,
	    ":status: 200\ncontent-type: application/grpc\n"
	    "grpc-accept-encoding: identity,gzip\ngrpc-status: 0\n");
	assert_int_equal(p->plain.data_len, 10);
	assert_memory_equal(p->plain.data, "\0\0\0\0\5hello", 10);
	assert_string_equal((char *)p->server.last, "ping");
	assert_int_equal(p->server.status.code, RPC_OK);
	assert_true(p->plain.closed);
	assert_int_equal(p->plain.code, H2_NO_ERROR);
}

static void a_compressed_message_without_encoding_is_internal(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, NULL, NULL);
	grpc_pair_h2_message(p, true, "x", 1);
	h2_pair_settle(&p->h2);
	assert_answer(p, "grpc-status: 13\n");
	assert_answer(p, "grpc-encoding was not given");
	assert_int_equal(p->server.messages, 0);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_INTERNAL);
	/* identity cannot be compressed either */
	ask(p, "grpc-encoding", "identity");
	grpc_pair_h2_message(p, true, "x", 1);
	h2_pair_settle(&p->h2);
	assert_answer(p, "grpc-status: 13\n");
	/* and what is not gzip, is not */
	ask(p, "grpc-encoding", "gzip");
	grpc_pair_h2_message(p, true, "not gzip", 8);
	h2_pair_settle(&p->h2);
	assert_answer(p, "grpc-status: 13\n");
	/* plain messages are fine where gzip was announced */
	ask(p, "grpc-encoding", "gzip");
	grpc_pair_h2_message(p, false, "plain", 5);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.messages, 1);
	grpc_cancel(p->server.call);
	h2_pair_settle(&p->h2);
}

static void too_large_a_message_ends_the_call_only(void **state)
{
	struct grpc_pair *p = *state;
	uint8_t *big = grpc_pair_bytes(2000, 1);

	p->max_message = 1000;
	ask(p, NULL, NULL);
	grpc_pair_h2_message(p, false, big, 1000);
	grpc_pair_h2_message(p, false, big, 1001);
	h2_pair_settle(&p->h2);
	assert_answer(p, "grpc-status: 8\n");
	assert_answer(p, "grpc-message: a message of 1001 bytes is over the limit of 1000\n");
	assert_int_equal(p->server.messages, 1);
	assert_int_equal(p->server.status.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(p->server.status.reason, "TOO_LARGE");
	assert_answer(p, "grpc-status-details-bin: ");
	assert_int_equal(p->h2.client.closed, 0);
	p->server.at = ON_CALL;
	p->server.act = finish_ok;
	ask(p, NULL, NULL);
	assert_answer(p, "grpc-status: 0\n");
	free(big);
}

static void a_request_that_ends_inside_a_message_is_internal(void **state)
{
	static const char *const cuts[] = {"\0", "\0\0\0\0", "\0\0\0\0\5", "\0\0\0\0\5abcd"};
	static const size_t lens[] = {1, 4, 5, 9};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < 4; i++) {
		ask(p, NULL, NULL);
		grpc_pair_h2_send(p, cuts[i], lens[i]);
		assert_int_equal(h2_end(p->plain.stream, NULL, 0), 0);
		h2_pair_settle(&p->h2);
		assert_answer(p, "grpc-status: 13\n");
		assert_answer(p, "grpc-message: the request ends inside a message\n");
	}
	assert_int_equal(p->server.half_closes, 0);
	assert_int_equal(p->server.dones, 4);
}

static void a_bad_flag_is_internal(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, NULL, NULL);
	grpc_pair_h2_send(p, "\2\0\0\0\0", 5);
	h2_pair_settle(&p->h2);
	assert_answer(p, "grpc-status: 13\n");
}

static void an_early_answer_stops_the_client(void **state)
{
	struct grpc_pair *p = *state;

	p->server.at = ON_MESSAGE;
	p->server.act = finish_ok;
	ask(p, NULL, NULL);
	grpc_pair_h2_message(p, false, "a", 1);
	grpc_pair_h2_message(p, false, "b", 1);
	h2_pair_settle(&p->h2);
	/* The second is not seen, the answer is whole, and then the stream was reset with NO_ERROR.
	 */
	assert_int_equal(p->server.messages, 1);
	assert_answer(p, "grpc-status: 0\n");
	assert_true(p->plain.ended && p->plain.closed);
	assert_int_equal(p->plain.code, H2_NO_ERROR);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_OK);
}

static void a_client_that_resets_is_cancelled(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, NULL, NULL);
	h2_reset(p->plain.stream, H2_CANCEL);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_CANCELLED);
	assert_int_equal(p->ends, 1);
}

static void a_lost_connection_is_cancelled(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, NULL, NULL);
	h2_close(p->h2.client.conn, H2_NO_ERROR);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_CANCELLED);
}

static void our_own_close_is_no_ok(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, NULL, NULL);
	/* The trailers are queued, and never leave. */
	finish_ok(&p->server);
	h2_close(p->h2.server.conn, H2_NO_ERROR);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_CANCELLED);
}

static void later_ends_are_ignored(struct grpc_end *e)
{
	struct rpc_status other;

	rpc_status_set(&other, RPC_ABORTED, NULL, "first");
	grpc_finish(e->call, &other);
	finish_ok(e);
	assert_int_equal(grpc_send(e->call, "x", 1), TX_ECLOSED);
	grpc_half_close(e->call);
}

static void the_first_end_counts(void **state)
{
	struct grpc_pair *p = *state;

	p->server.at = ON_CALL;
	p->server.act = later_ends_are_ignored;
	ask(p, NULL, NULL);
	assert_answer(p, "grpc-status: 10\n");
	assert_answer(p, "grpc-message: first\n");
	assert_int_equal(p->server.status.code, RPC_ABORTED);
	assert_int_equal(p->plain.bytes, 0);
}

static void poke_everything(struct grpc_end *e)
{
	assert_int_equal(grpc_send(e->call, "x", 1), TX_ECLOSED);
	finish_ok(e);
	grpc_cancel(e->call);
	grpc_compress(e->call, true);
	assert_int_equal(grpc_pending(e->call), 0);
}

static void nothing_is_possible_in_on_done(void **state)
{
	struct grpc_pair *p = *state;

	p->server.at = ON_DONE;
	p->server.act = poke_everything;
	ask(p, NULL, NULL);
	h2_reset(p->plain.stream, H2_CANCEL);
	h2_pair_settle(&p->h2);
	assert_int_equal(p->server.dones, 1);
}

static void cancel(struct grpc_end *e)
{
	grpc_cancel(e->call);
	grpc_cancel(e->call);
	assert_int_equal(grpc_send(e->call, "x", 1), TX_ECLOSED);
}

static void a_server_may_cancel_anywhere(void **state)
{
	static const enum grpc_event where[] = {ON_CALL, ON_MESSAGE, ON_HALF_CLOSE};
	struct grpc_pair *p = *state;

	for (size_t i = 0; i < 3; i++) {
		p->server.at = where[i];
		p->server.act = cancel;
		ask(p, NULL, NULL);
		if (!p->plain.closed) {
			grpc_pair_h2_message(p, false, "a", 1);
			h2_end(p->plain.stream, NULL, 0);
		}
		h2_pair_settle(&p->h2);
		assert_true(p->plain.closed);
		assert_int_equal(p->plain.code, H2_CANCEL);
		assert_int_equal(p->server.dones, i + 1);
		assert_int_equal(p->server.status.code, RPC_CANCELLED);
	}
}

static void a_deadline_that_has_passed_is_answered(void **state)
{
	struct grpc_pair *p = *state;

	ask(p, "grpc-timeout", "1n");
	assert_true(h2_pair_run(&p->h2, &p->plain.closed));
	assert_answer(p, "grpc-status: 4\n");
	assert_int_equal(p->server.dones, 1);
	assert_int_equal(p->server.status.code, RPC_DEADLINE_EXCEEDED);
	assert_string_equal(p->server.status.reason, "DEADLINE_PASSED");
	assert_string_equal(p->server.status.domain, "telex");
}

static void read_time_left(struct grpc_end *e)
{
	*(int64_t *)e->arg = grpc_time_left(e->call);
	finish_ok(e);
}

static void the_deadline_is_known_to_the_call(void **state)
{
	struct grpc_pair *p = *state;
	int64_t left = 0;

	p->server.at = ON_CALL;
	p->server.act = read_time_left;
	p->server.arg = &left;
	ask(p, "grpc-timeout", "1H");
	assert_true(left > INT64_C(3000000000000) && left <= INT64_C(3600000000000));
	ask(p, "grpc-timeout", "99999999H");
	assert_true(left > INT64_C(3600000000000));
	ask(p, NULL, NULL);
	assert_true(left == -1);
}

static void compress_and_answer(struct grpc_end *e)
{
	char text[500];

	memset(text, 'z', sizeof(text));
	grpc_compress(e->call, true);
	assert_int_equal(grpc_send(e->call, text, sizeof(text)), 0);
	finish_ok(e);
}

static void gzip_is_for_clients_that_take_it(void **state)
{
	struct grpc_pair *p = *state;

	p->server.at = ON_CALL;
	p->server.act = compress_and_answer;
	ask(p, "grpc-accept-encoding", "identity, deflate ,gzip");
	assert_answer(p, "grpc-encoding: gzip\n");
	assert_int_equal(p->plain.data[0], 1);
	assert_true(p->plain.bytes < 100);
	ask(p, "grpc-accept-encoding", "identity,gzipped,xgzip");
	assert_null(strstr(p->plain.headers, "grpc-encoding:"));
	assert_int_equal(p->plain.data[0], 0);
	assert_int_equal(p->plain.bytes, 505);
	ask(p, NULL, NULL);
	assert_int_equal(p->plain.bytes, 505);
}

static void trailers_of_a_client_mean_nothing(void **state)
{
	static const struct h2_field trailers[] = {
	    H2_FIELD("grpc-timeout", "bad"), H2_FIELD("x", "y")};
	struct grpc_pair *p = *state;

	p->server.at = ON_HALF_CLOSE;
	p->server.act = finish_ok;
	ask(p, NULL, NULL);
	assert_int_equal(h2_end(p->plain.stream, trailers, 2), 0);
	h2_pair_settle(&p->h2);
	assert_answer(p, "grpc-status: 0\n");
	assert_int_equal(p->server.dones, 1);
}

static void echo(struct grpc_end *e)
{
	grpc_send(e->call, e->last, e->last_len);
}

/* A request's body of any bytes, cut anywhere: one answer, one end, and the connection goes on. */
static void mutated_bodies_get_one_answer_each(void **state)
{
	static const uint8_t good[] = {
	    0, 0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 'd', 'e'};
	struct grpc_pair *p = *state;
	unsigned int seed = 4711;

	p->server.at = ON_MESSAGE;
	p->server.act = echo;
	p->max_message = 64;
	for (unsigned round = 1; round <= 300; round++) {
		uint8_t body[sizeof(good)];
		size_t at = 0, n;

		memcpy(body, good, sizeof(body));
		for (int i = rand_r(&seed) % 3; i > 0; i--)
			body[(size_t)rand_r(&seed) % sizeof(body)] = (uint8_t)rand_r(&seed);
		ask(p, "grpc-encoding", rand_r(&seed) % 2 ? "gzip" : "identity");
		for (; at < sizeof(body) && p->plain.stream != NULL; at += n) {
			n = 1 + (size_t)rand_r(&seed) % 8;
			if (n > sizeof(body) - at)
				n = sizeof(body) - at;
			grpc_pair_h2_send(p, body + at, n);
			h2_pair_settle(&p->h2);
		}
		p->server.at = ON_HALF_CLOSE;
		p->server.act = finish_ok;
		if (p->plain.stream != NULL)
			h2_end(p->plain.stream, NULL, 0);
		h2_pair_settle(&p->h2);
		p->server.at = ON_MESSAGE;
		p->server.act = echo;
		assert_answer(p, "grpc-status: ");
		assert_true(p->plain.closed);
		assert_int_equal(p->server.dones, round);
	}
	assert_int_equal(p->h2.server.closed, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(content_types_of_grpc_are_taken),
	    T(other_content_types_get_415),
	    T(other_methods_get_405),
	    T(a_bad_timeout_is_an_invalid_argument),
	    T(an_unknown_encoding_is_unimplemented),
	    T(a_refusal_has_no_body),
	    T(metadata_is_read_and_binary_is_decoded),
	    T(an_answer_is_headers_messages_trailers),
	    T(a_compressed_message_without_encoding_is_internal),
	    T(too_large_a_message_ends_the_call_only),
	    T(a_request_that_ends_inside_a_message_is_internal),
	    T(a_bad_flag_is_internal),
	    T(an_early_answer_stops_the_client),
	    T(a_client_that_resets_is_cancelled),
	    T(a_lost_connection_is_cancelled),
	    T(our_own_close_is_no_ok),
	    T(the_first_end_counts),
	    T(nothing_is_possible_in_on_done),
	    T(a_server_may_cancel_anywhere),
	    T(a_deadline_that_has_passed_is_answered),
	    T(the_deadline_is_known_to_the_call),
	    T(gzip_is_for_clients_that_take_it),
	    T(trailers_of_a_client_mean_nothing),
	    T(mutated_bodies_get_one_answer_each),
	};

	return cmocka_run_group_tests_name("grpc_server", tests, NULL, NULL);
}
