/* SPDX-License-Identifier: Apache-2.0 */
/* The services but for Run: health, reflection, GetInfo, and ProcessService's unary calls and List.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/services.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "telex/v1/process.pb-c.h"
#include "telex/v1/system.pb-c.h"
#include "tests/support/worker_rig.h"

struct fixture {
	struct worker_rig rig;
	struct fake_keeper *keeper;
	struct rpc_call *call;
	const ProtobufCMessageDescriptor *type;
	ProtobufCMessage *last; /* the newest response */
	size_t responses;
	bool hold;
	size_t owed;
	bool done;
	struct rpc_status status;
};

/* ---- the client ---- */

static void on_response(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	struct fixture *f = data;
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t *packed = malloc(len + 1);

	assert_non_null(packed);
	protobuf_c_message_pack(msg, packed);
	if (f->last != NULL)
		protobuf_c_message_free_unpacked(f->last, NULL);
	f->last = protobuf_c_message_unpack(f->type, NULL, len, packed);
	free(packed);
	f->responses++;
	if (f->hold)
		f->owed += rpc_message_size(c);
	else
		rpc_credit(c, rpc_message_size(c));
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct fixture *f = data;

	(void)c;
	f->status = *status;
	f->done = true;
}

static void ask(struct fixture *f, const char *service, const char *method,
    const ProtobufCMessageDescriptor *response, bool stream, const ProtobufCMessage *request)
{
	static const struct rpc_client_ops ops = {
	    .message = on_response, .done = on_done, .manual_credit = true};
	const struct rpc_client_options o = {.authority = "test",
	    .service = service,
	    .method = method,
	    .response = response,
	    .server_stream = stream};

	if (f->last != NULL)
		protobuf_c_message_free_unpacked(f->last, NULL);
	f->last = NULL;
	f->type = response;
	f->responses = 0;
	f->done = false;
	assert_int_equal(
	    rpc_open(&f->call, f->rig.pair.client.conn, f->rig.pair.base, &o, &ops, f), 0);
	if (request == NULL)
		return;
	assert_int_equal(rpc_send(f->call, request), 0);
	rpc_half_close(f->call);
	worker_rig_settle(&f->rig);
}

static void answered(struct fixture *f, int code, const char *reason)
{
	worker_rig_settle(&f->rig);
	assert_true(f->done);
	assert_int_equal(f->status.code, code);
	assert_string_equal(f->status.reason, reason);
	if (code == RPC_OK)
		assert_true(f->responses > 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	f->keeper = f->rig.keeper;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	worker_rig_free(&f->rig);
	if (f->last != NULL)
		protobuf_c_message_free_unpacked(f->last, NULL);
	free(f);
	return 0;
}

/* ---- health ---- */

static void ask_health(struct fixture *f, const char *method, const char *service)
{
	Grpc__Health__V1__HealthCheckRequest q = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

	q.service = (char *)service;
	ask(f, "grpc.health.v1.Health", method,
	    &grpc__health__v1__health_check_response__descriptor, strcmp(method, "Watch") == 0,
	    &q.base);
}

static int health(const struct fixture *f)
{
	return (int)((const Grpc__Health__V1__HealthCheckResponse *)f->last)->status;
}

static void health_knows_every_service(void **state)
{
	struct fixture *f = *state;

	ask_health(f, "Check", "");
	answered(f, RPC_OK, "");
	assert_int_equal(health(f), 1);
	for (size_t i = 0; i < SERVICES_COUNT; i++) {
		ask_health(f, "Check", services_all[i]->name);
		answered(f, RPC_OK, "");
		assert_int_equal(health(f), 1);
	}
	ask_health(f, "Check", "telex.v1");
	answered(f, RPC_NOT_FOUND, "NO_SUCH_SERVICE");
}

static void a_draining_worker_tells_its_watchers(void **state)
{
	struct fixture *f = *state;

	ask_health(f, "Watch", "");
	assert_int_equal(health(f), 1);
	assert_false(f->done);
	f->rig.worker.draining = true;
	svc_health_draining(&f->rig.worker);
	answered(f, RPC_UNAVAILABLE, "SHUTTING_DOWN");
	assert_int_equal(health(f), 2);
	ask_health(f, "Check", "");
	answered(f, RPC_OK, "");
	assert_int_equal(health(f), 2);
}

static void watching_an_unknown_service_waits_for_it(void **state)
{
	struct fixture *f = *state;

	ask_health(f, "Watch", "nothing");
	assert_int_equal(health(f), 3);
	assert_false(f->done);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	assert_null(f->rig.worker.watches);
}

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest Question;
typedef Grpc__Reflection__V1__ServerReflectionResponse Answer;

static void reflect(struct fixture *f, const Question *q)
{
	assert_int_equal(rpc_send(f->call, &q->base), 0);
	worker_rig_settle(&f->rig);
	assert_non_null(f->last);
}

static void reflection_answers_both_versions(void **state)
{
	static const char *const services[] = {
	    "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"};
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		Question q = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
		const Answer *a;

		ask(f, services[i], "ServerReflectionInfo",
		    &grpc__reflection__v1__server_reflection_response__descriptor, true, NULL);
		q.host = (char *)"here";
		q.message_request_case = 7;
		q.list_services = (char *)"*";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_string_equal(a->valid_host, "here");
		assert_string_equal(a->original_request->list_services, "*");
		assert_int_equal(a->list_services_response->n_service, SERVICES_COUNT);
		q.message_request_case = 4;
		q.file_containing_symbol = (char *)"telex.v1.ProcessService.Run";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_int_equal(a->file_descriptor_response->n_file_descriptor_proto, 3);
		q.message_request_case = 6;
		q.all_extension_numbers_of_type = (char *)"telex.v1.Exit";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_string_equal(
		    a->all_extension_numbers_response->base_type_name, "telex.v1.Exit");
		rpc_half_close(f->call);
		answered(f, RPC_OK, "");
		assert_int_equal(f->responses, 3);
	}
}

static void reflection_says_what_it_does_not_have(void **state)
{
	struct fixture *f = *state;
	Grpc__Reflection__V1__ExtensionRequest extension =
	    GRPC__REFLECTION__V1__EXTENSION_REQUEST__INIT;
	Question q = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
	const int expected[] = {
	    RPC_INVALID_ARGUMENT, RPC_NOT_FOUND, RPC_NOT_FOUND, RPC_NOT_FOUND, RPC_NOT_FOUND};
	const unsigned cases[] = {0, 3, 4, 5, 6};

	ask(f, "grpc.reflection.v1.ServerReflection", "ServerReflectionInfo",
	    &grpc__reflection__v1__server_reflection_response__descriptor, true, NULL);
	for (int i = 0; i < 5; i++) {
		const Answer *a;

		q.message_request_case = cases[i];
		if (cases[i] == 5)
			q.file_containing_extension = &extension;
		else
			q.file_by_filename = (char *)"nothing";
		reflect(f, &q);
		a = (const Answer *)f->last;
		assert_int_equal(a->message_response_case, 7);
		assert_int_equal(a->error_response->error_code, expected[i]);
		assert_true(a->error_response->error_message[0] != '\0');
	}
}

static void reflection_cuts_off_who_does_not_read(void **state)
{
	struct fixture *f = *state;
	Question q = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;

	f->hold = true;
	ask(f, "grpc.reflection.v1.ServerReflection", "ServerReflectionInfo",
	    &grpc__reflection__v1__server_reflection_response__descriptor, true, NULL);
	q.message_request_case = 3;
	q.file_by_filename = (char *)"telex/v1/process.proto";
	/* Far more than a window and what may wait behind it. */
	for (int i = 0; i < 2000; i++)
		(void)rpc_send(f->call, &q.base);
	worker_rig_settle(&f->rig);
	assert_false(f->done);
	f->hold = false;
	rpc_credit(f->call, f->owed);
	answered(f, RPC_RESOURCE_EXHAUSTED, "LIMIT");
}

/* ---- GetInfo ---- */

static void info_tells_agent_client_and_machine(void **state)
{
	struct fixture *f = *state;
	Telex__V1__GetInfoRequest q = TELEX__V1__GET_INFO_REQUEST__INIT;
	const Telex__V1__GetInfoResponse *r;
	struct km_info_reply reply = {.processes = 3};
	union km_any msg;

	snprintf(f->rig.worker.agent_identity, sizeof(f->rig.worker.agent_identity),
	    "spiffe://test.internal/agent/web1");
	f->rig.peer.tls = (struct tls_description){"TLSv1.3", "a cipher", "a group"};
	ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_INFO, &msg, NULL));
	fake_keeper_send(f->keeper, KM_INFO_REPLY, msg.hdr.seq, &reply, -1);
	answered(f, RPC_OK, "");
	r = (const Telex__V1__GetInfoResponse *)f->last;
	assert_string_equal(r->agent_identity, "spiffe://test.internal/agent/web1");
	assert_string_equal(r->client_identity, RIG_USER);
	assert_int_equal(r->processes, 3);
	assert_string_equal(r->tls->cipher, "a cipher");
	assert_true(r->version[0] != '\0');
	assert_string_equal(r->machine->system, "Linux");
	assert_true(r->machine->processors > 0);
	assert_true(r->machine->memory_bytes > 0);
	assert_int_equal(r->limits->max_processes, 10);
	assert_int_equal(r->limits->output_buffer_bytes, 4096);
	assert_int_equal(r->n_capabilities, 0);
}

static void a_cancelled_question_drops_its_answer(void **state)
{
	struct fixture *f = *state;
	Telex__V1__GetInfoRequest q = TELEX__V1__GET_INFO_REQUEST__INIT;
	struct km_info_reply reply = {.processes = 3};
	union km_any msg;

	ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	rpc_cancel(f->call);
	worker_rig_settle(&f->rig);
	assert_true(fake_keeper_take(f->keeper, KM_INFO, &msg, NULL));
	fake_keeper_send(f->keeper, KM_INFO_REPLY, msg.hdr.seq, &reply, -1);
	worker_rig_settle(&f->rig);
	assert_int_equal(f->responses, 0);
	assert_int_equal(f->status.code, RPC_CANCELLED);
}

static void an_answer_to_no_question_ends_the_link(void **state)
{
	struct fixture *f = *state;
	struct km_info_reply reply = {.processes = 3};

	fake_keeper_send(f->keeper, KM_INFO_REPLY, 12345, &reply, -1);
	worker_rig_settle(&f->rig);
	assert_true(f->rig.keeper_lost);
}

static void without_its_keeper_a_question_is_unavailable(void **state)
{
	struct fixture *f = *state;
	Telex__V1__GetInfoRequest q = TELEX__V1__GET_INFO_REQUEST__INIT;

	ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	fake_keeper_die(f->keeper);
	answered(f, RPC_UNAVAILABLE, "KEEPER_GONE");
	ask(f, "telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
	    false, &q.base);
	answered(f, RPC_UNAVAILABLE, "KEEPER_GONE");
}

/* ---- ProcessService ---- */

static const char *const sleep_argv[] = {"sleep", "9"};

static struct job_record a_record(const char *id)
{
	struct job_record r = {.state = KM_STATE_RUNNING,
	    .pid = 42,
	    .id = id,
	    .owner = RIG_USER,
	    .user = "",
	    .group = "",
	    .argc = 2,
	    .argv = sleep_argv};

	return r;
}

static void ask_process(struct fixture *f, const char *method,
    const ProtobufCMessageDescriptor *response, const ProtobufCMessage *request)
{
	ask(f, "telex.v1.ProcessService", method, response, strcmp(method, "List") == 0, request);
}

static void ask_start(struct fixture *f, const char *id)
{
	Telex__V1__StartRequest q = TELEX__V1__START_REQUEST__INIT;
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData argv[] = {{5, (uint8_t *)"sleep"}, {1, (uint8_t *)"9"}};

	spec.argv = argv;
	spec.n_argv = 2;
	q.process_id = (char *)id;
	q.spec = &spec;
	ask_process(f, "Start", &telex__v1__start_response__descriptor, &q.base);
}

static void start_answers_with_the_process(void **state)
{
	struct fixture *f = *state;
	struct km_job job = {.pid = 42, .created = 1, .state = KM_STATE_RUNNING, .id = "p1"};
	const Telex__V1__StartResponse *r;
	union km_any msg;

	ask_start(f, "p1");
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	assert_int_equal(msg.start.att, 0);
	assert_string_equal(msg.start.owner, RIG_USER);
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	answered(f, RPC_OK, "");
	r = (const Telex__V1__StartResponse *)f->last;
	assert_true(r->created);
	assert_int_equal(r->process->pid, 42);
	assert_int_equal(r->process->n_argv, 2);
}

static void starting_again_finds_the_same(void **state)
{
	struct fixture *f = *state;
	struct km_job job = {.pid = 42, .state = KM_STATE_RUNNING, .id = "p1"};
	struct job_record record = a_record("p1");
	const Telex__V1__StartResponse *r;
	union km_any msg;

	ask_start(f, "p1");
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	worker_rig_settle(&f->rig);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	answered(f, RPC_OK, "");
	r = (const Telex__V1__StartResponse *)f->last;
	assert_false(r->created);
	assert_string_equal(r->process->process_id, "p1");
}

static void a_start_that_is_refused_says_why(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	ask_start(f, "p1");
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_EXISTS);
	answered(f, RPC_ALREADY_EXISTS, "PROCESS_EXISTS");
	ask_start(f, "..");
	answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void a_signal_is_sent_for_who_asked(void **state)
{
	struct fixture *f = *state;
	Telex__V1__SignalRequest q = TELEX__V1__SIGNAL_REQUEST__INIT;
	struct km_refused ended = {.why = KM_WHY_ENDED, .text = "exited with 0"};
	struct km_done done = {0};
	union km_any msg;

	q.process_id = (char *)"p1";
	q.signal = SIGHUP;
	q.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_string_equal(msg.signal.id, "p1");
	assert_string_equal(msg.signal.by, RIG_USER);
	assert_int_equal(msg.signal.signo, SIGHUP);
	assert_int_equal(msg.signal.target, KM_TARGET_PROCESS);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	answered(f, RPC_OK, "");
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	fake_keeper_send(f->keeper, KM_REFUSED, msg.hdr.seq, &ended, -1);
	answered(f, RPC_FAILED_PRECONDITION, "PROCESS_ENDED");
	assert_string_equal(rpc_status_get(&f->status, "ending"), "exited with 0");
	q.signal = 0;
	ask_process(f, "Signal", &telex__v1__signal_response__descriptor, &q.base);
	answered(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	assert_int_equal(fake_keeper_count(f->keeper, KM_SIGNAL), 0);
}

static void get_gives_the_one(void **state)
{
	struct fixture *f = *state;
	Telex__V1__GetRequest q = TELEX__V1__GET_REQUEST__INIT;
	struct job_record record = a_record("p1");
	union km_any msg;

	q.process_id = (char *)"p1";
	ask_process(f, "Get", &telex__v1__get_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.one, 1);
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	answered(f, RPC_OK, "");
	assert_string_equal(((const Telex__V1__GetResponse *)f->last)->process->process_id, "p1");
	ask_process(f, "Get", &telex__v1__get_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	answered(f, RPC_NOT_FOUND, "NO_SUCH_PROCESS");
}

static void a_list_may_be_empty(void **state)
{
	struct fixture *f = *state;
	Telex__V1__ListRequest q = TELEX__V1__LIST_REQUEST__INIT;
	union km_any msg;

	q.include_ended = true;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.states, UINT32_MAX);
	assert_int_equal(msg.list.one, 0);
	fake_keeper_table(f->keeper, msg.hdr.seq, NULL, 0);
	worker_rig_settle(&f->rig);
	assert_true(f->done);
	assert_int_equal(f->status.code, RPC_OK);
	assert_int_equal(f->responses, 0);
}

/* Each record is so large that a few fill what a call may hold. */
static void a_long_list_waits_for_its_reader(void **state)
{
	enum { N = 60 };
	static char big[100000];
	const char *argv[] = {"echo", big};
	struct fixture *f = *state;
	Telex__V1__ListRequest q = TELEX__V1__LIST_REQUEST__INIT;
	struct job_record records[N];
	char ids[N][8];
	union km_any msg;

	memset(big, 'a', sizeof(big) - 1);
	for (int i = 0; i < N; i++) {
		snprintf(ids[i], sizeof(ids[i]), "p%d", i);
		records[i] = a_record(ids[i]);
		records[i].argv = argv;
	}
	f->hold = true;
	ask_process(f, "List", &telex__v1__list_response__descriptor, &q.base);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, records, N);
	worker_rig_settle(&f->rig);
	assert_in_range(f->responses, 5, 15);
	for (int i = 0; i < N && !f->done; i++) {
		size_t owed = f->owed;

		f->owed = 0;
		rpc_credit(f->call, owed);
		worker_rig_settle(&f->rig);
	}
	answered(f, RPC_OK, "");
	assert_int_equal(f->responses, N);
	assert_string_equal(((const Telex__V1__ListResponse *)f->last)->process->process_id, "p59");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(health_knows_every_service),
	    TEST(a_draining_worker_tells_its_watchers),
	    TEST(watching_an_unknown_service_waits_for_it),
	    TEST(reflection_answers_both_versions),
	    TEST(reflection_says_what_it_does_not_have),
	    TEST(reflection_cuts_off_who_does_not_read),
	    TEST(info_tells_agent_client_and_machine),
	    TEST(a_cancelled_question_drops_its_answer),
	    TEST(an_answer_to_no_question_ends_the_link),
	    TEST(without_its_keeper_a_question_is_unavailable),
	    TEST(start_answers_with_the_process),
	    TEST(starting_again_finds_the_same),
	    TEST(a_start_that_is_refused_says_why),
	    TEST(a_signal_is_sent_for_who_asked),
	    TEST(get_gives_the_one),
	    TEST(a_list_may_be_empty),
	    TEST(a_long_list_waits_for_its_reader),
	};

	return cmocka_run_group_tests_name("worker_services", tests, NULL, NULL);
}
