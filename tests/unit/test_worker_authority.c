/* SPDX-License-Identifier: Apache-2.0 */
/* CertificateService of an authority's listener, with a telex-ca that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/worker/attempts.h"
#include "agent/worker/ca_client.h"
#include "agent/worker/services.h"
#include "agent/worker/shared_answer.h"
#include "agent/worker/worker.h"
#include "common/ca_control.h"
#include "common/duration.h"
#include "common/memfile.h"
#include "common/rpc.h"
#include "telex/v1/certificate.pb-c.h"
#include "tests/support/h2_pair.h"

#define SERVICE "telex.v1.CertificateService"

struct fixture {
	struct h2_pair pair;
	struct worker worker;
	struct peer peer;
	struct rpc_server *server;
	int ca; /* telex-ca's end */
	/* of the last call */
	bool done;
	size_t bytes;
	struct rpc_status status;
};

static int on_stream(struct h2_conn *c, struct h2_stream *stream, void *arg)
{
	struct fixture *f = arg;

	(void)c;
	return rpc_server_stream(f->server, stream, &f->peer);
}

static int set_up_raw(void **state)
{
	static const struct h2_conn_ops ops = {.on_stream = on_stream};
	static const struct rpc_service *const services[] = {&svc_certificate};
	struct fixture *f = calloc(1, sizeof(*f));
	const struct rpc_server_config cfg = {
	    .services = services, .n_services = 1, .context = &f->worker};
	int fds[2];

	assert_non_null(f);
	h2_pair_init(&f->pair);
	f->worker.base = f->pair.base;
	strcpy(f->peer.address, "192.0.2.1:50000");
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	f->ca = fds[1];
	f->worker.ca = ca_client_new(f->pair.base);
	ca_client_take(f->worker.ca, fds[0]);
	assert_int_equal(rpc_server_new(&f->server, f->pair.base, &cfg), 0);
	h2_pair_start(&f->pair, &f->pair.server, NULL, &ops, f);
	*state = f;
	return 0;
}

/* A client whose other end it is; else it is raw. */
static int set_up(void **state)
{
	struct fixture *f;

	if (set_up_raw(state) != 0)
		return -1;
	f = *state;
	h2_pair_start(&f->pair, &f->pair.client, NULL, NULL, NULL);
	h2_pair_settle(&f->pair);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (f->pair.client.conn != NULL)
		h2_close(f->pair.client.conn, H2_NO_ERROR);
	h2_pair_settle(&f->pair);
	ca_client_free(f->worker.ca);
	h2_pair_free(&f->pair);
	rpc_server_free(f->server);
	attempts_free(f->worker.attempts);
	shared_answer_unref(f->worker.list);
	close(f->ca);
	free(f);
	return 0;
}

/* ---- the client ---- */

static void on_raw(struct rpc_call *c, const uint8_t *msg, size_t len, void *data)
{
	struct fixture *f = data;

	(void)msg;
	f->bytes += len;
	rpc_credit(c, rpc_message_size(c));
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct fixture *f = data;

	(void)c;
	f->status = *status;
	f->done = true;
}

static void ask(struct fixture *f, const char *method, const ProtobufCMessage *request)
{
	static const struct rpc_client_ops ops = {
	    .raw = on_raw, .done = on_done, .manual_credit = true};
	const struct rpc_client_options o = {.authority = "test",
	    .service = SERVICE,
	    .method = method,
	    .response = &telex__v1__enroll_response__descriptor};
	struct rpc_call *call;

	f->done = false;
	f->bytes = 0;
	assert_int_equal(rpc_open(&call, f->pair.client.conn, f->pair.base, &o, &ops, f), 0);
	assert_int_equal(rpc_send(call, request), 0);
	rpc_half_close(call);
	h2_pair_settle(&f->pair);
}

static void enroll(struct fixture *f)
{
	Telex__V1__EnrollRequest q = TELEX__V1__ENROLL_REQUEST__INIT;
	uint8_t csr[] = {1, 2, 3};

	q.csr.data = csr;
	q.csr.len = sizeof(csr);
	ask(f, "Enroll", &q.base);
}

/* ---- telex-ca ---- */

/* False: nobody has asked. */
static bool answer(struct fixture *f, Telex__Internal__V1__CaAnswer *a, int list)
{
	static uint8_t packet[CA_PACKET_MAX];
	Telex__Internal__V1__CaRequest *q;
	size_t len = sizeof(packet);
	int fd;

	if (ca_packet_receive(f->ca, packet, &len, &fd) != 0)
		return false;
	q = telex__internal__v1__ca_request__unpack(NULL, len, packet);
	assert_non_null(q);
	a->id = q->id;
	telex__internal__v1__ca_request__free_unpacked(q, NULL);
	len = telex__internal__v1__ca_answer__pack(a, packet);
	assert_int_equal(ca_packet_send(f->ca, packet, len, list), 0);
	h2_pair_settle(&f->pair);
	return true;
}

/* Whether telex-ca was asked at all. */
static bool enroll_in_vain(struct fixture *f, int code, const char *reason)
{
	Telex__Internal__V1__CaAnswer a = TELEX__INTERNAL__V1__CA_ANSWER__INIT;
	bool asked;

	a.code = (uint32_t)code;
	a.reason = (char *)(uintptr_t)reason;
	enroll(f);
	asked = answer(f, &a, -1);
	assert_true(f->done);
	return asked;
}

static void enroll_well(struct fixture *f)
{
	Telex__Internal__V1__CaAnswer a = TELEX__INTERNAL__V1__CA_ANSWER__INIT;

	enroll(f);
	assert_true(answer(f, &a, -1));
	assert_true(f->done);
	assert_int_equal(f->status.code, RPC_OK);
}

/* ---- the tests ---- */

static void who_asks_in_vain_is_refused_in_the_end(void **state)
{
	struct fixture *f = *state;

	f->worker.config.enroll_attempts = 3;
	for (int i = 0; i < 10; i++)
		enroll_well(f);
	for (int i = 0; i < 3; i++) {
		assert_true(enroll_in_vain(f, RPC_PERMISSION_DENIED, "TOKEN_REFUSED"));
		assert_int_equal(f->status.code, RPC_PERMISSION_DENIED);
	}
	assert_false(enroll_in_vain(f, RPC_PERMISSION_DENIED, "TOKEN_REFUSED"));
	assert_int_equal(f->status.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(f->status.reason, "TOO_MANY_ATTEMPTS");
	/* Others are none the worse for it. */
	strcpy(f->peer.address, "192.0.2.2:50000");
	enroll_well(f);
}

static void what_is_not_the_clients_doing_costs_nothing(void **state)
{
	struct fixture *f = *state;

	f->worker.config.enroll_attempts = 3;
	for (int i = 0; i < 10; i++) {
		assert_true(enroll_in_vain(f, RPC_UNAVAILABLE, "CA_UNAVAILABLE"));
		assert_int_equal(f->status.code, RPC_UNAVAILABLE);
	}
	close(f->ca);
	f->ca = -1;
	h2_pair_settle(&f->pair);
	for (int i = 0; i < 10; i++) {
		enroll(f);
		assert_true(f->done);
		assert_int_equal(f->status.code, RPC_UNAVAILABLE);
	}
}

static void a_bucket_fills_again(void **state)
{
	struct attempts *a = attempts_new(60);
	int64_t wait, now = 1000 * NS_PER_S;

	(void)state;
	for (int i = 0; i < 60; i++)
		assert_true(attempts_take(a, "192.0.2.1:1", now, &wait));
	assert_false(attempts_take(a, "192.0.2.1:2", now, &wait));
	assert_int_equal(wait, NS_PER_S);
	assert_false(attempts_take(a, "192.0.2.1:2", now + NS_PER_S - 1, &wait));
	assert_true(attempts_take(a, "192.0.2.1:2", now + NS_PER_S, &wait));
	assert_false(attempts_take(a, "192.0.2.1:2", now + NS_PER_S, &wait));
	attempts_give_back(a, "192.0.2.1:3");
	assert_true(attempts_take(a, "192.0.2.1:2", now + NS_PER_S, &wait));
	attempts_give_back(a, "nobody");
	attempts_free(a);
	attempts_free(NULL);
}

static void many_sources_take_no_more_memory_and_share(void **state)
{
	struct attempts *a = attempts_new(1);
	int64_t wait, now = 1000 * NS_PER_S;
	unsigned taken = 0;
	char peer[32];

	(void)state;
	for (unsigned i = 0; i < 4 * ATTEMPTS_SOURCES; i++) {
		snprintf(peer, sizeof(peer), "10.0.%u.%u:1", i / 256, i % 256);
		taken += attempts_take(a, peer, now, &wait);
	}
	assert_int_equal(taken, ATTEMPTS_SOURCES + 1);
	/* A minute later the first ones count for nothing any more. */
	assert_true(attempts_take(a, "192.0.2.1:1", now + 60 * NS_PER_S, &wait));
	assert_true(attempts_take(a, "192.0.2.2:1", now + 60 * NS_PER_S, &wait));
	attempts_free(a);
}

/* The caller has the newest. */
static void give_nothing(struct fixture *f)
{
	Telex__Internal__V1__CaAnswer a = TELEX__INTERNAL__V1__CA_ANSWER__INIT;

	assert_true(answer(f, &a, -1));
}

static void give_list(struct fixture *f, const char *text, size_t len)
{
	Telex__Internal__V1__CaAnswer a = TELEX__INTERNAL__V1__CA_ANSWER__INIT;
	struct err e;
	int fd;

	assert_int_equal(memfile_freeze("list", text, len, &fd, &e), 0);
	a.list = true;
	assert_true(answer(f, &a, fd));
	close(fd);
}

static size_t put_field(uint8_t *to, const char *name, const char *value)
{
	/* a literal that is not indexed */
	return (size_t)snprintf((char *)to, 128, "%c%c%s%c%s", 0x10, (int)strlen(name), name,
	    (int)strlen(value), value);
}

/* On a raw connection that gives no credit: of what is answered a window's worth is sent. */
static void ask_and_not_read(struct fixture *f, uint32_t stream)
{
	static const uint8_t nothing[5];
	uint8_t head[512];
	size_t len = 0;

	len += put_field(head + len, ":method", "POST");
	len += put_field(head + len, ":scheme", "https");
	len += put_field(head + len, ":path", "/" SERVICE "/GetRevocations");
	len += put_field(head + len, ":authority", "test");
	len += put_field(head + len, "content-type", "application/grpc");
	len += put_field(head + len, "te", "trailers");
	h2_raw_frame(&f->pair.client, 1, 4, stream, head, len);
	h2_raw_frame(&f->pair.client, 0, 1, stream, nothing, sizeof(nothing));
	h2_pair_settle(&f->pair);
}

static size_t memory(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.hblkhd + m.uordblks;
}

/* Each copy would be 2 MiB. */
static void slow_readers_share_one_list(void **state)
{
	const size_t size = (size_t)2 << 20;
	struct fixture *f = *state;
	struct shared_answer *first = NULL;
	char *text = malloc(size);
	size_t before;

	assert_non_null(text);
	memset(text, 'x', size);
	h2_raw_preface(&f->pair.client);
	h2_pair_settle(&f->pair);
	before = memory();
	for (uint32_t i = 0; i < 50; i++) {
		ask_and_not_read(f, 4 * i + 1);
		give_list(f, text, size);
		ask_and_not_read(f, 4 * i + 3);
		give_nothing(f);
		if (i == 0)
			first = f->worker.list;
		assert_non_null(first);
		assert_ptr_equal(f->worker.list, first);
	}
	assert_true(memory() < before + 4 * size);
	text[0] = 'y';
	ask_and_not_read(f, 201);
	give_list(f, text, size);
	assert_ptr_not_equal(f->worker.list, first);
	assert_true(memory() < before + 6 * size);
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_asks_in_vain_is_refused_in_the_end),
	    TEST(what_is_not_the_clients_doing_costs_nothing),
	    cmocka_unit_test_setup_teardown(slow_readers_share_one_list, set_up_raw, tear_down),
	    cmocka_unit_test(a_bucket_fills_again),
	    cmocka_unit_test(many_sources_take_no_more_memory_and_share),
	};

	return cmocka_run_group_tests_name("worker_authority", tests, NULL, NULL);
}
