/* SPDX-License-Identifier: Apache-2.0 */
/* telex-files's end of its socket: calls in order, and frames that no worker of ours would send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/files/serve.h"
#include "common/files_frame.h"
#include "telex/v1/file.pb-c.h"

/* The worker's end is the test's; the other is served by a thread. */
struct scene {
	int fd, other;
	pthread_t thread;
	bool running;
	int rc;
	struct serve_role roles[2];
};

/* ---- methods ---- */

static const char *path_of(const ProtobufCMessage *m)
{
	static char text[128];
	const ProtobufCBinaryData *p = &((const Telex__V1__StatRequest *)m)->path;

	snprintf(text, sizeof(text), "%.*s", (int)p->len, (const char *)p->data);
	return text;
}

static int answer(struct call *c, const char *target)
{
	Telex__V1__ReadLinkResponse r = TELEX__V1__READ_LINK_RESPONSE__INIT;

	r.target.data = (uint8_t *)(uintptr_t)target;
	r.target.len = strlen(target);
	return call_send(c, &r.base);
}

/* Says its path again. */
static void echo(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	(void)status;
	call_summary(c, "files=%d", 1);
	(void)answer(c, path_of(m));
}

static void fail_with(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	(void)c;
	rpc_status_set(status, RPC_NOT_FOUND, "NO_SUCH_FILE", "no %s", path_of(m));
	rpc_status_meta(status, "path", "%s", path_of(m));
}

/* Counts the bytes of all messages after the first. */
static void count(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	const uint8_t *msg;
	char text[32];
	size_t len, total = 0;
	int rc;

	(void)m;
	while ((rc = call_receive(c, &msg, &len)) > 0)
		total += len;
	/* Asked again, it is still the end. */
	if (rc < 0 || call_receive(c, &msg, &len) != 0) {
		rpc_status_set(status, RPC_INTERNAL, "SYSTEM", "no end");
		return;
	}
	snprintf(text, sizeof(text), "%zu", total);
	(void)answer(c, text);
}

/* Ends before its half is closed. */
static void early(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	(void)c;
	(void)m;
	rpc_status_set(status, RPC_ABORTED, "EARLY", "enough");
}

/* Sends much, in parts and whole. */
static void flood(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	static uint8_t big[200000];
	uint8_t head[] = {0x0a, 0xc0, 0x9a, 0x0c}; /* field 1, 200000 bytes */

	(void)m;
	(void)status;
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 20; i++) {
		struct iovec parts[] = {{head, sizeof(head)}, {big, sizeof(big)}};

		(void)answer(c, "between");
		(void)call_send_parts(c, parts, 2);
	}
}

static void wait_a_moment(void)
{
	const struct timespec pause = {0, 1000000};

	(void)nanosleep(&pause, NULL);
}

/* Waits until the worker is gone. */
static void linger(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	(void)m;
	(void)status;
	(void)answer(c, "here");
	(void)call_flush(c);
	while (!call_gone(c))
		wait_a_moment();
}

/* Answers each message before it asks for the next, without flushing. */
static void converse(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	const uint8_t *msg;
	size_t len;

	(void)m;
	(void)status;
	while (call_receive(c, &msg, &len) > 0) {
		char text[32];

		snprintf(text, sizeof(text), "%zu", len);
		(void)answer(c, text);
	}
}

/* Whether there is something to read, before and after there is. */
static void look(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	const uint8_t *msg;
	size_t len;

	(void)m;
	(void)status;
	(void)answer(c, call_readable(c) ? "yes" : "no");
	if (call_receive(c, &msg, &len) != 1)
		return;
	while (!call_readable(c))
		wait_a_moment();
	/* What was given out is still what it was. */
	(void)answer(c, len == 3 && memcmp(msg, "one", 3) == 0 ? "same" : "changed");
	if (call_receive(c, &msg, &len) == 1 && len == 3 && memcmp(msg, "two", 3) == 0)
		(void)answer(c, "two");
}

/* Which role it runs by. */
static void limits(struct call *c, const ProtobufCMessage *m, struct rpc_status *status)
{
	char text[64];

	(void)m;
	(void)status;
	snprintf(text, sizeof(text), "%llu %llu %u", (unsigned long long)call_max_upload_bytes(c),
	    (unsigned long long)call_max_upload_files(c), call_max_unfinished(c));
	(void)answer(c, text);
}

static const struct files_method_row *find(const char *name)
{
	static const struct files_method_row rows[] = {
	    {"Echo", &telex__v1__stat_request__descriptor, echo},
	    {"Fail", &telex__v1__stat_request__descriptor, fail_with},
	    {"Count", &telex__v1__stat_request__descriptor, count},
	    {"Early", &telex__v1__stat_request__descriptor, early},
	    {"Flood", &telex__v1__stat_request__descriptor, flood},
	    {"Linger", &telex__v1__stat_request__descriptor, linger},
	    {"Converse", &telex__v1__stat_request__descriptor, converse},
	    {"Look", &telex__v1__stat_request__descriptor, look},
	    {"Limits", &telex__v1__stat_request__descriptor, limits},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

/* ---- the scene ---- */

static void *serve(void *arg)
{
	struct scene *s = arg;
	struct call *c = serve_new(s->other);

	s->rc = c != NULL ? serve_calls(c, s->roles, 2, find) : TX_ENOMEM;
	serve_free(c);
	close(s->other);
	return NULL;
}

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	int pair[2];

	assert_non_null(s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	s->fd = pair[0];
	s->other = pair[1];
	s->roles[1] =
	    (struct serve_role){.max_upload_bytes = 7, .max_upload_files = 8, .max_unfinished = 9};
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	s->running = true;
	*state = s;
	return 0;
}

/* Closes, and gives what serve_calls returned. */
static int end(struct scene *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	if (s->running)
		assert_int_equal(pthread_join(s->thread, NULL), 0);
	s->running = false;
	return s->rc;
}

static int tear_down(void **state)
{
	(void)end(*state);
	free(*state);
	return 0;
}

static void write_all(const struct scene *s, const void *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(s->fd, data, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

static void frame(const struct scene *s, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};

	write_all(s, &head, sizeof(head));
	write_all(s, body, len);
}

static void call(const struct scene *s, const char *method, uint32_t role)
{
	Telex__Internal__V1__FilesCall m = TELEX__INTERNAL__V1__FILES_CALL__INIT;
	uint8_t packed[128];

	m.method = (char *)(uintptr_t)method;
	m.role = role;
	frame(s, FILES_CALL, packed, telex__internal__v1__files_call__pack(&m, packed));
}

static void request(const struct scene *s, const char *path)
{
	Telex__V1__StatRequest m = TELEX__V1__STAT_REQUEST__INIT;
	uint8_t packed[256];

	m.path.data = (uint8_t *)(uintptr_t)path;
	m.path.len = strlen(path);
	frame(s, FILES_MESSAGE, packed, telex__v1__stat_request__pack(&m, packed));
}

static void half_close(const struct scene *s)
{
	frame(s, FILES_HALF_CLOSE, NULL, 0);
}

static bool read_all(const struct scene *s, void *out, size_t len)
{
	while (len > 0) {
		ssize_t n = recv(s->fd, out, len, 0);

		if (n <= 0)
			return false;
		out = (char *)out + n;
		len -= (size_t)n;
	}
	return true;
}

/* The type of the next frame, its body in out[size]; 0: the end. */
static uint32_t next(const struct scene *s, void *out, size_t size, size_t *len)
{
	struct files_frame head;

	if (!read_all(s, &head, sizeof(head)))
		return 0;
	assert_true(head.length <= size);
	assert_true(read_all(s, out, head.length));
	*len = head.length;
	return head.type;
}

static void expect_answer(const struct scene *s, const char *target)
{
	Telex__V1__ReadLinkResponse *m;
	uint8_t body[1024];
	size_t len = 0;

	assert_int_equal(next(s, body, sizeof(body), &len), FILES_MESSAGE);
	m = telex__v1__read_link_response__unpack(NULL, len, body);
	assert_non_null(m);
	assert_int_equal(m->target.len, strlen(target));
	assert_memory_equal(m->target.data, target, m->target.len);
	telex__v1__read_link_response__free_unpacked(m, NULL);
}

static Telex__Internal__V1__FilesStatus *expect_status(const struct scene *s, uint32_t code)
{
	Telex__Internal__V1__FilesStatus *m;
	uint8_t body[4096];
	size_t len = 0;

	assert_int_equal(next(s, body, sizeof(body), &len), FILES_STATUS);
	m = telex__internal__v1__files_status__unpack(NULL, len, body);
	assert_non_null(m);
	assert_int_equal(m->code, code);
	return m;
}

static void expect_code(const struct scene *s, uint32_t code, const char *reason)
{
	Telex__Internal__V1__FilesStatus *m = expect_status(s, code);

	assert_string_equal(m->reason, reason);
	telex__internal__v1__files_status__free_unpacked(m, NULL);
}

/* It still serves. */
static void expect_alive(const struct scene *s)
{
	call(s, "Echo", 0);
	request(s, "/alive");
	half_close(s);
	expect_answer(s, "/alive");
	expect_code(s, RPC_OK, "");
}

static void expect_broken(struct scene *s, int rc)
{
	uint8_t body[4096];
	size_t len;

	shutdown(s->fd, SHUT_WR);
	while (next(s, body, sizeof(body), &len) != 0)
		;
	assert_int_equal(end(s), rc);
}

/* ---- tests ---- */

static void calls_come_one_after_the_other(void **state)
{
	struct scene *s = *state;
	Telex__Internal__V1__FilesStatus *m;

	call(s, "Echo", 0);
	request(s, "/x");
	half_close(s);
	expect_answer(s, "/x");
	m = expect_status(s, RPC_OK);
	assert_string_equal(m->summary, "files=1");
	telex__internal__v1__files_status__free_unpacked(m, NULL);
	call(s, "Fail", 0);
	request(s, "/y");
	half_close(s);
	m = expect_status(s, RPC_NOT_FOUND);
	assert_string_equal(m->message, "no /y");
	assert_string_equal(m->summary, "");
	assert_int_equal(m->n_metadata, 1);
	assert_string_equal(m->metadata[0]->key, "path");
	assert_string_equal(m->metadata[0]->value, "/y");
	telex__internal__v1__files_status__free_unpacked(m, NULL);
	expect_alive(s);
	assert_int_equal(end(s), 0);
}

static void two_calls_in_one_write_are_two(void **state)
{
	struct scene *s = *state;

	for (int i = 0; i < 2; i++) {
		call(s, "Echo", 0);
		request(s, "/x");
		half_close(s);
	}
	for (int i = 0; i < 2; i++) {
		expect_answer(s, "/x");
		expect_code(s, RPC_OK, "");
	}
}

static void what_is_not_known_is_said(void **state)
{
	struct scene *s = *state;

	call(s, "Nonsense", 0);
	request(s, "/x");
	half_close(s);
	expect_code(s, RPC_UNIMPLEMENTED, "NO_SUCH_METHOD");
	expect_alive(s);
}

static void a_call_without_a_request_is_refused(void **state)
{
	struct scene *s = *state;

	call(s, "Echo", 0);
	half_close(s);
	expect_code(s, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	call(s, "Echo", 0);
	frame(s, FILES_MESSAGE, "\xff\xff", 2);
	half_close(s);
	expect_code(s, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	expect_alive(s);
}

static void long_messages_come_whole(void **state)
{
	static const size_t sizes[] = {0, 1, 65536, 500000, 600000, 4 << 20, 3, 262144};
	struct scene *s = *state;
	uint8_t *body = calloc(1, 4 << 20);
	char text[32];
	size_t total = 0;

	assert_non_null(body);
	call(s, "Count", 0);
	request(s, "/x");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		frame(s, FILES_MESSAGE, body, sizes[i]);
		total += sizes[i];
	}
	half_close(s);
	snprintf(text, sizeof(text), "%zu", total);
	expect_answer(s, text);
	expect_code(s, RPC_OK, "");
	expect_alive(s);
	free(body);
}

static void bytes_may_come_one_by_one(void **state)
{
	struct scene *s = *state;
	const struct files_frame head = {0, FILES_HALF_CLOSE};

	call(s, "Echo", 0);
	request(s, "/x");
	for (size_t i = 0; i < sizeof(head); i++)
		write_all(s, (const char *)&head + i, 1);
	expect_answer(s, "/x");
	expect_code(s, RPC_OK, "");
}

/* What comes after a call's end is passed over, up to the end of its half. */
static void a_call_may_end_early(void **state)
{
	struct scene *s = *state;
	uint8_t *body = calloc(1, 1 << 20);

	assert_non_null(body);
	call(s, "Early", 0);
	request(s, "/x");
	expect_code(s, RPC_ABORTED, "EARLY");
	for (int i = 0; i < 8; i++)
		frame(s, FILES_MESSAGE, body, 1 << 20);
	half_close(s);
	expect_alive(s);
	free(body);
}

static void much_is_sent_in_order(void **state)
{
	static uint8_t body[200100];
	struct scene *s = *state;
	size_t len = 0;

	call(s, "Flood", 0);
	request(s, "/x");
	half_close(s);
	for (int i = 0; i < 20; i++) {
		expect_answer(s, "between");
		assert_int_equal(next(s, body, sizeof(body), &len), FILES_MESSAGE);
		assert_int_equal(len, 200004);
		assert_int_equal(body[0], 0x0a);
		for (size_t k = 4; k < len; k++)
			if (body[k] != 'x')
				fail_msg("byte %zu is %u", k, body[k]);
	}
	expect_code(s, RPC_OK, "");
	expect_alive(s);
}

/* Nobody waits for what the other side has not sent yet. */
static void an_answer_goes_out_before_it_waits(void **state)
{
	struct scene *s = *state;

	call(s, "Converse", 0);
	request(s, "/x");
	for (int i = 1; i < 10; i++) {
		char text[8];

		frame(s, FILES_MESSAGE, "xxxxxxxxxx", (size_t)i);
		snprintf(text, sizeof(text), "%d", i);
		expect_answer(s, text);
	}
	half_close(s);
	expect_code(s, RPC_OK, "");
}

static void it_knows_whether_there_is_more(void **state)
{
	struct scene *s = *state;

	call(s, "Look", 0);
	request(s, "/x");
	/* Nothing else was sent. */
	frame(s, FILES_MESSAGE, "one", 3);
	frame(s, FILES_MESSAGE, "two", 3);
	half_close(s);
	{
		uint8_t body[64];
		size_t len;

		/* Either, as the second may have come by then. */
		assert_int_equal(next(s, body, sizeof(body), &len), FILES_MESSAGE);
	}
	expect_answer(s, "same");
	expect_answer(s, "two");
	expect_code(s, RPC_OK, "");
}

static void a_role_has_its_limits(void **state)
{
	struct scene *s = *state;

	call(s, "Limits", 1);
	request(s, "/x");
	half_close(s);
	expect_answer(s, "7 8 9");
	expect_code(s, RPC_OK, "");
	call(s, "Limits", 0);
	request(s, "/x");
	half_close(s);
	expect_answer(s, "0 0 1000");
	expect_code(s, RPC_OK, "");
}

static void the_workers_end_is_seen(void **state)
{
	struct scene *s = *state;

	call(s, "Linger", 0);
	request(s, "/x");
	expect_answer(s, "here");
	assert_int_equal(end(s), 0);
}

static void a_workers_end_in_mid_message_is_an_end(void **state)
{
	struct scene *s = *state;
	const struct files_frame head = {1000, FILES_MESSAGE};

	call(s, "Count", 0);
	request(s, "/x");
	write_all(s, &head, sizeof(head));
	write_all(s, "half", 4);
	assert_int_equal(end(s), 0);
}

/* ---- hostile ---- */

static void a_frame_that_is_too_long_ends_it(void **state)
{
	struct scene *s = *state;
	const struct files_frame head = {FILES_FRAME_MAX + 1, FILES_MESSAGE};

	write_all(s, &head, sizeof(head));
	expect_broken(s, TX_EPROTO);
}

static void a_frame_of_no_type_ends_it(void **state)
{
	struct scene *s = *state;

	frame(s, 99, "x", 1);
	expect_broken(s, TX_EPROTO);
}

static void a_message_without_a_call_ends_it(void **state)
{
	struct scene *s = *state;

	request(s, "/x");
	expect_broken(s, TX_EPROTO);
}

static void a_call_in_a_call_ends_it(void **state)
{
	struct scene *s = *state;

	call(s, "Count", 0);
	request(s, "/x");
	call(s, "Echo", 0);
	expect_broken(s, TX_EPROTO);
}

static void a_second_setup_ends_it(void **state)
{
	struct scene *s = *state;

	frame(s, FILES_SETUP, NULL, 0);
	expect_broken(s, TX_EPROTO);
}

static void a_half_close_with_a_body_ends_it(void **state)
{
	struct scene *s = *state;

	call(s, "Count", 0);
	request(s, "/x");
	frame(s, FILES_HALF_CLOSE, "x", 1);
	expect_broken(s, TX_EPROTO);
}

static void a_role_that_there_is_not_ends_it(void **state)
{
	struct scene *s = *state;

	call(s, "Echo", 2);
	request(s, "/x");
	half_close(s);
	expect_broken(s, TX_EPROTO);
}

static void a_call_that_is_none_ends_it(void **state)
{
	struct scene *s = *state;

	frame(s, FILES_CALL, "\xff\xff\xff", 3);
	expect_broken(s, TX_EPROTO);
}

/* ---- setting up ---- */

static void a_setup_comes_first(void **state)
{
	Telex__Internal__V1__FilesSetup m = TELEX__INTERNAL__V1__FILES_SETUP__INIT, *got = NULL;
	Telex__Internal__V1__FilesReady ready = TELEX__INTERNAL__V1__FILES_READY__INIT;
	struct err e = {.code = TX_ESYS, .message = "it cannot"};
	struct scene s;
	uint8_t packed[64], body[1024];
	struct call *c;
	size_t len;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	s.fd = pair[0];
	c = serve_new(pair[1]);
	assert_non_null(c);
	m.log_level = 3;
	frame(&s, FILES_SETUP, packed, telex__internal__v1__files_setup__pack(&m, packed));
	assert_int_equal(serve_setup(c, &got), 0);
	assert_int_equal(got->log_level, 3);
	telex__internal__v1__files_setup__free_unpacked(got, NULL);
	assert_int_equal(serve_ready(c, &ready), 0);
	assert_int_equal(next(&s, body, sizeof(body), &len), FILES_READY);
	assert_int_equal(serve_failed(c, &e), 0);
	assert_int_equal(next(&s, body, sizeof(body), &len), FILES_STATUS);
	call(&s, "Echo", 0);
	assert_int_equal(serve_setup(c, &got), TX_EPROTO);
	serve_free(c);
	close(pair[0]);
	close(pair[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(calls_come_one_after_the_other),
	    TEST(two_calls_in_one_write_are_two),
	    TEST(what_is_not_known_is_said),
	    TEST(a_call_without_a_request_is_refused),
	    TEST(long_messages_come_whole),
	    TEST(bytes_may_come_one_by_one),
	    TEST(a_call_may_end_early),
	    TEST(much_is_sent_in_order),
	    TEST(an_answer_goes_out_before_it_waits),
	    TEST(it_knows_whether_there_is_more),
	    TEST(a_role_has_its_limits),
	    TEST(the_workers_end_is_seen),
	    TEST(a_workers_end_in_mid_message_is_an_end),
	    TEST(a_frame_that_is_too_long_ends_it),
	    TEST(a_frame_of_no_type_ends_it),
	    TEST(a_message_without_a_call_ends_it),
	    TEST(a_call_in_a_call_ends_it),
	    TEST(a_second_setup_ends_it),
	    TEST(a_half_close_with_a_body_ends_it),
	    TEST(a_role_that_there_is_not_ends_it),
	    TEST(a_call_that_is_none_ends_it),
	    cmocka_unit_test(a_setup_comes_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
